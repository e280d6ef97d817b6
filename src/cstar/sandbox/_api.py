"""The API without HTTP: an `ApiRequest` in, an `ApiResponse` out, one database transaction for each write.

`Api.respond` never awaits and is only called on the server's event loop, so requests are handled one after another.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from pydantic import BaseModel

from cstar.sandbox import _clock
from cstar.sandbox._errors import ApiError
from cstar.sandbox._models import LATEST_VERSION, Error, Failure, Headers, Meta, WriteHeaders
from cstar.sandbox._operations import Operation, RequestContext
from cstar.sandbox._parsing import MAX_BODY_SIZE, ApiRequest, parse_body, parse_headers, parse_query
from cstar.sandbox._rate_limit import RateLimiter, Usage
from cstar.sandbox._seed import seed
from cstar.sandbox._store import IdempotencyRecord, Store
from cstar.sandbox._webhooks import Event

BASE_PATH = "/api/v1"

_KEY = re.compile(r"[sp]k_(?:live|test)_[A-Za-z0-9_-]{32}")
JSON = {"Content-Type": "application/json"}

_log = logging.getLogger("cstar.sandbox")


@dataclass(frozen=True)
class ApiResponse:
    """A response, and a note for the log."""

    status: int
    body: bytes
    request_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    replayed: bool = False
    log_note: str = ""


class Api:
    """The API over one store; `publish` is called with the events of each write and their time."""

    def __init__(self, store: Store, *, publish: Callable[[Sequence[Event], int], None], limiter: RateLimiter) -> None:
        self._store = store
        self._publish = publish
        self._limiter = limiter

    def respond(self, request: ApiRequest, operation: Operation | ApiError) -> ApiResponse:
        """Authenticate a request, then perform its operation. If `operation` is an error, respond with it."""
        context, usage = self._receive(request)
        version = LATEST_VERSION
        try:
            self._authorize(context, usage)
            version = parse_headers(Headers, request.headers).get("CStar-Version", version)
            response = self._perform(operation, context)
        except ApiError as error:
            response = _failure(error, context.request_id, context.now)
        except Exception:
            _log.exception("%s %s failed in the sandbox itself", request.method, request.path)
            failure = ApiError("internal_error", "The sandbox failed to handle this request; see its log.")
            response = _failure(failure, context.request_id, context.now)
        return _with_headers(response, version, usage)

    def reject(self, request: ApiRequest, error: ApiError) -> ApiResponse:
        """Respond with an error; do not authenticate or perform the request."""
        context, usage = self._receive(request)
        return _with_headers(_failure(error, context.request_id, context.now), LATEST_VERSION, usage)

    def reset(self, customers: int) -> None:
        """Delete all data and add demo customers; keep the keys and the team."""
        with self._store.transaction():
            self._store.clear()
        seed(self._store, customers)
        self._limiter.clear()

    def _receive(self, request: ApiRequest) -> tuple[RequestContext, Usage]:
        """Count a request against the rate limit of its key."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        key = credentials.strip() if scheme.lower() == "bearer" else ""
        now = _clock.now()
        usage = self._limiter.count(key, now) if self._is_known(key) else self._limiter.unused(now)
        return RequestContext(self._store, request, key, now, f"req_{secrets.token_hex(12)}"), usage

    def _is_known(self, key: str) -> bool:
        return key in (self._store.credentials.api_key, self._store.credentials.publishable_key)

    def _authorize(self, context: RequestContext, usage: Usage) -> None:
        key, request = context.api_key, context.request
        if usage.exceeded:
            message = f"This API key has used up its {usage.limit} requests; retry in {usage.retry_after} seconds."
            raise ApiError("rate_limit_exceeded", message, headers={"Retry-After": str(usage.retry_after)})
        if not key:
            raise ApiError("authentication_required", "Send your API key as 'Authorization: Bearer <key>'.")
        if not _KEY.fullmatch(key):
            raise ApiError("invalid_key_format", "The format of the API key is invalid.")
        if not self._is_known(key):
            raise ApiError("invalid_api_key", "The API key is unknown.")
        team_id = self._store.credentials.team_id
        if request.path_parameters.get("teamId", team_id).lower() != team_id:
            raise ApiError("team_access_denied", "This API key does not belong to that team.")
        if request.too_large:
            raise ApiError("request_too_large", f"The request body is larger than {MAX_BODY_SIZE:,} bytes.")

    def _perform(self, operation: Operation | ApiError, context: RequestContext) -> ApiResponse:
        if isinstance(operation, ApiError):
            raise operation
        if not operation.needs_secret_key:
            return self._run(operation, context)[0]
        if context.api_key != self._store.credentials.api_key:
            raise ApiError("publishable_key_write", "A publishable key can only read; use a secret key.")
        key = parse_headers(WriteHeaders, context.request.headers).get("Idempotency-Key")
        with self._store.transaction():
            run = self._run if key is None else partial(self._run_once, key)
            response, events = run(operation, context)
        self._publish(events, context.now)
        return response

    def _run(self, operation: Operation, context: RequestContext) -> tuple[ApiResponse, Sequence[Event]]:
        request = context.request
        query = parse_query(operation.query, request.query)
        body = operation.body and parse_body(operation.body, request.body, request.headers.get("Content-Type"))
        result = operation.run(replace(context, query=query, body=body))
        if result.csv is not None:
            content, headers = result.csv.encode(), {"Content-Type": "text/csv; charset=utf-8"}
        else:
            paging = {"pagination": result.pagination} if result.pagination else {}
            response = operation.response(data=result.data, **paging, meta=_meta(context.request_id, context.now))
            content, headers = _encode(response), JSON
        return ApiResponse(operation.status, content, context.request_id, headers), result.events

    def _run_once(
        self, idempotency_key: str, operation: Operation, context: RequestContext
    ) -> tuple[ApiResponse, Sequence[Event]]:
        """Perform a write, or replay the response that the same request had within the last 24 hours."""
        self._store.expire_idempotency_records(before=context.now - 24 * _clock.HOUR)
        first = self._store.idempotency_record(context.api_key, idempotency_key)
        fingerprint = _fingerprint(context.request)
        if first is not None and first.fingerprint != fingerprint:
            message = "This 'Idempotency-Key' was used for another request within the last 24 hours."
            raise ApiError("idempotency_key_reused", message, param="Idempotency-Key")
        if first is not None:
            headers = {"Content-Type": first.media_type, "Idempotent-Replayed": "true"}
            replay = ApiResponse(first.status, first.body, first.request_id, headers, replayed=True)
            return replace(replay, log_note=f"replay of {first.request_id}"), ()
        events: Sequence[Event] = ()
        try:
            response, events = self._run(operation, context)
        except ApiError as error:
            # As Stripe does: record a 404 or 409, which depends on the data, but not a 400. The caller can correct an
            # invalid request and send it with the same key.
            if error.status == 400:
                raise
            response = _failure(error, context.request_id, context.now)
        media_type = response.headers["Content-Type"]
        record = IdempotencyRecord(fingerprint, response.status, media_type, response.body, response.request_id)
        self._store.add_idempotency_record(context.api_key, idempotency_key, record, at=context.now)
        return response, events


