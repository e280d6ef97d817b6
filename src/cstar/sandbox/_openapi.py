"""The API's contract as an OpenAPI 3.1 document.

It is meant to be exact: what it allows is accepted, what it forbids is refused, and every answer is one that it
describes. `.ci/schemathesis` holds the running sandbox against it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from cstar.sandbox._api import LATEST_VERSION, RECENT_TICKETS
from cstar.sandbox._errors import ApiError, ErrorCode
from cstar.sandbox._validation import (
    DEFAULT_PAGE_SIZE,
    EMAIL_PATTERN,
    IDEMPOTENCY_KEY_PATTERN,
    MAX_BODY_SIZE,
    MAX_EMAIL_LENGTH,
    MAX_IDEMPOTENCY_KEY_LENGTH,
    MAX_METADATA_KEY_LENGTH,
    MAX_METADATA_KEYS,
    MAX_METADATA_VALUE_LENGTH,
    MAX_NESTING,
    MAX_PAGE,
    MAX_PAGE_SIZE,
    PUBLIC_ID_PATTERN,
    SENTIMENTS,
    STATUSES,
    UUID_PATTERN,
    VISIBLE_CHARACTER_PATTERN,
    Json,
)
from cstar.sandbox._webhooks import ANSWER_TIME, EventType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cstar.sandbox._validation import JsonObject

_REFUSALS = {
    400: ("BadRequest", "The request is malformed; `error.param` names the field, parameter or header at fault."),
    401: ("Unauthorized", "The API key is missing or unknown."),
    403: ("Forbidden", "The API key may not do this: it belongs to another team, or it can only read."),
    404: ("NotFound", "There is no such customer, or nothing at all at this path."),
    405: ("MethodNotAllowed", "The path does not have this method; `Allow` lists those that it has."),
    409: ("Conflict", "Another customer has this email address, or another request had this `Idempotency-Key`."),
    413: ("TooLarge", f"The request body has more than {MAX_BODY_SIZE} bytes."),
    429: ("TooManyRequests", "The API key has used up its budget; `Retry-After` says when it is back."),
    500: ("InternalError", "The server failed."),
    503: ("Unavailable", "The server is busy with something else; `Retry-After` says when to come back."),
}
_ALWAYS_POSSIBLE = (400, 401, 413, 429, 500, 503)

_DESCRIPTION = """\
The customers of a team on cStar: list, create, read, update and delete them, and hear of changes by webhook.

Requests are read strictly. A query parameter or a body field that is not described here, or that is given twice, is
refused with 400, because it is nearly always a mistake.

A method that a path does not have is answered with 405, and a path that is not described here with 404, both in the
error envelope (`MethodNotAllowed` and `NotFound` among the responses below).
"""


def document(team_id: str, *, url: str) -> JsonObject:
    """The contract of the API that serves one team at a base URL."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "cStar customers API", "version": LATEST_VERSION, "description": _DESCRIPTION},
        "servers": [{"url": url}],
        "security": [{"apiKey": []}],
        "tags": [
            {"name": "Customers", "description": "The people that a team supports."},
            {"name": "Authentication", "description": "What an API key stands for."},
            {"name": "Webhooks", "description": "What the API sends when something changes."},
        ],
        "paths": {
            "/auth/whoami": {"parameters": _parameters("Version"), "get": _whoami()},
            "/teams/{teamId}/customers": {
                "parameters": _parameters("TeamId", "Version"),
                "get": _list_customers(),
                "post": _create_customer(),
            },
            "/teams/{teamId}/customers/{customerId}": {
                "parameters": _parameters("TeamId", "CustomerId", "Version"),
                "get": _get_customer(),
                "patch": _update_customer(),
                "delete": _delete_customer(),
            },
        },
        "webhooks": {event: {"post": _webhook(event)} for event in get_args(EventType)},
        "components": {
            "securitySchemes": {"apiKey": _api_key()},
            "parameters": _shared_parameters(team_id),
            "headers": _shared_headers(),
            "responses": {name: _refusal(status) for status, (name, _) in _REFUSALS.items()},
            "schemas": _schemas(),
        },
    }


