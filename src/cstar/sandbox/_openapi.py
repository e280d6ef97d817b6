"""The contract of the API as an OpenAPI 3.1 document, made from the table of operations and the models.

It is exact: what it allows is accepted, what it forbids is rejected, and every response is as it says.
`.ci/schemathesis` compares the running sandbox with it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from cstar.sandbox import _models
from cstar.sandbox._errors import ApiError, ErrorCode
from cstar.sandbox._operations import OPERATIONS
from cstar.sandbox._parsing import (
    IDEMPOTENCY_KEY_PATTERN,
    LATEST_VERSION,
    MAX_BODY_SIZE,
    MAX_IDEMPOTENCY_KEY_LENGTH,
    MAX_NESTING,
    adapter,
)
from cstar.sandbox._webhooks import ANSWER_TIME, EventType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cstar.sandbox._operations import Operation

Document: TypeAlias = dict[str, Any]

_ERRORS = {
    400: "The request is invalid; `error.param` names the field, parameter or header.",
    401: "The API key is missing or unknown.",
    403: "The API key belongs to another team, or it can only read.",
    404: "There is no such customer, or nothing at all at this path.",
    405: "The path does not have this method; `Allow` lists those that it has.",
    409: "Another customer has this email address, or another request had this `Idempotency-Key`.",
    413: f"The request body has more than {MAX_BODY_SIZE} bytes.",
    429: "The API key has used up its rate limit; `Retry-After` says when it is reset.",
    500: "The server failed.",
    503: "The server is not available; `Retry-After` says when to try again.",
}
_ERROR_HEADERS = {
    401: ["WWW-Authenticate"],
    404: ["Idempotent-Replayed"],
    405: ["Allow"],
    409: ["Idempotent-Replayed"],
    429: ["Retry-After"],
    503: ["Retry-After"],
}

_RATE_LIMIT = ("Limit", "Remaining", "Reset", "Window")

_DESCRIPTION = f"""\
The customers of a team on cStar, and webhooks about their changes.

Requests are validated strictly. A query parameter or a body field that is not described here, or that is given twice,
is rejected with 400, because it is nearly always a mistake. JSON is nested at most {MAX_NESTING} levels deep.