def replace_with_error(response: ApiResponse, error: ApiError) -> ApiResponse:
    """Replace a response with an error, although the request has been performed."""
    failure = _failure(error, response.request_id, _clock.now())
    return replace(failure, headers={**response.headers, **failure.headers})


def _fingerprint(request: ApiRequest) -> str:
    target = json.dumps([request.method, request.path, request.query]).encode()
    return hashlib.sha256(target + b"\n" + request.body).hexdigest()


def _failure(error: ApiError, request_id: str, now: int) -> ApiResponse:
    fields = {name: getattr(error, name) for name in ("type", "code", "message", "param", "doc_url")}
    body = _encode(Failure(error=Error(**fields, request_id=request_id), meta=_meta(request_id, now)))
    return ApiResponse(error.status, body, request_id, {**JSON, **error.headers}, log_note=error.code)


def _with_headers(response: ApiResponse, version: str, usage: Usage) -> ApiResponse:
    headers = {"X-Request-Id": response.request_id, "CStar-Version": version, **usage.headers(), **response.headers}
    return replace(response, headers=headers)


def _meta(request_id: str, now: int) -> Meta:
    return Meta(request_id=request_id, timestamp=_clock.moment(now))


def _encode(response: BaseModel) -> bytes:
    return response.model_dump_json(by_alias=True).encode()
