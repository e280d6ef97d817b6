"""Pure: what an HTTP answer means. Either a value of the call's type, or the right error."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http import HTTPStatus
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic_core import ValidationError, from_json

from cstar.errors import (
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
)
from cstar.models.rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx
    from pydantic import JsonValue

    from cstar._call import Call

T = TypeVar("T")

ERROR_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    error.status_code: error
    for error in (
        BadRequestError,
        AuthenticationError,
        PermissionDeniedError,
        NotFoundError,
        ConflictError,
        UnprocessableEntityError,
        RateLimitError,
        InternalServerError,
    )
}


# Stands in what a server says where it repeats the API key.
HIDDEN = "[hidden]"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, before it means anything.

    Attributes:
        status_code: The HTTP status.
        headers: The HTTP headers.
        content: The body, decompressed.
        secret: The API key, which a server may repeat in what it says, and which nothing that is shown may hold.
        attempts: How many times the call was sent to get it.
        after_lost_answer: Whether an earlier attempt got no answer, and so may have acted without our learning of it.
    """

    status_code: int
    headers: httpx.Headers
    content: bytes
    secret: str = field(repr=False)
    attempts: int = 1
    after_lost_answer: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300

    @property
    def request_id(self) -> str | None:
        """The server's name for this request: a header, or in the envelope."""
        return self.header("X-Request-Id") or _request_id_in(self.body())

    def header(self, name: str) -> str | None:
        """A header, for a person to look at."""
        value = self.headers.get(name)
        return None if value is None else value.replace(self.secret, HIDDEN)

    def body(self) -> JsonValue:
        """The body, for a person to look at: JSON where it is JSON, otherwise text, `None` where there is none."""
        if not self.content:
            return None
        try:
            return _hide(from_json(self.content), self.secret)
        except ValueError:
            return self.content.decode("utf-8", "replace").replace(self.secret, HIDDEN)