def _whoami() -> JsonObject:
    return {
        "operationId": "whoami",
        "summary": "Tell what the API key stands for",
        "tags": ["Authentication"],
        "responses": {
            "200": _success("Who the key belongs to, and what kind it is.", _schema("Identity")),
            **_refusals(),
        },
    }


def _list_customers() -> JsonObject:
    return {
        "operationId": "listCustomers",
        "summary": "List customers, newest first",
        "tags": ["Customers"],
        "parameters": _parameters("Page", "PageSize", "Status", "Sentiment", "Search", "Tag"),
        "responses": {
            "200": _success(
                "One page of the customers that match every given filter.",
                {"type": "array", "items": _schema("Customer"), "maxItems": MAX_PAGE_SIZE},
                pagination=_schema("Pagination"),
            ),
            **_refusals(403),
        },
    }


def _create_customer() -> JsonObject:
    return {
        "operationId": "createCustomer",
        "summary": "Create a customer",
        "tags": ["Customers"],
        "parameters": _parameters("IdempotencyKey"),
        "requestBody": _body(
            "NewCustomer",
            minimal={"name": "Ada Lovelace", "email": "ada@example.com"},
            complete={
                "name": "Grace Hopper",
                "email": "grace@example.com",
                "sentiment": "happy",
                "status": "active",
                "tags": ["vip", "beta"],
                "notes": "Prefers email over phone.",
                "customFields": {"plan": "pro", "seats": 12},
                "metadata": {"crmId": "CRM-000042"},
            },
        ),
        "responses": {
            "201": {**_written("The customer, as created.", _schema("Customer")), "links": _links()},
            **_refusals(403, 409),
        },
    }


def _get_customer() -> JsonObject:
    return {
        "operationId": "getCustomer",
        "summary": "Read a customer and its newest tickets",
        "tags": ["Customers"],
        "parameters": _parameters("Expand"),
        "responses": {
            "200": {**_success("The customer.", _schema("CustomerDetails")), "links": _links()},
            **_refusals(403, 404),
        },
    }


def _update_customer() -> JsonObject:
    return {
        "operationId": "updateCustomer",
        "summary": "Change some fields of a customer",
        "description": "A field that is left out stays as it is. `tags` and `customFields` are replaced as a whole; "
        "`metadata` is merged, and a key given as null is removed.",
        "tags": ["Customers"],
        "parameters": _parameters("IdempotencyKey"),
        "requestBody": _body(
            "CustomerUpdate",
            status={"status": "inactive"},
            metadata={"metadata": {"crmId": "CRM-000043", "source": None}},
        ),
        "responses": {
            "200": {**_written("The customer, as it is now.", _schema("Customer")), "links": _links()},
            **_refusals(403, 404, 409),
        },
    }


def _delete_customer() -> JsonObject:
    return {
        "operationId": "deleteCustomer",
        "summary": "Delete a customer and its tickets",
        "tags": ["Customers"],
        "parameters": _parameters("IdempotencyKey"),
        "responses": {
            "200": _written("The customer is gone.", _schema("DeletedCustomer")),
            **_refusals(403, 404, 409),
        },
    }


def _webhook(event: str) -> JsonObject:
    return {
        "operationId": event,
        "summary": f"A customer was {event.partition('.')[2]}",
        "description": "The customer is as it was after that, or, if it was deleted, before.",
        "tags": ["Webhooks"],
        "security": [],  # of its own kind: the signature
        "parameters": [
            _header(
                "X-Signature",
                "`t=<Unix seconds>,v1=<hex>`, where the hex is the HMAC-SHA256 of `<Unix seconds>.<raw body>` under "
                "the webhook's secret. Refuse what is older than 300 seconds.",
                {"type": "string", "pattern": "^t=[0-9]+,v1=[0-9a-f]{64}$"},
            ),
            _header("X-Event-Type", "The `type` of the event.", {"const": event}),
            _header("X-Event-ID", "The `id` of the event: one that was received before is a repeat.", _id("evt")),
            _header("X-Webhook-ID", "Which webhook this is.", _id("wh")),
            _header("X-Timestamp", "When this attempt was made, in Unix seconds.", _whole_number(0)),
            _header("X-Delivery-Attempt", "Which attempt this is.", _whole_number(1)),
        ],
        "requestBody": {
            "required": True,
            "content": _json({"$ref": "#/components/schemas/Event", "properties": {"type": {"const": event}}}),
        },
        "responses": {
            "2XX": {
                "description": f"Received. After any other answer, and after none within {ANSWER_TIME:g} seconds, the "
                "event is sent again later."
            }
        },
    }


