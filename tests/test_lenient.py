"""The lenient parsing of responses that deviate from the documentation."""

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
from cstar._decode import json_or_none, list_of
from cstar._lenient import Reader
from support import CUSTOMER, CUSTOMERS, TEAM, Runner, customer, error, ok, page_of

if TYPE_CHECKING:
    import respx

UTC = timezone.utc
SYNC = Runner("sync")
ROWS = list_of(Customer)


def row_with(api_mock: respx.Router, **fields: Any) -> Customer:
    """Return the first row of a page, with these fields. The other 99 rows are as documented."""
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
def test_a_null_field_gets_its_default_or_none(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture, field: str, value: Any
) -> None:
    row = row_with(api_mock, **{field: None})
    assert row.model_dump(by_alias=True)[field] == value
    assert warnings(caplog) == []


@pytest.mark.parametrize(("field", "value"), [*DEFAULTS.items(), *NO_DEFAULT.items()])
def test_a_missing_field_gets_its_default_or_none(
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
    first, second = SYNC(lambda client: client.customers.list(TEAM)).data
    assert first.tags is not second.tags


def test_null_for_the_rows_of_a_list_is_an_empty_list(api_mock: respx.Router) -> None:
    """Go encodes a nil slice as null."""
    api_mock.get(CUSTOMERS).respond(json={**page_of([], has_more=False), "data": None})
    assert SYNC(lambda client: client.customers.list(TEAM)).data == []


# ── Values of another type ───────────────────────────────────────────────────────────────────────────────────────────

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
def test_times_in_other_formats_are_parsed(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture, text: str, time: datetime
) -> None:
    row = row_with(api_mock, createdAt=text)
    assert (row.created_at, row.created_at.tzinfo is not None) == (time, True)
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"metadata": {"crm": 42, "vip": True, "old": None, "x": "y"}}, {"crm": "42", "vip": "true", "x": "y"}),
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
def test_a_value_of_another_type_is_converted_if_its_meaning_is_unambiguous(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture, fields: dict[str, Any], expected: Any
) -> None:
    row = row_with(api_mock, **fields)
    assert row.model_dump(by_alias=True)[next(iter(fields))] == expected
    assert warnings(caplog) == []


@pytest.mark.parametrize("number", ["1.10", "1e5", "100000000000000000000", "-0.0"])
def test_a_number_in_metadata_becomes_its_json_text(number: str) -> None:
    content = json.dumps(page_of([customer(1, metadata={"n": "?"})], has_more=False)).replace('"?"', number)
    assert ROWS.leniently(content.encode())[0].rows[0].metadata == {"n": number}


def test_a_time_with_a_million_spaces_is_kept_without_parsing(api_mock: respx.Router) -> None:
    text = "2025-01-15T12:00" + " " * 1_000_000 + "x"
    assert row_with(api_mock, createdAt=text).created_at == text


def test_a_list_of_more_than_10_000_items_is_not_converted(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture
) -> None:
    assert row_with(api_mock, tags=[1] * 10_000).tags == ["1"] * 10_000
    assert warnings(caplog) == []
    assert row_with(api_mock, tags=[1] * 10_001).tags == [1] * 10_001
    assert len(warnings(caplog)) == 1
    assert row_with(api_mock, tags=["x"] * 10_001, name=1).tags == ["x"] * 10_001


def test_fields_in_snake_case_are_read(api_mock: respx.Router, caplog: pytest.LogCaptureFixture) -> None:
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


def test_a_deviating_row_equals_the_documented_row(api_mock: respx.Router) -> None:
    row = row_with(api_mock, createdAt="2025-01-15T10:00:00", tags=None)
    documented = Customer.model_validate_json(json.dumps(customer(0, createdAt="2025-01-15T10:00:00Z", tags=[])))
    assert row == documented
    assert row.model_fields_set == documented.model_fields_set


def test_recent_tickets_are_read_from_the_older_field_tickets(api_mock: respx.Router) -> None:
    ticket = {"id": "tkt_1", "title": "T", "status": "open", "createdAt": "2026-03-29T14:00:00Z"}
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json=ok(customer(1, tickets=[ticket])))
    detail = SYNC(lambda client: client.customers.get(TEAM, "cus_1"))
    assert [each.id for each in detail.recent_tickets] == ["tkt_1"]
    assert detail.model_dump(by_alias=True)["recentTickets"][0]["title"] == "T"


