"""The calls of the customers resource: each function checks what the caller passed, and returns the call to send."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, TypeAlias, TypedDict, get_args

from pydantic.alias_generators import to_camel

from cstar import models
from cstar._call import Call, Subject, encode, merge_body, merge_query, new_key
from cstar._check import (
    check_choice,
    check_filled_text,
    check_id,
    check_json_object,
    check_metadata,
    check_tags,
    check_text,
    refuse,
)
from cstar._decode import list_of, object_of
from cstar._listing import listing
from cstar._types import NOT_GIVEN, Id, Json, NotGiven, QueryValue
from cstar.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue
    from typing_extensions import Unpack

    from cstar._listing import Listing, ListOptions

    _Check = Callable[[str, object], JsonValue]

# Not a Sequence: a str is one, and tags="vip" would pass.
TagsParam: TypeAlias = list[str] | tuple[str, ...]

_api_name = cache(to_camel)


def _check_sentiment(param: str, value: object) -> str:
    return check_choice(param, value, get_args(models.CustomerSentiment))


def _check_status(param: str, value: object) -> str:
    return check_choice(param, value, get_args(models.CustomerStatus))


# How each parameter of a write is checked.
_CHECKS: Mapping[str, _Check] = {
    "name": check_filled_text,
    "email": check_filled_text,
    "sentiment": _check_sentiment,
    "status": _check_status,
    "tags": check_tags,
    "notes": check_text,
    "custom_fields": check_json_object,
    "metadata": check_metadata,
}
_CHECKS_OF_UPDATE: Mapping[str, _Check] = {**_CHECKS, "metadata": partial(check_metadata, removable=True)}


class _Fields(TypedDict):
    name: str | NotGiven
    email: str | NotGiven
    sentiment: models.CustomerSentiment | NotGiven | None
    status: models.CustomerStatus | NotGiven | None
    tags: TagsParam | NotGiven | None
    notes: str | NotGiven | None
    custom_fields: Mapping[str, Json] | NotGiven | None
    metadata: Mapping[str, str] | Mapping[str, str | None] | NotGiven | None


def _customers_of(team_id: Id) -> str:
    return f"/teams/{check_id('team_id', team_id)}/customers"


def _customer(team_id: Id, customer_id: str) -> str:
    return f"{_customers_of(team_id)}/{customer_id}"


def check_email(email: str) -> str:
    text = check_filled_text("email", email).strip()
    if "@" not in text:
        refuse("email", "a whole email address", text)
    return text


def has_email(customer: models.Customer, email: str) -> bool:
    """Whether a customer has an email address, in any case."""
    return str(customer.email or "").casefold() == email.casefold()


def list_call(
    team_id: Id,
    *,
    status: models.CustomerStatus | None,
    sentiment: models.CustomerSentiment | None,
    search: str | None,
    tag: str | None,
    **options: Unpack[ListOptions],
) -> Listing[models.Customer]:
    filters = {
        "status": None if status is None else _check_status("status", status),
        "sentiment": None if sentiment is None else _check_sentiment("sentiment", sentiment),
        "search": None if search is None else check_text("search", search),
        "tag": None if tag is None else check_text("tag", tag),
    }
    return listing(_customers_of(team_id), list_of(models.Customer), filters, **options)


def create_call(
    team_id: Id, extra_body: Mapping[str, Json] | None, idempotency_key: str | None, **fields: Unpack[_Fields]
) -> Call[models.Customer]:
    # A new customer has nothing to clear, so None means what leaving out means; name and email cannot be left out.
    given = {param: value for param, value in fields.items() if value is not None or param in {"name", "email"}}
    body = {_api_name(param): _CHECKS[param](param, value) for param, value in given.items()}
    return Call(
        "POST",
        _customers_of(team_id),
        object_of(models.Customer),
        body=encode(merge_body(body, extra_body)),
        idempotency_key=new_key(idempotency_key),
        subject=Subject(email=str(body["email"])),
    )


def get_call(
    team_id: Id, customer_id: Id, expand: str | None, extra_query: Mapping[str, QueryValue] | None
) -> Call[models.CustomerDetail]:
    customer_id = check_id("customer_id", customer_id)
    query = merge_query({"expand": None if expand is None else check_text("expand", expand)}, extra_query)
    path, parse = _customer(team_id, customer_id), object_of(models.CustomerDetail)
    return Call("GET", path, parse, query, subject=Subject(customer_id))


def update_call(
    team_id: Id,
    customer_id: Id,
    extra_body: Mapping[str, Json] | None,
    idempotency_key: str | None,
    **fields: Unpack[_Fields],
) -> Call[models.Customer]:
    customer_id = check_id("customer_id", customer_id)
    body: dict[str, JsonValue] = {
        _api_name(param): None if value is None else _CHECKS_OF_UPDATE[param](param, value)
        for param, value in fields.items()
        if value is not NOT_GIVEN
    }
    body = merge_body(body, extra_body)
    if not body:
        raise InvalidParameterError(
            f"an update must change something: pass at least one of {', '.join(fields)}, extra_body"
        )
    return Call(
        "PATCH",
        _customer(team_id, customer_id),
        object_of(models.Customer),
        body=encode(body),
        idempotency_key=new_key(idempotency_key),
        subject=Subject(customer_id, str(body["email"]) if body.get("email") else None),
    )


def delete_call(team_id: Id, customer_id: Id, idempotency_key: str | None) -> Call[models.DeletedCustomer]:
    customer_id = check_id("customer_id", customer_id)
    return Call(
        "DELETE",
        _customer(team_id, customer_id),
        object_of(models.DeletedCustomer),
        idempotency_key=new_key(idempotency_key),
        subject=Subject(customer_id),
        deleted_value=partial(models.DeletedCustomer, deleted=True, id=customer_id),
    )
