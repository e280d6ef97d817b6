"""Verify the signatures of webhook deliveries and parse their events (API page "Webhooks").

```python
from cstar.webhooks import CustomerCreatedEvent, construct_event

event = construct_event(raw_body, headers["X-Signature"], secret)
match event:
    case CustomerCreatedEvent():
        print(event.data.customer.email)
```
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias, cast, get_args

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    JsonValue,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError, from_json, to_json
from typing_extensions import Buffer  # noqa: TC002 - for typing.get_type_hints; pydantic depends on it

from cstar._check import reject
from cstar._logging import logger
from cstar._types import SupportsItems  # noqa: TC001 - for typing.get_type_hints
from cstar.errors import InvalidParameterError, WebhookPayloadError, WebhookSignatureError
from cstar.models import CustomerSentiment, CustomerStatus
from cstar.models._base import Model, OpenEnum, format_validation_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self

__all__ = [
    "CustomerCreatedEvent",
    "CustomerDeletedEvent",
    "CustomerEventData",
    "CustomerUpdatedEvent",
    "UnknownEvent",
    "WebhookCustomer",
    "WebhookEvent",
    "construct_event",
    "sign",
]

# In characters. Web servers accept headers of 8,000 to 64,000; signatures by two secrets have 150.
_MAX_HEADER_LENGTH = 10_000
_TIMESTAMP = re.compile(r"[0-9]{1,13}")
_MAX_TIMESTAMP = 10**12 - 1  # in seconds; greater numbers are milliseconds
_TOKEN = re.compile(r"[!-~]{1,255}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


# ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Payload(Model):
    # Name fields in errors and warnings in snake_case, as deliveries do.
    model_config: ClassVar[ConfigDict] = ConfigDict(loc_by_alias=False)

    @model_validator(mode="after")
    def _reject_two_spellings(self) -> Self:
        # Given a field in both snake_case and camelCase, pydantic sets the field and an extra field of the same name.
        if self.model_extra and not type(self).model_fields.keys().isdisjoint(self.model_extra):
            raise PydanticCustomError("two_spellings", "Input should have each field in one spelling")
        return self


def _reject_non_strings(value: JsonValue) -> JsonValue:
    items = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    if not all(isinstance(each, str) for each in items):
        raise PydanticCustomError("not_strings", "Input should hold strings only")
    return value


# pydantic collects an error for each invalid item: for 10 MB of them, that takes 30 s and gigabytes of memory.
_STRINGS_ONLY = BeforeValidator(_reject_non_strings)


class WebhookCustomer(_Payload):
    """The customer in an event. Only `id` is required; other fields that the event omits are `None`."""

    id: str
    """The prefixed id, `cus_…`. `client.customers.get` returns the complete customer."""

    object: str = "customer"
    """Always `"customer"`."""

    name: str | None = None
    """The display name."""

    email: str | None = None
    """The email address, unique in the team."""

    sentiment: Annotated[CustomerSentiment | str, OpenEnum] | None = None
    """A `CustomerSentiment`, or a value unknown to this version."""

    status: Annotated[CustomerStatus | str, OpenEnum] | None = None
    """A `CustomerStatus`, or a value unknown to this version."""

    tags: Annotated[list[str] | None, _STRINGS_ONLY] = None
    """The tags, in the server's order."""

    notes: str | None = None
    """Internal notes."""

    custom_fields: dict[str, JsonValue] | None = None
    """Custom data: any JSON values."""

    ticket_count: int | None = None
    """The number of tickets."""

    metadata: Annotated[dict[str, str] | None, _STRINGS_ONLY] = None
    """Developer metadata: at most 50 keys of at most 40 characters, values of at most 500 characters."""

    created_at: AwareDatetime | None = None
    """The time of creation, with its time zone."""

    updated_at: AwareDatetime | None = None
    """The time of the last change, with its time zone."""


class CustomerEventData(_Payload):
    """The data of a customer event."""

    customer: WebhookCustomer
    """The customer at the time of the event: after a creation or an update, before a deletion."""

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_customer(cls, data: JsonValue) -> JsonValue:
        return _wrap_bare_customer(data)


