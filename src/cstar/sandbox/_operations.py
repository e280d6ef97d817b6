"""The operations of the API.

`OPERATIONS` is the table by which requests are routed and validated, and from which the OpenAPI document is generated.
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
from cstar.sandbox._models import Customer, JsonObject, ListResponse, Success
from cstar.sandbox._parsing import ApiRequest, validate
from cstar.sandbox._store import Store
from cstar.sandbox._webhooks import Event


@dataclass(frozen=True)
class RequestContext:
    """A request and its context; `query` and `body` are set once they are validated."""

    store: Store
    request: ApiRequest
    api_key: str
    now: int
    request_id: str
    query: Any = None
    body: Any = None


@dataclass(frozen=True)
class Result:
    """The data or the CSV of a response, and the events for webhooks."""

    data: BaseModel | Sequence[BaseModel] = ()
    pagination: _models.Pagination | None = None
    events: Sequence[Event] = ()
    csv: str | None = None


@dataclass(frozen=True)
class Operation:
    """An entry of `OPERATIONS`."""

    id: str
    method: str
    path: str
    run: Callable[[RequestContext], Result]  # in a transaction if it writes; its docstring is the OpenAPI description
    response: Any  # the type of the response; `query` and `body` are those of the request
    query: Any = _models.NoParameters
    body: Any = None
    status: int = 200

    @property
    def needs_secret_key(self) -> bool:
        """Whether it needs a secret key, and takes an `Idempotency-Key`."""
        return self.method != "GET"


def _whoami(context: RequestContext) -> Result:
    """Describe the API key."""
    team_id, is_secret = context.store.credentials.team_id, context.api_key == context.store.credentials.api_key
    return Result(_models.Identity(team_id=team_id, key_type="secret" if is_secret else "publishable"))


def _list(context: RequestContext) -> Result:
    """List customers, newest first."""
    page, page_size = context.query.get("page", 1), context.query.get("page_size", _models.DEFAULT_PAGE_SIZE)
    customers, total = context.store.customers(context.query, page=page, page_size=page_size)
    has_more = page * page_size < total
    return Result(customers, _models.Pagination(total=total, page=page, page_size=page_size, has_more=has_more))


def _create(context: RequestContext) -> Result:
    """Create a customer."""
    _reject_taken_email(context, context.body, owner=None)
    customer = _insert(context, context.body)
    return Result(customer, events=[Event("customer.created", customer)])


def _get(context: RequestContext) -> Result:
    """Get a customer and its newest tickets."""
    customer = _find(context, context.request.path_parameters["customerId"])
    if context.query.get("expand", "tickets") != "tickets":
        return Result(customer)
    tickets = context.store.recent_tickets(customer, _models.RECENT_TICKETS)
    return Result(_models.CustomerDetails(**dict(customer), recent_tickets=tickets))


def _update(context: RequestContext) -> Result:
    """Change some fields of a customer.

    An omitted field does not change. `tags` and `customFields` are replaced as a whole; `metadata` is merged, and a key
    with the value null is removed.
    """
    before = _find(context, context.request.path_parameters["customerId"])
    after = _change(context, before, context.body)
    return Result(after, events=[] if after is before else [Event("customer.updated", after)])


def _delete(context: RequestContext) -> Result:
    """Delete a customer and its tickets."""
    customer = _find(context, context.request.path_parameters["customerId"])
    context.store.remove(customer)
    return Result(_models.DeletedCustomer(id=customer.id), events=[Event("customer.deleted", customer)])


def _bulk(context: RequestContext) -> Result:
    """Update or delete up to 100 customers.

    Each id succeeds or fails independently; `errors` has an entry for each failure.
    """
    errors = list[_models.RowError]()
    events = list[Event]()
    for index, customer_id in enumerate(context.body["ids"]):
        try:
            customer = _find(context, customer_id)
            if context.body["action"] == "delete":
                context.store.remove(customer)
                events.append(Event("customer.deleted", customer))
            elif (after := _change(context, customer, context.body["data"])) is not customer:
                events.append(Event("customer.updated", after))
        except ApiError as error:
            errors.append({"index": index, "id": customer_id, "code": error.code, "message": error.message})
    total, failed, action = len(context.body["ids"]), len(errors), context.body["action"]
    result = _models.BulkResult(action=action, total=total, succeeded=total - failed, failed=failed, errors=errors)
    return Result(result, events=events)


def _import(context: RequestContext) -> Result:
    """Create up to 500 customers.

    Each record succeeds or fails independently; `errors` has an entry for each failure.
    """
    errors = list[_models.RowError]()
    events = list[Event]()
    skipped = updated = 0
    updates = context.body.get("merge_strategy") == "update"
    for index, record in enumerate(context.body["records"]):
        try:
            fields = validate(_models.NewCustomer, record)
            holder = context.store.customer_with_email(fields["email"])
            if holder is None:
                events.append(Event("customer.created", _insert(context, fields)))
            elif not updates:
                skipped += 1
            else:
                after = _change(context, holder, fields)
                updated += 1
                if after is not holder:
                    events.append(Event("customer.updated", after))
        except ApiError as error:
            errors.append({"index": index, "code": error.code, "message": error.message})
            if isinstance(record.get("email"), str):
                errors[-1]["email"] = record["email"]
    total = len(context.body["records"])
    created = total - skipped - updated - len(errors)
    result = _models.ImportResult(total=total, created=created, updated=updated, skipped=skipped, errors=errors)
    return Result(result, events=events)


def _export(context: RequestContext) -> Result:
    """Export up to 10,000 customers, newest first.

    With the format `csv` the response is a CSV file, which is an assumption of this sandbox.
    """
    [resource] = context.body["resources"]
    customers, _ = context.store.customers(resource.get("filters", {}), page_size=_models.MAX_EXPORT_ROWS)
    if context.body.get("format") == "csv":
        return Result(csv=_csv(customers))
    resources = _models.ExportedResources(customers=customers)
    return Result(_models.ExportResult(total_rows=len(customers), resources=resources))


def _insert(context: RequestContext, fields: JsonObject) -> Customer:
    created = _clock.moment(context.store.free_instant(context.now))
    computed = {"id": f"cus_{uuid.uuid4().hex}", "created_at": created, "updated_at": created}
    customer = Customer.model_validate({**fields, **computed})
    context.store.put(customer)
    return customer


def _change(context: RequestContext, customer: Customer, fields: JsonObject) -> Customer:
    """Change a customer and return the new one, or the given object if nothing differs."""
    _reject_taken_email(context, fields, owner=customer)
    merged: JsonObject = {**customer.metadata, **cast("JsonObject", fields.get("metadata", {}))}
    metadata = {key: value for key, value in merged.items() if value is not None}
    if len(metadata) > _models.MAX_METADATA_KEYS:
        message = f"'metadata' must have at most {_models.MAX_METADATA_KEYS} keys after the change."
        raise ApiError("parameter_invalid", message, param="metadata")
    changed = customer.model_copy(update={**fields, "metadata": metadata})
    # As JSON, because 1 equals True in Python; sorted, because the order of keys does not matter.
    before, after = (json.dumps(each.model_dump(mode="json"), sort_keys=True) for each in (customer, changed))
    if before == after:
        return customer
    changed = changed.model_copy(update={"updated_at": max(_clock.moment(context.now), customer.created_at)})
    context.store.put(changed)
    return changed


def _find(context: RequestContext, id: str) -> Customer:
    is_valid = re.fullmatch(f"{_models.ID_PATTERN}|{_models.UUID_PATTERN}", id)
    customer = context.store.customer(f"cus_{uuid.UUID(id.removeprefix('cus_')).hex}") if is_valid else None
    if customer is None:
        raise ApiError("resource_missing", f"There is no customer '{id}'.")
    return customer


def _reject_taken_email(context: RequestContext, fields: JsonObject, *, owner: Customer | None) -> None:
    email = fields.get("email")
    holder = context.store.customer_with_email(email) if isinstance(email, str) else None
    if holder is not None and (owner is None or holder.id != owner.id):
        message = f"Another customer of this team has the email address '{holder.email}'."
        raise ApiError("resource_already_exists", message, param="email")


def _csv(customers: Sequence[Customer]) -> str:
    """Format customers as CSV; lists and objects are JSON. The layout is an assumption of this sandbox."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [str(each.serialization_alias) for each in Customer.model_fields.values()])
    writer.writeheader()
    for customer in customers:
        row = customer.model_dump(mode="json", by_alias=True)
        nested = {name: json.dumps(row[name], ensure_ascii=False) for name in ("tags", "customFields", "metadata")}
        writer.writerow(row | nested)
    return text.getvalue()


