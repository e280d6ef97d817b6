"""Responses: as received, converted to a value or an error, and as returned by `with_raw_response`."""

from __future__ import annotations

import math
import re
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx
from pydantic_core import from_json

from cstar._budget import http_date, rate_limit, seconds_until_reset, server_time
from cstar._decode import is_blank
from cstar._logging import logger
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
    from collections.abc import Mapping

    from pydantic import JsonValue

    from cstar._call import Call
    from cstar._lenient import Deviations

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

# Replaces the API key in responses.
REDACTED = "[hidden]"
# Bytes. Larger bodies are truncated in errors.
MAX_SHOWN_BODY_SIZE = 1024 * 1024


@dataclass(frozen=True)
class ReceivedResponse:
    """An HTTP response before decoding.

    Attributes:
        status_code: The HTTP status.
        headers: The HTTP headers.
        content: The body, decompressed.
        api_key: The API key, to redact it: the server may repeat it.
        attempts: The number of attempts so far.
        after_lost_response: Whether an earlier attempt got no response, and may have been carried out.
        discard_connection: Closes the connection, for a response that belongs to another request.
        proxy: The proxy that may have sent the response.
        base_url: The base URL of the API.
    """

    status_code: int
    headers: httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)
    api_key: str = field(repr=False)
    attempts: int = 1
    after_lost_response: bool = False
    discard_connection: Callable[[], object] | None = field(default=None, repr=False, compare=False)
    proxy: str | None = None
    base_url: str = ""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300

    @property
    def request_id(self) -> str | None:
        """The server's id of the request, from a header or the envelope."""
        return self.header("X-Request-Id") or _request_id_in(self.body)

    def redact(self, text: str) -> str:
        """Replace the API key in a text."""
        return text.replace(self.api_key, REDACTED) if self.api_key else text

    def header(self, name: str) -> str | None:
        """Return a header, redacted; `None` if it is missing."""
        value = self.headers.get(name)
        return None if value is None else self.redact(value)

    def redacted_headers(self) -> dict[str, str]:
        """Return all headers, redacted, with lower-case names."""
        return {name: self.redact(value) for name, value in self.headers.items()}

    @cached_property
    def body(self) -> JsonValue:
        """The body, redacted: parsed if it is JSON, otherwise text; `None` if it is empty. Truncated if it is large."""
        if not self.content:
            return None
        # Parsed JSON can take a hundred times the memory of its text.
        if len(self.content) > MAX_SHOWN_BODY_SIZE:
            return self.redact(self.content[:MAX_SHOWN_BODY_SIZE].decode("utf-8", "replace"))
        try:
            return _redact(_parse_json(self.content), self)
        except (ValueError, MemoryError):
            return self.redact(self.content.decode("utf-8", "replace"))

    def without_api_key(self) -> ReceivedResponse:
        """Return a copy to pickle, without the API key."""
        content = self.content.replace(self.api_key.encode(), REDACTED.encode()) if self.api_key else self.content
        headers = httpx.Headers([(name, self.redact(value)) for name, value in self.headers.multi_items()])
        return replace(self, headers=headers, content=content, api_key="", discard_connection=None)


def _parse_json(content: bytes) -> JsonValue:
    try:
        body: JsonValue = from_json(content)
    except ValueError as invalid:
        from cstar._lenient import parse_json, plain

        try:
            return plain(parse_json(content))
        except ValueError:
            raise invalid from None
    return body


def _redact(value: JsonValue, response: ReceivedResponse) -> JsonValue:
    if isinstance(value, str):
        return response.redact(value)
    if isinstance(value, list):
        return [_redact(item, response) for item in value]
    if isinstance(value, dict):
        return {response.redact(name): _redact(item, response) for name, item in value.items()}
    return value


# ── Interpretation ───────────────────────────────────────────────────────────────────────────────────────────────────


def interpret(call: Call[T], response: ReceivedResponse) -> T:
    """Return the value of a response to a call, or raise its error.

    Raises:
        APIStatusError: The response has an error status.
        APIResponseValidationError: The body is not as documented, or is about another resource.
    """
    raise_for_status(call, response)
    value = _value(call, response)
    if call.subject is not None and (mismatch := call.subject.mismatch(value)) is not None:
        if response.discard_connection is not None:
            response.discard_connection()
        hint = (
            "This is probably the response to another request, sent by the server or a proxy in front of it, so the "
            "connection is closed. Or a mock returned the wrong resource."
        )
        raise _validation_error(call, response, f"{mismatch}. {hint}")
    return value


def _value(call: Call[T], response: ReceivedResponse) -> T:
    if call.deleted_value is not None and is_already_deleted(call, response):
        return call.deleted_value()
    try:
        try:
            return call.parse(response.content)
        except ValueError:
            value, deviations = call.parse.leniently(response.content)
    except ValueError as invalid:
        if call.deleted_value is not None and _is_bare_receipt(call, response):
            return call.deleted_value()
        raise _validation_error(call, response, _describe_invalid_body(invalid, response)) from None
    except MemoryError:
        raise _validation_error(call, response, "there is not enough memory for it") from None
    if deviations.fields:
        _warn(call, response, deviations)
    return value


