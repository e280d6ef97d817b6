"""Tests of `cstar.webhooks`: signatures, events, deviating payloads, and the secrecy of the secret."""

from __future__ import annotations

import array
import copy
import email.message
import hashlib
import hmac
import http.client
import io
import json
import logging
import math
import mmap
import pickle
import sys
import time
import traceback
import tracemalloc
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import stripe
from django.http.request import HttpHeaders
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from starlette.datastructures import Headers as StarletteHeaders
from werkzeug.datastructures import EnvironHeaders, Headers

from cstar import CstarError, InvalidParameterError, WebhookPayloadError, WebhookSignatureError
from cstar.webhooks import (
    CustomerCreatedEvent,
    CustomerDeletedEvent,
    CustomerUpdatedEvent,
    UnknownEvent,
    WebhookCustomer,
    WebhookEvent,
    _Secrets,
    construct_event,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SECRET = "whsec_c2VjcmV0"
OTHER = "whsec_b3RoZXI"
NOW = 1_790_000_000
FULL: dict[str, Any] = {
    "id": "cus_1",
    "object": "customer",
    "name": "Jane",
    "email": "jane@example.com",
    "sentiment": "happy",
    "status": "active",
    "tags": ["vip"],
    "notes": None,
    "custom_fields": {"seat_count": 3, "plan": {"price": 9.5, "terms": ["a", None, True]}},
    "ticket_count": 2,
    "metadata": {"crm_id": "42"},
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-02-03T04:05:06+02:00",
}
ENVELOPE: dict[str, Any] = {
    "id": "evt_1",
    "type": "customer.created",
    "created_at": "2026-03-04T05:06:07Z",
    "team_id": "team-1",
    "data": {"customer": FULL},
}
PAYLOAD = json.dumps(ENVELOPE).encode()


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 0.9)


def signed(payload: str | bytes, *, secret: str = SECRET, at: int = NOW) -> str:
    """Sign as documented on the API page "Webhooks", with the standard library only."""
    body = payload.encode() if isinstance(payload, str) else bytes(payload)
    return f"t={at},v1=" + hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()


def legacy(payload: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()


def event_of(**changes: Any) -> WebhookEvent:
    payload = json.dumps({**ENVELOPE, **changes})
    return construct_event(payload, signed(payload), SECRET)


def camel(fields: dict[str, Any]) -> dict[str, Any]:
    return {to_camel(name): value for name, value in fields.items()}


SIGNED = signed(PAYLOAD)

# ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("type_", "cls"),
    [
        ("customer.created", CustomerCreatedEvent),
        ("customer.updated", CustomerUpdatedEvent),
        ("customer.deleted", CustomerDeletedEvent),
    ],
)
def test_each_documented_type_has_a_class(type_: str, cls: type) -> None:
    event = event_of(type=type_)
    assert type(event) is cls
    assert (event.id, event.type, event.team_id) == ("evt_1", type_, "team-1")
    assert event.created_at.isoformat() == "2026-03-04T05:06:07+00:00"


SHAPES = {
    "in the envelope": lambda customer: {"customer": customer},
    "bare, as in older samples": lambda customer: customer,
}
CUSTOMERS = {"full": FULL, "some fields": {"id": "cus_1", "email": "jane@example.com"}, "only the id": {"id": "cus_1"}}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("customer", CUSTOMERS.values(), ids=CUSTOMERS)
@pytest.mark.parametrize("spell", [dict, camel], ids=["snake_case", "camelCase"])
def test_a_customer_is_parsed_in_every_known_shape(shape: Any, customer: dict[str, Any], spell: Any):
    payload = json.dumps({**spell(ENVELOPE), "data": shape(spell(customer))})
    event = construct_event(payload, signed(payload), SECRET)
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer == WebhookCustomer.model_validate(customer)
    assert event.data.customer.model_dump(mode="json", exclude_unset=True) == customer


@pytest.mark.parametrize("customer", [{"id": "cus_1"}, {**dict.fromkeys(FULL), "id": "cus_1"}], ids=["missing", "null"])
def test_missing_and_null_fields_of_a_customer_are_none(
    caplog: pytest.LogCaptureFixture, customer: dict[str, Any]
) -> None:
    event = event_of(data={"customer": customer})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer.model_dump() == {**dict.fromkeys(FULL), "id": "cus_1", "object": "customer"}
    check_stored(event)
    assert warnings(caplog) == []


def test_unknown_fields_and_enum_values_are_kept() -> None:
    customer = {**FULL, "sentiment": "delighted", "status": "archived", "tier": {"level": 3}}
    event = event_of(data={"customer": customer, "previous": {"name": "Jo"}}, livemode=True)
    assert isinstance(event, CustomerCreatedEvent)
    assert (event.data.customer.sentiment, event.data.customer.status) == ("delighted", "archived")
    dumped = event.model_dump(mode="json")
    assert (dumped["livemode"], dumped["data"]["previous"]) == (True, {"name": "Jo"})
    assert dumped["data"]["customer"]["tier"] == {"level": 3}


def test_an_event_of_an_undocumented_type_is_an_unknown_event_with_all_fields() -> None:
    data = {"ticket": {"id": "tkt_1", "createdAt": "as it came", "deep": [1, None, {"a": 2.5}]}}
    event = event_of(type="ticket.created", data=data, api_version="2027-01-01")
    assert type(event) is UnknownEvent
    assert event.data == data
    assert event.model_dump(mode="json") == {
        **ENVELOPE,
        "type": "ticket.created",
        "data": data,
        "api_version": "2027-01-01",
    }


def test_an_event_of_an_undocumented_type_may_have_only_an_id_and_a_type() -> None:
    payload = json.dumps({"id": "evt_1", "type": "ping", "hello": ["world"]})
    event = construct_event(payload, signed(payload), SECRET)
    assert event.model_dump(exclude_unset=True) == json.loads(payload)
    assert (event.created_at, event.team_id, event.data) == (None, None, None)


@pytest.mark.parametrize("data", [None, [1], "text", 7])
def test_the_data_of_an_event_of_an_undocumented_type_may_be_any_json(data: Any) -> None:
    assert event_of(type="ticket.created", data=data).data == data


@pytest.mark.parametrize("value", [None, "cus_2", {"name": "Jo"}], ids=str)
def test_a_bare_customer_may_have_a_field_named_customer(value: Any) -> None:
    event = event_of(data={**FULL, "customer": value})
    assert isinstance(event, CustomerCreatedEvent)
    assert (event.data.customer.id, event.data.customer.model_extra) == ("cus_1", {"customer": value})
    check_stored(event)