def test_a_nested_row_is_read_leniently(api_mock: respx.Router) -> None:
    ticket = {"id": "tkt_1", "title": None, "status": "open", "created_at": "2026-03-29T14:00:00"}
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json=ok(customer(1, recentTickets=[ticket])))
    [parsed] = SYNC(lambda client: client.customers.get(TEAM, "cus_1")).recent_tickets
    assert (parsed.title, parsed.created_at) == (None, datetime(2026, 3, 29, 14, tzinfo=UTC))


# ── Invalid values ───────────────────────────────────────────────────────────────────────────────────────────────────

INVALID: list[tuple[str, Any]] = [
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


@pytest.mark.parametrize(("field", "value"), INVALID, ids=str)
def test_an_invalid_value_is_kept_and_can_be_dumped_and_pickled(api_mock: respx.Router, field: str, value: Any) -> None:
    row = row_with(api_mock, **{field: value})
    dumped = row.model_dump(by_alias=True)
    assert (dumped[field], type(dumped[field])) == (value, type(value))
    assert json.loads(row.model_dump_json(by_alias=True))[field] == value
    assert copy.deepcopy(row) == pickle.loads(pickle.dumps(row)) == row
    assert row.id in repr(row)


def test_an_invalid_ticket_is_kept_beside_valid_ones(api_mock: respx.Router) -> None:
    ticket = {"id": "tkt_1", "title": "T", "status": "open", "createdAt": "2026-03-29T14:00:00Z"}
    invalid = {**ticket, "id": 5}
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json=ok(customer(1, recentTickets=[invalid, ticket])))
    first, second = SYNC(lambda client: client.customers.get(TEAM, "cus_1")).recent_tickets
    assert (first, second.id) == (invalid, "tkt_1")


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


def test_a_warning_about_a_single_resource_mentions_no_rows(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = {"id": "tkt_1", "title": "T", "status": "open", "createdAt": "soon"}
    api_mock.get(f"{CUSTOMERS}/cus_1").respond(json=ok(customer(1, recentTickets=[ticket])))
    SYNC(lambda client: client.customers.get(TEAM, "cus_1"))
    assert warnings(caplog) == [
        f"GET {CUSTOMERS}/cus_1: recentTickets.createdAt is not as documented; kept as received"
    ]


def test_a_warning_does_not_show_the_keys_of_a_value(api_mock: respx.Router, caplog: pytest.LogCaptureFixture) -> None:
    row_with(api_mock, metadata={"private@example.com": {"b": 1}})
    assert "private" not in caplog.text


# ── Text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lone_surrogate_becomes_the_replacement_character(
    api_mock: respx.Router, caplog: pytest.LogCaptureFixture
) -> None:
    row = row_with(api_mock, name="Ann \ud83d", tags=["\udc00", "\U0001f600"], customFields={"\ud800": ["\ud83d"]})
    assert (row.name, row.tags, row.custom_fields) == ("Ann \ufffd", ["\ufffd", "\U0001f600"], {"\ufffd": ["\ufffd"]})
    row.model_dump_json().encode()
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("encode", "name"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode(), "Zoë"),
        (lambda text: text.encode("utf-16"), "Zoë"),
        (lambda text: text.encode("utf-16-le"), "Zoë"),
        (lambda text: text.encode("utf-32"), "Zoë"),
        (lambda text: text.encode("latin-1"), "Zo\ufffd"),
        (lambda text: text.replace("Zoë", "Zo\n").encode(), "Zo\n"),
    ],
    ids=["byte order mark", "UTF-16", "UTF-16-LE", "UTF-32", "Latin-1", "unescaped line break"],
)
def test_text_in_other_encodings_is_read(api_mock: respx.Router, encode: Any, name: str) -> None:
    text = json.dumps(page_of([customer(1, name="Zoë")], has_more=False), ensure_ascii=False)
    api_mock.get(CUSTOMERS).respond(content=encode(text))
    assert SYNC(lambda client: client.customers.list(TEAM)).data[0].name == name


def test_the_body_of_an_error_is_read_leniently(api_mock: respx.Router) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(error("parameter_invalid", "cut \ud83d", param="email")).encode()
    api_mock.get(CUSTOMERS).respond(400, content=content)
    with pytest.raises(APIStatusError) as raised:
        SYNC(lambda client: client.customers.list(TEAM))
    assert (raised.value.param, raised.value.message) == ("email", "cut \ufffd")


