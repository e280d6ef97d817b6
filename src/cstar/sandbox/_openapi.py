"""The OpenAPI 3.1 document of the API, generated from the table of operations and the models.

It is exact: the sandbox accepts only the requests that the document allows, and responds as it describes.
`.ci/schemathesis` compares the running sandbox with it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from cstar.sandbox import _models
from cstar.sandbox._errors import ERROR_CODES
from cstar.sandbox._operations import OPERATIONS, Operation
from cstar.sandbox._parsing import MAX_BODY_SIZE, MAX_NESTING, adapter

Document: TypeAlias = dict[str, Any]

_DESCRIPTION = f"""\
The customers of a team on cStar.

Requests are validated strictly: unknown or repeated query parameters and body fields are rejected with 400, and so is
JSON nested more than {MAX_NESTING} levels deep. Other methods get 405 and other paths 404, with the bodies of the
responses `Error405` and `Error404` below.
"""

# Each status with its description and the headers that it adds.
_ERRORS = {
    400: ("The request is invalid; `error.param` names the field, parameter or header.",),
    401: ("The API key is missing or unknown.", "WWW-Authenticate"),
    403: ("The API key belongs to another team, or it can only read.",),
    404: ("The resource or the path does not exist.", "Idempotent-Replayed"),
    405: ("The path does not have this method; `Allow` lists its methods.", "Allow"),
    409: ("The email belongs to another customer, or the `Idempotency-Key` to another request.", "Idempotent-Replayed"),
    413: (f"The request body is larger than {MAX_BODY_SIZE} bytes.",),
    429: ("The API key has used up its rate limit; `Retry-After` has the seconds until a retry.", "Retry-After"),
    500: ("The server failed.",),
    503: ("The server is not available; `Retry-After` has the seconds until a retry.", "Retry-After"),
}

_NUMBER = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}

# Each header of responses with its description and schema. Every response has the first six.
_HEADERS = {
    "X-Request-Id": ("The id of the request, for support.", {"pattern": _models.REQUEST_ID_PATTERN}),
    "CStar-Version": ("The version of the API.", {**_TEXT, "format": "date"}),
    "X-RateLimit-Limit": ("The number of requests that the key may send in a window.", _NUMBER),
    "X-RateLimit-Remaining": ("The number of requests that remain in the window.", _NUMBER),
    "X-RateLimit-Reset": ("When the next window begins, in Unix seconds.", _NUMBER),
    "X-RateLimit-Window": ("The length of a window in seconds.", _NUMBER),
    "Idempotent-Replayed": ("This response repeats the first one to the `Idempotency-Key`.", {"const": "true"}),
    "WWW-Authenticate": ("How to authenticate.", {"const": "Bearer"}),
    "Allow": ("The methods that the path has, separated by commas.", _TEXT),
    "Retry-After": ("The number of seconds to wait before a retry.", _NUMBER),
}


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's signature
        return False

    def field_is_required(self, field: Any, total: bool) -> bool:
        # Requests are typed dictionaries. Models are responses, which have all of their fields.
        return field.get("required", total) if field["type"] == "typed-dict-field" else True


def document(team_id: str, *, url: str) -> Document:
    """Generate the OpenAPI document of the API for one team at a base URL."""
    requests = [shape for operation in OPERATIONS for shape in (operation.query, operation.body) if shape]
    requests += [_models.Headers, _models.WriteHeaders]
    responses = [_models.Failure, *(operation.response for operation in OPERATIONS)]
    schemas, components = _schemas({"validation": requests, "serialization": responses})
    paths: Document = {}
    for operation in OPERATIONS:
        parameters = [{"$ref": f"#/components/parameters/{name}"} for name in re.findall("{(.+?)}", operation.path)]
        parameters += _parameters("header", _models.Headers, schemas, components)
        path = paths.setdefault(operation.path, {"parameters": parameters})
        path[operation.method.lower()] = _operation(operation, schemas, components)
    key = "A secret key (`sk_test_…`) reads and writes; a publishable key only reads."
    return {
        "openapi": "3.1.0",
        "info": {"title": "cStar customers API", "version": _models.LATEST_VERSION, "description": _DESCRIPTION},
        "servers": [{"url": url}],
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": key}},
            "parameters": _path_parameters(team_id),
            "headers": {
                name: {"description": description, "required": name != "Idempotent-Replayed", "schema": schema}
                for name, (description, schema) in _HEADERS.items()
            },
            "responses": {f"Error{status}": _error(status, schemas[_models.Failure]) for status in _ERRORS},
            "schemas": components,
        },
    }


def _schemas(shapes: Mapping[str, list[Any]]) -> tuple[dict[Any, Any], Document]:
    """Return the JSON Schema of each type, and the definitions to which the schemas refer."""
    schemas, definitions = TypeAdapter.json_schemas(
        [(shape, mode, adapter(shape)) for mode in shapes for shape in shapes[mode]],  # type: ignore[misc]
        ref_template="#/components/schemas/{model}",
        schema_generator=_Generator,
    )
    return {shape: schema for (shape, _), schema in schemas.items()}, definitions["$defs"]


def _operation(operation: Operation, schemas: dict[Any, Any], components: Document) -> Document:
    summary, _, description = (inspect.getdoc(operation.run) or "").partition("\n\n")
    parameters = _parameters("query", operation.query, schemas, components)
    statuses = {400, 401, 413, 429, 500, 503}
    statuses |= {403} if "{teamId}" in operation.path else set()
    statuses |= {404} if operation.path.count("{") > 1 else set()
    if operation.needs_secret_key:
        parameters += _parameters("header", _models.WriteHeaders, schemas, components)
        statuses |= {409}
    described: Document = {
        "operationId": operation.id,
        "summary": summary.rstrip("."),
        "description": description,
        "parameters": parameters,
        "responses": {
            str(operation.status): _success(operation, schemas),
            **{str(status): {"$ref": f"#/components/responses/Error{status}"} for status in sorted(statuses)},
        },
    }
    if operation.body:
        described["requestBody"] = {"required": True, "content": _json(schemas[operation.body])}
    return described


def _success(operation: Operation, schemas: dict[Any, Any]) -> Document:
    content = _json(schemas[operation.response])
    if operation.id == "export":
        content["text/csv"] = {"schema": _TEXT}
    return {
        "description": "Success.",
        "headers": _header_references(["Idempotent-Replayed"] if operation.needs_secret_key else []),
        "content": content,
        **_links(operation),
    }


def _links(operation: Operation) -> Document:
    """Link a response with one resource to the operations on that resource, by its id."""
    is_item = operation.path.endswith("}")
    collection = operation.path.rpartition("/")[0] if is_item else operation.path
    items = [each for each in OPERATIONS if each.path.endswith("}") and each.path.rpartition("/")[0] == collection]
    if not items or operation.method == ("DELETE" if is_item else "GET"):
        return {}
    *outer, id_name = re.findall("{(.+?)}", items[0].path)
    parameters = {**{name: f"$request.path.{name}" for name in outer}, id_name: "$response.body#/data/id"}
    return {"links": {item.id: {"operationId": item.id, "parameters": parameters} for item in items}}


def _error(status: int, failure: Document) -> Document:
    description, *headers = _ERRORS[status]
    codes = {code: kind for code, (code_status, kind) in ERROR_CODES.items() if code_status == status}
    narrowed = {"type": {"enum": sorted(set(codes.values()))}, "code": {"enum": list(codes)}}
    return {
        "description": description,
        "headers": _header_references(headers),
        "content": _json({**failure, "properties": {"error": {"properties": narrowed}}}),
    }


def _path_parameters(team_id: str) -> Document:
    pattern = f"^(?:{_models.ID_PATTERN}|{_models.UUID_PATTERN})$"
    parameters = {
        "teamId": {"type": "string", "enum": [team_id], "description": "The team of the API key."},
        "customerId": {"type": "string", "pattern": pattern, "description": "The customer's id, or the UUID in it."},
    }
    return {name: {"name": name, "in": "path", "required": True, "schema": parameters[name]} for name in parameters}


def _parameters(place: str, shape: Any, schemas: dict[Any, Any], components: Document) -> list[Document]:
    described = components[schemas[shape]["$ref"].rpartition("/")[2]]
    return [{"name": name, "in": place, "schema": schema} for name, schema in described.get("properties", {}).items()]


def _header_references(further: Iterable[str]) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*list(_HEADERS)[:6], *further)}


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}