@pytest.mark.parametrize("type_", ["customer.merged", "Customer.Created", "", "unknown", "event"])
def test_only_the_exact_documented_types_are_known(type_: str) -> None:
    assert type(event_of(type=type_)) is UnknownEvent


# ── Signatures ───────────────────────────────────────────────────────────────────────────────────────────────────────


def rejected(signature: Any, payload: str | bytes = PAYLOAD, secret: Any = SECRET, **options: Any) -> str:
    """Return the message for a rejected signature. No secret and no valid signature may be shown."""
    with pytest.raises(WebhookSignatureError) as caught:
        construct_event(payload, signature, secret, **options)
    assert type(caught.value) is WebhookSignatureError
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert all(private not in shown for private in (SECRET, OTHER, signed(payload)[-64:], legacy(PAYLOAD)[-64:]))
    return str(caught.value)


def test_a_signature_may_be_bytes() -> None:
    assert construct_event(PAYLOAD, signed(PAYLOAD).encode(), SECRET).id == "evt_1"


def test_a_text_payload_is_signed_as_utf_8() -> None:
    payload = json.dumps({**ENVELOPE, "team_id": "Zoë"}, ensure_ascii=False)
    assert construct_event(payload, signed(payload), SECRET).team_id == "Zoë"


def test_a_signature_by_another_secret_is_rejected_with_advice() -> None:
    message = rejected(signed(PAYLOAD, secret=OTHER))
    assert "whsec_…" in message
    assert "parsing and serializing JSON" in message