def _wrap_bare_customer(data: JsonValue) -> JsonValue:
    # The data of older deliveries is the customer itself, which may have a field named "customer", too.
    is_bare = isinstance(data, dict) and isinstance(data.get("id"), str) and not _is_customer(data.get("customer"))
    return {"customer": data} if is_bare else data


def _is_customer(value: JsonValue) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), str)


# Receivers recognize repeated deliveries by the event's id, so it must not be blank.
_NOT_BLANK = StringConstraints(pattern=r"\S")


class _CustomerEvent(_Payload):
    id: Annotated[str, _NOT_BLANK]
    """The event's id, `evt_…`, the same in every delivery of the event."""

    created_at: AwareDatetime
    """The time of the event, with its time zone; `None` if missing."""

    team_id: str
    """The UUID of the customer's team; `None` if missing."""

    data: CustomerEventData
    """The data, with the customer: `data.customer`."""


class CustomerCreatedEvent(_CustomerEvent):
    """`customer.created`: a customer was created."""

    type: Literal["customer.created"]
    """Always `"customer.created"`."""


class CustomerUpdatedEvent(_CustomerEvent):
    """`customer.updated`: fields of a customer changed. `data.customer` has the new values."""

    type: Literal["customer.updated"]
    """Always `"customer.updated"`."""


class CustomerDeletedEvent(_CustomerEvent):
    """`customer.deleted`: a customer was deleted. `data.customer` has the last values."""

    type: Literal["customer.deleted"]
    """Always `"customer.deleted"`."""


class UnknownEvent(_Payload):
    """An event of a type that this version does not know, or of a known type without a customer in its data."""

    id: Annotated[str, _NOT_BLANK]
    """The event's id, `evt_…`, the same in every delivery of the event."""

    type: str
    """The type, such as `"ticket.created"`; empty if missing."""

    created_at: AwareDatetime | None = None
    """The time of the event, with its time zone; `None` if missing."""

    team_id: str | None = None
    """The UUID of the team; `None` if missing."""

    data: JsonValue = None
    """The data as received: any JSON value."""


_KNOWN: dict[str, type[_CustomerEvent]] = {
    get_args(each.model_fields["type"].annotation)[0]: each
    for each in (CustomerCreatedEvent, CustomerUpdatedEvent, CustomerDeletedEvent)
}


def _event_tag(event: object) -> str:
    type_ = cast("Mapping[str, object]", event).get("type") if isinstance(event, dict) else getattr(event, "type", None)
    if isinstance(event, UnknownEvent) or not isinstance(type_, str) or type_ not in _KNOWN:
        return "event"
    return type_


_DocumentedEvent: TypeAlias = Annotated[
    Annotated[CustomerCreatedEvent, Tag("customer.created")]
    | Annotated[CustomerUpdatedEvent, Tag("customer.updated")]
    | Annotated[CustomerDeletedEvent, Tag("customer.deleted")]
    | Annotated[UnknownEvent, Tag("event")],
    Discriminator(_event_tag),
]