def _warn(call: Call[Any], response: ReceivedResponse, deviations: Deviations) -> None:
    """Log the names of the invalid fields of a response, but never their values."""
    is_one = len(deviations.fields) == 1
    rows = f" in {deviations.rows} of {deviations.row_count} rows" if deviations.rows else ""
    logger.warning(
        "%s: %s %s not as documented%s; kept as received%s",
        call,
        ", ".join(deviations.fields),
        "is" if is_one else "are",
        rows,
        _suffix(request_id=response.request_id, attempts=response.attempts),
    )


def is_already_deleted(call: Call[Any], response: ReceivedResponse) -> bool:
    """Return whether a 404 means success: for a delete, after an attempt whose response was lost."""
    return call.deleted_value is not None and response.status_code == 404 and response.after_lost_response


def _is_bare_receipt(call: Call[Any], response: ReceivedResponse) -> bool:
    """Return whether a response to a delete reports success without the envelope, or without the deleted id."""
    if is_blank(response.content):
        return True
    body = response.body
    if not isinstance(body, dict):
        return body is None
    from cstar._lenient import reports_success

    data = body.get("data")
    receipt = data if isinstance(data, dict) else body
    deleted_id = receipt.get("id")
    is_other = isinstance(deleted_id, str) and call.subject is not None and deleted_id != call.subject.id
    return not is_other and receipt.get("deleted") is not False and not body.get("error") and reports_success(body)


def _validation_error(call: Call[T], response: ReceivedResponse, reason: str) -> APIResponseValidationError:
    sentence = f"{call} returned {_status(response.status_code)}, but the response is not as documented: {reason}"
    suffix = _suffix(request_id=response.request_id, attempts=response.attempts)
    return APIResponseValidationError(
        response.redact(sentence + suffix),
        status_code=response.status_code,
        headers=response.redacted_headers(),
        body=response.body,
        request_id=response.request_id,
        attempts=response.attempts,
        idempotency_key=call.idempotency_key,
    )


def _describe_invalid_body(invalid: ValueError, response: ReceivedResponse) -> str:
    if is_blank(response.content):
        return "the body is empty" + _encoding_hint(response)
    try:
        is_large = len(response.content) > MAX_SHOWN_BODY_SIZE
        body = response.body if is_large else _parse_json(response.content)
    except ValueError as broken:
        # Do not quote a body that looks like JSON, because it may contain personal data. An HTML page does not.
        start = response.content.removeprefix(BOM_UTF8).lstrip()[:400]
        if not start.startswith(b"<") and (b"{" in start or b"[" in start):
            return f"the body is not JSON: {broken}"
        source = f" ({_possible_source(response)})" if response.proxy else ""
        text = f"the body is not JSON but begins with {_excerpt(str(response.body))!r}{source}"
        return f"{text}. Is base_url={response.base_url!r} right?"
    if isinstance(body, dict) and body.get("error"):
        fields = error_fields(body)
        message = fields.get("message") or fields.get("code")
        return f"it reports an error: {message}" if message else "it reports an error without a message or code"
    return str(invalid)


def _encoding_hint(response: ReceivedResponse) -> str:
    encoding = response.header("Content-Encoding")
    return f", or could not be decompressed ({encoding})" if encoding else ""


def raise_for_status(call: Call[T], response: ReceivedResponse) -> None:
    """Raise the error for a response with an error status.

    Raises:
        APIStatusError: The subclass for the status, with the server's message.
    """
    if response.is_success or is_already_deleted(call, response):
        return
    body = response.body
    fields = error_fields(body)
    code = response.status_code
    message = fields.get("message") or _message_without_envelope(response, body)
    details = [fields.get("code"), f"param {fields['param']}" if "param" in fields else None]
    wait = retry_after(response)
    request_id = response.request_id
    sentences = [f"{call} failed with {_status(code)}: {message}"]
    if code == 409 and response.after_lost_response:
        sentences.append("An earlier attempt got no response: the conflict may be with its result.")
    names_resource = call.subject is not None and call.subject.id is not None
    is_missing_resource = "code" in fields and (names_resource or "param" in fields)
    if code == 404 and not is_missing_resource:
        sentences.append(
            f"There is nothing at {response.base_url}{call.path}. Is base_url={response.base_url!r} right?"
        )
    if wait is not None:
        sentences.append(f"Retry after {math.ceil(wait)} s.")
    if len(sentences) > 1 and not message.endswith((".", "!", "?")):
        sentences[0] += "."
    raise ERROR_BY_STATUS.get(code, InternalServerError if code >= 500 else APIStatusError)(
        " ".join(sentences) + _suffix(*details, request_id=request_id, attempts=response.attempts),
        status_code=code,
        type=fields.get("type"),
        code=fields.get("code"),
        server_message=message,
        param=fields.get("param"),
        doc_url=fields.get("doc_url"),
        request_id=request_id,
        headers=response.redacted_headers(),
        body=body,
        retry_after=wait,
        attempts=response.attempts,
        idempotency_key=call.idempotency_key,
    )