@given(st.integers(0, len(PAYLOAD) * 8 - 1))
def test_one_changed_bit_is_rejected(bit: int) -> None:
    changed = bytearray(PAYLOAD)
    changed[bit // 8] ^= 1 << bit % 8
    at = int(time.time())
    with pytest.raises(WebhookSignatureError):
        construct_event(bytes(changed), signed(PAYLOAD, at=at), SECRET)


def test_the_signed_time_cannot_be_changed() -> None:
    assert "does not match" in rejected(signed(PAYLOAD, at=NOW - 1000).replace(str(NOW - 1000), str(NOW)))


@pytest.mark.parametrize("age", [-300, 0, 300])
def test_a_signature_is_accepted_within_the_tolerance(age: int) -> None:
    # At 0.9 s after NOW: fractions of a second are ignored.
    assert construct_event(PAYLOAD, signed(PAYLOAD, at=NOW - age), SECRET).id == "evt_1"


@pytest.mark.parametrize(
    ("age", "message"), [(301, "made 301 s ago"), (-301, "made 301 s ahead of"), (NOW, f"made {NOW} s ago")]
)
def test_a_signature_outside_the_tolerance_is_rejected(age: int, message: str) -> None:
    shown = rejected(signed(PAYLOAD, at=NOW - age))
    assert message in shown
    assert "the tolerance is 300 s" in shown
    assert "clock" in shown


def test_the_time_is_verified_as_written_in_the_header() -> None:
    digest = hmac.new(SECRET.encode(), b"00%d." % NOW + PAYLOAD, hashlib.sha256).hexdigest()
    assert construct_event(PAYLOAD, f"t=00{NOW},v1={digest}", SECRET).id == "evt_1"


def test_the_first_of_two_times_is_used() -> None:
    assert construct_event(PAYLOAD, f"{signed(PAYLOAD)},t=1", SECRET).id == "evt_1"
    assert "does not match" in rejected(f"t=1,{signed(PAYLOAD)}")


def test_the_tolerance_is_configurable() -> None:
    an_hour_old = signed(PAYLOAD, at=NOW - 3600)
    assert construct_event(PAYLOAD, an_hour_old, SECRET, tolerance=3600).id == "evt_1"
    assert construct_event(PAYLOAD, an_hour_old, SECRET, tolerance=math.inf).id == "evt_1"
    assert construct_event(PAYLOAD, signed(PAYLOAD), SECRET, tolerance=0).id == "evt_1"
    assert "the tolerance is 0.5 s" in rejected(signed(PAYLOAD, at=NOW - 1), tolerance=0.5)
    assert "the tolerance is 1000000 s" in rejected(signed(PAYLOAD, at=0), tolerance=1_000_000)


def test_the_error_for_a_wrong_signature_does_not_mention_the_clock() -> None:
    assert "clock" not in rejected(signed(PAYLOAD, secret=OTHER, at=NOW - 1000))


def test_one_matching_signature_of_several_is_enough() -> None:
    old, new = signed(PAYLOAD, secret=OTHER), signed(PAYLOAD).partition(",")[2]
    assert construct_event(PAYLOAD, f"{old},{new}", SECRET).id == "evt_1"
    assert construct_event(PAYLOAD, f"{old},{new}", OTHER).id == "evt_1"
    assert construct_event(PAYLOAD, f"{old}, {new} ,v0=abc,v2=def,odd", SECRET).id == "evt_1"


def test_a_header_may_hold_a_hundred_signatures_and_malformed_ones() -> None:
    at, _, good = signed(PAYLOAD).partition(",")
    assert construct_event(PAYLOAD, at + f",v1=junk,v1={'0' * 64}" * 100 + f",{good}", SECRET).id == "evt_1"


def test_a_secret_may_be_a_subclass_of_str() -> None:
    class Secret(str):
        __slots__ = ()

    assert construct_event(PAYLOAD, signed(PAYLOAD), Secret(SECRET)).id == "evt_1"
    # It is one secret, not a sequence of secrets of one character.
    assert "does not match" in rejected(signed(PAYLOAD, secret=SECRET[0]), secret=Secret(SECRET))


def test_one_matching_secret_of_several_is_enough() -> None:
    for secrets in ([OTHER, SECRET], (SECRET, OTHER), [SECRET]):
        assert construct_event(PAYLOAD, signed(PAYLOAD), secrets).id == "evt_1"
    rejected(signed(PAYLOAD), secret=[OTHER, OTHER + "2"])


def test_a_signature_of_the_older_form_is_accepted_at_any_age() -> None:
    assert construct_event(PAYLOAD, legacy(PAYLOAD), SECRET, tolerance=0).id == "evt_1"
    assert construct_event(PAYLOAD, legacy(PAYLOAD), [OTHER, SECRET]).id == "evt_1"
    assert "does not match" in rejected(legacy(PAYLOAD, OTHER))


def test_a_signature_of_the_older_form_is_ignored_beside_a_newer_one() -> None:
    rejected(f"{signed(PAYLOAD, secret=OTHER)},{legacy(PAYLOAD)}")
    rejected(f"{signed(PAYLOAD, at=NOW - 1000)},{legacy(PAYLOAD)}")
    rejected(f"t=now,v1={DIGITS},{legacy(PAYLOAD)}")


def test_a_signature_of_one_form_is_rejected_in_another_form() -> None:
    rejected(legacy(PAYLOAD).replace("sha256", f"t={NOW},v1"))
    rejected(signed(PAYLOAD).replace(f"t={NOW},v1", "sha256"))
    rejected(signed(PAYLOAD).replace("v1", "v0"))


def test_hexadecimal_digits_are_case_insensitive() -> None:
    name, _, digits = signed(PAYLOAD).rpartition("=")
    assert construct_event(PAYLOAD, f"{name}={digits.upper()}", SECRET).id == "evt_1"


@pytest.mark.parametrize("signature", [None, "", b""])
def test_a_delivery_without_a_signature_is_rejected(signature: object) -> None:
    assert "has no signature" in rejected(signature)


DIGITS = "0" * 64
MALFORMED: dict[str, str | bytes] = {
    "binary": bytes(range(256)),
    "text": "let me in",
    "non-ASCII": "t=١٧٩٠٠٠٠٠٠٠,v1=" + DIGITS,
    "non-ASCII digits of a signature": f"t={NOW},v1=" + "\uff10" * 64,
    "a surrogate": f"t={NOW},v1=\ud800" + DIGITS[1:],
    "commas": "," * 1_000_000,
    "signatures": f"t={NOW}" + f",v1={DIGITS}" * 150,
    "a long timestamp": "t=" + "9" * 400 + ",v1=" + DIGITS,
    "a timestamp in microseconds": f"t={NOW}000000,v1={DIGITS}",
    "a negative timestamp": f"t=-1,v1={DIGITS}",
    "a fractional timestamp": f"t={NOW}.0,v1={DIGITS}",
    "a timestamp in words": f"t=now,v1={DIGITS}",
    "no timestamp": f"v1={DIGITS}",
    "an empty timestamp": f"t=,v1={DIGITS}",
    "no signature": f"t={NOW}",
    "an empty signature": f"t={NOW},v1=",
    "half a signature": f"t={NOW},v1={DIGITS[:32]}",
    "a signature and more": f"t={NOW},v1={DIGITS}0",
    "a line break": f"t={NOW},v1={DIGITS}\n0",
    "an empty older signature": "sha256=",
    "half an older signature": f"sha256={DIGITS[:32]}",
}


@pytest.mark.parametrize("header", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_signature_is_rejected(header: str | bytes) -> None:
    assert "not of the form t=" in rejected(header)


def test_a_payload_that_is_not_valid_unicode_is_rejected_without_a_chained_error() -> None:
    """A chained UnicodeEncodeError would hold the payload."""
    with pytest.raises(WebhookSignatureError, match="is not valid Unicode") as caught:
        construct_event("\ud800", f"t={NOW},v1={DIGITS}", SECRET)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_the_payload_is_not_parsed_before_the_signature_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    class FailingParser:
        def validate_json(self, body: bytes) -> None:
            raise AssertionError("parsed")

    monkeypatch.setattr("cstar.webhooks._EVENTS", FailingParser())
    rejected(signed(PAYLOAD, secret=OTHER))
    rejected(signed(PAYLOAD, at=NOW - 301))
    rejected("malformed")
    with pytest.raises(AssertionError, match="parsed"):
        construct_event(PAYLOAD, signed(PAYLOAD), SECRET)


def test_signatures_are_compared_in_constant_time_and_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(ours: bytes, theirs: bytes) -> bool:
        compared.append((ours, theirs))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    rejected(signed(PAYLOAD))
    assert compared == [(bytes.fromhex(signed(PAYLOAD)[-64:]),) * 2]


# ── The body ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def mapped(payload: bytes) -> mmap.mmap:
    buffer = mmap.mmap(-1, len(payload))
    buffer.write(payload)
    return buffer


BUFFERS = {
    "bytearray": bytearray,
    "memoryview": memoryview,
    "part of a memoryview": lambda payload: memoryview(b"--" + payload + b"--")[2:-2],
    "memoryview that is not contiguous": lambda payload: memoryview(payload[::-1])[::-1],
    "array": lambda payload: array.array("B", payload),
    "mmap": mapped,
    "getbuffer": lambda payload: io.BytesIO(payload).getbuffer(),
}


@pytest.mark.parametrize("buffer", BUFFERS.values(), ids=BUFFERS)
def test_a_payload_may_be_any_bytes_like_object(buffer: Any) -> None:
    assert construct_event(buffer(PAYLOAD), signed(PAYLOAD), SECRET).id == "evt_1"
    assert sign(buffer(PAYLOAD), SECRET) == signed(PAYLOAD)


def test_the_callers_buffer_is_released() -> None:
    payload = bytearray(PAYLOAD)
    construct_event(payload, signed(PAYLOAD), SECRET)
    payload.clear()


def test_a_released_buffer_is_rejected() -> None:
    view = memoryview(PAYLOAD)
    view.release()
    with pytest.raises(InvalidParameterError, match="payload must be the request's body"):
        construct_event(view, signed(PAYLOAD), SECRET)


def test_a_payload_changed_during_verification_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = bytearray(PAYLOAD)
    compare = hmac.compare_digest

    def change_the_payload(ours: bytes, theirs: bytes) -> bool:
        payload[:] = PAYLOAD.replace(b"evt_1", b"evt_2")
        return compare(ours, theirs)

    monkeypatch.setattr(hmac, "compare_digest", change_the_payload)
    assert construct_event(payload, signed(PAYLOAD), SECRET).id == "evt_1"


# ── The headers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def message(headers: list[tuple[str, str]], cls: type[email.message.Message] = email.message.Message) -> Any:
    result = cls()
    for name, value in headers:
        result[name] = value
    return result


REQUEST_HEADERS = {
    "dict": dict,
    "dict in lower case": lambda headers: {name.lower(): value for name, value in headers},
    "dict in upper case": lambda headers: {name.upper(): value for name, value in headers},
    "dict of bytes": lambda headers: {name.lower().encode(): value.encode() for name, value in headers},
    "dict of lists, as in AWS Lambda": lambda headers: {name: [value] for name, value in headers},
    "dict with a null": lambda headers: {"Accept": None, **dict(headers)},
    "email": message,
    "http.client": lambda headers: message(headers, http.client.HTTPMessage),
    "httpx": httpx.Headers,
    "aiohttp": lambda headers: CIMultiDictProxy(CIMultiDict(headers)),
    "Starlette": lambda headers: StarletteHeaders(
        raw=[(name.lower().encode(), value.encode()) for name, value in headers]
    ),
    "werkzeug": Headers,
    "Flask": lambda headers: EnvironHeaders(
        {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}
    ),
    "Django": lambda headers: HttpHeaders({f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}),
}


@pytest.mark.parametrize("make", REQUEST_HEADERS.values(), ids=REQUEST_HEADERS)
def test_the_signature_is_found_in_the_headers_of_each_framework(make: Any) -> None:
    headers = make([("Content-Type", "application/json"), ("X-Signature", signed(PAYLOAD))])
    assert construct_event(PAYLOAD, headers, SECRET).id == "evt_1"
    rejected(headers, PAYLOAD + b" ")


@pytest.mark.parametrize(
    "headers", [{"X-Event-ID": "evt_1"}, {"X-Signature": ""}, {"X-Signature": None}, {"X-Signature": []}]
)
def test_headers_without_a_signature_raise_the_same_error_as_none(headers: Any) -> None:
    assert rejected(headers) == rejected(None)


@pytest.mark.parametrize(
    "make",
    [
        lambda one, two: {"X-Signature": [one, two]},
        lambda one, two: {"X-Signature": one, "x-signature": two},
        lambda one, two: httpx.Headers([("X-Signature", one), ("X-Signature", two)]),
        lambda one, two: message([("X-Signature", one), ("X-Signature", two)]),
        lambda one, two: CIMultiDict([("X-Signature", one), ("X-Signature", two)]),
        lambda one, two: Headers([("X-Signature", one), ("X-Signature", two)]),
    ],
)
def test_several_signature_headers_are_joined(make: Any) -> None:
    assert construct_event(PAYLOAD, make(signed(PAYLOAD, secret=OTHER), signed(PAYLOAD)), SECRET).id == "evt_1"


# ── Timestamps in milliseconds ───────────────────────────────────────────────────────────────────────────────────────


def test_a_timestamp_may_be_in_milliseconds() -> None:
    for age in (-300, 0, 300):
        assert construct_event(PAYLOAD, signed(PAYLOAD, at=(NOW - age) * 1000 + 999), SECRET).id == "evt_1"


def test_the_age_of_a_timestamp_in_milliseconds_is_in_seconds() -> None:
    assert "made 301 s ago" in rejected(signed(PAYLOAD, at=(NOW - 301) * 1000 + 999))
    assert "made 301 s ahead of" in rejected(signed(PAYLOAD, at=(NOW + 301) * 1000))


# ── Errors do not show the secret ────────────────────────────────────────────────────────────────────────────────────


def shown_by_a_reporter(error: BaseException) -> str:
    """Return the local variables of all frames, as error reporters do, including those of chained errors."""
    shown: list[str] = []
    errors, seen = [error], set()
    while errors:
        each = errors.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        shown += [repr(each), repr(vars(each)), *getattr(each, "__notes__", ())]
        shown += [safe_repr(value) for frame, _ in traceback.walk_tb(each.__traceback__) for value in locals_of(frame)]
        errors += [next_ for next_ in (each.__cause__, each.__context__) if next_ is not None]
    return "\n".join(shown)


def safe_repr(value: object) -> str:
    try:
        return repr(value)
    except AttributeError:  # an instance whose __init__ was interrupted
        return repr([getattr(value, name, None) for name in getattr(type(value), "__slots__", ())])


def locals_of(frame: FrameType) -> list[object]:
    return [] if frame.f_code.co_filename == __file__ else list(frame.f_locals.values())


def fail_with(error: BaseException) -> Any:
    def fail(*args: object, **options: object) -> Any:
        raise error

    return fail


SECRETS = {"one": SECRET, "list": [OTHER, SECRET], "tuple": (SECRET, OTHER)}
INVALID_SECRETS = {
    "newline": SECRET + "\n",
    "surrogate": SECRET + "\ud800",
    "bytes": SECRET.encode(),
    "bytearray": bytearray(SECRET.encode()),
    "set": {SECRET},
    "dict": {"secret": SECRET},
    "empty in a list": [SECRET, ""],
    "newline in a list": [SECRET, SECRET + "\n"],
    "bytes in a list": [SECRET, OTHER.encode()],
    "surrogate in a list": [SECRET, SECRET + "\ud800"],
}
MISTAKES: dict[str, dict[str, Any]] = {
    "wrong signature": {"signature": f"t={NOW},v1={'0' * 64}"},
    "no signature": {"signature": None},
    "malformed signature": {"signature": "let me in"},
    "signature of another type": {"signature": 7},
    "no signature in the headers": {"signature": {"X-Event-ID": "evt_1"}},
    "old signature": {"tolerance": 0, "signature": signed(PAYLOAD, at=NOW - 9)},
    "wrong tolerance": {"tolerance": "soon"},
    "payload of another type": {"payload": {}},
    "payload with a surrogate": {"payload": "\ud800"},
    "not JSON": {"payload": b"<html>", "signature": signed(b"<html>")},
    "not an object": {"payload": b"[]", "signature": signed(b"[]")},
}


def check_that_no_secret_is_shown(error: BaseException) -> None:
    shown = shown_by_a_reporter(error)
    assert SECRET not in shown
    assert OTHER not in shown


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_frame_of_an_error_shows_the_secret(secret: Any, mistake: dict[str, Any]) -> None:
    arguments = {"payload": PAYLOAD, "signature": signed(PAYLOAD), "secret": secret, **mistake}
    with pytest.raises(CstarError) as caught:
        construct_event(**arguments)
    check_that_no_secret_is_shown(caught.value)


@pytest.mark.parametrize("secret", INVALID_SECRETS.values(), ids=INVALID_SECRETS)
def test_no_frame_of_an_error_shows_an_invalid_secret(secret: Any) -> None:
    for call in (lambda: construct_event(PAYLOAD, SIGNED, secret), lambda: sign(PAYLOAD, secret)):
        with pytest.raises(InvalidParameterError) as caught:
            call()
        check_that_no_secret_is_shown(caught.value)


def test_no_frame_of_an_error_in_sign_shows_the_secret() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        sign(PAYLOAD, SECRET, timestamp=-1)
    check_that_no_secret_is_shown(caught.value)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "place", ["hmac.new", "hmac.HMAC.__init__", "hmac.HMAC.update", "hmac.compare_digest", "time.time"]
)
@pytest.mark.parametrize("secret", [SECRET, [OTHER, SECRET]], ids=["one", "several"])
def test_no_frame_of_an_interrupt_shows_the_secret(
    monkeypatch: pytest.MonkeyPatch, secret: Any, place: str, error: type[BaseException]
) -> None:
    monkeypatch.setattr(place, fail_with(error()))
    calls: list[Callable[[], object]] = [lambda: construct_event(PAYLOAD, SIGNED, secret)]
    if place != "hmac.compare_digest":  # `sign` compares nothing
        calls.append(lambda: sign(PAYLOAD, SECRET))
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        check_that_no_secret_is_shown(caught.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # generators interrupted while closing
def test_no_frame_shows_the_secret_whenever_a_call_is_interrupted() -> None:
    """Python handles signals when a function is entered and after each call."""

    def interrupted_at(number: int, call: Callable[[], object]) -> BaseException | None:
        count = 0

        def profile(frame: FrameType, event: str, argument: object) -> None:
            nonlocal count
            # On entry to a public function, its arguments still hold the secret.
            is_entry = event == "call" and frame.f_code in (construct_event.__code__, sign.__code__)
            if frame.f_code.co_filename != __file__ and not is_entry:
                count += 1
                if count == number:
                    sys.setprofile(before)
                    raise KeyboardInterrupt

        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            call()
        except KeyboardInterrupt as caught:
            return caught
        finally:
            sys.setprofile(before)
        return None

    for call in (lambda: construct_event(PAYLOAD, SIGNED, [OTHER, SECRET]), lambda: sign(PAYLOAD, SECRET)):
        number = 1
        while (caught := interrupted_at(number, call)) is not None:
            check_that_no_secret_is_shown(caught)
            number += 1
        assert number > 20


def test_no_frame_shows_the_expected_signature() -> None:
    with pytest.raises(WebhookSignatureError) as caught:
        construct_event(PAYLOAD, f"t={NOW},v1={'0' * 64}", SECRET)
    shown = shown_by_a_reporter(caught.value)
    assert signed(PAYLOAD)[-64:] not in shown
    assert repr(bytes.fromhex(signed(PAYLOAD)[-64:])) not in shown


def test_an_error_about_the_secret_keeps_its_context() -> None:
    def receive() -> None:
        try:
            {}["CSTAR_WEBHOOK_SECRET"]
        except KeyError:
            construct_event(PAYLOAD, SIGNED, "")

    with pytest.raises(InvalidParameterError) as caught:
        receive()
    assert type(caught.value.__context__) is KeyError


def test_secrets_are_hidden_in_their_repr_and_cannot_be_pickled() -> None:
    secrets = _Secrets([SECRET, OTHER])
    assert SECRET not in f"{secrets!r} {secrets} {secrets!s:>9}"
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(secrets)
    with pytest.raises(TypeError, match="cannot pickle"):
        copy.deepcopy(secrets)


# ── Events that deviate from the documentation ───────────────────────────────────────────────────────────────────────

EVENTS: TypeAdapter[WebhookEvent] = TypeAdapter(WebhookEvent)
UTC = timezone.utc


def signed_event(payload: str | bytes | dict[str, Any], **headers: str) -> WebhookEvent:
    if isinstance(payload, dict):
        payload = json.dumps(payload)
    sent = {"X-Signature": signed(payload), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return construct_event(payload, sent, SECRET)


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in ENVELOPE.items() if name not in names}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "cstar"]


def check_stored(event: WebhookEvent) -> None:
    """Check that an event is the same after storing and parsing it."""
    stored = event.model_dump_json()
    stored.encode()
    assert EVENTS.validate_json(stored) == event
    assert type(EVENTS.validate_json(stored)) is type(event)
    assert EVENTS.validate_json(EVENTS.dump_json(event)) == event
    assert EVENTS.validate_python(event.model_dump(mode="json")) == event
    assert EVENTS.validate_python(event.model_dump()) == event
    assert EVENTS.validate_python(event) is event
    assert pickle.loads(pickle.dumps(event)) == event
    assert copy.deepcopy(event) == event


KEPT_IN_CUSTOMER: list[tuple[str, Any]] = [
    ("name", ["Ann"]),
    ("created_at", "soon"),
    ("ticket_count", 1.5),
    ("tags", [["a"]]),
    ("metadata", {"a": {"b": 1}}),
    ("custom_fields", "x"),
    ("status", {"value": "active"}),
]


@pytest.mark.parametrize(("field", "value"), KEPT_IN_CUSTOMER, ids=str)
def test_a_deviating_value_of_a_customer_is_kept(caplog: pytest.LogCaptureFixture, field: str, value: Any) -> None:
    event = signed_event({**ENVELOPE, "data": {"customer": {**FULL, field: value}}})
    assert isinstance(event, CustomerCreatedEvent)
    assert getattr(event.data.customer, field) == value
    assert event.data.customer.email == "jane@example.com"
    check_stored(event)
    assert warnings(caplog) == [f"Webhook event evt_1 is not as documented in: data.customer.{field}"]


@pytest.mark.parametrize("data", [{"customer": FULL}, FULL], ids=["in the envelope", "bare"])
@pytest.mark.parametrize(("field", "value"), [("created_at", "soon"), ("team_id", ["t"])])
def test_a_deviating_value_of_an_event_is_kept(
    caplog: pytest.LogCaptureFixture, data: Any, field: str, value: Any
) -> None:
    event = signed_event({**ENVELOPE, "data": data, field: value})
    assert isinstance(event, CustomerCreatedEvent)
    assert getattr(event, field) == value
    assert event.data.customer == WebhookCustomer.model_validate(FULL)
    check_stored(event)
    assert warnings(caplog) == [f"Webhook event evt_1 is not as documented in: {field}"]


@pytest.mark.parametrize(("field", "value"), [("created_at", []), ("team_id", {"id": 1})])
def test_a_deviating_value_of_an_unknown_event_is_kept(
    caplog: pytest.LogCaptureFixture, field: str, value: Any
) -> None:
    event = signed_event({**ENVELOPE, "type": "ticket.created", field: value})
    assert type(event) is UnknownEvent
    assert (event.data, getattr(event, field)) == (ENVELOPE["data"], value)
    check_stored(event)
    assert warnings(caplog) == [f"Webhook event evt_1 is not as documented in: {field}"]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("name", 7, "7"),
        ("tags", ["vip", 7, None, 1.5, True], ["vip", "7", "1.5", "true"]),
        ("metadata", {"crm": 42, "gone": None, "x": "y"}, {"crm": "42", "x": "y"}),
        ("ticket_count", "5", 5),
        ("created_at", "2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("updated_at", 1_767_323_045_000, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_a_value_of_another_type_is_converted_if_its_meaning_is_clear(
    caplog: pytest.LogCaptureFixture, field: str, value: Any, expected: Any
) -> None:
    event = signed_event({**ENVELOPE, "data": {"customer": {**FULL, field: value}}})
    assert isinstance(event, CustomerCreatedEvent)
    assert getattr(event.data.customer, field) == expected
    check_stored(event)
    assert warnings(caplog) == []


LARGE_INVALID_VALUES = {
    "numbers in tags": ("tags", "[" + "1," * 50_000 + "1]"),
    "lists in tags": ("tags", "[" + "[]," * 25_000 + "[]]"),
    "numbers in metadata": ("metadata", "{" + ",".join(f'"{n}":1' for n in range(15_000)) + "}"),
    "objects in metadata": ("metadata", "{" + ",".join(f'"{n}":{{}}' for n in range(15_000)) + "}"),
    "a number of many digits": ("ticket_count", "1" * 3_000_000),
    "a blank time": ("created_at", '"2026-01-01T00:00' + " " * 3_000_000 + 'x"'),
}


@pytest.mark.parametrize(("field", "value"), LARGE_INVALID_VALUES.values(), ids=LARGE_INVALID_VALUES)
def test_large_invalid_values_are_parsed_in_little_memory(field: str, value: str) -> None:
    body = json.dumps({**ENVELOPE, "data": {"customer": {**FULL, field: "?"}}}).replace('"?"', value)
    signature = signed(body)
    tracemalloc.start()
    try:
        event = construct_event(body, signature, SECRET)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(event, CustomerCreatedEvent)
    assert peak < 150 * len(body)


@pytest.mark.parametrize("type_", ["customer.created", "ticket.created"])
def test_the_time_of_an_event_always_has_a_time_zone(type_: str) -> None:
    for written in ("2026-03-04T05:06:07", "2026-03-04 05:06:07Z", 1_772_600_767_000):
        event = signed_event({**ENVELOPE, "type": type_, "created_at": written})
        assert event.created_at == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    "envelope", [without("created_at", "team_id"), {**ENVELOPE, "created_at": None, "team_id": None}]
)
@pytest.mark.parametrize("type_", ["customer.created", "ticket.created"])
def test_a_missing_or_null_time_or_team_is_none(
    caplog: pytest.LogCaptureFixture, envelope: dict[str, Any], type_: str
) -> None:
    event = signed_event({**envelope, "type": type_})
    assert (event.type, event.created_at, event.team_id) == (type_, None, None)
    check_stored(event)
    assert warnings(caplog) == []