def _read_stored(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    # `construct_event` accepts events that deviate from the documentation, so stored ones must be accepted, too.
    try:
        return validate(value)
    except ValidationError:
        try:
            fields: JsonValue = from_json(to_json(value))
        except ValueError:
            fields = None
        if not isinstance(value, dict) or not isinstance(fields, dict) or not _is_id(fields.get("id")):
            raise
        return _read_leniently(fields)[0]


WebhookEvent: TypeAlias = Annotated[_DocumentedEvent, WrapValidator(_read_stored)]
"""Any event. `TypeAdapter(WebhookEvent)` parses events that were stored with `event.model_dump_json()`."""

_EVENTS: TypeAdapter[WebhookEvent] = TypeAdapter(_DocumentedEvent)


def _is_id(value: JsonValue) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _parse_event(body: bytes, signature: object) -> WebhookEvent | str:
    """Return the event in a body, or the reason why it has none."""
    try:
        return _EVENTS.validate_json(body)
    except ValidationError as invalid:
        reason = format_validation_error(invalid)
    from cstar._lenient import parse_json

    try:
        fields: JsonValue = parse_json(body)
        if not isinstance(fields, dict):
            return "Input should be an object"
        missing: list[str] = []
        if not _is_id(fields.get("id")):
            missing.append("id")
            fields["id"] = _header_token(signature, "x-event-id") or f"sha256:{hashlib.sha256(body).hexdigest()}"
        if not isinstance(fields.get("type"), str):
            missing.append("type")
            fields["type"] = ""
        event, deviating = _read_leniently(fields)
    except (ValueError, RecursionError):  # nested too deeply
        return reason
    if names := sorted({*deviating, *missing}):
        logger.warning("Webhook event %s is not as documented in: %s", event.id, ", ".join(names))
    return event


def _read_leniently(fields: dict[str, JsonValue]) -> tuple[WebhookEvent, list[str]]:
    """Return an event that deviates from the documentation, and the names of the deviating fields.

    Args:
        fields: The event's JSON object, with an id.

    Raises:
        ValueError: It is nested too deeply.
    """
    from cstar._lenient import Reader

    reader = Reader()
    type_ = fields.get("type")
    if not isinstance(type_, str):
        fields["type"] = type_ = ""
    known = _KNOWN.get(type_)
    data = _wrap_bare_customer(fields.get("data"))
    has_customer = isinstance(data, dict) and _is_customer(data.get("customer"))
    event: WebhookEvent
    if known is not None and has_customer:
        event = reader.read_fields(known, {**fields, "data": data})
    else:
        event = reader.read_fields(UnknownEvent, fields)
    lacks_customer = known is not None and not has_customer
    return event, [*reader.deviations.fields, *(["data"] if lacks_customer else [])]


def construct_event(
    payload: str | Buffer,
    signature: str | bytes | SupportsItems | None,
    secret: str | Sequence[str],
    *,
    tolerance: float = 300,
) -> WebhookEvent:
    """Verify the signature of a delivery and return its event (API page "Webhooks").

    The signature is compared in constant time, and the payload is parsed after that. A delivery may arrive more than
    once: ignore it if you have processed its `event.id` before.

    Every signed JSON object is accepted. A value of the wrong type is converted if its meaning is clear, and otherwise
    kept as received; one warning on the logger `cstar` names the fields. An event without an `id` gets the value of the
    `X-Event-ID` header, or else `sha256:` and the digest of the payload. That header is not signed, and is read only if
    `signature` is the headers. An event without a `type` has `""`.

    Args:
        payload: The request's body as received: bytes, any bytes-like object, or a string. Parsing and serializing the
            JSON changes the bytes and invalidates the signature.
        signature: The request's headers: a mapping, or any object with `items()`; names are case-insensitive. Or only
            the value of the `X-Signature` header, `None` if there is none. The header is `t=<Unix seconds>,v1=<hex>`,
            with one `v1` per secret of the sender. The older form `sha256=<hex>` is accepted, too; it has no time, so
            `tolerance` does not apply.
        secret: The webhook's secret, `whsec_…`. While it is being replaced, a list of the old and the new one.
        tolerance: The maximum age of the signature in seconds, and how far it may be ahead of this machine's clock.
            `math.inf` accepts any age.

    Returns:
        The event: `CustomerCreatedEvent`, `CustomerUpdatedEvent` or `CustomerDeletedEvent`; `UnknownEvent` for other
        types, and for events without a customer with an id in `data`.

    Raises:
        WebhookSignatureError: The delivery is not proven to come from cStar, or is too old. Respond with a 401.
        WebhookPayloadError: The delivery comes from cStar, but is not a JSON object, or is nested more than about 200
            levels deep. Store the payload and respond with a 200, because another delivery would be the same.
        InvalidParameterError: The secret is empty, or an argument has the wrong type: a bug in the receiver.

    Example:
        ```python
        event = construct_event(request.body, request.headers, SECRET)
        if isinstance(event, CustomerDeletedEvent):
            forget(event.data.customer.id)
        ```
    """
    # Error reporters send the local variables of every frame, so no frame may keep the secret.
    try:
        secrets = _Secrets([secret] if isinstance(secret, str) else _check_secrets(secret))
    except BaseException as error:
        raise error.with_traceback(None)  # noqa: B904 - the same error, without the inner frames
    finally:
        del secret
    _check_seconds("tolerance", tolerance)
    body = _body(payload)
    parsed = _parse_signature(signature)
    if not secrets.verify(parsed, body):
        raise WebhookSignatureError(
            "The signature does not match the payload. Check that the secret is this webhook's (whsec_…), and that the "
            "payload is the request's body as received: parsing and serializing JSON changes its bytes."
        )
    if parsed.seconds is not None:
        _check_age(int(time.time()) - parsed.seconds, tolerance)
    event = _parse_event(body, signature)
    if isinstance(event, str):
        raise WebhookPayloadError(f"The delivery is signed, but is not an event as documented: {event}")
    return event


def sign(payload: str | Buffer, secret: str, *, timestamp: float | None = None) -> str:
    """Sign a payload as cStar does, to test a receiver (API page "Webhooks").

    Args:
        payload: The request's body: bytes, any bytes-like object, or a string.
        secret: The webhook's secret.
        timestamp: The time of signing in Unix seconds, rounded down; by default now.

    Returns:
        The `X-Signature` header: `t=<Unix seconds>,v1=<hex of HMAC-SHA256 of "<t>.<payload>">`.

    Raises:
        InvalidParameterError: The secret is empty, or an argument has the wrong type.

    Example:
        ```python
        response = app.post("/webhooks", content=body, headers={"X-Signature": sign(body, secret)})
        ```
    """
    try:
        secrets = _Secrets([secret])
    except BaseException as error:
        raise error.with_traceback(None)  # noqa: B904 - the same error, without the inner frames
    finally:
        del secret
    body = _body(payload)
    if timestamp is None:
        timestamp = time.time()
    _check_seconds("timestamp", timestamp, maximum=_MAX_TIMESTAMP)
    seconds = str(int(timestamp))
    return f"t={seconds},v1={secrets.sign(seconds, body)[0].hex()}"


# ── Signatures ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _Secrets:
    """The secrets of a webhook, as keyed MACs. It does not show the secrets in its repr, and cannot be pickled."""

    __slots__ = ("_macs",)

    def __init__(self, secrets: Sequence[object]) -> None:
        # Not hmac.digest(), which rejects bodies of 2 GB, and needs the timestamp and the body in one copy.
        self._macs = [hmac.new(_check_secret(each), digestmod="sha256") for each in secrets]

    def sign(self, timestamp: str | None, body: bytes) -> list[bytes]:
        """Return the signature of a body by each secret."""
        signatures: list[bytes] = []
        for keyed_mac in self._macs:
            mac = keyed_mac.copy()
            if timestamp is not None:
                mac.update(f"{timestamp}.".encode())
            mac.update(body)
            signatures.append(mac.digest())
        return signatures

    def verify(self, signature: _Signature, body: bytes) -> bool:
        """Return whether one of the secrets made one of the signatures."""
        expected = self.sign(signature.timestamp, body)
        return any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in signature.digests)