def _api_key() -> JsonObject:
    return {
        "type": "http",
        "scheme": "bearer",
        "description": "A secret key (`sk_test_…`) reads and writes; a publishable one (`pk_test_…`) only reads.",
    }


def _shared_parameters(team_id: str) -> JsonObject:
    return {
        "TeamId": _path_parameter("teamId", "The team of the API key.", {"type": "string", "enum": [team_id]}),
        "CustomerId": _path_parameter(
            "customerId",
            "The customer's id, or the UUID in it.",
            {"type": "string", "pattern": f"^(?:{PUBLIC_ID_PATTERN}|{UUID_PATTERN})$"},
        ),
        "Version": _header(
            "CStar-Version",
            "The version of the API to be answered in; without it, the latest.",
            _version(),
            required=False,
        ),
        "IdempotencyKey": _header(
            "Idempotency-Key",
            "A name for this write. The same request with the same key acts once: for 24 hours, it gets the first "
            "answer again. Another request with the same key is a conflict.",
            {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH,
                "pattern": f"^{IDEMPOTENCY_KEY_PATTERN}$",
            },
            required=False,
        ),
        "Page": _query_parameter("page", "Which page, from 1 on.", {**_whole_number(1, MAX_PAGE), "default": 1}),
        "PageSize": _query_parameter(
            "pageSize",
            "How many customers to a page.",
            {**_whole_number(1, MAX_PAGE_SIZE), "default": DEFAULT_PAGE_SIZE},
        ),
        "Status": _query_parameter("status", "Only customers with this status.", _schema("Status")),
        "Sentiment": _query_parameter("sentiment", "Only customers with this sentiment.", _schema("Sentiment")),
        "Search": _query_parameter(
            "search", "Only customers with this in their name or email address, in any case.", {"type": "string"}
        ),
        "Tag": _query_parameter("tag", "Only customers with exactly this tag.", {"type": "string"}),
        "Expand": _query_parameter(
            "expand",
            "What to embed. With anything but `tickets`, the tickets are left out.",
            {"type": "string", "default": "tickets"},
        ),
    }


def _shared_headers() -> JsonObject:
    return {
        "RequestId": _response_header("The id of the request, to quote when asking for support.", _id("req")),
        "Version": _response_header("The version of the API that this is an answer of.", _version()),
        "RateLimitLimit": _response_header("How many requests the key has in a window.", _whole_number(0)),
        "RateLimitRemaining": _response_header("How many of them are left.", _whole_number(0)),
        "RateLimitReset": _response_header("When the next window begins, in Unix seconds.", _whole_number(0)),
        "RateLimitWindow": _response_header("How long a window is, in seconds.", _whole_number(1)),
        "IdempotentReplayed": {
            "description": "There if this is the first answer to the `Idempotency-Key` again, and nothing was done.",
            "schema": {"const": "true"},
        },
        "Authenticate": _response_header("How to authenticate.", {"const": "Bearer"}),
        "Allow": _response_header("The methods that the path has, separated by commas.", {"type": "string"}),
        "RetryAfter": _response_header("In how many seconds to try again.", _whole_number(0)),
    }