NO_CUSTOMER: list[Any] = [
    None,
    {},
    [],
    [FULL],
    "cus_1",
    7,
    {"customer": None},
    {"customer": "cus_1"},
    {"customer": [FULL]},
    {"customer": {}},
    {"customer": {**FULL, "id": None}},
    {"customer": {**FULL, "id": 7}},
    {**FULL, "id": 7},
]


@pytest.mark.parametrize(
    "envelope",
    [without("data"), *({**ENVELOPE, "data": data} for data in NO_CUSTOMER)],
    ids=lambda each: str(each.get("data", "missing")),
)
def test_a_known_type_without_a_customer_is_an_unknown_event(
    caplog: pytest.LogCaptureFixture, envelope: dict[str, Any]
) -> None:
    event = signed_event(envelope)
    assert type(event) is UnknownEvent
    assert (event.id, event.type, event.team_id) == ("evt_1", "customer.created", "team-1")
    assert event.data == envelope.get("data")
    check_stored(event)
    assert warnings(caplog) == ["Webhook event evt_1 is not as documented in: data"]


def test_copies_of_fields_in_the_envelope_are_kept_as_extra_fields(caplog: pytest.LogCaptureFixture) -> None:
    copies = {"customer": FULL, "customer_id": "cus_1", "email": "jane@example.com", "event": "customer.created"}
    event = signed_event({**ENVELOPE, **copies})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.model_extra == copies
    check_stored(event)
    assert warnings(caplog) == []


