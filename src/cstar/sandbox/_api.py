"""The API itself, without HTTP: a `Call` in, an `Answer` out, one database transaction in between.

`Api.answer` never waits and is only ever called from one thread, the event loop's. That is the whole of its concurrency
control: calls happen one after another, so what a write has checked is still true when it commits.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from cstar.sandbox import _clock, _validation
from cstar.sandbox._errors import ApiError
from cstar.sandbox._rate_limit import RateLimiter, Usage
from cstar.sandbox._seed import seed
from cstar.sandbox._store import Customer, Remembered, Store, Ticket, is_busy
from cstar.sandbox._validation import PUBLIC_ID_PATTERN, UUID_PATTERN, Json, JsonObject

if TYPE_CHECKING:
    from cstar.sandbox._webhooks import EventType

BASE_PATH = "/api/v1"
LATEST_VERSION = "2026-03-01"

RECENT_TICKETS = 10
_IDEMPOTENCY_WINDOW = 24 * _clock.HOUR
_KEY = re.compile(r"[sp]k_(?:live|test)_[A-Za-z0-9_-]{32}")

_log = logging.getLogger("cstar.sandbox")


@dataclass(frozen=True)
class Call:
    """A request, as far as the API looks at it.

    `path` is as it was sent, `headers` takes any case, and of a body that was `too_large` nothing was kept.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    too_large: bool = False
    team_id: str | None = None
    customer_id: str | None = None


class Event(NamedTuple):
    """Something that happened to a customer, and the customer after it, or as it last was."""

    type: EventType
    customer: Customer


@dataclass(frozen=True)
class Answer:
    """A response; in `remark` what a log should say about it, and the event that others must be told of."""

    status: int
    body: bytes
    request_id: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    remark: str = ""
    replayed: bool = False
    event: Event | None = None


@dataclass(frozen=True)
class Result:
    """What an operation came to, before it is put into the envelope."""

    data: Json
    status: int = 200
    pagination: JsonObject | None = None
    event: Event | None = None


@dataclass(frozen=True)
class Context:
    """What is known about a call once it is let in."""

    key: str
    now: int
    request_id: str


Operation = Callable[["Api", Call, Context], Result]


