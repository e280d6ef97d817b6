"""Parse and validate requests; an `ApiError` names the invalid field, parameter or header."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from starlette.datastructures import Headers

from cstar.sandbox._errors import ApiError
from cstar.sandbox._models import Bulk, Json, JsonObject

MAX_BODY_SIZE = 1024 * 1024
MAX_NESTING = 100  # deeper JSON can be parsed, but not always written into a response


@dataclass(frozen=True)
class ApiRequest:
    """A request; `path` is percent-encoded, `headers` ignores case, and `body` is empty if it was `too_large`."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Headers
    body: bytes
    too_large: bool
    path_parameters: Mapping[str, str]


@functools.cache
def adapter(shape: Any) -> TypeAdapter[Any]:
    """Return the validator of a request or response type, which also generates its JSON Schema."""
    return TypeAdapter(shape)


def parse_headers(shape: Any, headers: Headers) -> Any:
    """Validate the headers that a type declares."""
    for name in shape.__annotations__:
        if len(headers.getlist(name)) > 1:
            raise _invalid(name, f"The '{name}' header was given more than once.")
    return validate(shape, {name: headers[name] for name in shape.__annotations__ if name in headers})


def parse_query(shape: Any, query: Sequence[tuple[str, str]]) -> Any:
    """Validate query parameters."""
    for name, count in Counter(name for name, _ in query).items():
        if count > 1:
            raise _invalid(name, f"The '{name}' query parameter was given more than once.")
    return validate(shape, dict(query))


def parse_body(shape: Any, body: bytes, content_type: str | None) -> Any:
    """Validate a request body, which must be a JSON object."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise _invalid("Content-Type", "The request body must be sent with 'Content-Type: application/json'.")
    try:
        document: Json = json.loads(body.decode(), object_pairs_hook=_reject_repeated_keys)
        # Python's parser also accepts NaN, 1e999 and lone surrogates, which cannot be encoded in a response.
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise _invalid(None, "The request body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid(None, "The request body must be a JSON object.")
    if _nests_deeper(document, MAX_NESTING):
        raise _invalid(None, f"The JSON of the request body is nested more than {MAX_NESTING} levels deep.")
    return validate(shape, document)


def validate(shape: Any, value: Mapping[str, Any]) -> Any:
    """Validate decoded JSON or query parameters; raise the first error as an `ApiError`."""
    try:
        return adapter(shape).validate_python(value)
    except ValidationError as invalid:
        # Without the input, which may be megabytes.
        error = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
    if error["type"] == "union_tag_invalid":
        raise _invalid("action", "'action' must be 'update' or 'delete'.")
    # The body of /bulk is a union: the location begins with the tag of the member, which is not a field.
    path = [str(part)[:60] for part in error["loc"][shape is Bulk :]] or ["action"]
    param, name = path[0], ".".join(path)
    if error["type"] in {"missing", "union_tag_not_found"}:
        raise ApiError("parameter_missing", f"The '{name}' field is required.", param=param)
    if error["type"] == "extra_forbidden":
        known = [to_camel(each) for each in getattr(shape, "__annotations__", ())] if len(path) == 1 else []
        allowed = f"; allowed are {', '.join(known)}" if known else ""
        raise _invalid(param, f"'{name}' is not a field or parameter here{allowed}.")
    expected = error["msg"].partition(" should ")[2].partition(" after validation")[0]
    raise _invalid(param, f"'{name}' must {expected or 'be ' + error['msg']}.")


def _reject_repeated_keys(members: list[tuple[str, Json]]) -> JsonObject:
    found = dict(members)
    if len(found) < len(members):
        raise _invalid(None, "A JSON object in the request body has the same key twice.")
    return found


def _nests_deeper(value: Json, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_nests_deeper(item, levels - 1) for item in inside)


def _invalid(param: str | None, message: str) -> ApiError:
    return ApiError("parameter_invalid", message, param=param)