@pytest.mark.parametrize("created_at", [ENVELOPE["created_at"], "soon"], ids=["as documented", "deviating"])
def test_changes_in_the_data_are_kept_as_an_extra_field(created_at: str) -> None:
    changes = {"name": {"from": "Jo", "to": "Jane", "at": 1.50, "by": None}}
    event = signed_event({**ENVELOPE, "created_at": created_at, "data": {"customer": FULL, "changes": changes}})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.model_extra == {"changes": changes}
    check_stored(event)


def test_numbers_in_extra_fields_of_a_deviating_customer_are_unchanged() -> None:
    event = signed_event({**ENVELOPE, "data": {**FULL, "name": 7, "score": 4.5, "gone": None}})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer.model_extra == {"score": 4.5, "gone": None}
    check_stored(event)


@pytest.mark.parametrize("type_", ["customer.created", "ticket.created"])
@pytest.mark.parametrize("null", ["created_at", "createdAt", None])
def test_a_field_in_both_spellings_is_parsed_once(type_: str, null: str | None) -> None:
    both = {"created_at": "2026-03-04T05:06:07Z", "createdAt": "2026-03-04T05:06:07.000Z"}
    event = signed_event({**ENVELOPE, **both, **({null: None} if null else {}), "type": type_})
    assert event.created_at == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert event.model_extra == {}
    check_stored(event)