class Api:
    """The calls of the API over one store."""

    def __init__(
        self,
        store: Store,
        *,
        publish: Callable[[EventType, Customer, int], None] | None = None,
        limiter: RateLimiter | None = None,
    ) -> None:
        self._store = store
        self._publish = publish
        self._limiter = limiter or RateLimiter()

    def answer(self, call: Call, operation: Operation) -> Answer:
        """Let a call in or not, perform its operation, and wrap up whatever came of it."""
        context, usage = self._receive(call)
        version = LATEST_VERSION
        try:
            self._admit(call, context.key, usage)
            version = _validation.api_version(call.headers.get("CStar-Version"), LATEST_VERSION)
            answer = self._perform(operation, call, context)
        except ApiError as error:
            answer = _failure(error, context)
        except Exception as failure:
            answer = _failure(_unforeseen(failure, call), context)
        return _with_headers(answer, version, usage)

    def refuse(self, call: Call, error: ApiError) -> Answer:
        """Answer a call with an error without looking at what it wants."""
        context, usage = self._receive(call)
        return _with_headers(_failure(error, context), LATEST_VERSION, usage)

    def spoil(self, answer: Answer, error: ApiError) -> Answer:
        """Put an error in the place of an answer, whose work stays done."""
        failure = _failure(error, Context("", _clock.now(), answer.request_id))
        return replace(failure, headers={**answer.headers, **failure.headers})

    def reset(self, customers: int) -> None:
        """Be as a new sandbox with so many demo customers is, but for the keys and the team."""
        with self._store.patience(), self._store.transaction(writing=True):
            self._store.clear()
        seed(self._store, customers)
        self._limiter.clear()

    def _receive(self, call: Call) -> tuple[Context, Usage]:
        key, now = _bearer(call), _clock.now()
        usage = self._limiter.count(key, now) if self._is_known(key) else self._limiter.untouched(now)
        return Context(key, now, f"req_{secrets.token_hex(12)}"), usage

    def _is_known(self, key: str) -> bool:
        return key in (self._store.identity.api_key, self._store.identity.publishable_key)

    def _admit(self, call: Call, key: str, usage: Usage) -> None:
        if usage.exceeded:
            message = f"This key has sent the {usage.limit} requests that it may; wait {usage.retry_after} seconds."
            raise ApiError("rate_limit_exceeded", message, headers={"Retry-After": str(usage.retry_after)})
        if not key:
            raise _unauthorized("authentication_required", "Send your API key as 'Authorization: Bearer <key>'.")
        if not _KEY.fullmatch(key):
            raise _unauthorized("invalid_key_format", "This is not of the form of an API key.")
        if not self._is_known(key):
            raise _unauthorized("invalid_api_key", "There is no such API key.")
        if call.team_id is not None and call.team_id.lower() != self._store.identity.team_id:
            raise ApiError("team_access_denied", "This API key does not belong to that team.")
        if call.too_large:
            message = f"The request body has more than {_validation.MAX_BODY_SIZE:,} bytes."
            raise ApiError("request_too_large", message)

    def _perform(self, operation: Operation, call: Call, context: Context) -> Answer:
        if operation not in WRITES:
            with self._store.transaction(writing=False):
                return _success(operation(self, call, context), context)
        if context.key != self._store.identity.api_key:
            raise ApiError("publishable_key_write", "A publishable key can only read; use a secret key.")
        idempotency_key = _validation.idempotency_key(call.headers.get("Idempotency-Key"))
        with self._store.transaction(writing=True):
            if idempotency_key is None:
                answer = _success(operation(self, call, context), context)
            else:
                answer = self._perform_once(operation, call, context, idempotency_key)
        if answer.event is not None and self._publish is not None:
            self._publish(*answer.event, context.now)
        return answer

    def _perform_once(self, operation: Operation, call: Call, context: Context, idempotency_key: str) -> Answer:
        fingerprint = _fingerprint(call)
        since = context.now - _IDEMPOTENCY_WINDOW
        self._store.forget(before=since)
        first = self._store.recall(context.key, idempotency_key, since=since)
        if first is not None and first.fingerprint == fingerprint:
            headers = {"Idempotent-Replayed": "true"}
            remark = f"replay of {first.request_id}"
            return Answer(first.status, first.body, first.request_id, headers, remark, replayed=True)
        if first is not None:
            message = "This 'Idempotency-Key' was used for another request within the last 24 hours."
            raise ApiError("idempotency_key_reused", message, param="Idempotency-Key")
        try:
            answer = _success(operation(self, call, context), context)
        except ApiError as error:
            # As Stripe does: a 404 or 409 was decided by the data, so it is an outcome like any other, and repeating
            # the request must repeat it. A 400 never began; remembering it would only burn the key of a caller who
            # mends the request and sends it again.
            if error.status == 400:
                raise
            answer = _failure(error, context)
        memory = Remembered(fingerprint, answer.status, answer.body, answer.request_id)
        self._store.remember(context.key, idempotency_key, memory, at=context.now)
        return answer

    def whoami(self, call: Call, context: Context) -> Result:
        _validation.no_parameters(call.query)
        return Result(
            {
                "teamId": self._store.identity.team_id,
                "teamName": "Sandbox",
                "teamSlug": "sandbox",
                "keyType": "secret" if context.key == self._store.identity.api_key else "publishable",
                "environment": "test",
            }
        )

    def list_customers(self, call: Call, _context: Context) -> Result:
        query = _validation.list_query(call.query)
        customers, total = self._store.customers(query)
        return Result(
            [_customer_json(customer) for customer in customers],
            pagination={
                "total": total,
                "page": query.page,
                "pageSize": query.page_size,
                "hasMore": query.page * query.page_size < total,
            },
        )

    def create_customer(self, call: Call, context: Context) -> Result:
        body = _write_body(call)
        name, email, fields = _validation.new_customer(body)
        metadata = _validation.merged_metadata({}, body, null_removes=False)
        self._refuse_taken_email(email, owner=None)
        created = self._store.free_instant(context.now)
        blank = Customer(uuid.uuid4(), created, created, name, email)
        customer = replace(blank, metadata=metadata, **fields)
        self._store.add(customer)
        return Result(_customer_json(customer), status=201, event=Event("customer.created", customer))

    def get_customer(self, call: Call, _context: Context) -> Result:
        embed_tickets = _validation.wants_tickets(call.query)
        customer = self._customer(call)
        data = _customer_json(customer)
        if embed_tickets:
            tickets = self._store.recent_tickets(customer, RECENT_TICKETS)
            data["recentTickets"] = [_ticket_json(ticket) for ticket in tickets]
        return Result(data)

    def update_customer(self, call: Call, context: Context) -> Result:
        body = _write_body(call)
        fields = _validation.customer_fields(body)
        customer = self._customer(call)
        metadata = _validation.merged_metadata(customer.metadata, body, null_removes=True)
        if "email" in fields:
            self._refuse_taken_email(fields["email"], owner=customer)
        changed = replace(customer, metadata=metadata, **fields)
        if changed == customer:
            return Result(_customer_json(customer))
        changed = replace(changed, updated=context.now)
        self._store.replace(changed)
        return Result(_customer_json(changed), event=Event("customer.updated", changed))

    def delete_customer(self, call: Call, _context: Context) -> Result:
        _validation.no_parameters(call.query)
        customer = self._customer(call)
        self._store.remove(customer)
        deleted: JsonObject = {"deleted": True, "id": customer.public_id}
        return Result(deleted, event=Event("customer.deleted", customer))

    def unknown_path(self, call: Call, _context: Context) -> Result:
        raise ApiError("resource_missing", f"There is nothing at {call.path}.")

    def _customer(self, call: Call) -> Customer:
        found = _customer_uuid(call.customer_id or "")
        customer = self._store.customer(found) if found else None
        if customer is None:
            raise ApiError("resource_missing", f"There is no customer '{call.customer_id}'.")
        return customer

    def _refuse_taken_email(self, email: str, *, owner: Customer | None) -> None:
        holder = self._store.customer_with_email(email)
        if holder is not None and (owner is None or holder.id != owner.id):
            message = f"Another customer of this team has the email address '{holder.email}'."
            raise ApiError("resource_already_exists", message, param="email")


