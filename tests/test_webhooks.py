"""Webhook deliveries: what is taken for genuine, and what an event is made of."""

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
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [NOW + 0.5]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def signed(payload: str | bytes, *, secret: str = SECRET, at: int = NOW) -> str:
    """Signed as the API's Webhooks page says, by the standard library alone."""
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
def test_each_documented_type_is_a_class_of_its_own(type_: str, cls: type) -> None:
    event = event_of(type=type_)
    assert type(event) is cls
    assert (event.id, event.type, event.team_id) == ("evt_1", type_, "team-1")
    assert event.created_at.isoformat() == "2026-03-04T05:06:07+00:00"


def test_an_event_can_be_matched_by_its_class() -> None:
    match event_of():
        case CustomerCreatedEvent() as event:
            assert event.data.customer.email == "jane@example.com"
        case other:
            pytest.fail(f"matched nothing: {other!r}")


SHAPES = {
    "in the envelope": lambda customer: {"customer": customer},
    "bare, as in older samples": lambda customer: customer,
}
FEWER = {"full": FULL, "some fields": {"id": "cus_1", "email": "jane@example.com"}, "the id alone": {"id": "cus_1"}}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("customer", FEWER.values(), ids=FEWER)
@pytest.mark.parametrize("spelled", [dict, camel], ids=["snake_case", "camelCase"])
def test_a_customer_is_read_in_every_shape_it_has_been_sent_in(shape: Any, customer: dict[str, Any], spelled: Any):
    payload = json.dumps({**spelled(ENVELOPE), "data": shape(spelled(customer))})
    event = construct_event(payload, signed(payload), SECRET)
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer == WebhookCustomer.model_validate(customer)
    assert event.data.customer.model_dump(exclude_unset=True).keys() == customer.keys()


def test_what_an_event_leaves_out_of_a_customer_is_none() -> None:
    event = event_of(data={"customer": {"id": "cus_1"}})
    assert isinstance(event, CustomerCreatedEvent)
    left_out = event.data.customer.model_dump(exclude={"id", "object"})
    assert set(left_out) == FULL.keys() - {"id", "object"}
    assert set(left_out.values()) == {None}


def test_a_customers_own_keys_keep_their_spelling() -> None:
    event = event_of(data={"customer": FULL})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer.custom_fields == FULL["custom_fields"]
    assert event.data.customer.metadata == {"crm_id": "42"}


def test_values_and_fields_that_the_server_adds_later_are_kept() -> None:
    customer = {**FULL, "sentiment": "delighted", "status": "archived", "tier": {"level": 3}}
    event = event_of(data={"customer": customer, "previous": {"name": "Jo"}}, livemode=True)
    assert isinstance(event, CustomerCreatedEvent)
    assert (event.data.customer.sentiment, event.data.customer.status) == ("delighted", "archived")
    dumped = event.model_dump(mode="json")
    assert (dumped["livemode"], dumped["data"]["previous"]) == (True, {"name": "Jo"})
    assert dumped["data"]["customer"]["tier"] == {"level": 3}


def test_every_other_type_is_an_unknown_event_with_its_whole_payload() -> None:
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


def test_an_event_of_another_type_need_have_no_more_than_its_id() -> None:
    payload = json.dumps({"id": "evt_1", "type": "ping", "hello": ["world"]})
    event = construct_event(payload, signed(payload), SECRET)
    assert event.model_dump(exclude_unset=True) == json.loads(payload)
    assert (event.created_at, event.team_id, event.data) == (None, None, None)


@pytest.mark.parametrize("data", [None, [1], "text", 7])
def test_the_data_of_another_type_may_be_anything(data: Any) -> None:
    assert event_of(type="ticket.created", data=data).data == data


@pytest.mark.parametrize("change", [{"customer": None}, {"customer": "cus_2"}])
def test_a_bare_customer_may_have_a_field_named_customer(change: dict[str, Any]) -> None:
    event = event_of(data={**FULL, **change})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer.model_dump(include={"id", "customer"}) == {"id": "cus_1", **change}


@pytest.mark.parametrize("type_", ["customer.merged", "Customer.Created", "", "unknown", "event"])
def test_a_type_is_known_only_if_it_is_exactly_one_of_the_three(type_: str) -> None:
    assert type(event_of(type=type_)) is UnknownEvent


@pytest.mark.parametrize("type_", ["customer.updated", "ticket.created"])
def test_an_event_survives_pickle_and_json(type_: str) -> None:
    event = event_of(type=type_)
    assert pickle.loads(pickle.dumps(event)) == event
    assert TypeAdapter[WebhookEvent](WebhookEvent).validate_json(event.model_dump_json()) == event
    assert TypeAdapter[WebhookEvent](WebhookEvent).validate_python(event) is event


# ── What is taken for genuine ────────────────────────────────────────────────────────────────────────────────────────


def rejected(signature: Any, payload: str | bytes = PAYLOAD, secret: Any = SECRET, **options: Any) -> str:
    with pytest.raises(WebhookSignatureError) as caught:
        construct_event(payload, signature, secret, **options)
    assert type(caught.value) is WebhookSignatureError
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert all(held not in told for held in (SECRET, OTHER, signed(payload)[-64:], legacy(PAYLOAD)[-64:]))
    return str(caught.value)


@pytest.mark.parametrize("payload", [PAYLOAD, PAYLOAD.decode()], ids=["bytes", "str"])
def test_a_genuine_delivery_is_taken(payload: str | bytes) -> None:
    assert construct_event(payload, signed(payload), SECRET).id == "evt_1"


def test_a_header_is_taken_as_bytes_too() -> None:
    assert construct_event(PAYLOAD, signed(PAYLOAD).encode(), SECRET).id == "evt_1"