@dataclass(frozen=True, slots=True)
class _Signature:
    """A parsed signature header, not yet verified.

    Attributes:
        timestamp: The time of signing as written in the header; `None` in the older form.
        digests: The signatures, of which one has to match.
    """

    timestamp: str | None
    digests: list[bytes]

    @property
    def seconds(self) -> int | None:
        """The time of signing in Unix seconds. Some senders write milliseconds."""
        if self.timestamp is None:
            return None
        number = int(self.timestamp)
        return number if number <= _MAX_TIMESTAMP else number // 1000


def _parse_signature(signature: object) -> _Signature:
    if callable(getattr(signature, "items", None)):
        header = _header(cast("SupportsItems", signature), "x-signature")
    elif signature is None or isinstance(signature, (str, bytes)):
        header = _text(signature)
    else:
        reject("signature", "the X-Signature header or the request's headers", signature)
    if not header:
        raise WebhookSignatureError(
            "The delivery has no signature. Check that no proxy removes the X-Signature header. If none does, the "
            "delivery is not from cStar."
        )
    if len(header) <= _MAX_HEADER_LENGTH:
        entries = [entry.strip().partition("=") for entry in header.split(",")]
        timestamp = next((value for name, _, value in entries if name == "t"), "")
        if digests := _digests(value for name, _, value in entries if name == "v1"):
            if _TIMESTAMP.fullmatch(timestamp):
                return _Signature(timestamp, digests)
        elif digests := _digests(value for name, _, value in entries if name == "sha256"):
            return _Signature(None, digests)
    raise WebhookSignatureError(
        "The signature is not of the form t=<Unix seconds>,v1=<64 hexadecimal digits>. Check that you pass the "
        "X-Signature header unchanged."
    )