def method_not_allowed(allowed: str) -> Operation:
    """The operation behind a method that a path does not have."""

    def refuse(_api: Api, call: Call, _context: Context) -> Result:
        message = f"{call.method} is not possible at {call.path}, only {allowed}."
        raise ApiError("method_not_allowed", message, headers={"Allow": allowed})

    return refuse


WRITES: Sequence[Operation] = (Api.create_customer, Api.update_customer, Api.delete_customer)


def _unforeseen(failure: Exception, call: Call) -> ApiError:
    if is_busy(failure):
        message = "Another process keeps the sandbox's database to itself; try again."
        return ApiError("service_unavailable", message, headers={"Retry-After": "1"})
    _log.error("%s %s failed in the sandbox itself", call.method, call.path, exc_info=failure)
    return ApiError("internal_error", "The sandbox failed to handle this request; its log says why.")


def _bearer(call: Call) -> str:
    scheme, _, credentials = call.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _unauthorized(
    code: Literal["authentication_required", "invalid_api_key", "invalid_key_format"], message: str
) -> ApiError:
    return ApiError(code, message, headers={"WWW-Authenticate": "Bearer"})


def _write_body(call: Call) -> JsonObject:
    _validation.no_parameters(call.query)
    return _validation.json_object(call.body, call.headers.get("Content-Type"))


def _fingerprint(call: Call) -> str:
    target = json.dumps([call.method, call.path, call.query]).encode()
    return hashlib.sha256(target + b"\n" + call.body).hexdigest()


def _customer_uuid(text: str) -> uuid.UUID | None:
    """The UUID behind a customer's address: `cus_` and its 32 digits, or the UUID itself."""
    if re.fullmatch(PUBLIC_ID_PATTERN, text):
        return uuid.UUID(text.removeprefix("cus_"))
    return uuid.UUID(text) if re.fullmatch(UUID_PATTERN, text) else None


def _customer_json(customer: Customer) -> JsonObject:
    return {
        "id": customer.public_id,
        "object": "customer",
        "name": customer.name,
        "email": customer.email,
        "sentiment": customer.sentiment,
        "status": customer.status,
        "tags": list[Json](customer.tags),
        "notes": customer.notes,
        "customFields": customer.custom_fields,
        "ticketCount": customer.ticket_count,
        "metadata": dict[str, Json](customer.metadata),
        "createdAt": _clock.iso(customer.created),
        "updatedAt": _clock.iso(customer.updated),
    }


def _ticket_json(ticket: Ticket) -> JsonObject:
    return {
        "id": ticket.id,
        "title": ticket.title,
        "status": ticket.status,
        "createdAt": _clock.iso(ticket.created),
    }


def _success(result: Result, context: Context) -> Answer:
    envelope: JsonObject = {"success": True, "data": result.data}
    if result.pagination is not None:
        envelope["pagination"] = result.pagination
    return Answer(result.status, _encode(envelope, context), context.request_id, event=result.event)


def _failure(error: ApiError, context: Context) -> Answer:
    envelope: JsonObject = {
        "success": False,
        "error": {
            "type": error.type,
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "doc_url": error.doc_url,
            "request_id": context.request_id,
        },
    }
    return Answer(error.status, _encode(envelope, context), context.request_id, error.headers, error.code)


def _with_headers(answer: Answer, version: str, usage: Usage) -> Answer:
    headers = {
        "Content-Type": "application/json",
        "X-Request-Id": answer.request_id,
        "CStar-Version": version,
        **usage.headers(),
        **answer.headers,
    }
    return replace(answer, headers=headers)


def _encode(envelope: JsonObject, context: Context) -> bytes:
    meta: JsonObject = {"requestId": context.request_id, "timestamp": _clock.iso(context.now)}
    return json.dumps({**envelope, "meta": meta}, ensure_ascii=False, separators=(",", ":")).encode()