def test_a_text_payload_is_signed_as_utf_8() -> None:
    payload = json.dumps({**ENVELOPE, "team_id": "Zoë"}, ensure_ascii=False)
    assert construct_event(payload, signed(payload), SECRET).team_id == "Zoë"


def test_another_secret_is_refused_and_the_message_says_what_to_check() -> None:
    message = rejected(signed(PAYLOAD, secret=OTHER))
    assert "whsec_…" in message
    assert "parsed and written again" in message


def test_a_body_that_was_parsed_and_written_again_is_refused() -> None:
    rewritten = json.dumps(json.loads(PAYLOAD), separators=(",", ":"))
    assert "parsed and written again" in rejected(signed(PAYLOAD), rewritten)


@given(st.integers(0, len(PAYLOAD) * 8 - 1))
def test_one_changed_bit_is_refused(bit: int) -> None:
    changed = bytearray(PAYLOAD)
    changed[bit // 8] ^= 1 << bit % 8
    at = int(time.time())
    with pytest.raises(WebhookSignatureError):
        construct_event(bytes(changed), signed(PAYLOAD, at=at), SECRET)


def test_the_signed_time_cannot_be_changed() -> None:
    assert "does not match" in rejected(signed(PAYLOAD, at=NOW - 1000).replace(str(NOW - 1000), str(NOW)))


@pytest.mark.parametrize("age", [-300, -299, 0, 299, 300])
def test_a_signature_is_taken_within_the_tolerance(age: int) -> None:
    assert construct_event(PAYLOAD, signed(PAYLOAD, at=NOW - age), SECRET).id == "evt_1"


@pytest.mark.parametrize(
    ("age", "said"), [(301, "made 301 s ago"), (-301, "made 301 s ahead of"), (NOW, f"made {NOW} s ago")]
)
def test_a_signature_is_refused_beyond_the_tolerance_in_both_directions(age: int, said: str) -> None:
    message = rejected(signed(PAYLOAD, at=NOW - age))
    assert said in message
    assert "the tolerance is 300 s" in message
    assert "clock" in message


def test_fractions_of_a_second_do_not_count(clock: list[float]) -> None:
    clock[0] = NOW + 0.9
    assert construct_event(PAYLOAD, signed(PAYLOAD, at=NOW - 300), SECRET).id == "evt_1"


def test_the_time_is_signed_as_it_is_written() -> None:
    digest = hmac.new(SECRET.encode(), b"00%d." % NOW + PAYLOAD, hashlib.sha256).hexdigest()
    assert construct_event(PAYLOAD, f"t=00{NOW},v1={digest}", SECRET).id == "evt_1"


def test_of_two_times_the_first_counts() -> None:
    assert construct_event(PAYLOAD, f"{signed(PAYLOAD)},t=1", SECRET).id == "evt_1"
    assert "does not match" in rejected(f"t=1,{signed(PAYLOAD)}")


def test_the_tolerance_can_be_chosen() -> None:
    an_hour_old = signed(PAYLOAD, at=NOW - 3600)
    assert construct_event(PAYLOAD, an_hour_old, SECRET, tolerance=3600).id == "evt_1"
    assert construct_event(PAYLOAD, an_hour_old, SECRET, tolerance=math.inf).id == "evt_1"
    assert construct_event(PAYLOAD, signed(PAYLOAD), SECRET, tolerance=0).id == "evt_1"
    assert "the tolerance is 0.5 s" in rejected(signed(PAYLOAD, at=NOW - 1), tolerance=0.5)
    assert "the tolerance is 1000000 s" in rejected(signed(PAYLOAD, at=0), tolerance=1_000_000)


def test_a_wrong_signature_says_nothing_of_the_clock() -> None:
    assert "clock" not in rejected(signed(PAYLOAD, secret=OTHER, at=NOW - 1000))


def test_any_of_several_signatures_will_do_while_a_secret_is_replaced() -> None:
    old, new = signed(PAYLOAD, secret=OTHER), signed(PAYLOAD).partition(",")[2]
    assert construct_event(PAYLOAD, f"{old},{new}", SECRET).id == "evt_1"
    assert construct_event(PAYLOAD, f"{old},{new}", OTHER).id == "evt_1"
    assert construct_event(PAYLOAD, f"{old}, {new} ,v0=abc,v2=def,odd", SECRET).id == "evt_1"


def test_a_header_may_hold_a_hundred_signatures_and_some_that_are_none() -> None:
    at, _, good = signed(PAYLOAD).partition(",")
    assert construct_event(PAYLOAD, at + f",v1=junk,v1={'0' * 64}" * 100 + f",{good}", SECRET).id == "evt_1"


def test_a_secret_may_be_of_a_subclass_of_str() -> None:
    class Secret(str):
        __slots__ = ()

    assert construct_event(PAYLOAD, signed(PAYLOAD), Secret(SECRET)).id == "evt_1"
    assert "does not match" in rejected(signed(PAYLOAD, secret=SECRET[0]), secret=Secret(SECRET))


def test_any_of_several_secrets_will_do() -> None:
    for secrets in ([OTHER, SECRET], (SECRET, OTHER), [SECRET]):
        assert construct_event(PAYLOAD, signed(PAYLOAD), secrets).id == "evt_1"
    rejected(signed(PAYLOAD), secret=[OTHER, OTHER + "2"])


def test_the_older_form_of_signature_is_taken_at_any_age() -> None:
    assert construct_event(PAYLOAD, legacy(PAYLOAD), SECRET, tolerance=0).id == "evt_1"
    assert construct_event(PAYLOAD, legacy(PAYLOAD), [OTHER, SECRET]).id == "evt_1"
    assert "does not match" in rejected(legacy(PAYLOAD, OTHER))


def test_the_older_form_counts_for_nothing_beside_the_newer() -> None:
    rejected(f"{signed(PAYLOAD, secret=OTHER)},{legacy(PAYLOAD)}")
    rejected(f"{signed(PAYLOAD, at=NOW - 1000)},{legacy(PAYLOAD)}")
    rejected(f"t=now,v1={DIGITS},{legacy(PAYLOAD)}")


def test_the_forms_are_not_taken_for_each_other() -> None:
    rejected(legacy(PAYLOAD).replace("sha256", f"t={NOW},v1"))
    rejected(signed(PAYLOAD).replace(f"t={NOW},v1", "sha256"))
    rejected(signed(PAYLOAD).replace("v1", "v0"))


def test_hexadecimal_digits_may_be_of_either_case() -> None:
    name, _, digits = signed(PAYLOAD).rpartition("=")
    assert construct_event(PAYLOAD, f"{name}={digits.upper()}", SECRET).id == "evt_1"


@pytest.mark.parametrize("nothing", [None, "", b""])
def test_a_delivery_without_signature_is_refused(nothing: object) -> None:
    assert "has no signature" in rejected(nothing)


DIGITS = "0" * 64
RUBBISH: dict[str, str | bytes] = {
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


@pytest.mark.parametrize("header", RUBBISH.values(), ids=RUBBISH)
def test_whatever_else_arrives_as_a_signature_is_refused(header: str | bytes) -> None:
    assert "not of the form t=" in rejected(header)


def test_a_body_of_50_mb_is_refused_like_any_other() -> None:
    body = b"x" * 50_000_000
    with pytest.raises(WebhookSignatureError, match="does not match"):
        construct_event(body, f"t={NOW},v1={DIGITS}", SECRET)
    with pytest.raises(WebhookPayloadError, match="Invalid JSON"):
        construct_event(body, signed(body), SECRET)


WRONG = {
    "numbers in tags": ("tags", "[" + "1," * 50_000 + "1]"),
    "lists in tags": ("tags", "[" + "[]," * 25_000 + "[]]"),
    "numbers in metadata": ("metadata", "{" + ",".join(f'"{n}":1' for n in range(15_000)) + "}"),
    "objects in metadata": ("metadata", "{" + ",".join(f'"{n}":{{}}' for n in range(15_000)) + "}"),
    "a number of many digits": ("ticket_count", "1" * 3_000_000),
    "a blank time": ("created_at", '"2026-01-01T00:00' + " " * 3_000_000 + 'x"'),
}


@pytest.mark.parametrize(("field", "value"), WRONG.values(), ids=WRONG)
def test_many_wrong_values_are_read_without_delay_and_gigabytes(field: str, value: str) -> None:
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


def test_a_payload_that_cannot_have_been_sent_is_refused() -> None:
    with pytest.raises(WebhookSignatureError, match="it is not Unicode text"):
        construct_event("\ud800", f"t={NOW},v1={DIGITS}", SECRET)


def test_nothing_is_parsed_before_the_signature_is_found_right(monkeypatch: pytest.MonkeyPatch) -> None:
    class Untouchable:
        def validate_json(self, body: bytes) -> None:
            raise AssertionError("parsed")

    monkeypatch.setattr("cstar.webhooks._EVENTS", Untouchable())
    rejected(signed(PAYLOAD, secret=OTHER))
    rejected(signed(PAYLOAD, at=NOW - 301))
    rejected("rubbish")
    with pytest.raises(AssertionError, match="parsed"):
        construct_event(PAYLOAD, signed(PAYLOAD), SECRET)


def test_signatures_are_compared_in_constant_time_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(ours: bytes, theirs: bytes) -> bool:
        compared.append((ours, theirs))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    rejected(signed(PAYLOAD))
    assert compared == [(bytes.fromhex(signed(PAYLOAD)[-64:]),) * 2]


# ── The body, as frameworks have it ──────────────────────────────────────────────────────────────────────────────────


def mapped(payload: bytes) -> mmap.mmap:
    memory = mmap.mmap(-1, len(payload))
    memory.write(payload)
    return memory


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


# Not of a memoryview: Python before 3.12.2 may crash when a memoryview is in a reference cycle, as in a traceback.
def test_a_bytes_like_payload_with_a_wrong_signature_is_refused() -> None:
    rejected(signed(PAYLOAD, secret=OTHER), bytearray(PAYLOAD))


def test_a_buffer_of_the_caller_can_be_resized_afterwards() -> None:
    payload = bytearray(PAYLOAD)
    construct_event(payload, signed(PAYLOAD), SECRET)
    payload.clear()


def test_a_released_buffer_is_refused() -> None:
    view = memoryview(PAYLOAD)
    view.release()
    with pytest.raises(InvalidParameterError, match="payload must be the request's body"):
        construct_event(view, signed(PAYLOAD), SECRET)


def test_what_is_verified_is_what_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = bytearray(PAYLOAD)
    compare = hmac.compare_digest

    def change_the_payload(ours: bytes, theirs: bytes) -> bool:
        payload[:] = PAYLOAD.replace(b"evt_1", b"evt_2")
        return compare(ours, theirs)

    monkeypatch.setattr(hmac, "compare_digest", change_the_payload)
    assert construct_event(payload, signed(PAYLOAD), SECRET).id == "evt_1"


# ── The headers, as frameworks have them ─────────────────────────────────────────────────────────────────────────────


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
    "dict of lists, as AWS Lambda has it": lambda headers: {name: [value] for name, value in headers},
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


@pytest.mark.parametrize("made", REQUEST_HEADERS.values(), ids=REQUEST_HEADERS)
def test_the_signature_is_found_in_the_headers_of_a_request(made: Any) -> None:
    headers = made([("Content-Type", "application/json"), ("X-Signature", signed(PAYLOAD))])
    assert construct_event(PAYLOAD, headers, SECRET).id == "evt_1"
    rejected(headers, PAYLOAD + b" ")


@pytest.mark.parametrize("made", REQUEST_HEADERS.values(), ids=REQUEST_HEADERS)
def test_headers_without_a_signature_are_refused_as_none_is(made: Any) -> None:
    headers = made([("Content-Type", "application/json"), ("X-Event-ID", "evt_1")])
    assert rejected(headers) == rejected(None)


@pytest.mark.parametrize("empty", [{}, {"X-Signature": ""}, {"X-Signature": None}, {"X-Signature": []}])
def test_an_empty_header_is_refused_as_none_is(empty: Any) -> None:
    assert rejected(empty) == rejected(None)


@pytest.mark.parametrize(
    "made",
    [
        lambda one, two: {"X-Signature": [one, two]},
        lambda one, two: {"X-Signature": one, "x-signature": two},
        lambda one, two: httpx.Headers([("X-Signature", one), ("X-Signature", two)]),
        lambda one, two: message([("X-Signature", one), ("X-Signature", two)]),
        lambda one, two: CIMultiDict([("X-Signature", one), ("X-Signature", two)]),
        lambda one, two: Headers([("X-Signature", one), ("X-Signature", two)]),
    ],
)
def test_several_signature_headers_are_joined(made: Any) -> None:
    assert construct_event(PAYLOAD, made(signed(PAYLOAD, secret=OTHER), signed(PAYLOAD)), SECRET).id == "evt_1"


# ── Times in milliseconds ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_signed_time_may_be_in_milliseconds() -> None:
    for age in (-300, 0, 300):
        assert construct_event(PAYLOAD, signed(PAYLOAD, at=(NOW - age) * 1000 + 999), SECRET).id == "evt_1"


def test_the_age_of_a_time_in_milliseconds_is_in_seconds() -> None:
    assert "made 301 s ago" in rejected(signed(PAYLOAD, at=(NOW - 301) * 1000 + 999))
    assert "made 301 s ahead of" in rejected(signed(PAYLOAD, at=(NOW + 301) * 1000))


# ── The secret, and what an error reporter sends ─────────────────────────────────────────────────────────────────────


def shown_by_a_reporter(error: BaseException) -> str:
    """The local variables of all frames, as error reporters send them: with those of the errors in its context."""
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


SECRETS = {
    "one": SECRET,
    "list": [OTHER, SECRET],
    "tuple": (SECRET, OTHER),
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
    "signature of another form": {"signature": "let me in"},
    "signature of another type": {"signature": 7},
    "no signature in the headers": {"signature": {"X-Event-ID": "evt_1"}},
    "old signature": {"tolerance": 0, "signature": signed(PAYLOAD, at=NOW - 9)},
    "wrong tolerance": {"tolerance": "soon"},
    "payload of another type": {"payload": {}},
    "payload that is no text": {"payload": "\ud800"},
    "no JSON": {"payload": b"<html>", "signature": signed(b"<html>")},
    "no object": {"payload": b"[]", "signature": signed(b"[]")},
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_frame_of_an_error_shows_the_secret(secret: Any, mistake: dict[str, Any]) -> None:
    arguments = {"payload": PAYLOAD, "signature": signed(PAYLOAD), "secret": secret, **mistake}
    with pytest.raises(CstarError) as caught:
        construct_event(**arguments)
    shown = shown_by_a_reporter(caught.value)
    assert SECRET not in shown
    assert OTHER not in shown


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_frame_of_an_error_in_sign_shows_the_secret(secret: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        sign(PAYLOAD, secret, timestamp=-1)
    shown = shown_by_a_reporter(caught.value)
    assert SECRET not in shown
    assert OTHER not in shown


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    "place", ["hmac.new", "hmac.HMAC.__init__", "hmac.HMAC.update", "hmac.compare_digest", "time.time"]
)
@pytest.mark.parametrize("secret", [SECRET, [OTHER, SECRET]], ids=["one", "several"])
def test_no_frame_of_an_interrupt_shows_the_secret(
    monkeypatch: pytest.MonkeyPatch, secret: Any, place: str, error: type[BaseException]
) -> None:
    monkeypatch.setattr(place, fail_with(error()))
    calls = [lambda: construct_event(PAYLOAD, SIGNED, secret), lambda: sign(PAYLOAD, SECRET)]
    for call in calls:
        if place == "hmac.compare_digest" and call is not calls[0]:
            continue
        with pytest.raises(error) as caught:
            call()
        shown = shown_by_a_reporter(caught.value)
        assert SECRET not in shown
        assert OTHER not in shown


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # interrupted ends of generators
def test_no_call_can_be_interrupted_so_that_a_frame_shows_the_secret() -> None:
    """Signals are handled when a function is entered, and after each call."""

    def interrupted_at(number: int, call: Callable[[], object]) -> BaseException | None:
        count = 0

        def profile(frame: FrameType, event: str, argument: object) -> None:
            nonlocal count
            is_outside = frame.f_code.co_filename == __file__
            if not is_outside and not (event == "call" and frame.f_code in (construct_event.__code__, sign.__code__)):
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
            shown = shown_by_a_reporter(caught)
            assert SECRET not in shown, number
            assert OTHER not in shown, number
            number += 1
        assert number > 20


def test_no_frame_shows_the_signature_that_would_be_right() -> None:
    with pytest.raises(WebhookSignatureError) as caught:
        construct_event(PAYLOAD, f"t={NOW},v1={'0' * 64}", SECRET)
    shown = shown_by_a_reporter(caught.value)
    assert signed(PAYLOAD)[-64:] not in shown
    assert repr(bytes.fromhex(signed(PAYLOAD)[-64:])) not in shown


def test_an_error_about_the_secret_keeps_the_error_being_handled() -> None:
    def receive() -> None:
        try:
            {}["CSTAR_WEBHOOK_SECRET"]
        except KeyError:
            construct_event(PAYLOAD, SIGNED, "")

    with pytest.raises(InvalidParameterError) as caught:
        receive()
    assert type(caught.value.__context__) is KeyError


def test_secrets_show_nothing_and_do_not_pickle() -> None:
    secrets = _Secrets([SECRET, OTHER])
    assert SECRET not in f"{secrets!r} {secrets} {secrets!s:>9}"
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(secrets)
    with pytest.raises(TypeError, match="cannot pickle"):
        copy.deepcopy(secrets)


# ── Signed, but not as documented ────────────────────────────────────────────────────────────────────────────────────

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
    """An event can be stored in every way, and is the same when it is read back."""
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
    ("updated_at", {"seconds": 1}),
    ("ticket_count", "many"),
    ("ticket_count", 1.5),
    ("tags", [["a"]]),
    ("metadata", {"a": {"b": 1}}),
    ("metadata", "x"),
    ("custom_fields", "x"),
    ("status", {"value": "active"}),
]


@pytest.mark.parametrize(("field", "value"), KEPT_IN_CUSTOMER, ids=str)
def test_an_odd_value_of_a_customer_is_kept_as_received(
    caplog: pytest.LogCaptureFixture, field: str, value: Any
) -> None:
    event = signed_event({**ENVELOPE, "data": {"customer": {**FULL, field: value}}})
    assert isinstance(event, CustomerCreatedEvent)
    assert getattr(event.data.customer, field) == value
    assert event.data.customer.email == "jane@example.com"
    check_stored(event)
    assert warnings(caplog) == [f"Webhook event evt_1 is not as documented in: data.customer.{field}"]


@pytest.mark.parametrize("data", [{"customer": FULL}, FULL], ids=["in the envelope", "bare"])
@pytest.mark.parametrize("type_", ["customer.created", "customer.updated", "customer.deleted"])
@pytest.mark.parametrize(("field", "value"), [("created_at", "soon"), ("created_at", {}), ("team_id", ["t"])])
def test_an_odd_value_of_an_event_is_kept_as_received(
    caplog: pytest.LogCaptureFixture, type_: str, data: Any, field: str, value: Any
) -> None:
    event = signed_event({**ENVELOPE, "type": type_, "data": data, field: value})
    assert (event.type, getattr(event, field)) == (type_, value)
    assert not isinstance(event, UnknownEvent)
    assert event.data.customer == WebhookCustomer.model_validate(FULL)
    check_stored(event)
    assert warnings(caplog) == [f"Webhook event evt_1 is not as documented in: {field}"]


@pytest.mark.parametrize(("field", "value"), [("created_at", "soon"), ("created_at", []), ("team_id", {"id": 1})])
def test_an_odd_value_of_an_unknown_event_is_kept_as_received(
    caplog: pytest.LogCaptureFixture, field: str, value: Any
) -> None:
    event = signed_event({**ENVELOPE, "type": "ticket.created", field: value})
    assert type(event) is UnknownEvent
    assert (event.data, getattr(event, field)) == (ENVELOPE["data"], value)
    check_stored(event)
    assert warnings(caplog) == [f"Webhook event evt_1 is not as documented in: {field}"]


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("name", 7, "7"),
        ("notes", False, "false"),
        ("tags", "vip", ["vip"]),
        ("tags", ["vip", 7, None, 1.5, True], ["vip", "7", "1.5", "true"]),
        ("metadata", {"crm": 42, "gone": None, "x": "y"}, {"crm": "42", "x": "y"}),
        ("metadata", [], {}),
        ("custom_fields", [], {}),
        ("ticket_count", "5", 5),
        ("created_at", "2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("created_at", "2026-01-02 03:04:05+00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("updated_at", 1_767_323_045_000, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("updated_at", 1_767_323_045, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_a_value_of_another_type_is_converted_where_its_meaning_is_clear(
    caplog: pytest.LogCaptureFixture, field: str, value: Any, read: Any
) -> None:
    event = signed_event({**ENVELOPE, "data": {"customer": {**FULL, field: value}}})
    assert isinstance(event, CustomerCreatedEvent)
    assert getattr(event.data.customer, field) == read
    check_stored(event)
    assert warnings(caplog) == []


@pytest.mark.parametrize("type_", ["customer.created", "ticket.created"])
def test_the_time_of_an_event_always_has_a_zone(type_: str) -> None:
    for written in ("2026-03-04T05:06:07", "2026-03-04 05:06:07Z", 1_772_600_767_000):
        event = signed_event({**ENVELOPE, "type": type_, "created_at": written})
        assert event.created_at == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    "envelope", [without("created_at", "team_id"), {**ENVELOPE, "created_at": None, "team_id": None}]
)
@pytest.mark.parametrize("type_", ["customer.created", "ticket.created"])
def test_a_time_or_team_that_is_missing_or_null_is_none(
    caplog: pytest.LogCaptureFixture, envelope: dict[str, Any], type_: str
) -> None:
    event = signed_event({**envelope, "type": type_})
    assert (event.type, event.created_at, event.team_id) == (type_, None, None)
    check_stored(event)
    assert warnings(caplog) == []


def test_every_field_of_a_customer_but_the_id_may_be_null(caplog: pytest.LogCaptureFixture) -> None:
    event = signed_event({**ENVELOPE, "data": {"customer": {**dict.fromkeys(FULL), "id": "cus_1"}}})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer.object == "customer"
    assert set(event.data.customer.model_dump(exclude={"id", "object"}).values()) == {None}
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


@pytest.mark.parametrize("data", NO_CUSTOMER, ids=str)
@pytest.mark.parametrize("type_", ["customer.created", "customer.deleted"])
def test_a_known_type_without_a_customer_is_an_unknown_event(
    caplog: pytest.LogCaptureFixture, type_: str, data: Any
) -> None:
    event = signed_event({**ENVELOPE, "type": type_, "data": data})
    assert type(event) is UnknownEvent
    assert (event.id, event.type, event.team_id, event.data) == ("evt_1", type_, "team-1", data)
    check_stored(event)
    assert warnings(caplog) == ["Webhook event evt_1 is not as documented in: data"]


def test_a_known_type_without_data_is_an_unknown_event(caplog: pytest.LogCaptureFixture) -> None:
    event = signed_event(without("data"))
    assert type(event) is UnknownEvent
    assert (event.type, event.data) == ("customer.created", None)
    check_stored(event)
    assert warnings(caplog) == ["Webhook event evt_1 is not as documented in: data"]


def test_a_customer_without_an_id_is_taken_from_the_data_around_it() -> None:
    event = signed_event({**ENVELOPE, "data": {**FULL, "customer": {"name": "Jo"}}})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer.model_extra == {"customer": {"name": "Jo"}}
    check_stored(event)


def test_a_flat_payload_keeps_its_copies_as_extra_fields(caplog: pytest.LogCaptureFixture) -> None:
    copies = {"customer": FULL, "customer_id": "cus_1", "email": "jane@example.com", "event": "customer.created"}
    event = signed_event({**ENVELOPE, **copies})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.model_extra == copies
    check_stored(event)
    assert warnings(caplog) == []


@pytest.mark.parametrize("tags", [["vip"], None], ids=["as documented", "odd"])
def test_changes_beside_a_customer_are_kept_as_an_extra_field(tags: Any) -> None:
    changes = {"name": {"from": "Jo", "to": "Jane", "at": 1.50, "by": None}}
    event = signed_event({**ENVELOPE, "created_at": tags and "soon", "data": {"customer": FULL, "changes": changes}})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.model_extra == {"changes": changes}
    check_stored(event)


def test_numbers_in_extra_fields_of_an_odd_customer_stay_numbers() -> None:
    event = signed_event({**ENVELOPE, "data": {**FULL, "name": 7, "score": 4.5, "gone": None}})
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer.model_extra == {"score": 4.5, "gone": None}
    check_stored(event)


@pytest.mark.parametrize("type_", ["customer.created", "ticket.created"])
@pytest.mark.parametrize("null", ["created_at", "createdAt", None])
def test_a_field_in_both_spellings_is_read_once(type_: str, null: str | None) -> None:
    both = {"created_at": "2026-03-04T05:06:07Z", "createdAt": "2026-03-04T05:06:07.000Z"}
    event = signed_event({**ENVELOPE, **both, **({null: None} if null else {}), "type": type_})
    assert event.created_at == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert event.model_extra == {}
    check_stored(event)


def test_a_known_type_as_an_unknown_event_is_stored_as_one() -> None:
    event = UnknownEvent(id="evt_1", type="customer.created", data=7)
    check_stored(event)


def test_an_odd_event_inside_another_model_is_read_back() -> None:
    class Job(BaseModel):
        event: WebhookEvent

    job = Job(event=signed_event({**ENVELOPE, "created_at": "soon"}))
    assert Job.model_validate_json(job.model_dump_json()) == job


def test_reading_back_an_odd_event_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stored = signed_event({**ENVELOPE, "created_at": "soon"}).model_dump_json()
    caplog.clear()
    EVENTS.validate_json(stored)
    assert warnings(caplog) == []


def test_one_warning_names_all_fields_and_no_value(caplog: pytest.LogCaptureFixture) -> None:
    customer = {**FULL, "tags": [["private"]], "metadata": {"private": {"private": 1}}, "updated_at": "private"}
    signed_event({**ENVELOPE, "team_id": ["private"], "createdAt": {}, "data": {"customer": customer}})
    fields = "data.customer.metadata, data.customer.tags, data.customer.updated_at, team_id"
    assert warnings(caplog) == [f"Webhook event evt_1 is not as documented in: {fields}"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_delivery_as_documented_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    signed_event(ENVELOPE)
    signed_event({**ENVELOPE, "type": "ticket.created"})
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "value", [[], "x", 7, [{"id": "evt_1"}], object(), {"type": "ticket.created"}, {"id": object()}]
)
def test_reading_back_what_is_no_event_is_an_error(value: Any) -> None:
    with pytest.raises(ValidationError):
        EVENTS.validate_python(value)


def test_an_event_can_be_read_back_without_its_type() -> None:
    assert EVENTS.validate_python({"id": "evt_1"}) == UnknownEvent(id="evt_1", type="")


# ── Events without an id or a type ───────────────────────────────────────────────────────────────────────────────────

NO_ID = [without("id"), *({**ENVELOPE, "id": each} for each in (None, "", " ", 7, ["evt_1"]))]


@pytest.mark.parametrize("envelope", NO_ID, ids=lambda envelope: repr(envelope.get("id", "missing")))
@pytest.mark.parametrize("type_", ["customer.created", "ticket.created"])
def test_an_event_without_an_id_has_that_of_the_headers(
    caplog: pytest.LogCaptureFixture, envelope: dict[str, Any], type_: str
) -> None:
    event = signed_event({**envelope, "type": type_}, X_Event_ID="evt_header")
    assert (event.id, event.type) == ("evt_header", type_)
    check_stored(event)
    assert warnings(caplog) == ["Webhook event evt_header is not as documented in: id"]


@pytest.mark.parametrize("envelope", NO_ID, ids=lambda envelope: repr(envelope.get("id", "missing")))
def test_an_event_without_any_id_has_a_digest_of_its_body(envelope: dict[str, Any]) -> None:
    body = json.dumps(envelope).encode()
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    assert construct_event(body, signed(body), SECRET).id == digest
    assert construct_event(body, {"X-Signature": signed(body)}, SECRET).id == digest
    check_stored(construct_event(body, signed(body), SECRET))


@pytest.mark.parametrize("header", ["", " ", "evt\n1", "evt_1, evt_2", "x" * 256, "\xe9"])
def test_a_malformed_event_id_in_the_headers_is_not_used(header: str) -> None:
    assert signed_event(without("id"), X_Event_ID=header).id.startswith("sha256:")


def test_the_id_of_the_body_precedes_that_of_the_headers() -> None:
    assert signed_event({**ENVELOPE, "created_at": "soon"}, X_Event_ID="evt_header").id == "evt_1"


NO_TYPE = [without("type"), *({**ENVELOPE, "type": each} for each in (None, 7, ["customer.created"]))]


@pytest.mark.parametrize("envelope", NO_TYPE, ids=lambda envelope: repr(envelope.get("type", "missing")))
def test_an_unsigned_header_does_not_choose_the_type_of_an_event(
    caplog: pytest.LogCaptureFixture, envelope: dict[str, Any]
) -> None:
    event = signed_event(envelope, X_Event_Type="customer.deleted")
    assert (type(event), event.type) == (UnknownEvent, "")
    check_stored(event)
    assert warnings(caplog) == ["Webhook event evt_1 is not as documented in: type"]


@pytest.mark.parametrize("envelope", NO_TYPE, ids=lambda envelope: repr(envelope.get("type", "missing")))
def test_an_event_without_any_type_is_an_unknown_event(envelope: dict[str, Any]) -> None:
    event = construct_event(json.dumps(envelope), signed(json.dumps(envelope)), SECRET)
    assert type(event) is UnknownEvent
    assert (event.id, event.type, event.data) == ("evt_1", "", ENVELOPE["data"])
    check_stored(event)


def test_the_type_of_the_body_precedes_that_of_the_headers() -> None:
    event = signed_event({**ENVELOPE, "created_at": "soon"}, X_Event_Type="customer.deleted")
    assert type(event) is CustomerCreatedEvent


def test_an_empty_object_is_an_event(caplog: pytest.LogCaptureFixture) -> None:
    event = signed_event("{}")
    assert event == UnknownEvent(id="sha256:" + hashlib.sha256(b"{}").hexdigest(), type="")
    check_stored(event)
    assert warnings(caplog) == [f"Webhook event {event.id} is not as documented in: id, type"]


# ── Text that is not as documented ───────────────────────────────────────────────────────────────────────────────────


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
def test_text_that_is_not_as_documented_is_read(encode: Any, name: str, type_: str) -> None:
    data = {"customer": {**FULL, "name": "Zoë"}}
    body = encode(json.dumps({**ENVELOPE, "type": type_, "data": data}, ensure_ascii=False))
    event = construct_event(body, signed(body), SECRET)
    assert event.model_dump()["data"]["customer"]["name"] == name
    check_stored(event)


@pytest.mark.parametrize("number", ["1.10", "1e5", "100000000000000000000", "-0.0", "1" + "0" * 5000])
def test_a_number_in_metadata_is_its_text_as_received(number: str) -> None:
    body = json.dumps({**ENVELOPE, "data": {**FULL, "metadata": {"n": "?"}}}).replace('"?"', number)
    event = construct_event(body, signed(body), SECRET)
    assert isinstance(event, CustomerCreatedEvent)
    assert event.data.customer.metadata == {"n": number}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("", "Invalid JSON"),
        ("<html>", "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON: recursion limit"),
        ('{"data":' * 100_000, "Invalid JSON: recursion limit"),
        ('"private\\ud800"', "Input should be an object"),
        ("[]", "Input should be an object"),
        ('["private"]', "Input should be an object"),
        ("null", "Input should be an object"),
        ("7", "Input should be an object"),
    ],
)
def test_what_is_signed_but_no_json_object_is_a_payload_error(payload: str, said: str) -> None:
    with pytest.raises(WebhookPayloadError) as caught:
        construct_event(payload, signed(payload), SECRET)
    assert str(caught.value).startswith("The delivery is signed, but is not an event as documented: ")
    assert said in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    told = "".join(traceback.format_exception(caught.value))
    assert "private" not in told
    assert SECRET not in told


def test_an_object_nested_deeper_than_can_be_stored_is_a_payload_error() -> None:
    for depth in range(190, 1200, 7):
        body = json.dumps({**ENVELOPE, "type": "x", "data": "?"}).replace('"?"', "[" * depth + "]" * depth)
        try:
            event = construct_event(body, signed(body), SECRET)
        except WebhookPayloadError:
            continue
        check_stored(event)


def test_no_error_carries_along_what_it_must_not_tell() -> None:
    with pytest.raises(InvalidParameterError) as about_secret:
        sign(PAYLOAD, SECRET + "\ud800")
    with pytest.raises(WebhookPayloadError) as about_payload:
        construct_event("private", signed("private"), SECRET)
    with pytest.raises(WebhookSignatureError) as about_text:
        construct_event("private\ud800", signed("private"), SECRET)
    for caught in (about_secret, about_payload, about_text):
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_neither_error_is_caught_as_the_other() -> None:
    assert not issubclass(WebhookPayloadError, WebhookSignatureError)
    assert not issubclass(WebhookSignatureError, WebhookPayloadError)


# ── Mistakes in a receiver ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "must not be empty"),
        (" ", "must not be empty"),
        (f"{SECRET}\n", "blanks or line breaks"),
        (f" {SECRET}", "blanks or line breaks"),
        (None, "a string, or a list of at least one, not a NoneType (is its environment variable set?)"),
        (SECRET.encode(), "or a list of at least one, not a bytes"),
        (bytearray(SECRET.encode()), "or a list of at least one, not a bytearray"),
        ([], "at least one"),
        ([SECRET, ""], "must not be empty"),
        ([SECRET, None], "not a NoneType"),
        ({SECRET}, "or a list"),
        ("\ud800", "Unicode"),
    ],
)
def test_a_secret_that_proves_nothing_is_refused(secret: Any, said: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        construct_event(PAYLOAD, signed(PAYLOAD), secret)
    assert caught.value.param == "secret"
    assert SECRET not in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("payload", [ENVELOPE, None, 7, [PAYLOAD], {"a"}, io.BytesIO(PAYLOAD), object()])
def test_a_payload_that_is_not_the_raw_body_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidParameterError, match="body as it arrived and before it was parsed, bytes") as caught:
        construct_event(payload, signed(PAYLOAD), SECRET)
    assert caught.value.param == "payload"