def test_an_unknown_event_of_a_known_type_can_be_stored() -> None:
    event = UnknownEvent(id="evt_1", type="customer.created", data=7)
    check_stored(event)


def test_a_deviating_event_in_another_model_can_be_stored() -> None:
    class Job(BaseModel):
        event: WebhookEvent

    job = Job(event=signed_event({**ENVELOPE, "created_at": "soon"}))
    assert Job.model_validate_json(job.model_dump_json()) == job


def test_parsing_a_stored_deviating_event_logs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    stored = signed_event({**ENVELOPE, "created_at": "soon"}).model_dump_json()
    caplog.clear()
    EVENTS.validate_json(stored)
    assert warnings(caplog) == []


def test_one_warning_names_all_deviating_fields_and_no_value(caplog: pytest.LogCaptureFixture) -> None:
    customer = {**FULL, "tags": [["private"]], "metadata": {"private": {"private": 1}}, "updated_at": "private"}
    signed_event({**ENVELOPE, "team_id": ["private"], "createdAt": {}, "data": {"customer": customer}})
    fields = "data.customer.metadata, data.customer.tags, data.customer.updated_at, team_id"
    assert warnings(caplog) == [f"Webhook event evt_1 is not as documented in: {fields}"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("type_", ["customer.updated", "ticket.created"])
def test_a_documented_event_can_be_stored_and_logs_no_warning(caplog: pytest.LogCaptureFixture, type_: str) -> None:
    check_stored(event_of(type=type_))
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "value", [[], "x", 7, [{"id": "evt_1"}], object(), {"type": "ticket.created"}, {"id": object()}]
)
def test_parsing_a_stored_value_that_is_not_an_event_is_an_error(value: Any) -> None:
    with pytest.raises(ValidationError):
        EVENTS.validate_python(value)