# ── Envelopes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("success", [None, 1, "true"])
def test_an_envelope_that_reports_no_failure_is_a_success(api_mock: respx.Router, success: Any) -> None:
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
        ({"total": 9, "page": 1, "pageSize": 5, "totalPages": "many"}, (9, 1, 5, True)),
        ({"total": 9, "page": 1, "pageSize": 9, "totalPages": "many"}, (9, 1, 9, False)),
        ({"hasMore": True}, (2, 1, 100, True)),
        ({"total": "many", "hasMore": False}, (1, 1, 100, False)),
        ({"total": None, "page": 3, "pageSize": 10, "hasMore": False}, (21, 3, 10, False)),
    ],
    ids=str,
)
def test_deviating_paging_is_read(
    api_mock: respx.Router, paging: dict[str, Any], expected: tuple[int, int, int, bool]
) -> None:
    api_mock.get(CUSTOMERS).respond(json=ok([customer(1)], pagination=paging))
    page = SYNC(lambda client: client.customers.list(TEAM))
    assert (page.total, page.page, page.page_size, page.has_more) == expected


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        ([customer(1)], "Input should be an object"),
        ({"success": True}, "data: Field required"),
        ({"success": True, "data": {}, "pagination": {}}, "data: Input should be a list"),
        (ok([customer(1)]), "pagination: Field required"),
        (ok([customer(1)], meta={}), "pagination: Field required"),
        (ok([customer(1)], pagination=None), "pagination: Field required"),
        (ok([customer(1)], pagination="none"), "pagination: Field required"),
        (ok([customer(1)], pagination={}), "pagination: Field required"),
        (ok([customer(1)], pagination={"page": 1, "pageSize": 7}), "one of hasMore, totalPages and total is required"),
        (page_of([customer(1), 7], has_more=False), "data.1: Input should be an object"),  # type: ignore[list-item]
        (page_of([customer(1), {"name": "x"}], has_more=False), "data.1.id: Field required"),
        (page_of([customer(1, id=5)], has_more=False), "data.0.id: Input should be a valid string"),
        (page_of([customer(1, id=None)], has_more=False), "data.0.id: Field required"),
        *(
            ({**page_of([customer(1)], has_more=False), "success": success}, "success: Input should be True")
            for success in (False, "False", 0)
        ),
    ],
)
def test_a_response_with_an_invalid_structure_is_rejected(api_mock: respx.Router, envelope: Any, reason: str) -> None:
    api_mock.get(CUSTOMERS).respond(json=envelope)
    with pytest.raises(APIResponseValidationError) as raised:
        SYNC(lambda client: client.customers.list(TEAM))
    assert reason in str(raised.value)


def test_paging_is_read_from_meta_if_pagination_is_invalid(api_mock: respx.Router) -> None:
    meta = {"pagination": {"total": 1, "page": 1, "pageSize": 100, "totalPages": 1}}
    api_mock.get(CUSTOMERS).respond(json=ok([customer(1)], pagination="x", meta=meta))
    assert SYNC(lambda client: client.customers.list(TEAM)).total == 1


def test_json_nested_too_deeply_is_rejected(api_mock: respx.Router) -> None:
    api_mock.get(CUSTOMERS).respond(content=b'{"data":' + b"[" * 500_000)
    with pytest.raises(APIResponseValidationError):
        SYNC(lambda client: client.customers.list(TEAM))


def test_a_deviating_identity_is_read(api_mock: respx.Router) -> None:
    api_mock.get("/auth/whoami").respond(json=ok({"team_id": "t", "teamName": None, "keyType": 5}))
    identity = SYNC(lambda client: client.whoami())
    assert identity == Identity.model_construct(
        team_id="t", team_name=None, team_slug=None, key_type="5", environment=None
    )


# ── Custom types ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Person(BaseModel):
    id: str
    email: str


class VipCustomer(Customer):
    @property
    def is_vip(self) -> bool:
        return "vip" in self.tags


def test_a_custom_type_is_validated_strictly(api_mock: respx.Router) -> None:
    api_mock.get("/people").respond(json=ok([{"id": "p", "email": None}]))
    with pytest.raises(APIResponseValidationError, match="email"):
        SYNC(lambda client: client.request("GET", "/people", cast_to=list[Person]))


def test_a_custom_type_is_read_from_a_deviating_envelope(api_mock: respx.Router) -> None:
    content = b"\xef\xbb\xbf" + json.dumps({"success": 1, "data": [{"id": "p", "email": "\ud83d"}]}).encode()
    api_mock.get("/people").respond(content=content)
    people = SYNC(lambda client: client.request("GET", "/people", cast_to=list[Person]))
    assert people == [Person(id="p", email="\ufffd")]


