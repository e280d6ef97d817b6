"""The operations of the API: what each one takes, does and returns.

`OPERATIONS` is the table from which requests are routed and validated, and from which the OpenAPI document is made.
"""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from pydantic import BaseModel

from cstar.sandbox import _clock, _models
from cstar.sandbox._errors import ApiError
from cstar.sandbox._models import Customer, Filters, JsonObject, Page, Success
from cstar.sandbox._parsing import ApiRequest, validate
from cstar.sandbox._store import Store
from cstar.sandbox._webhooks import Event


@dataclass(frozen=True)
class Call:
    """A request and its context; `query` and `body` are there once they are validated."""

    store: Store
    request: ApiRequest
    api_key: str
    now: int
    request_id: str
    query: Any = None
    body: Any = None


@dataclass(frozen=True)
class Result:
    """The data of a response, or its CSV, and the events for webhooks."""

    data: BaseModel | Sequence[BaseModel] = ()
    pagination: _models.Pagination | None = None
    events: Sequence[Event] = ()
    csv: str | None = None


@dataclass(frozen=True)
class Operation:
    """An entry of the table."""

    id: str
    method: str
    path: str
    run: Callable[[Call], Result]  # within a transaction if it writes; its docstring is the OpenAPI summary
    response: Any  # the model of the response; the next two are those of the request
    query: Any = _models.NoParameters
    body: Any = None

    @property
    def writes(self) -> bool:
        """Whether it needs a secret key and takes an `Idempotency-Key`."""
        return self.method != "GET"

    @property
    def status(self) -> int:
        """The status of a success."""
        return 201 if self.run is _create_customer else 200


def _whoami(call: Call) -> Result:
    """Describe the API key."""
    credentials = call.store.credentials
    is_secret = call.api_key == credentials.api_key
    return Result(_models.Identity(team_id=credentials.team_id, key_type="secret" if is_secret else "publishable"))


def _list_customers(call: Call) -> Result:
    """List customers, newest first."""
    filters: Filters = dict(call.query)  # type: ignore[assignment]  # all that is left after the next two lines
    page: int = filters.pop("page", 1)  # type: ignore[typeddict-item]
    page_size: int = filters.pop("page_size", _models.DEFAULT_PAGE_SIZE)  # type: ignore[typeddict-item]
    customers, total = call.store.customers(filters, page=page, page_size=page_size)
    has_more = page * page_size < total
    return Result(customers, _models.Pagination(total=total, page=page, page_size=page_size, has_more=has_more))


def _create_customer(call: Call) -> Result:
    """Create a customer."""
    customer = _create(call.store, call.body, call.now)
    return Result(customer, events=[Event("customer.created", customer)])


def _get_customer(call: Call) -> Result:
    """Get a customer and its newest tickets."""
    customer = _find(call.store, call.request.customer_id)
    if call.query.get("expand", "tickets") != "tickets":
        return Result(customer)
    tickets = call.store.recent_tickets(customer, _models.RECENT_TICKETS)
    return Result(_models.CustomerDetails(**dict(customer), recent_tickets=tickets))


def _update_customer(call: Call) -> Result:
    """Change some fields of a customer.

    A field that is left out stays as it is. `tags` and `customFields` are replaced as a whole; `metadata` is merged,
    and a key given as null is removed.
    """
    before = _find(call.store, call.request.customer_id)
    after = _update(call.store, before, call.body, call.now)
    return Result(after, events=[] if after == before else [Event("customer.updated", after)])


def _delete_customer(call: Call) -> Result:
    """Delete a customer and its tickets."""
    customer = _find(call.store, call.request.customer_id)
    call.store.remove(customer)
    return Result(_models.DeletedCustomer(id=customer.id), events=[Event("customer.deleted", customer)])


def _bulk(call: Call) -> Result:
    """Update or delete up to 100 customers.

    Each id succeeds or fails by itself; `errors` has an entry for each that failed.
    """
    errors = list[_models.RowError]()
    events = list[Event]()
    for index, customer_id in enumerate(call.body["ids"]):
        try:
            customer = _find(call.store, customer_id)
            if call.body["action"] == "delete":
                call.store.remove(customer)
                events.append(Event("customer.deleted", customer))
            elif (after := _update(call.store, customer, call.body["data"], call.now)) != customer:
                events.append(Event("customer.updated", after))
        except ApiError as error:
            errors.append({"index": index, "id": customer_id, "code": error.code, "message": error.message})
    total, failed = len(call.body["ids"]), len(errors)
    result = _models.BulkResult(
        action=call.body["action"], total=total, succeeded=total - failed, failed=failed, errors=errors
    )
    return Result(result, events=events)


