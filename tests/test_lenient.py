"""Responses that deviate from the documentation, and are read as a person would read them."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from cstar import (
    APIResponseValidationError,
    APIStatusError,
    Customer,
    CustomerDetail,
    DeletedCustomer,
    Identity,
)
from cstar._decode import json_or_none, list_of, object_of
from support import CUSTOMER, CUSTOMERS, TEAM, Runner, customer, error, ok, page_of

if TYPE_CHECKING:
    import respx

UTC = timezone.utc
SYNC = Runner("sync")
ROWS = list_of(Customer)


def row_with(api_mock: respx.Router, **fields: Any) -> Customer:
    """The first row of a page whose other 99 are as documented."""
    rows = [customer(0, **fields), *(customer(number) for number in range(1, 100))]
    api_mock.get(CUSTOMERS).respond(content=json.dumps(page_of(rows, has_more=False)).encode())
    page = SYNC(lambda client: client.customers.list(TEAM))
    assert [row.id for row in page.data] == [row["id"] for row in rows]
    assert all(type(row) is Customer for row in page.data)
    return page.data[0]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# ── Missing and null ─────────────────────────────────────────────────────────────────────────────────────────────────

DEFAULTS = {"object": "customer", "tags": [], "notes": None, "customFields": {}, "ticketCount": 0, "metadata": {}}
NO_DEFAULT = dict.fromkeys(["name", "email", "sentiment", "status", "createdAt", "updatedAt"])


@pytest.mark.parametrize(("field", "value"), [*DEFAULTS.items(), *NO_DEFAULT.items()])
def test_a_field_that_is_null_has_its_default_or_is_none(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture, field: str, value: Any
) -> None:
    row = row_with(api_mock, **{field: None})
    assert row.model_dump(by_alias=True)[field] == value
    assert warnings(caplog) == []


@pytest.mark.parametrize(("field", "value"), [*DEFAULTS.items(), *NO_DEFAULT.items()])
def test_a_field_that_is_missing_has_its_default_or_is_none(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture, field: str, value: Any
) -> None:
    rows = [{name: each for name, each in customer(0).items() if name != field}]
    api_mock.get(CUSTOMERS).respond(json=page_of(rows, has_more=False))
    [row] = SYNC(lambda client: client.customers.list(TEAM)).data
    assert row.model_dump(by_alias=True)[field] == value
    assert field not in row.model_dump(by_alias=True, exclude_unset=True)
    assert warnings(caplog) == []


def test_defaults_are_not_shared_between_rows(api_mock: respx.Router) -> None:
    api_mock.get(CUSTOMERS).respond(json=page_of([customer(1, tags=None), customer(2, tags=None)], has_more=False))
    one, other = SYNC(lambda client: client.customers.list(TEAM)).data
    assert one.tags is not other.tags


def test_null_for_the_rows_of_a_list_is_an_empty_list(api_mock: respx.Router) -> None:
    """As encoders write an empty slice that was never made."""
    api_mock.get(CUSTOMERS).respond(json={**page_of([], has_more=False), "data": None})
    assert SYNC(lambda client: client.customers.list(TEAM)).data == []


# ── Small deviations ─────────────────────────────────────────────────────────────────────────────────────────────────

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2025-01-15T12:00:00", NOON),
        ("2025-01-15 12:00:00", NOON),
        ("2025-01-15T12:00", NOON),
        ("2025-01-15T12:00:00.5", NOON + timedelta(seconds=0.5)),
        ("2025-01-15T12:00:00,500", NOON + timedelta(seconds=0.5)),
        ("2025-01-15", NOON - timedelta(hours=12)),
        ("2025-01-15T12:00:00+00", NOON),
        ("2025-01-15 14:00:00.000+02", NOON),
        ("2025-01-15T07:00:00-05", NOON),
        ("2025-01-15T12:00:00 Z", NOON),
        ("2025-01-15 12:00:00 UTC", NOON),
        ("2025-01-15 12:00:00 +0000", NOON),
    ],
)
def test_a_time_in_another_notation_is_read(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture, text: str, time: datetime
) -> None:
    row = row_with(api_mock, createdAt=text)
    assert (row.created_at, row.created_at.tzinfo is not None) == (time, True)
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"metadata": {"crm": 42, "vip": True, "gone": None, "x": "y"}}, {"crm": "42", "vip": "true", "x": "y"}),
        ({"metadata": []}, {}),
        ({"customFields": []}, {}),
        ({"tags": "vip"}, ["vip"]),
        ({"tags": ["vip", 7, None]}, ["vip", "7"]),
        ({"tags": 7}, ["7"]),
        ({"tags": {}}, []),
        ({"name": 7}, "7"),
        ({"notes": False}, "false"),
        ({"ticketCount": "5"}, 5),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_converted_where_its_meaning_is_clear(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture, fields: dict[str, Any], read: Any
) -> None:
    row = row_with(api_mock, **fields)
    assert row.model_dump(by_alias=True)[next(iter(fields))] == read
    assert warnings(caplog) == []


@pytest.mark.parametrize("number", ["1.10", "1e5", "100000000000000000000", "-0.0"])
def test_a_number_in_metadata_is_its_text_as_the_response_has_it(number: str) -> None:
    content = json.dumps(page_of([customer(1, metadata={"n": "?"})], has_more=False)).replace('"?"', number)
    assert ROWS.leniently(content.encode())[0].rows[0].metadata == {"n": number}


def test_a_time_with_very_many_blanks_is_kept_without_delay(api_mock: respx.Router) -> None:
    text = "2025-01-15T12:00" + " " * 1_000_000 + "x"
    assert row_with(api_mock, createdAt=text).created_at == text


def test_a_list_of_very_many_values_is_not_converted(api_mock: respx.Router, caplog: pytest.LogCaptureFixture) -> None:
    assert row_with(api_mock, tags=[1] * 10_000).tags == ["1"] * 10_000
    assert warnings(caplog) == []
    assert row_with(api_mock, tags=[1] * 10_001).tags == [1] * 10_001
    assert len(warnings(caplog)) == 1
    assert row_with(api_mock, tags=["x"] * 10_001, name=1).tags == ["x"] * 10_001


def test_snake_case_is_read_for_camel_case(api_mock: respx.Router, caplog: pytest.LogCaptureFixture) -> None:
    row = {"id": "cus_1", "name": "J", "email": "j@example.com", "status": "active", "sentiment": "happy"}
    row |= {"ticket_count": 5, "created_at": "2025-11-01T10:00:00", "custom_fields": {"plan_type": 1}}
    paging = {"page": 1, "page_size": 20, "total": 41, "total_pages": 3}
    api_mock.get(CUSTOMERS).respond(json={"data": [row], "pagination": paging})
    page = SYNC(lambda client: client.customers.list(TEAM))
    assert (page.page_size, page.has_more) == (20, True)
    assert (page.data[0].ticket_count, page.data[0].custom_fields) == (5, {"plan_type": 1})
    assert page.data[0].created_at == datetime(2025, 11, 1, 10, tzinfo=UTC)
    assert warnings(caplog) == []


def test_an_unknown_field_of_a_deviating_row_is_kept(api_mock: respx.Router) -> None:
    row = row_with(api_mock, tags=None, loyaltyTier={"since": 2024.5}, _fields_set=1, self=2)
    assert row.model_extra == {"loyaltyTier": {"since": 2024.5}, "_fields_set": 1, "self": 2}


def test_a_deviating_row_is_otherwise_equal_to_a_documented_one(api_mock: respx.Router) -> None:
    row = row_with(api_mock, createdAt="2025-01-15T10:00:00", tags=None)
    documented = Customer.model_validate_json(json.dumps(customer(0, createdAt="2025-01-15T10:00:00Z", tags=[])))
    assert row == documented
    assert row.model_fields_set == documented.model_fields_set


def test_the_tickets_of_a_customer_are_read_under_their_older_name(api_mock: respx.Router) -> None:
    ticket = {"id": "tkt_1", "title": "T", "status": "open", "createdAt": "2026-03-29T14:00:00Z"}
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json=ok(customer(1, tickets=[ticket])))
    found = SYNC(lambda client: client.customers.get(TEAM, "cus_1"))
    assert [each.id for each in found.recent_tickets] == ["tkt_1"]
    assert found.model_dump(by_alias=True)["recentTickets"][0]["title"] == "T"


def test_a_nested_row_is_read_leniently_too(api_mock: respx.Router) -> None:
    ticket = {"id": "tkt_1", "title": None, "status": "open", "created_at": "2026-03-29T14:00:00"}
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json=ok(customer(1, recentTickets=[ticket])))
    [read] = SYNC(lambda client: client.customers.get(TEAM, "cus_1")).recent_tickets
    assert (read.title, read.created_at) == (None, datetime(2026, 3, 29, 14, tzinfo=UTC))


# ── Values that make no sense ────────────────────────────────────────────────────────────────────────────────────────

NONSENSE: list[tuple[str, Any]] = [
    ("createdAt", "soon"),
    ("createdAt", ""),
    ("updatedAt", {"seconds": 1}),
    ("ticketCount", "many"),
    ("ticketCount", 1.5),
    ("tags", [["a"]]),
    ("metadata", {"a": {"b": 1}}),
    ("metadata", "x"),
    ("customFields", "x"),
    ("name", ["Ann"]),
    ("status", {"value": "active"}),
]


@pytest.mark.parametrize(("field", "value"), NONSENSE, ids=str)
def test_a_value_that_makes_no_sense_is_kept_as_it_came(api_mock: respx.Router, field: str, value: Any) -> None:
    row = row_with(api_mock, **{field: value})
    dumped = row.model_dump(by_alias=True)
    assert dumped[field] == value
    assert type(dumped[field]) is type(value)


@pytest.mark.parametrize(("field", "value"), NONSENSE, ids=str)
def test_a_row_with_such_a_value_dumps_and_pickles(api_mock: respx.Router, field: str, value: Any) -> None:
    row = row_with(api_mock, **{field: value})
    assert row.model_dump(mode="json", by_alias=True)[field] == value
    assert json.loads(row.model_dump_json(by_alias=True))[field] == value
    for take in (copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))):
        assert take(row) == row
    assert row.id in repr(row)


def test_one_warning_names_the_fields_and_counts_the_rows(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [customer(1, createdAt="soon", tags=[["private"]]), customer(2, createdAt="never"), customer(3)]
    api_mock.get(CUSTOMERS).respond(json=page_of(rows, has_more=False), headers={"X-Request-Id": "req_7"})
    SYNC(lambda client: client.customers.list(TEAM))
    [warning] = warnings(caplog)
    assert warning == (
        f"GET {CUSTOMERS}: createdAt, tags are not as documented in 2 of 3 rows; kept as received (request req_7)"
    )


def test_a_warning_about_a_single_resource_speaks_of_no_rows(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = {"id": "tkt_1", "title": "T", "status": "open", "createdAt": "soon"}
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json=ok(customer(1, recentTickets=[ticket])))
    SYNC(lambda client: client.customers.get(TEAM, "cus_1"))
    assert warnings(caplog) == [
        f"GET {CUSTOMERS}/cus_1: recentTickets.createdAt is not as documented; kept as received"
    ]


def test_a_warning_holds_no_name_from_inside_a_value(api_mock: respx.Router, caplog: pytest.LogCaptureFixture) -> None:
    row_with(api_mock, metadata={"private@example.com": {"b": 1}})
    assert "private" not in caplog.text


def test_a_page_as_documented_warns_of_nothing(api_mock: respx.Router, caplog: pytest.LogCaptureFixture) -> None:
    row_with(api_mock)
    assert warnings(caplog) == []


# ── Text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lone_surrogate_becomes_the_replacement_character(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture
) -> None:
    row = row_with(api_mock, name="Ann \ud83d", tags=["\udc00", "\U0001f600"], customFields={"\ud800": ["\ud83d"]})
    assert (row.name, row.tags, row.custom_fields) == ("Ann \ufffd", ["\ufffd", "\U0001f600"], {"\ufffd": ["\ufffd"]})
    row.model_dump_json().encode()
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-32"),
    ],
)
def test_a_byte_order_mark_and_other_unicode_encodings_are_read(api_mock: respx.Router, encode: Any) -> None:
    text = json.dumps(page_of([customer(1, name="Zoë")], has_more=False), ensure_ascii=False)
    api_mock.get(CUSTOMERS).respond(content=encode(text))
    assert SYNC(lambda client: client.customers.list(TEAM)).data[0].name == "Zoë"


def test_bytes_that_are_not_utf_8_become_replacement_characters(api_mock: respx.Router) -> None:
    text = json.dumps(page_of([customer(1, name="Zoë")], has_more=False), ensure_ascii=False)
    api_mock.get(CUSTOMERS).respond(content=text.encode("latin-1"))
    assert SYNC(lambda client: client.customers.list(TEAM)).data[0].name == "Zo\ufffd"


def test_line_breaks_inside_a_string_are_read(api_mock: respx.Router) -> None:
    text = json.dumps(page_of([customer(1, notes="one?two")], has_more=False)).replace("?", "\n")
    api_mock.get(CUSTOMERS).respond(content=text.encode())
    assert SYNC(lambda client: client.customers.list(TEAM)).data[0].notes == "one\ntwo"


def test_the_body_of_an_error_is_read_leniently(api_mock: respx.Router) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(error("parameter_invalid", "cut \ud83d", param="email")).encode()
    api_mock.get(CUSTOMERS).respond(400, content=content)
    with pytest.raises(APIStatusError) as caught:
        SYNC(lambda client: client.customers.list(TEAM))
    assert (caught.value.param, caught.value.message) == ("email", "cut \ufffd")


# ── Envelopes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("success", [None, 1, "true", True])
def test_an_envelope_that_does_not_report_a_failure_is_a_success(api_mock: respx.Router, success: Any) -> None:
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json={"success": success, "data": customer(1)})
    assert SYNC(lambda client: client.customers.get(TEAM, "cus_1")).id == "cus_1"


@pytest.mark.parametrize(
    ("paging", "expected"),
    [
        ({"total": "350", "page": "2", "pageSize": "100", "hasMore": "true"}, (350, 2, 100, True)),
        ({"total": 350, "page": 2, "pageSize": 100, "hasMore": None, "totalPages": None}, (350, 2, 100, True)),
        ({"total": 350, "page": 4, "pageSize": 100, "has_more": False}, (350, 4, 100, False)),
        ({"total": 1}, (1, 1, 100, False)),
        ({"total": 9}, (9, 1, 100, True)),
        ({"total": 9, "page": 1}, (9, 1, 100, True)),
        ({"hasMore": True}, (2, 1, 100, True)),
        ({"total": "many", "hasMore": False}, (1, 1, 100, False)),
        ({"total": None, "page": 3, "pageSize": 10, "hasMore": False}, (21, 3, 10, False)),
    ],
    ids=str,
)
def test_paging_that_deviates_is_read(
    api_mock: respx.Router, paging: dict[str, Any], expected: tuple[int, int, int, bool]
) -> None:
    api_mock.get(CUSTOMERS).respond(json=ok([customer(1)], pagination=paging))
    page = SYNC(lambda client: client.customers.list(TEAM))
    assert (page.total, page.page, page.page_size, page.has_more) == expected


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        ([customer(1)], "Input should be an object"),
        (7, "Input should be an object"),
        ({"success": True}, "data: Field required"),
        ({"success": True, "data": {}, "pagination": {}}, "data: Input should be a list"),
        (ok([customer(1)]), "pagination: Field required"),
        (ok([customer(1)], pagination="none"), "pagination: Field required"),
        (ok([customer(1)], pagination={"page": 1}), "pagination: "),
        (page_of([customer(1), 7], has_more=False), "data.1: Input should be an object"),  # type: ignore[list-item]
        (page_of([customer(1), {"name": "x"}], has_more=False), "data.1.id: Field required"),
        (page_of([customer(1, id=5)], has_more=False), "data.0.id: Input should be a valid string"),
        (page_of([customer(1, id=None)], has_more=False), "data.0.id: Field required"),
        ({**page_of([customer(1)], has_more=False), "success": False}, "success: Input should be True"),
    ],
)
def test_only_what_nobody_could_read_is_an_error(api_mock: respx.Router, envelope: Any, reason: str) -> None:
    api_mock.get(CUSTOMERS).respond(json=envelope)
    with pytest.raises(APIResponseValidationError) as caught:
        SYNC(lambda client: client.customers.list(TEAM))
    assert reason in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "x", [customer(1)], {"name": "x"}])
def test_a_single_resource_must_be_an_object_with_an_id(api_mock: respx.Router, data: Any) -> None:
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json=ok(data))
    with pytest.raises(APIResponseValidationError):
        SYNC(lambda client: client.customers.get(TEAM, "cus_1"))


def test_nesting_without_end_is_an_error(api_mock: respx.Router) -> None:
    api_mock.get(CUSTOMERS).respond(content=b'{"data":' + b"[" * 500_000)
    with pytest.raises(APIResponseValidationError):
        SYNC(lambda client: client.customers.list(TEAM))


def test_a_resource_without_an_id_of_its_own_needs_none(api_mock: respx.Router) -> None:
    api_mock.get("/auth/whoami").respond(json=ok({"team_id": "t", "teamName": None, "keyType": 5}))
    identity = SYNC(lambda client: client.whoami())
    assert identity == Identity.model_construct(
        team_id="t", team_name=None, team_slug=None, key_type="5", environment=None
    )


# ── Types of the caller ──────────────────────────────────────────────────────────────────────────────────────────────


class Person(BaseModel):
    id: str
    email: str


class VipCustomer(Customer):
    @property
    def is_vip(self) -> bool:
        return "vip" in self.tags


def test_a_type_of_the_caller_is_validated_as_it_stands(api_mock: respx.Router) -> None:
    api_mock.get("/people").respond(json=ok([{"id": "p", "email": None}]))
    with pytest.raises(APIResponseValidationError, match="email"):
        SYNC(lambda client: client.request("GET", "/people", cast_to=list[Person]))


def test_a_type_of_the_caller_is_read_from_a_lenient_envelope(api_mock: respx.Router) -> None:
    content = b"\xef\xbb\xbf" + json.dumps({"success": 1, "data": [{"id": "p", "email": "\ud83d"}]}).encode()
    api_mock.get("/people").respond(content=content)
    people = SYNC(lambda client: client.request("GET", "/people", cast_to=list[Person]))
    assert people == [Person(id="p", email="\ufffd")]


def test_a_model_of_this_library_is_read_leniently_as_cast_to(api_mock: respx.Router) -> None:
    api_mock.get(CUSTOMERS).respond(json=ok([customer(1, tags="vip")]))
    [row] = SYNC(lambda client: client.request("GET", CUSTOMERS, cast_to=list[Customer]))
    assert row.tags == ["vip"]


def test_a_subclass_of_the_caller_is_validated_as_it_stands(api_mock: respx.Router) -> None:
    api_mock.get(CUSTOMERS).respond(json=ok([customer(1, tags="vip")]))
    with pytest.raises(APIResponseValidationError, match="tags"):
        SYNC(lambda client: client.request("GET", CUSTOMERS, cast_to=list[VipCustomer]))


# ── Deletes and responses without content ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (204, b""),
        (200, b""),
        (200, b" \r\n"),
        (200, b"null"),
        (200, b"{}"),
        (202, b'{"success":true}'),
        (200, b'{"success":true,"data":null}'),
        (200, b'{"success":true,"data":{"deleted":true}}'),
        (200, b'{"deleted":true}'),
        (200, b'{"success":true,"data":[]}'),
    ],
)
def test_a_delete_answered_without_an_id_did_delete_the_one_asked_for(
    api_mock: respx.Router, run: Runner, status: int, content: bytes
) -> None:
    api_mock.delete(f"{CUSTOMERS}/cus_1").respond(status, content=content)
    receipt = run(lambda client: client.customers.delete(TEAM, "cus_1"))
    assert receipt == DeletedCustomer(deleted=True, id="cus_1")


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(error()).encode(),
        b'{"success":false}',
        b"<html><title>Sign in</title></html>",
        b"OK",
        b'{"success":true,"data":{"id":"cus_2","deleted":true}}',
    ],
)
def test_a_delete_answered_with_something_else_is_no_receipt(api_mock: respx.Router, content: bytes) -> None:
    api_mock.delete(f"{CUSTOMERS}/cus_1").respond(200, content=content)
    with pytest.raises(APIResponseValidationError):
        SYNC(lambda client: client.customers.delete(TEAM, "cus_1"))


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_blank_response_to_request_is_none(api_mock: respx.Router, run: Runner, method: str, content: bytes) -> None:
    api_mock.route(method=method, path__regex="/things$").respond(200, content=content)
    assert run(lambda client: client.request(method, "/things")) is None


def test_request_reads_json_leniently(api_mock: respx.Router) -> None:
    api_mock.get("/things").respond(content=b'\xef\xbb\xbf{"name": "cut \\ud83d"}')
    assert SYNC(lambda client: client.request("GET", "/things")) == {"name": "cut \ufffd"}


# ── Invariants ───────────────────────────────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(fields=st.dictionaries(st.sampled_from([name for name in CUSTOMER if name != "id"]) | st.text(), JSON))
def test_whatever_a_row_with_an_id_holds_it_is_read_and_can_be_stored(fields: dict[str, Any]) -> None:
    row = {**CUSTOMER, **fields, "id": "cus_1"}
    content = json.dumps(page_of([row], has_more=False)).encode()
    [read] = ROWS.leniently(content)[0].rows
    assert read.id == "cus_1"
    assert pickle.loads(pickle.dumps(read)) == read
    assert json.loads(read.model_dump_json(by_alias=True))["id"] == "cus_1"
    assert read.model_dump()["id"] == "cus_1"


@given(row=st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in CUSTOMER.items()}))
def test_a_documented_row_is_read_alike_in_both_ways(row: dict[str, Any]) -> None:
    content = json.dumps(ok({**CUSTOMER, **row})).encode()
    parse = object_of(CustomerDetail)
    lenient, deviations = parse.leniently(content)
    assert lenient == parse(content)
    assert lenient.model_fields_set == parse(content).model_fields_set
    assert not deviations.fields


# ── What is said to have failed ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content",
    [
        {"data": {"deleted": False}},
        {"deleted": False},
        {"success": "false"},
        {"success": 0, "data": None},
        {"deleted": True, "id": "cus_2"},
        {"error": "locked"},
    ],
    ids=str,
)
def test_a_delete_that_reports_a_failure_is_no_receipt(api_mock: respx.Router, content: Any) -> None:
    api_mock.delete(f"{CUSTOMERS}/cus_1").respond(200, json=content)
    with pytest.raises(APIResponseValidationError):
        SYNC(lambda client: client.customers.delete(TEAM, "cus_1"))


@pytest.mark.parametrize("success", ["false", "False", 0, False])
def test_an_envelope_that_reports_a_failure_is_refused(api_mock: respx.Router, success: Any) -> None:
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json={"success": success, "data": customer(1)})
    with pytest.raises(APIResponseValidationError):
        SYNC(lambda client: client.customers.get(TEAM, "cus_1"))


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b")]}',\n", b"\xff\xfe", "\u00a0".encode(), b"callback("])
def test_json_that_breaks_off_is_shown_in_no_error(api_mock: respx.Router, prefix: bytes) -> None:
    api_mock.get(CUSTOMERS).respond(content=prefix + b'{"data": [{"name": "Private Words"')
    with pytest.raises(APIResponseValidationError) as caught:
        SYNC(lambda client: client.customers.list(TEAM))
    assert "Private" not in str(caught.value)


def test_one_odd_ticket_does_not_cost_the_others(api_mock: respx.Router) -> None:
    ticket = {"id": "tkt_1", "title": "T", "status": "open", "createdAt": "2026-03-29T14:00:00Z"}
    odd = {**ticket, "id": 5}
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json=ok(customer(1, recentTickets=[odd, ticket])))
    first, second = SYNC(lambda client: client.customers.get(TEAM, "cus_1")).recent_tickets
    assert (first, second.id) == (odd, "tkt_1")


@pytest.mark.parametrize(("metadata", "tags"), [({"a": None}, [None])])
def test_nulls_inside_a_value_are_left_out(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture, metadata: Any, tags: Any
) -> None:
    row = row_with(api_mock, metadata=metadata, tags=tags)
    assert (row.metadata, row.tags) == ({}, [])
    assert warnings(caplog) == []


def test_an_error_of_a_type_of_the_caller_names_the_row(api_mock: respx.Router) -> None:
    api_mock.get("/people").respond(json=page_of([{"id": "p", "email": "x"}, {"id": "q"}], has_more=False))
    with pytest.raises(APIResponseValidationError, match=r"data\.1\.email: Field required"):
        SYNC(lambda client: client.paginate("/people", cast_to=Person))


def test_the_paging_is_found_in_meta_beside_nonsense(api_mock: respx.Router) -> None:
    meta = {"pagination": {"total": 1, "page": 1, "pageSize": 100, "totalPages": 1}}
    api_mock.get(CUSTOMERS).respond(json=ok([customer(1)], pagination="x", meta=meta))
    assert SYNC(lambda client: client.customers.list(TEAM)).total == 1


def test_a_list_as_cast_to_must_be_a_list(api_mock: respx.Router) -> None:
    api_mock.get(CUSTOMERS).respond(json=ok({"id": "cus_1"}))
    with pytest.raises(APIResponseValidationError, match="data: Input should be a list"):
        SYNC(lambda client: client.request("GET", CUSTOMERS, cast_to=list[Customer]))


@pytest.mark.parametrize(("size", "has_more"), [(5, True), (9, False)])
def test_the_last_page_of_a_lenient_list_is_told_by_its_size(size: int, has_more: bool) -> None:
    content = json.dumps({"success": 1, **page_of([customer(1)], has_more=True)}).encode()
    envelope = json.loads(content)
    envelope["pagination"] = {"total": 9, "page": 1, "pageSize": size}
    assert ROWS.leniently(json.dumps(envelope).encode())[0].has_more is has_more


def test_a_parser_of_any_json_pickles() -> None:
    assert pickle.loads(pickle.dumps(json_or_none)) is json_or_none