def test_a_stored_event_without_a_type_can_be_parsed() -> None:
    assert EVENTS.validate_python({"id": "evt_1"}) == UnknownEvent(id="evt_1", type="")


# ── Events without an id or a type ───────────────────────────────────────────────────────────────────────────────────

NO_ID = [without("id"), *({**ENVELOPE, "id": each} for each in (None, "", " ", 7, ["evt_1"]))]


@pytest.mark.parametrize("envelope", NO_ID, ids=lambda envelope: repr(envelope.get("id", "missing")))
@pytest.mark.parametrize("type_", ["customer.created", "ticket.created"])
def test_an_event_without_an_id_gets_the_id_in_the_headers(
    caplog: pytest.LogCaptureFixture, envelope: dict[str, Any], type_: str
) -> None:
    event = signed_event({**envelope, "type": type_}, X_Event_ID="evt_header")
    assert (event.id, event.type) == ("evt_header", type_)
    check_stored(event)
    assert warnings(caplog) == ["Webhook event evt_header is not as documented in: id"]


@pytest.mark.parametrize("envelope", NO_ID, ids=lambda envelope: repr(envelope.get("id", "missing")))
def test_an_event_without_any_id_gets_a_digest_of_its_body(envelope: dict[str, Any]) -> None:
    body = json.dumps(envelope).encode()
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    assert construct_event(body, signed(body), SECRET).id == digest
    assert construct_event(body, {"X-Signature": signed(body)}, SECRET).id == digest
    check_stored(construct_event(body, signed(body), SECRET))


@pytest.mark.parametrize("header", ["", " ", "evt\n1", "evt_1, evt_2", "x" * 256, "\xe9"])
def test_a_malformed_event_id_in_the_headers_is_ignored(header: str) -> None:
    assert signed_event(without("id"), X_Event_ID=header).id.startswith("sha256:")


def test_the_id_in_the_body_takes_precedence_over_the_headers() -> None:
    assert signed_event({**ENVELOPE, "created_at": "soon"}, X_Event_ID="evt_header").id == "evt_1"


NO_TYPE = [without("type"), *({**ENVELOPE, "type": each} for each in (None, 7, ["customer.created"]))]


@pytest.mark.parametrize("envelope", NO_TYPE, ids=lambda envelope: repr(envelope.get("type", "missing")))
def test_an_unsigned_header_does_not_determine_the_type_of_an_event(
    caplog: pytest.LogCaptureFixture, envelope: dict[str, Any]
) -> None:
    event = signed_event(envelope, X_Event_Type="customer.deleted")
    assert (type(event), event.type) == (UnknownEvent, "")
    check_stored(event)
    assert warnings(caplog) == ["Webhook event evt_1 is not as documented in: type"]


def test_an_empty_object_is_an_event(caplog: pytest.LogCaptureFixture) -> None:
    event = signed_event("{}")
    assert event == UnknownEvent(id="sha256:" + hashlib.sha256(b"{}").hexdigest(), type="")
    check_stored(event)
    assert warnings(caplog) == [f"Webhook event {event.id} is not as documented in: id, type"]


# ── Bodies that are not valid JSON ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("type_", ["customer.created", "ticket.created"])
@pytest.mark.parametrize(
    ("encode", "name"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode(), "Zoë"),
        (lambda text: text.encode("utf-16"), "Zoë"),
        (lambda text: text.encode("latin-1"), "Zo\ufffd"),
        (lambda text: text.replace("Zoë", "Zo\\ud800").encode(), "Zo\ufffd"),
        (lambda text: text.replace("Zoë", "Zo\n").encode(), "Zo\n"),
    ],
    ids=["byte order mark", "UTF-16", "Latin-1", "lone surrogate", "line break"],
)
def test_malformed_text_is_parsed(encode: Any, name: str, type_: str) -> None:
    data = {"customer": {**FULL, "name": "Zoë"}}
    body = encode(json.dumps({**ENVELOPE, "type": type_, "data": data}, ensure_ascii=False))
    event = construct_event(body, signed(body), SECRET)
    assert event.model_dump()["data"]["customer"]["name"] == name
    check_stored(event)


@pytest.mark.parametrize("number", ["1.10", "1e5", "100000000000000000000", "-0.0", "1" + "0" * 5000])
def test_a_number_in_metadata_becomes_its_text_as_received(number: str) -> None:
    body = json.dumps({**ENVELOPE, "data": {**FULL, "metadata": {"n": "?"}}}).replace('"?"', number)
    event = construct_event(body, signed(body), SECRET)
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer.metadata == {"n": number}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("", "Invalid JSON"),
        ("<html>", "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON: recursion limit"),
        ('{"data":' * 100_000, "Invalid JSON: recursion limit"),
        ('"private\\ud800"', "Input should be an object"),
        ("[]", "Input should be an object"),
        ("null", "Input should be an object"),
    ],
)
def test_a_signed_payload_that_is_not_a_json_object_is_an_error(payload: str, message: str) -> None:
    with pytest.raises(WebhookPayloadError) as caught:
        construct_event(payload, signed(payload), SECRET)
    assert str(caught.value).startswith("The delivery is signed, but is not an event as documented: ")
    assert message in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value))
    assert "private" not in shown
    assert SECRET not in shown


def test_an_event_of_up_to_about_200_levels_is_accepted_and_can_be_stored() -> None:
    stored = []
    for depth in range(190, 1200, 7):
        body = json.dumps({**ENVELOPE, "type": "x", "data": "?"}).replace('"?"', "[" * depth + "]" * depth)
        try:
            event = construct_event(body, signed(body), SECRET)
        except WebhookPayloadError:
            continue
        check_stored(event)
        stored.append(depth)
    assert 190 in stored
    assert max(stored) < 220


