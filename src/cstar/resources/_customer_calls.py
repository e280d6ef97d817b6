"""The calls of the customers resource: each function checks the caller's arguments and returns the call to send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, NoReturn, TypedDict, cast, get_args

from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from cstar import models
from cstar._bulk import BulkJob, Item, errors_of, normalized
from cstar._call import Call, Subject, merge_body, merge_query, new_key
from cstar._check import (
    MAX_KEY_LENGTH,
    check_choice,
    check_id,
    check_json_object,
    check_metadata,
    check_non_blank,
    check_tags,
    check_text,
    reject,
)
from cstar._decode import converted, list_of, object_of
from cstar._listing import listing
from cstar._logging import logger
from cstar._retry import ALREADY_EXISTS
from cstar._types import NOT_GIVEN, Id, Json, NotGiven, QueryValue
from cstar.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue
    from typing_extensions import Unpack

    from cstar._envelopes import BulkData, ExportData
    from cstar._listing import Listing
    from cstar._types import ListOptions
    from cstar.errors import ConflictError

    _Check = Callable[[str, object], JsonValue]

MAX_EXPORT_ROWS = 10_000  # of each resource
MAX_UPSERT_ATTEMPTS = 5
MAX_UPSERT_KEY_LENGTH = 200  # of 255 characters, to leave room for the suffixes of an upsert's requests

_api_name = cache(to_camel)


def _check_sentiment(param: str, value: object) -> str:
    return check_choice(param, value, get_args(models.CustomerSentiment))


def _check_status(param: str, value: object) -> str:
    return check_choice(param, value, get_args(models.CustomerStatus))


# The checks of the parameters of create and update.
_CHECKS: Mapping[str, _Check] = {
    "name": check_non_blank,
    "email": check_non_blank,
    "sentiment": _check_sentiment,
    "status": _check_status,
    "tags": check_tags,
    "notes": check_text,
    "custom_fields": check_json_object,
    "metadata": check_metadata,
}
_UPDATE_CHECKS: Mapping[str, _Check] = {**_CHECKS, "metadata": partial(check_metadata, removable=True)}


class _Fields(TypedDict):
    name: str | NotGiven
    email: str | NotGiven
    sentiment: models.CustomerSentiment | NotGiven | None
    status: models.CustomerStatus | NotGiven | None
    tags: list[str] | tuple[str, ...] | NotGiven | None  # not Sequence, because a str is a Sequence of str
    notes: str | NotGiven | None
    custom_fields: Mapping[str, Json] | NotGiven | None
    metadata: Mapping[str, str] | Mapping[str, str | None] | NotGiven | None


def _team_path(team_id: Id) -> str:
    return f"/teams/{check_id('team_id', team_id)}"


def _customers_path(team_id: Id) -> str:
    return f"{_team_path(team_id)}/customers"


def _customer_path(team_id: Id, customer_id: str) -> str:
    return f"{_customers_path(team_id)}/{customer_id}"


def check_email(email: object) -> str:
    text = check_non_blank("email", email).strip()
    if "@" not in text:
        reject("email", "a complete email address", text)
    return text


def has_email(customer: models.Customer, email: str) -> bool:
    """Return whether a customer has an email address, ignoring case."""
    return normalized(customer.email) == normalized(email)


def _filters(
    *, status: str | None, sentiment: str | None, search: str | None, tag: str | None
) -> dict[str, str | None]:
    return {
        "status": None if status is None else _check_status("status", status),
        "sentiment": None if sentiment is None else _check_sentiment("sentiment", sentiment),
        "search": None if search is None else check_text("search", search),
        "tag": None if tag is None else check_text("tag", tag),
    }


def list_call(
    team_id: Id,
    *,
    status: models.CustomerStatus | None,
    sentiment: models.CustomerSentiment | None,
    search: str | None,
    tag: str | None,
    **options: Unpack[ListOptions],
) -> Listing[models.Customer]:
    filters = _filters(status=status, sentiment=sentiment, search=search, tag=tag)
    return listing(_customers_path(team_id), list_of(models.Customer), filters, **options)


def create_call(
    team_id: Id, extra_body: Mapping[str, Json] | None, idempotency_key: str | None, **fields: Unpack[_Fields]
) -> Call[models.Customer]:
    # In a new customer, None means that a field is omitted. A name and an email address are required.
    given = {param: value for param, value in fields.items() if value is not None or param in {"name", "email"}}
    body = {_api_name(param): _CHECKS[param](param, value) for param, value in given.items()}
    return Call(
        "POST",
        _customers_path(team_id),
        object_of(models.Customer),
        body=to_json(merge_body(body, extra_body)),
        idempotency_key=new_key(idempotency_key),
        subject=Subject(email=str(body["email"])),
    )


def get_call(
    team_id: Id, customer_id: Id, expand: str | None, extra_query: Mapping[str, QueryValue] | None
) -> Call[models.CustomerDetail]:
    customer_id = check_id("customer_id", customer_id)
    query = merge_query({"expand": None if expand is None else check_text("expand", expand)}, extra_query)
    path, parse = _customer_path(team_id, customer_id), object_of(models.CustomerDetail)
    return Call("GET", path, parse, query, subject=Subject(customer_id))


def _update_body(extra_body: Mapping[str, Json] | None, fields: Mapping[str, object]) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {
        _api_name(param): None if value is None else _UPDATE_CHECKS[param](param, value)
        for param, value in fields.items()
        if value is not NOT_GIVEN
    }
    body = merge_body(body, extra_body)
    if not body:
        raise InvalidParameterError(
            f"an update must change something: pass at least one of {', '.join(fields)}, extra_body"
        )
    return body


def update_call(
    team_id: Id,
    customer_id: Id,
    extra_body: Mapping[str, Json] | None,
    idempotency_key: str | None,
    **fields: Unpack[_Fields],
) -> Call[models.Customer]:
    customer_id = check_id("customer_id", customer_id)
    body = _update_body(extra_body, fields)
    return Call(
        "PATCH",
        _customer_path(team_id, customer_id),
        object_of(models.Customer),
        body=to_json(body),
        idempotency_key=new_key(idempotency_key),
        subject=Subject(customer_id, str(body["email"]) if body.get("email") else None),
    )


def delete_call(team_id: Id, customer_id: Id, idempotency_key: str | None) -> Call[models.DeletedCustomer]:
    customer_id = check_id("customer_id", customer_id)
    return Call(
        "DELETE",
        _customer_path(team_id, customer_id),
        object_of(models.DeletedCustomer),
        idempotency_key=new_key(idempotency_key),
        subject=Subject(customer_id),
        deleted_value=partial(models.DeletedCustomer, deleted=True, id=customer_id),
    )


class UpsertSteps:
    """The calls of an upsert. Their idempotency keys are derived from `key`, the key of the upsert.

    Args:
        team_id: The team's id.
        extra_body: Additional fields.
        idempotency_key: The idempotency key of the upsert; by default a new UUID.
        fields: The fields of create.
    """

    def __init__(
        self, team_id: Id, extra_body: Mapping[str, Json] | None, idempotency_key: str | None, **fields: Unpack[_Fields]
    ) -> None:
        self.key = new_key(idempotency_key, max_length=MAX_UPSERT_KEY_LENGTH)
        self.email = fields["email"] = check_email(fields["email"])
        self._team_id = team_id
        self._create = create_call(team_id, extra_body, None, **fields)
        self._extra_body = extra_body
        # The email address of an existing customer is not changed. It may differ in case.
        changes = {name: NOT_GIVEN if value is None else value for name, value in fields.items()}
        self._changes = cast("_Fields", {**changes, "email": NOT_GIVEN})
        self.attempts = 0
        """The number of attempts to create the customer."""

    def create(self) -> Call[models.Customer]:
        """Return the call that creates the customer, with a new idempotency key for each attempt."""
        self.attempts += 1
        return replace(self._create, idempotency_key=f"{self.key}-create-{self.attempts}")

    def check_conflict(self, error: ConflictError) -> None:
        """Raise a conflict if it is about the idempotency key."""
        if "idempotency" in f"{error.code} {error.param} {error.message}".lower():
            raise error

    def check_missing(self, error: ConflictError) -> None:
        """Raise a conflict if the existing customer was not found, unless a new attempt to create it can succeed."""
        if not (error.param == "email" or ALREADY_EXISTS.search(error.code or error.message)):
            raise error
        if self.attempts >= MAX_UPSERT_ATTEMPTS:
            error.args = (f"{error}; the email address is taken, but no customer with it was found",)
            raise error

    def update(self, customer_id: str) -> Call[models.Customer]:
        """Return the call that updates the existing customer."""
        call = update_call(self._team_id, customer_id, self._extra_body, None, **self._changes)
        return replace(call, idempotency_key=f"{self.key}-update-{customer_id}"[:MAX_KEY_LENGTH])


# ── Bulk calls ───────────────────────────────────────────────────────────────────────────────────────────────────────


def bulk_update_job(
    team_id: Id, extra_body: Mapping[str, Json] | None, idempotency_key: str | None, **fields: Unpack[_Fields]
) -> BulkJob[models.BulkResult]:
    data = to_json(_update_body(extra_body, fields))
    return _bulk_job(team_id, "update", b'],"data":' + data + b"}", idempotency_key)


def bulk_delete_job(team_id: Id, idempotency_key: str | None) -> BulkJob[models.BulkResult]:
    return _bulk_job(team_id, "delete", b"]}", idempotency_key)


def _bulk_job(team_id: Id, action: str, after: bytes, idempotency_key: str | None) -> BulkJob[models.BulkResult]:
    return BulkJob(
        param="ids",
        path=f"{_team_path(team_id)}/bulk",
        before=f'{{"action":"{action}","resource":"customers","ids":['.encode(),
        after=after,
        max_items=100,
        check=_check_id_item,
        model=models.BulkResult,
        expected={"object": "bulk_result", "action": action, "resource": "customers"},
        count=_bulk_counts,
        key=idempotency_key,
    )


def bulk_import_job(team_id: Id, merge_strategy: str, idempotency_key: str | None) -> BulkJob[models.ImportResult]:
    strategy = to_json(check_non_blank("merge_strategy", merge_strategy))
    return BulkJob(
        param="records",
        path=f"{_team_path(team_id)}/import",
        before=b'{"resource":"customers","records":[',
        after=b'],"mergeStrategy":' + strategy + b"}",
        max_items=500,
        check=_check_record,
        model=models.ImportResult,
        expected={"object": "import_result", "resource": "customers"},
        count=_import_counts,
        key=idempotency_key,
    )


def _check_id_item(param: str, value: object) -> Item:
    customer_id = check_id(param, value)
    return Item(to_json(customer_id), id=customer_id)


def _check_record(param: str, value: object) -> Item:
    if not isinstance(value, Mapping):
        reject(param, "a mapping of the fields of create, such as {'name': …, 'email': …}", value)
    record = cast("Mapping[str, object]", value)
    if unknown := [name for name in record if name not in _CHECKS]:
        _reject_field(param, unknown[0], record[unknown[0]])
    given = {name: field for name, field in record.items() if field is not None}
    if missing := [name for name in ("name", "email") if name not in given]:
        raise InvalidParameterError(f"{param} must have a name and an email, but has no {missing[0]}", param=param)
    body = {_api_name(name): _CHECKS[name](f"{param}.{name}", field) for name, field in given.items()}
    return Item(to_json(body), email=str(body["email"]))


def _reject_field(param: str, field: object, value: object) -> NoReturn:
    if field is None:  # a `csv.DictReader` stores surplus values under None
        raise InvalidParameterError(f"{param} has more values than the header has names: {value!r}", param=param)
    import difflib

    names = {name.replace("_", ""): name for name in _CHECKS}
    close = difflib.get_close_matches(re.sub(r"[\W_]", "", str(field)).lower(), names, n=1, cutoff=0.75)
    hint = f" (did you mean {names[close[0]]!r}?)" if close else ""
    if str(field).startswith("\ufeff"):
        hint = " (a byte order mark: open the file with encoding='utf-8-sig')"
    raise InvalidParameterError(
        f"{param} has the unknown field {field!r}{hint}: the fields are {', '.join(_CHECKS)}", param=f"{param}.{field}"
    )


def _bulk_counts(data: BulkData, size: int) -> dict[str, int]:
    total, succeeded, failed = (_count(each) for each in (data.total, data.succeeded, data.failed))
    if total is None:
        total = size
    if failed is None:
        failed = len(errors_of(data)) if succeeded is None else max(0, total - succeeded)
    if succeeded is None:
        succeeded = max(0, total - failed)
    return {"total": total, "succeeded": succeeded, "failed": failed}


def _import_counts(data: BulkData, size: int) -> dict[str, int]:
    total, created = _count(data.total), _count(data.created)
    updated, skipped = _count(data.updated) or 0, _count(data.skipped) or 0
    if total is None:
        total = size
    if created is None:
        created = max(0, total - updated - skipped - len(errors_of(data)))
    return {"total": total, "created": created, "updated": updated, "skipped": skipped}


def _count(value: object) -> int | None:
    """Return a count of a response; `None` if it is missing or invalid."""
    return value if isinstance(value, int) and value >= 0 else None


def export_call(
    team_id: Id,
    *,
    status: models.CustomerStatus | None,
    sentiment: models.CustomerSentiment | None,
    search: str | None,
    tag: str | None,
) -> Call[models.CustomerExport]:
    from cstar._envelopes import ExportData

    given = _filters(status=status, sentiment=sentiment, search=search, tag=tag)
    filters: dict[str, JsonValue] = {name: value for name, value in given.items() if value is not None}
    body: JsonValue = {"resources": [{"type": "customers", "filters": filters}], "format": "json"}
    return Call(
        "POST",
        f"{_team_path(team_id)}/export",
        converted(object_of(ExportData), _as_export),
        body=to_json(body),
        idempotency_key=new_key(None),
    )


def _as_export(data: ExportData) -> models.CustomerExport:
    """Convert the data of a response.

    Raises:
        ValueError: Customers are missing or invalid.
    """
    found: object = getattr(data.resources, "customers", None)
    rows = cast("list[object]", found) if isinstance(found, list) else []
    total = _count(data.total_rows)
    if not rows and total != 0:
        raise ValueError("data.resources.customers: Field required")
    customers = [row for row in rows if isinstance(row, models.Customer)]
    if len(customers) < len(rows):
        raise ValueError("data.resources.customers: Each customer should be an object with an id")
    if len(customers) >= MAX_EXPORT_ROWS:
        logger.warning(
            "an export is limited to %d customers, and this one has %d: customers.list returns all",
            MAX_EXPORT_ROWS,
            len(customers),
        )
    return models.CustomerExport(total_rows=len(customers) if total is None else total, customers=customers)