@pytest.mark.parametrize("tolerance", [-1, math.nan, "300", None, True, pytest.param(-(10**5000), id="huge")])
def test_a_tolerance_that_is_no_number_of_seconds_is_refused(tolerance: Any) -> None:
    with pytest.raises(InvalidParameterError, match="tolerance must be a number of seconds from 0 up, not") as caught:
        construct_event(PAYLOAD, signed(PAYLOAD), SECRET, tolerance=tolerance)
    assert caught.value.param == "tolerance"


def test_a_signature_of_another_type_is_refused() -> None:
    for signature in ([signed(PAYLOAD)], [], 0, False):
        with pytest.raises(InvalidParameterError, match="X-Signature header or the request's headers, not") as caught:
            construct_event(PAYLOAD, signature, SECRET)  # type: ignore[arg-type]
        assert caught.value.param == "signature"


# ── Signing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("payload", [PAYLOAD, PAYLOAD.decode(), b"", "Zoë", b"\xff"])
def test_sign_makes_the_header_that_the_api_documents(payload: str | bytes) -> None:
    assert sign(payload, SECRET) == signed(payload, at=NOW)
    assert sign(payload, SECRET, timestamp=17) == signed(payload, at=17)
    assert sign(payload, SECRET, timestamp=17.9) == signed(payload, at=17)
    assert sign(payload, SECRET, timestamp=10**12 - 1) == signed(payload, at=10**12 - 1)