def error_fields(body: JsonValue) -> dict[str, str]:
    """Return the strings of the documented error object, or of its older shapes: `"error": "…"`, `"message": "…"`."""
    if not isinstance(body, dict):
        return {}
    error = body.get("error")
    # In the older shapes, the other fields are at the top level.
    top_level = {name: body.get(name) for name in ("code", "param", "field")}
    source = (
        error
        if isinstance(error, dict)
        else {**top_level, "message": error or body.get("message") or body.get("detail")}
    )
    fields = {name: value for name, value in source.items() if isinstance(value, str) and value}
    if "field" in fields:
        fields.setdefault("param", fields["field"])
    return fields


def _request_id_in(body: JsonValue) -> str | None:
    if not isinstance(body, dict):
        return None
    for place, name in (("error", "request_id"), ("meta", "requestId")):
        part = body.get(place)
        if isinstance(part, dict) and isinstance(found := part.get(name), str) and found:
            return found
    return None


def _message_without_envelope(response: ReceivedResponse, body: JsonValue) -> str:
    if 300 <= response.status_code < 400 and (target := response.header("Location")):
        return f"it redirects to {target}, and redirects are not followed. Is base_url right?"
    if body is None:
        hint = _encoding_hint(response) + ("" if response.proxy is None else f" ({_possible_source(response)})")
        return f"the response body is empty, or could not be read{hint}."
    if len(response.content) > MAX_SHOWN_BODY_SIZE:
        return f"the response body has {len(response.content)} bytes, too many to look for a message."
    if isinstance(body, str):
        return f"the response is not JSON ({_possible_source(response)}): {_excerpt(body)!r}."
    return "the response has no error message."


def _possible_source(response: ReceivedResponse) -> str:
    return f"possibly from {response.proxy}" if response.proxy else "possibly from a proxy"


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


def retry_after(response: ReceivedResponse, *, now: datetime | None = None) -> float | None:
    """Return the seconds to wait: from Retry-After (RFC 9110, section 10.2.3), or from `retryAfter` in the error.

    A value that is neither a number of seconds nor a date is ignored. For a 429 without a valid value, this is the time
    until the rate limit resets, if it is used up.

    Args:
        response: The response.
        now: The time of the response if it has no `Date`; by default the local time.
    """
    header: str | None = response.headers.get("Retry-After")
    # httpx joins repeated headers with commas. Use the largest number.
    numbers = map(_seconds, (header or "").split(","))
    seconds = max((number for number in numbers if number is not None), default=None)
    if seconds is None and header is not None and (moment := http_date(header)) is not None:
        seconds = max(
            0.0, (moment - (server_time(response.headers) or now or datetime.now(timezone.utc))).total_seconds()
        )
    if seconds is None and not response.is_success:
        seconds = _retry_after_in(response.body)
    if seconds is None and response.status_code == 429:
        seconds = seconds_until_reset(response.headers)
    return seconds


def _retry_after_in(body: JsonValue) -> float | None:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None
    return _seconds(str(error.get("retryAfter"))) or _seconds(str(error.get("retry_after")))


def _seconds(text: str) -> float | None:
    if not text.isascii() or "_" in text:  # `float` accepts more than HTTP does
        return None
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


# ── Raw responses ────────────────────────────────────────────────────────────────────────────────────────────────────


class RawResponse(Generic[T]):
    """A response with its status and headers, as returned by `with_raw_response`. `parse()` returns the model."""

    def __init__(self, response: ReceivedResponse, parse: Callable[[ReceivedResponse], T]) -> None:
        self.status_code: int = response.status_code
        """The HTTP status code."""
        self.headers: httpx.Headers = response.headers
        """The HTTP headers, with case-insensitive names."""
        self.content: bytes = response.content
        """The response body as bytes, decompressed."""
        self.attempts: int = response.attempts
        """The number of attempts."""
        self._response = response
        self._parse = parse

    @property
    def request_id(self) -> str | None:
        """The server's id of the request, for a support ticket."""
        return self._response.request_id

    @property
    def rate_limit(self) -> RateLimit | None:
        """The rate limit in the headers; `None` if they have none."""
        return rate_limit(self.headers)

    def parse(self) -> T:
        """Parse the body to the value that the call returns without `with_raw_response`.

        Returns:
            The model, or the page.

        Raises:
            APIResponseValidationError: The body is invalid.

        Example:
            ```python
            response = client.customers.with_raw_response.get(team_id, customer_id)
            print(response.request_id, response.parse().name)
            ```
        """
        return self._parse(self._response)

    def __reduce__(self) -> tuple[object, ...]:
        # Without the API key. Only the `_parse` of a list contains it, because the page needs it to fetch the next one.
        return RawResponse, (self._response.without_api_key(), self._parse)

    def __repr__(self) -> str:
        return f"<RawResponse {self.status_code}, request {self.request_id}, attempts {self.attempts}>"