def _schemas() -> JsonObject:
    return {
        "Customer": _object(_customer()),
        "CustomerDetails": _object(_customer(), optional={"recentTickets": _recent_tickets()}),
        "RecentTicket": _object(
            {"id": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "string"}, "createdAt": _time()}
        ),
        "NewCustomer": _object(
            {"name": _schema("Name"), "email": _schema("Email")},
            optional={**_optional_fields(), "metadata": _schema("Metadata")},
        ),
        "CustomerUpdate": _object(
            {},
            optional={
                "name": _schema("Name"),
                "email": _schema("Email"),
                **_optional_fields(),
                "metadata": _schema("MetadataUpdate"),
            },
        ),
        "DeletedCustomer": _object({"deleted": {"const": True}, "id": _id("cus", 32)}),
        "Name": {"type": "string", "pattern": VISIBLE_CHARACTER_PATTERN, "description": "Not blank."},
        # No format: "email" would forbid names and domains that are not ASCII, and "idn-email" some that are taken.
        "Email": {
            "type": "string",
            "maxLength": MAX_EMAIL_LENGTH,
            "pattern": f"^{EMAIL_PATTERN}$",
            "description": "An email address, unique in the team, in any case.",
        },
        "Sentiment": {"type": "string", "enum": list[Json](SENTIMENTS)},
        "Status": {"type": "string", "enum": list[Json](STATUSES)},
        "Tags": {"type": "array", "items": {"type": "string"}},
        "Notes": {"type": ["string", "null"]},
        "CustomFields": {
            "type": "object",
            "description": f"Any JSON values, but the whole body is nested no more than {MAX_NESTING} levels deep.",
        },
        "Metadata": {**_metadata({"type": "string"}), "maxProperties": MAX_METADATA_KEYS},
        "MetadataUpdate": {
            **_metadata({"type": ["string", "null"]}),
            "description": f"Null removes a key. After the change, there are at most {MAX_METADATA_KEYS} keys.",
        },
        "Identity": _object(
            {
                "teamId": {"type": "string", "format": "uuid"},
                "teamName": {"type": "string"},
                "teamSlug": {"type": "string"},
                "keyType": {"enum": ["secret", "publishable"]},
                "environment": {"enum": ["live", "test"]},
            }
        ),
        "Pagination": _object(
            {
                "total": _whole_number(0),
                "page": _whole_number(1, MAX_PAGE),
                "pageSize": _whole_number(1, MAX_PAGE_SIZE),
                "hasMore": {"type": "boolean"},
            }
        ),
        "Meta": _object({"requestId": _id("req"), "timestamp": _time()}),
        "Failure": _object({"success": {"const": False}, "error": _schema("Error"), "meta": _schema("Meta")}),
        "Error": _object(
            {
                "type": {"enum": _unique(ApiError(code, "").type for code in get_args(ErrorCode))},
                "code": {"enum": list(get_args(ErrorCode))},
                "message": {"type": "string", "minLength": 1},
                "param": {"type": ["string", "null"], "description": "The field, query parameter or header at fault."},
                "doc_url": {"type": "string", "format": "uri"},
                "request_id": _id("req"),
            }
        ),
        "Event": _object(
            {
                "id": _id("evt"),
                "type": {"enum": list[Json](get_args(EventType))},
                "created_at": _time(),
                "team_id": {"type": "string", "format": "uuid"},
                "data": _object({"customer": _schema("EventCustomer")}),
            }
        ),
        "EventCustomer": _object({_snake_case(name): schema for name, schema in _customer().items()}),
    }


def _customer() -> JsonObject:
    return {
        "id": _id("cus", 32),
        "object": {"const": "customer"},
        "name": _schema("Name"),
        "email": _schema("Email"),
        **_optional_fields(),
        "ticketCount": _whole_number(0),
        "metadata": _schema("Metadata"),
        "createdAt": _time(),
        "updatedAt": _time(),
    }


def _optional_fields() -> JsonObject:
    return {
        "sentiment": _schema("Sentiment"),
        "status": _schema("Status"),
        "tags": _schema("Tags"),
        "notes": _schema("Notes"),
        "customFields": _schema("CustomFields"),
    }


def _recent_tickets() -> JsonObject:
    return {
        "type": "array",
        "items": _schema("RecentTicket"),
        "maxItems": RECENT_TICKETS,
        "description": "The newest ones, newest first.",
    }


def _metadata(value: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "propertyNames": {"maxLength": MAX_METADATA_KEY_LENGTH},
        "additionalProperties": {**value, "maxLength": MAX_METADATA_VALUE_LENGTH},
    }