_TEAM = "/teams/{teamId}"
_ALL = f"{_TEAM}/customers"
_ONE = f"{_ALL}/{{customerId}}"

_Details: TypeAlias = _models.CustomerDetails | Customer
OPERATIONS = (
    Operation("whoami", "GET", "/auth/whoami", _whoami, Success[_models.Identity]),
    Operation("listCustomers", "GET", _ALL, _list, ListResponse[Customer], query=_models.ListParameters),
    Operation("createCustomer", "POST", _ALL, _create, Success[Customer], body=_models.NewCustomer, status=201),
    Operation("getCustomer", "GET", _ONE, _get, Success[_Details], query=_models.GetParameters),
    Operation("updateCustomer", "PATCH", _ONE, _update, Success[Customer], body=_models.CustomerUpdate),
    Operation("deleteCustomer", "DELETE", _ONE, _delete, Success[_models.DeletedCustomer]),
    Operation("bulk", "POST", f"{_TEAM}/bulk", _bulk, Success[_models.BulkResult], body=_models.Bulk),
    Operation("import", "POST", f"{_TEAM}/import", _import, Success[_models.ImportResult], body=_models.Import),
    Operation("export", "POST", f"{_TEAM}/export", _export, Success[_models.ExportResult], body=_models.Export),
)