A method that a path does not have is answered with 405, and a path that is not described here with 404, both with the
body of the responses `Error405` and `Error404` below.
"""


class Meta(BaseModel):
    model_config = ConfigDict(extra="forbid")

    requestId: Annotated[str, Field(pattern="^req_[0-9a-f]{24}$")]  # noqa: N815 - as it is sent
    timestamp: _models.Time


class Error(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: str
    code: ErrorCode
    message: Annotated[str, Field(min_length=1)]
    param: Annotated[str | None, Field(description="The field, query parameter or header at fault.")]
    doc_url: Annotated[str, Field(json_schema_extra={"format": "uri"})]
    request_id: Annotated[str, Field(pattern="^req_[0-9a-f]{24}$")]


class Failure(BaseModel):
    model_config = ConfigDict(extra="forbid")

    success: Literal[False]
    error: Error
    meta: Meta


class EventCustomer(_models.Customer):
    """A customer, with names in snake_case."""


class EventData(BaseModel):
    model_config = ConfigDict(extra="forbid")

    customer: EventCustomer


class Event(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(pattern="^evt_[0-9a-f]{24}$")]
    type: EventType
    created_at: _models.Time
    team_id: Annotated[str, Field(json_schema_extra={"format": "uuid"})]
    data: EventData


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def document(team_id: str, *, url: str) -> Document:
    """The contract of the API that serves one team at a base URL."""
    requests = [shape for operation in OPERATIONS for shape in (operation.query, operation.body) if shape]
    responses = [Failure, _models.Pagination, *(operation.response for operation in OPERATIONS)]
    schemas, definitions = _schemas({"validation": requests, "serialization": responses})
    events, event_definitions = _schemas({"serialization": [Event]}, by_alias=False)
    components: Document = {**event_definitions, **definitions}
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(operation.path, {"parameters": _path_parameters(operation.path)})
        path[operation.method.lower()] = _operation(operation, schemas, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "cStar customers API", "version": LATEST_VERSION, "description": _DESCRIPTION},
        "servers": [{"url": url}],
        "security": [{"apiKey": []}],
        "paths": paths,
        "webhooks": {name: {"post": _webhook(name, events[Event])} for name in get_args(EventType)},
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A secret key (`sk_test_…`) reads and writes; a publishable key only reads.",
                }
            },
            "parameters": _parameters(team_id),
            "headers": _headers(),
            "responses": {f"Error{status}": _error(status, schemas[Failure]) for status in _ERRORS},
            "schemas": components,
        },
    }


def _schemas(shapes: Mapping[str, list[Any]], *, by_alias: bool = True) -> tuple[dict[Any, Any], Document]:
    """The JSON Schema of each type, by mode, and the definitions that these refer to."""
    schemas, definitions = TypeAdapter.json_schemas(
        [(shape, mode, adapter(shape)) for mode in shapes for shape in shapes[mode]],  # type: ignore[misc]
        by_alias=by_alias,
        ref_template="#/components/schemas/{model}",
        schema_generator=_Generator,
    )
    return {shape: schema for (shape, _), schema in schemas.items()}, definitions["$defs"]


def _operation(operation: Operation, schemas: Mapping[Any, Any], components: Document) -> Document:
    summary, _, description = (inspect.getdoc(operation.run) or "").partition("\n\n")
    query = components[schemas[operation.query]["$ref"].rpartition("/")[2]]
    parameters = [
        {"name": name, "in": "query", "schema": schema} for name, schema in query.get("properties", {}).items()
    ]
    if operation.writes:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    statuses = {400, 401, 413, 429, 500, 503}
    statuses |= {403} if "{teamId}" in operation.path else set()
    statuses |= {404} if "{customerId}" in operation.path else set()
    statuses |= {409} if operation.writes else set()
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


def _success(operation: Operation, schemas: Mapping[Any, Any]) -> Document:
    members: Document = {"success": {"const": True}, "data": schemas[operation.response]}
    if operation.id == "listCustomers":
        members["pagination"] = schemas[_models.Pagination]
    members["meta"] = {"$ref": "#/components/schemas/Meta"}
    envelope: Document = {
        "type": "object",
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }
    content = _json(envelope)
    if operation.id == "export":
        content["text/csv"] = {"schema": {"type": "string"}}
    response: Document = {
        "description": "Success.",
        "headers": _header_references(["Idempotent-Replayed"] if operation.writes else []),
        "content": content,
    }
    if operation.response is _models.Customer or operation.id == "getCustomer":
        parameters: Document = {"teamId": "$request.path.teamId", "customerId": "$response.body#/data/id"}
        response["links"] = {
            name: {"operationId": name, "parameters": parameters}
            for name in ("getCustomer", "updateCustomer", "deleteCustomer")
        }
    return response


def _error(status: int, failure: Document) -> Document:
    errors = [error for error in (ApiError(code, "") for code in get_args(ErrorCode)) if error.status == status]
    narrowed: Document = {
        "type": {"enum": sorted({error.type for error in errors})},
        "code": {"enum": [error.code for error in errors]},
    }
    return {
        "description": _ERRORS[status],
        "headers": _header_references(_ERROR_HEADERS.get(status, [])),
        "content": _json({**failure, "properties": {"error": {"properties": narrowed}}}),
    }


def _webhook(event_type: str, schema: Document) -> Document:
    signature = (
        "`t=<Unix seconds>,v1=<hex>`, where the hex is the HMAC-SHA256 of `<Unix seconds>.<raw body>` under the "
        "webhook's secret. Reject what is older than 300 seconds."
    )
    headers = {
        "X-Signature": (signature, {"type": "string", "pattern": "^t=[0-9]+,v1=[0-9a-f]{64}$"}),
        "X-Event-Type": ("The `type` of the event.", {"const": event_type}),
        "X-Event-ID": ("The `id` of the event: one that was received before is a repeat.", {"type": "string"}),
        "X-Webhook-ID": ("Which webhook this is.", {"type": "string", "pattern": "^wh_[0-9a-f]{24}$"}),
        "X-Timestamp": ("When this attempt was made, in Unix seconds.", {"type": "integer", "minimum": 0}),
        "X-Delivery-Attempt": ("Which attempt this is.", {"type": "integer", "minimum": 1}),
    }
    return {
        "operationId": event_type,
        "summary": f"A customer was {event_type.partition('.')[2]}",
        "description": "The customer is as it was after that, or, if it was deleted, before.",
        "security": [],  # the signature authenticates it
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": description, "schema": header}
            for name, (description, header) in headers.items()
        ],
        "requestBody": {
            "required": True,
            "content": _json({**schema, "properties": {"type": {"const": event_type}}}),
        },
        "responses": {
            "2XX": {
                "description": f"Received. After any other response, and after none within {ANSWER_TIME:g} seconds, "
                "the event is sent again later."
            }
        },
    }


def _path_parameters(path: str) -> list[Document]:
    names = [name for name in ("TeamId", "CustomerId") if name.lower() in path.lower()]
    return [{"$ref": f"#/components/parameters/{name}"} for name in (*names, "Version")]


def _parameters(team_id: str) -> Document:
    return {
        "TeamId": {
            "name": "teamId",
            "in": "path",
            "required": True,
            "description": "The team of the API key.",
            "schema": {"type": "string", "enum": [team_id]},
        },
        "CustomerId": {
            "name": "customerId",
            "in": "path",
            "required": True,
            "description": "The customer's id, or the UUID in it.",
            "schema": {"type": "string", "pattern": f"^(?:{_models.ID_PATTERN}|{_models.UUID_PATTERN})$"},
        },
        "Version": {
            "name": "CStar-Version",
            "in": "header",
            "description": "The version of the API; without it, the latest.",
            "schema": {"type": "string", "format": "date", "examples": [LATEST_VERSION]},
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The name of this write. The same request with the same key acts once: for 24 hours, it "
            "gets the first response again. Another request with the same key is a conflict.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH,
                "pattern": f"^{IDEMPOTENCY_KEY_PATTERN}$",
            },
        },
    }


def _headers() -> Document:
    number: Document = {"type": "integer", "minimum": 0}
    headers: dict[str, tuple[str, Document]] = {
        "X-Request-Id": ("The id of the request, to quote to support.", {"pattern": "^req_[0-9a-f]{24}$"}),
        "CStar-Version": ("The version of the API.", {"type": "string", "format": "date"}),
        "X-RateLimit-Limit": ("The number of requests that the key has in a window.", number),
        "X-RateLimit-Remaining": ("The number of them that remain.", number),
        "X-RateLimit-Reset": ("When the next window begins, in Unix seconds.", number),
        "X-RateLimit-Window": ("The length of a window in seconds.", number),
        "Idempotent-Replayed": ("This is the first response to the `Idempotency-Key` again.", {"const": "true"}),
        "WWW-Authenticate": ("How to authenticate.", {"const": "Bearer"}),
        "Allow": ("The methods that the path has, separated by commas.", {"type": "string"}),
        "Retry-After": ("In how many seconds to try again.", number),
    }
    return {
        name: {"description": description, "required": name != "Idempotent-Replayed", "schema": schema}
        for name, (description, schema) in headers.items()
    }


def _header_references(further: list[str]) -> Document:
    always = ("X-Request-Id", "CStar-Version", *(f"X-RateLimit-{name}" for name in _RATE_LIMIT))
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*always, *further)}


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}