# ── Invalid arguments ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("", "must not be empty"),
        (" ", "must not be empty"),
        (f"{SECRET}\n", "begin or end with white space"),
        (f" {SECRET}", "begin or end with white space"),
        (None, "a string, or a non-empty list of strings, not None (is its environment variable set?)"),
        (SECRET.encode(), "or a non-empty list of strings, not a value of type bytes"),
        (bytearray(SECRET.encode()), "or a non-empty list of strings, not a value of type bytearray"),
        ([], "or a non-empty list of strings, not an empty list"),
        ([SECRET, ""], "must not be empty"),
        ([SECRET, None], "a string, not None"),
        ({SECRET}, "list of strings, not a value of type set"),
        ("\ud800", "Unicode"),
    ],
)
def test_an_unusable_secret_is_rejected(secret: Any, message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        construct_event(PAYLOAD, signed(PAYLOAD), secret)
    assert caught.value.param == "secret"
    assert SECRET not in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("payload", [ENVELOPE, None, 7, [PAYLOAD], {"a"}, io.BytesIO(PAYLOAD), object()])
def test_a_payload_that_is_not_the_raw_body_is_rejected(payload: Any) -> None:
    with pytest.raises(InvalidParameterError, match="body as received, not parsed: bytes or a string") as caught:
        construct_event(payload, signed(PAYLOAD), SECRET)
    assert caught.value.param == "payload"


@pytest.mark.parametrize("tolerance", [-1, math.nan, "300", None, True, pytest.param(-(10**5000), id="huge")])
def test_a_tolerance_that_is_not_a_number_of_seconds_is_rejected(tolerance: Any) -> None:
    with pytest.raises(InvalidParameterError, match="tolerance must be a non-negative number of seconds") as caught:
        construct_event(PAYLOAD, signed(PAYLOAD), SECRET, tolerance=tolerance)
    assert caught.value.param == "tolerance"


def test_a_signature_of_another_type_is_rejected() -> None:
    for signature in ([signed(PAYLOAD)], [], 0, False):
        with pytest.raises(InvalidParameterError, match="X-Signature header or the request's headers, not") as caught:
            construct_event(PAYLOAD, signature, SECRET)  # type: ignore[arg-type]
        assert caught.value.param == "signature"


# ── Signing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("payload", [PAYLOAD, PAYLOAD.decode(), b"", "Zoë", b"\xff"])
def test_sign_returns_the_documented_header(payload: str | bytes) -> None:
    assert sign(payload, SECRET) == signed(payload, at=NOW)
    assert sign(payload, SECRET, timestamp=17) == signed(payload, at=17)
    assert sign(payload, SECRET, timestamp=17.9) == signed(payload, at=17)
    assert sign(payload, SECRET, timestamp=10**12 - 1) == signed(payload, at=10**12 - 1)


@pytest.mark.parametrize("timestamp", [-1, math.nan, math.inf, 1e12, "17", True])
def test_sign_rejects_a_timestamp_that_is_not_a_time(timestamp: Any) -> None:
    with pytest.raises(InvalidParameterError, match="timestamp must be a number of seconds from 0 to") as caught:
        sign(PAYLOAD, SECRET, timestamp=timestamp)
    assert caught.value.param == "timestamp"


def test_sign_rejects_an_empty_secret_and_a_parsed_body() -> None:
    with pytest.raises(InvalidParameterError, match="secret must not be empty"):
        sign(PAYLOAD, "")
    with pytest.raises(InvalidParameterError, match="payload must be the request's body"):
        sign(ENVELOPE, SECRET)  # type: ignore[arg-type]


@given(st.text(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_stripe_accepts_signatures_made_by_sign(payload: str, secret: str) -> None:
    payload = payload.encode("utf-8", "replace").decode()
    assert stripe.WebhookSignature.verify_header(payload, sign(payload, secret), secret, tolerance=300)


@given(st.integers(0, 999), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_signatures_made_by_stripe_are_accepted(number: int, secret: str) -> None:
    payload = json.dumps({**ENVELOPE, "id": f"evt_{number}"})
    header = stripe.WebhookSignature.generate_signature_header(payload, secret)
    assert construct_event(payload, header, secret).id == f"evt_{number}"


# ── Arbitrary deliveries ─────────────────────────────────────────────────────────────────────────────────────────────

TIMES = st.one_of(st.integers(NOW - 400, NOW + 400).map(str), st.text(max_size=20), st.from_regex(r"\d{1,400}"))
DIGEST = st.one_of(st.just(signed(PAYLOAD)[-64:]), st.from_regex(r"\A[0-9a-fA-F]{60,68}\Z"), st.text(max_size=70))
ENTRIES = st.one_of(
    st.tuples(st.just("t"), TIMES),
    st.tuples(st.sampled_from(["v1", "v0", "sha256", "V1", ""]), DIGEST),
    st.tuples(st.text(max_size=5), st.text(max_size=5)),
)
HEADERS = st.one_of(
    st.none(),
    st.text(),
    st.binary(),
    st.lists(ENTRIES.map("=".join), max_size=6).map(",".join),
)
# Events whose fields, in the envelope or the customer, may be replaced by any JSON.
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
    ),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=8), values, max_size=3),
    max_leaves=8,
)
DEVIATING_EVENTS = st.builds(
    lambda envelope, customer, bare: {
        **ENVELOPE,
        "data": customer if bare else {"customer": customer},
        **envelope,
    },
    st.dictionaries(st.sampled_from([*ENVELOPE, "createdAt", "teamId"]), JSON, max_size=2),
    st.dictionaries(st.sampled_from([*FULL, *camel(FULL)]), JSON, max_size=2).map(lambda changes: {**FULL, **changes}),
    st.booleans(),
)
BODIES = st.one_of(
    st.binary(), st.just(PAYLOAD), st.one_of(JSON, DEVIATING_EVENTS).map(lambda value: json.dumps(value).encode())
)


@given(HEADERS, BODIES)
def test_an_arbitrary_unsigned_delivery_raises_only_a_signature_error(header: Any, body: bytes) -> None:
    with pytest.raises(WebhookSignatureError) as caught:
        construct_event(body, header, OTHER)
    assert OTHER not in str(caught.value)


@given(BODIES)
def test_every_signed_json_object_is_an_event(body: bytes) -> None:
    try:
        event = construct_event(body, sign(body, SECRET), SECRET)
    except WebhookPayloadError:
        assert not is_json_object(body)
        return
    assert isinstance(event, (CustomerCreatedEvent, CustomerUpdatedEvent, CustomerDeletedEvent, UnknownEvent))
    assert isinstance(event.id, str)
    assert isinstance(event.type, str)
    check_stored(event)


def is_json_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