def _hide(value: JsonValue, secret: str) -> JsonValue:
    if isinstance(value, str):
        return value.replace(secret, HIDDEN)
    if isinstance(value, list):
        return [_hide(item, secret) for item in value]
    if isinstance(value, dict):
        return {name.replace(secret, HIDDEN): _hide(item, secret) for name, item in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """One page as the server answered it."""

    rows: list[T]
    total: int
    page: int | None
    page_size: int | None
    has_more: bool


# ── Successes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def object_of(model: type[T]) -> Callable[[bytes], T]:
    """A parser for `{"success": true, "data": <model>}`."""
    # Here, and not when the package is imported: with its first model, pydantic loads most of itself.
    from cstar._envelopes import object_adapter

    adapter = object_adapter(model)

    def parse(content: bytes) -> T:
        return adapter.validate_json(content).data

    return parse


def list_of(model: type[T]) -> Callable[[bytes], Slice[T]]:
    """A parser for a list in either shape: with `pagination` beside the data, or in `meta` and without `hasMore`."""
    from cstar._envelopes import list_adapter

    adapter = list_adapter(model)

    def parse(content: bytes) -> Slice[T]:
        envelope = adapter.validate_json(content)
        paging = envelope.paging
        return Slice(envelope.data, paging.total, paging.page, paging.page_size, paging.is_followed)

    return parse


def json_or_none(content: bytes) -> JsonValue:
    """A parser for any JSON as it came; no content (204) is `None`."""
    body: JsonValue = from_json(content) if content else None
    return body


def decode(call: Call[T], answer: Answer) -> T:
    """The value that a successful answer carries.

    Raises:
        APIResponseValidationError: The body is not what the API documents.
    """
    if not answer.is_success and call.if_gone is not None:
        return call.if_gone()
    try:
        return call.parse(answer.content)
    except ValueError as invalid:
        sentence = (
            f"{call} was answered with {_status(answer.status_code)}, but not as the API documents: "
            f"{_why_invalid(invalid, answer)}{_suffix(request_id=answer.request_id, attempts=answer.attempts)}"
        )
        raise APIResponseValidationError(
            sentence.replace(answer.secret, HIDDEN),
            status_code=answer.status_code,
            body=answer.body(),
            request_id=answer.request_id,
            attempts=answer.attempts,
            idempotency_key=call.idempotency_key,
        ) from None


def _why_invalid(invalid: ValueError, answer: Answer) -> str:
    if not answer.content:
        return "the body is empty" + _encoding_hint(answer)
    try:
        body: JsonValue = from_json(answer.content)
    except ValueError as broken:
        # What only begins like JSON holds people's data, a page of HTML does not.
        if answer.content.lstrip()[:1] in {b"{", b"["}:
            return f"the body is not JSON: {broken}"
        return f"the body is not JSON but begins with {_excerpt(str(answer.body()))!r}"
    if isinstance(body, dict) and body.get("error"):
        fields = _error_fields(body)
        return f"it reports an error: {fields.get('message') or fields.get('code') or 'it does not say which'}"
    if not isinstance(invalid, ValidationError):
        return str(invalid)
    from cstar.models._base import why_invalid

    return why_invalid(invalid)


def _encoding_hint(answer: Answer) -> str:
    encoding = answer.header("Content-Encoding")
    return f", or could not be decompressed ({encoding})" if encoding else ""


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def raise_for_status(call: Call[T], answer: Answer) -> None:
    """Raise what an answer's status means, unless it is a success, or says 404 to a delete whose first answer was lost.

    Raises:
        APIStatusError: The class for this status, with what the server said.
    """
    if answer.is_success:
        return
    if call.if_gone is not None and answer.status_code == 404 and answer.after_lost_answer:
        return
    body = answer.body()
    fields = _error_fields(body)
    code = answer.status_code
    message = fields.get("message") or _message_without_envelope(answer, body)
    details = [fields.get("code"), f"param {fields['param']}" if "param" in fields else None]
    wait = retry_after(answer)
    request_id = answer.request_id
    sentences = [f"{call} failed with {_status(code)}: {message}"]
    if code == 409 and answer.after_lost_answer:
        sentences.append("An earlier attempt got no answer: the conflict may be with what it did.")
    if wait is not None:
        sentences.append(f"Retry after {math.ceil(wait)} s.")
    if len(sentences) > 1 and not message.endswith((".", "!", "?")):
        sentences[0] += "."
    raise ERROR_BY_STATUS.get(code, InternalServerError if code >= 500 else APIStatusError)(
        " ".join(sentences) + _suffix(*details, request_id=request_id, attempts=answer.attempts),
        status_code=code,
        type=fields.get("type"),
        code=fields.get("code"),
        server_message=message,
        param=fields.get("param"),
        doc_url=fields.get("doc_url"),
        request_id=request_id,
        body=body,
        retry_after=wait,
        attempts=answer.attempts,
        idempotency_key=call.idempotency_key,
    )


def _error_fields(body: JsonValue) -> dict[str, str]:
    """The strings of the documented error object, or of the older shapes: `"error": "…"`, `"message": "…"`."""
    if not isinstance(body, dict):
        return {}
    error = body.get("error")
    source = error if isinstance(error, dict) else {"message": error or body.get("message") or body.get("detail")}
    return {name: value for name, value in source.items() if isinstance(value, str) and value}


def _request_id_in(body: JsonValue) -> str | None:
    if not isinstance(body, dict):
        return None
    for place, name in (("error", "request_id"), ("meta", "requestId")):
        part = body.get(place)
        if isinstance(part, dict) and isinstance(found := part.get(name), str) and found:
            return found
    return None


def _message_without_envelope(answer: Answer, body: JsonValue) -> str:
    if 300 <= answer.status_code < 400 and (target := answer.header("Location")):
        return f"it redirects to {target}, and redirects are not followed. Is base_url right?"
    if body is None:
        return "the answer's body is empty, or could not be read" + _encoding_hint(answer) + "."
    if isinstance(body, str):
        return f"the answer is not JSON (perhaps a proxy's): {_excerpt(body)!r}."
    return "the answer does not say why."


def _excerpt(text: str) -> str:
    title = re.search(r"<title[^>]*>([^<]{1,120})", text[:10_000], re.IGNORECASE)
    words = " ".join((title[1] if title else text[:400]).split())
    return words if len(words) <= 120 else words[:120] + "…"


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _suffix(*details: str | None, request_id: str | None, attempts: int) -> str:
    given = [detail for detail in details if detail]
    if request_id:
        given.append(f"request {request_id}")
    if attempts > 1:
        given.append(f"{attempts} attempts")
    return f" ({', '.join(given)})" if given else ""


# ── Headers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def retry_after(answer: Answer, *, now: datetime | None = None) -> float | None:
    """Seconds the server asks to wait: the Retry-After header (RFC 9110, section 10.2.3), or `retryAfter` in the error.

    A value that is no number of seconds and no date is taken for none.
    """
    header = answer.headers.get("Retry-After")
    asked = None if header is None else _seconds(header)
    if asked is None and header is not None:
        asked = _seconds_until(header, now or datetime.now(timezone.utc))
    return _retry_after_in(answer.body()) if asked is None and not answer.is_success else asked


def _seconds_until(date: str, now: datetime) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000", which says that the zone is not known
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - now).total_seconds())


def _retry_after_in(body: JsonValue) -> float | None:
    error = body.get("error") if isinstance(body, dict) else None
    return _seconds(str(error.get("retryAfter"))) if isinstance(error, dict) else None


def _seconds(text: str) -> float | None:
    if not text.isascii() or "_" in text:  # which are numbers to Python alone
        return None
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def rate_limit(headers: httpx.Headers) -> RateLimit | None:
    """Where the key stands, from the X-RateLimit-* headers; `None` where they are missing or make no sense."""
    # In one pass, because to look up one header in httpx's is to read them all.
    prefix = b"x-ratelimit-"
    told = {name[len(prefix) :]: value for raw, value in headers.raw if (name := raw.lower()).startswith(prefix)}
    try:
        return RateLimit(
            limit=int(told[b"limit"]),
            remaining=int(told[b"remaining"]),
            reset_at=datetime.fromtimestamp(float(told[b"reset"]), timezone.utc),
            window=float(told[b"window"]) if b"window" in told else None,
        )
    except (KeyError, ValueError, OverflowError, OSError):
        return None


def tighter(known: RateLimit | None, told: RateLimit | None) -> RateLimit | None:
    """Where the key stands after another answer: of answers that overtake each other, the one given last counts."""
    if known is None or told is None:
        return told or known
    if (known.limit, known.reset_at) == (told.limit, told.reset_at):
        return min(known, told, key=lambda budget: budget.remaining)
    return max(known, told, key=lambda budget: budget.reset_at)