def _import(call: Call) -> Result:
    """Create up to 500 customers.

    Each record succeeds or fails by itself; `errors` has an entry for each that failed.
    """
    errors = list[_models.RowError]()
    events = list[Event]()
    skipped = updated = 0
    updates = call.body.get("merge_strategy") == "update"
    for index, record in enumerate(call.body["records"]):
        try:
            fields = validate(_models.NewCustomer, record)
            holder = call.store.customer_with_email(fields["email"])
            if holder is None:
                events.append(Event("customer.created", _create(call.store, fields, call.now)))
            elif not updates:
                skipped += 1
            else:
                updated += 1
                if (after := _update(call.store, holder, fields, call.now)) != holder:
                    events.append(Event("customer.updated", after))
        except ApiError as error:
            errors.append({"index": index, "code": error.code, "message": error.message})
            if isinstance(record.get("email"), str):
                errors[-1]["email"] = record["email"]
    total = len(call.body["records"])
    result = _models.ImportResult(
        total=total,
        created=total - skipped - updated - len(errors),
        updated=updated,
        skipped=skipped,
        errors=errors,
    )
    return Result(result, events=events)


def _export(call: Call) -> Result:
    """Export up to 10,000 customers, newest first.

    With the format `csv` the response is a CSV file, which is an assumption of this sandbox.
    """
    [resource] = call.body["resources"]
    customers, _ = call.store.customers(resource.get("filters", {}), page_size=_models.MAX_EXPORT_ROWS)
    if call.body.get("format") == "csv":
        return Result(csv=_csv(customers))
    resources = _models.ExportedResources(customers=customers)
    return Result(_models.ExportResult(total_rows=len(customers), resources=resources))


def _create(store: Store, fields: JsonObject, now: int) -> Customer:
    _reject_taken_email(store, fields, owner=None)
    created = _clock.moment(store.free_instant(now))
    computed = {"id": f"cus_{uuid.uuid4().hex}", "created_at": created, "updated_at": created}
    customer = Customer.model_validate({**fields, **computed})
    store.put(customer)
    return customer


def _update(store: Store, customer: Customer, fields: JsonObject, now: int) -> Customer:
    """Change a customer; if that makes no difference, return it as it is."""
    _reject_taken_email(store, fields, owner=customer)
    merged: JsonObject = {**customer.metadata, **cast("JsonObject", fields.get("metadata", {}))}
    metadata = {key: value for key, value in merged.items() if value is not None}
    if len(metadata) > _models.MAX_METADATA_KEYS:
        message = f"'metadata' must have at most {_models.MAX_METADATA_KEYS} keys after the change."
        raise ApiError("parameter_invalid", message, param="metadata")
    changed = customer.model_copy(update={**fields, "metadata": metadata})
    if changed == customer:
        return customer
    changed = changed.model_copy(update={"updated_at": _clock.moment(now)})
    store.put(changed)
    return changed


def _find(store: Store, id: str) -> Customer:
    digits = id.removeprefix("cus_") if re.fullmatch(_models.ID_PATTERN, id) else id
    is_uuid = digits != id or re.fullmatch(_models.UUID_PATTERN, id)
    customer = store.customer(f"cus_{uuid.UUID(digits).hex}") if is_uuid else None
    if customer is None:
        raise ApiError("resource_missing", f"There is no customer '{id}'.")
    return customer


def _reject_taken_email(store: Store, fields: JsonObject, *, owner: Customer | None) -> None:
    email = fields.get("email")
    holder = store.customer_with_email(email) if isinstance(email, str) else None
    if holder is not None and (owner is None or holder.id != owner.id):
        message = f"Another customer of this team has the email address '{holder.email}'."
        raise ApiError("resource_already_exists", message, param="email")


def _csv(customers: Sequence[Customer]) -> str:
    """A header and a row for each customer; lists and objects are JSON. The layout is an assumption of this sandbox."""
    names = [str(each.serialization_alias) for each in Customer.model_fields.values()]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for customer in customers:
        document = customer.model_dump(mode="json", by_alias=True)
        writer.writerow(
            json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
            for value in (document[name] for name in names)
        )
    return text.getvalue()


_TEAM = "/teams/{teamId}"
_ALL = f"{_TEAM}/customers"
_ONE = f"{_ALL}/{{customerId}}"

_Details: TypeAlias = _models.CustomerDetails | Customer

OPERATIONS = (
    Operation("whoami", "GET", "/auth/whoami", _whoami, Success[_models.Identity]),
    Operation("listCustomers", "GET", _ALL, _list_customers, Page[Customer], query=_models.ListParameters),
    Operation("createCustomer", "POST", _ALL, _create_customer, Success[Customer], body=_models.NewCustomer),
    Operation("getCustomer", "GET", _ONE, _get_customer, Success[_Details], query=_models.GetParameters),
    Operation("updateCustomer", "PATCH", _ONE, _update_customer, Success[Customer], body=_models.CustomerUpdate),
    Operation("deleteCustomer", "DELETE", _ONE, _delete_customer, Success[_models.DeletedCustomer]),
    Operation("bulk", "POST", f"{_TEAM}/bulk", _bulk, Success[_models.BulkResult], body=_models.Bulk),
    Operation("import", "POST", f"{_TEAM}/import", _import, Success[_models.ImportResult], body=_models.Import),
    Operation("export", "POST", f"{_TEAM}/export", _export, Success[_models.ExportResult], body=_models.Export),
)