@pytest.mark.parametrize("timestamp", [-1, math.nan, math.inf, 1e12, "17", True])
def test_sign_refuses_what_is_no_time(timestamp: Any) -> None:
    with pytest.raises(InvalidParameterError, match="timestamp must be a number of seconds from 0 up to") as caught:
        sign(PAYLOAD, SECRET, timestamp=timestamp)
    assert caught.value.param == "timestamp"


def test_sign_refuses_an_empty_secret_and_a_parsed_body() -> None:
    with pytest.raises(InvalidParameterError, match="secret must not be empty"):
        sign(PAYLOAD, "")
    with pytest.raises(InvalidParameterError, match="payload must be the request's body"):
        sign(ENVELOPE, SECRET)  # type: ignore[arg-type]


@given(st.text(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_stripes_own_verifier_takes_what_we_sign(payload: str, secret: str) -> None:
    payload = payload.encode("utf-8", "replace").decode()
    assert stripe.WebhookSignature.verify_header(payload, sign(payload, secret), secret, tolerance=300)


@given(st.integers(0, 999), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_what_stripe_signs_is_taken(number: int, secret: str) -> None:
    payload = json.dumps({**ENVELOPE, "id": f"evt_{number}"})
    header = stripe.WebhookSignature.generate_signature_header(payload, secret)
    assert construct_event(payload, header, secret).id == f"evt_{number}"


# ── Whatever arrives ─────────────────────────────────────────────────────────────────────────────────────────────────

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
# Events and what is nearly one: a field of the envelope or of the customer replaced by anything.
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
    ),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=8), values, max_size=3),
    max_leaves=8,
)
ALMOST = st.builds(
    lambda envelope, customer, bare: {
        **ENVELOPE,
        "data": customer if bare else {"customer": customer},
        **envelope,
    },
    st.dictionaries(st.sampled_from([*ENVELOPE, "createdAt", "teamId"]), JSON, max_size=2),
    st.dictionaries(st.sampled_from([*FULL, *camel(FULL)]), JSON, max_size=2).map(lambda odd: {**FULL, **odd}),
    st.booleans(),
)
BODIES = st.one_of(st.binary(), st.just(PAYLOAD), st.one_of(JSON, ALMOST).map(lambda value: json.dumps(value).encode()))


@given(HEADERS, BODIES)
def test_nothing_but_the_typed_error_comes_of_a_delivery_that_is_not_signed(header: Any, body: bytes) -> None:
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