def test_cast_to_reads_a_model_of_this_library_leniently(api_mock: respx.Router) -> None:
    api_mock.get(CUSTOMERS).respond(json=ok([customer(1, tags="vip")]))
    [row] = SYNC(lambda client: client.request("GET", CUSTOMERS, cast_to=list[Customer]))
    assert row.tags == ["vip"]


def test_a_custom_subclass_of_a_model_is_validated_strictly(api_mock: respx.Router) -> None:
    api_mock.get(CUSTOMERS).respond(json=ok([customer(1, tags="vip")]))
    with pytest.raises(APIResponseValidationError, match="tags"):
        SYNC(lambda client: client.request("GET", CUSTOMERS, cast_to=list[VipCustomer]))


def test_cast_to_a_list_rejects_data_that_is_not_a_list(api_mock: respx.Router) -> None:
    api_mock.get(CUSTOMERS).respond(json=ok({"id": "cus_1"}))
    with pytest.raises(APIResponseValidationError, match="data: Input should be a list"):
        SYNC(lambda client: client.request("GET", CUSTOMERS, cast_to=list[Customer]))


def test_the_error_of_a_custom_type_names_the_row(api_mock: respx.Router) -> None:
    api_mock.get("/people").respond(json=page_of([{"id": "p", "email": "x"}, {"id": "q"}], has_more=False))
    with pytest.raises(APIResponseValidationError, match=r"data\.1\.email: Field required"):
        SYNC(lambda client: client.paginate("/people", cast_to=Person))


# ── Responses to deletes, and blank bodies ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (204, b""),
        (200, b" \r\n"),
        (200, b"null"),
        (200, b"{}"),
        (202, b'{"success":true}'),
        (200, b'{"success":true,"data":{"deleted":true}}'),
        (200, b'{"deleted":true}'),
    ],
)
def test_a_delete_response_without_an_id_returns_the_requested_id(
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
        b'{"deleted":false}',
        b'{"error":"locked"}',
    ],
)
def test_a_delete_response_that_does_not_report_success_is_rejected(api_mock: respx.Router, content: bytes) -> None:
    api_mock.delete(f"{CUSTOMERS}/cus_1").respond(200, content=content)
    with pytest.raises(APIResponseValidationError):
        SYNC(lambda client: client.customers.delete(TEAM, "cus_1"))


@pytest.mark.parametrize(("method", "content"), [("GET", b""), ("POST", b" \r\n\t"), ("DELETE", b"\xef\xbb\xbf")])
def test_request_returns_none_for_a_blank_body(
    api_mock: respx.Router, run: Runner, method: str, content: bytes
) -> None:
    api_mock.route(method=method, path__regex="/things$").respond(200, content=content)
    assert run(lambda client: client.request(method, "/things")) is None


def test_request_reads_json_leniently(api_mock: respx.Router) -> None:
    api_mock.get("/things").respond(content=b'\xef\xbb\xbf{"name": "cut \\ud83d"}')
    assert SYNC(lambda client: client.request("GET", "/things")) == {"name": "cut \ufffd"}


def test_the_parser_of_any_json_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(json_or_none)) is json_or_none


# ── Invariants ───────────────────────────────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(fields=st.dictionaries(st.sampled_from([name for name in CUSTOMER if name != "id"]) | st.text(), JSON))
def test_any_row_with_an_id_can_be_read_pickled_and_dumped(fields: dict[str, Any]) -> None:
    row = {**CUSTOMER, **fields, "id": "cus_1"}
    content = json.dumps(page_of([row], has_more=False)).encode()
    [parsed] = ROWS.leniently(content)[0].rows
    assert parsed.id == "cus_1"
    assert pickle.loads(pickle.dumps(parsed)) == parsed
    assert json.loads(parsed.model_dump_json(by_alias=True))["id"] == "cus_1"
    assert parsed.model_dump()["id"] == "cus_1"


@given(omitted=st.sets(st.sampled_from([*DEFAULTS, "updatedAt"])))
def test_a_documented_row_read_field_by_field_equals_the_validated_row(omitted: set[str]) -> None:
    row = {name: value for name, value in CUSTOMER.items() if name not in omitted}
    reader = Reader()
    lenient, validated = reader.read_fields(CustomerDetail, row), CustomerDetail.model_validate_json(json.dumps(row))
    assert lenient == validated
    assert lenient.model_fields_set == validated.model_fields_set
    assert not reader.deviations.fields