def _body(schema: str, **examples: JsonObject) -> JsonObject:
    content = _json(_schema(schema), examples={name: {"value": value} for name, value in examples.items()})
    return {"required": True, "content": content}


def _success(description: str, data: JsonObject, **beside_data: JsonObject) -> JsonObject:
    envelope = _object({"success": {"const": True}, "data": data, **beside_data, "meta": _schema("Meta")})
    return {"description": description, "headers": _answer_headers(), "content": _json(envelope)}


def _written(description: str, data: JsonObject) -> JsonObject:
    answer = _success(description, data)
    return {**answer, "headers": _answer_headers({"Idempotent-Replayed": "IdempotentReplayed"})}


def _refusals(*statuses: int) -> JsonObject:
    """The refusals that an operation can give: these, and those that every operation can give."""
    return {
        str(status): {"$ref": f"#/components/responses/{_REFUSALS[status][0]}"}
        for status in sorted({*statuses, *_ALWAYS_POSSIBLE})
    }


def _refusal(status: int) -> JsonObject:
    errors = [ApiError(code, "") for code in get_args(ErrorCode)]
    possible = [error for error in errors if error.status == status]
    narrowed: JsonObject = {
        "type": {"enum": _unique(error.type for error in possible)},
        "code": {"enum": _unique(error.code for error in possible)},
    }
    headers = {
        401: {"WWW-Authenticate": "Authenticate"},
        404: {"Idempotent-Replayed": "IdempotentReplayed"},
        405: {"Allow": "Allow"},
        409: {"Idempotent-Replayed": "IdempotentReplayed"},
        429: {"Retry-After": "RetryAfter"},
        503: {"Retry-After": "RetryAfter"},
    }
    return {
        "description": _REFUSALS[status][1],
        "headers": _answer_headers(headers.get(status, {})),
        "content": _json({"$ref": "#/components/schemas/Failure", "properties": {"error": {"properties": narrowed}}}),
    }


def _answer_headers(further: Mapping[str, str] | None = None) -> JsonObject:
    names = {
        "X-Request-Id": "RequestId",
        "CStar-Version": "Version",
        "X-RateLimit-Limit": "RateLimitLimit",
        "X-RateLimit-Remaining": "RateLimitRemaining",
        "X-RateLimit-Reset": "RateLimitReset",
        "X-RateLimit-Window": "RateLimitWindow",
        **(further or {}),
    }
    return {name: {"$ref": f"#/components/headers/{component}"} for name, component in names.items()}


def _links() -> JsonObject:
    parameters: JsonObject = {"teamId": "$request.path.teamId", "customerId": "$response.body#/data/id"}
    return {
        operation: {"operationId": operation, "parameters": parameters}
        for operation in ("getCustomer", "updateCustomer", "deleteCustomer")
    }


def _parameters(*names: str) -> list[Json]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _path_parameter(name: str, description: str, schema: JsonObject) -> JsonObject:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _query_parameter(name: str, description: str, schema: JsonObject) -> JsonObject:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _header(name: str, description: str, schema: JsonObject, *, required: bool = True) -> JsonObject:
    return {"name": name, "in": "header", "required": required, "description": description, "schema": schema}


def _response_header(description: str, schema: JsonObject) -> JsonObject:
    return {"required": True, "description": description, "schema": schema}


def _json(schema: JsonObject, **keywords: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema, **keywords}}


def _schema(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: JsonObject, *, optional: JsonObject | None = None) -> JsonObject:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list[Json](required),
        "additionalProperties": False,
    }


def _whole_number(least: int, most: int | None = None) -> JsonObject:
    return {"type": "integer", "minimum": least, **({} if most is None else {"maximum": most})}


def _id(prefix: str, digits: int = 24) -> JsonObject:
    return {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{{digits}}}$"}


def _snake_case(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()


def _time() -> JsonObject:
    return {"type": "string", "format": "date-time"}


def _version() -> JsonObject:
    return {"type": "string", "format": "date", "examples": [LATEST_VERSION]}


def _unique(values: Iterable[str]) -> list[Json]:
    return list[Json](dict.fromkeys(values))