def _header(headers: SupportsItems, name: str) -> str:
    """Return the joined values of a header. Some gateways have a list of values per name."""
    values: list[str] = []
    for each, value in headers.items():
        if _text(each).lower() == name:
            values += map(_text, cast("Iterable[object]", value) if isinstance(value, (list, tuple)) else [value])
    return ", ".join(filter(None, values))


def _header_token(signature: object, name: str) -> str:
    """Return the value of another, unsigned header; empty if `signature` is not the headers or it is malformed."""
    value = _header(cast("SupportsItems", signature), name) if callable(getattr(signature, "items", None)) else ""
    return value if _TOKEN.fullmatch(value) else ""


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def _digests(values: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(value) for value in values if _DIGEST.fullmatch(value)]


def _check_age(age: int, tolerance: float) -> None:
    if abs(age) > tolerance:
        when = f"{age} s ago" if age > 0 else f"{-age} s ahead of this machine's clock"
        raise WebhookSignatureError(
            f"The signature matches, but was made {when}, and the tolerance is {tolerance:.15g} s. Check this "
            "machine's clock. If it is correct, the delivery may be a replay."
        )


def _check_seconds(param: str, value: object, maximum: float = math.inf) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= maximum:
        is_bounded = maximum != math.inf
        allowed = f"a number of seconds from 0 to {maximum:.0f}" if is_bounded else "a non-negative number of seconds"
        reject(param, allowed, value)


def _body(payload: object) -> bytes:
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, str):
        body = _utf8(payload)
        if body is None:
            raise WebhookSignatureError(
                "The payload is not valid Unicode, so it is not the request's body. Pass the body's bytes as received."
            )
        return body
    body = _copied(payload)
    if body is None:
        reject("payload", "the request's body as received, not parsed: bytes or a string", payload)
    return body


def _copied(payload: object) -> bytes | None:
    # A copy, because the caller's buffer may change between verification and parsing.
    try:
        with memoryview(cast("Buffer", payload)) as view:
            return view.tobytes()
    except (TypeError, ValueError):  # not bytes-like, or released
        return None


def _utf8(text: str) -> bytes | None:
    # Do not chain the UnicodeEncodeError: it holds the text.
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


def _check_secrets(secret: object) -> Sequence[object]:
    shown = _shown(secret)
    if isinstance(secret, Sequence) and not isinstance(secret, (bytes, bytearray)):
        if secret:
            return cast("Sequence[object]", secret)
        shown = "an empty list"
    raise InvalidParameterError(
        f"secret must be a string, or a non-empty list of strings, not {shown} (is its environment variable set?)",
        param="secret",
    )


def _shown(secret: object) -> str:
    # No message may show any part of the secret.
    return "None" if secret is None else f"a value of type {type(secret).__name__}"


def _check_secret(secret: object) -> bytes:
    # No message may show any part of the secret.
    if not isinstance(secret, str):
        raise InvalidParameterError(f"secret must be a string, not {_shown(secret)}", param="secret")
    if not secret.strip():
        raise InvalidParameterError(
            "secret must not be empty: anybody could sign with it (is its environment variable set?)", param="secret"
        )
    if secret != secret.strip():
        raise InvalidParameterError(
            "secret must not begin or end with white space (was it read from a file?)", param="secret"
        )
    key = _utf8(secret)
    if key is None:
        raise InvalidParameterError("secret must be Unicode text", param="secret")
    return key
