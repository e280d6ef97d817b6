"""Limits and edge cases of bulk calls, exports and upserts."""

from __future__ import annotations

import json
import types
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from cstar import (
    APIResponseValidationError,
    APIStatusError,
    BulkError,
    BulkResult,
    ConflictError,
    ImportResult,
    InvalidParameterError,
)
from cstar.resources._customer_calls import bulk_import_job
from support import CUSTOMER, CUSTOMERS, ID, TEAM, Runner, customer, error, ok, page_of
from test_bulk import (
    BULK,
    EXPORT,
    IMPORT,
    body,
    bulk_success,
    ids,
    import_success,
    record,
    records,
    requests,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import httpx
    import respx


def test_a_record_may_be_any_mapping(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(IMPORT).mock(side_effect=import_success)
    assert run(lambda client: client.customers.bulk_import(TEAM, [types.MappingProxyType(record(1))])).created == 1


@pytest.mark.parametrize("value", ["Jane", types.MappingProxyType(record(1))])
def test_a_single_record_must_be_in_a_list(run: Runner, value: Any) -> None:
    message = r"^records must be a list or another iterable \(put a single item in a list\), not "
    with pytest.raises(InvalidParameterError, match=message) as raised:
        run(lambda client: client.customers.bulk_import(TEAM, value))
    assert (raised.value.param, raised.value.index) == ("records", None)


def bodies(*rows: dict[str, Any]) -> list[bytes]:
    """The bodies of the requests of an import."""
    job = bulk_import_job(TEAM, "skip", "key")
    calls = [*[job.feed(row) for row in rows], job.flush()]
    return [call.body for call in calls if call and call.body]


@pytest.mark.parametrize(("beyond", "sizes"), [(0, [3]), (1, [2, 1])])
def test_records_of_exactly_one_mebibyte_are_one_request(beyond: int, sizes: list[int]) -> None:
    [almost_empty] = bodies(record(1, notes=""), record(2), record(3))
    filler = "x" * (1024 * 1024 - len(almost_empty) + beyond)
    sent = bodies(record(1, notes=filler), record(2), record(3))
    assert [len(json.loads(each)["records"]) for each in sent] == sizes


def test_a_record_has_at_most_the_size_of_a_request() -> None:
    [almost_empty] = bodies(record(1, notes=""))
    filler = "x" * (1024 * 1024 - len(almost_empty))
    assert [len(each) for each in bodies(record(1, notes=filler))] == [1024 * 1024]
    with pytest.raises(
        InvalidParameterError, match=r"^records\[0\] must have at most 1,048,516 bytes as JSON, not 1,048,517$"
    ):
        bodies(record(1, notes=filler + "x"))


def test_the_fields_of_a_bulk_update_may_take_half_of_a_request(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    assert run(lambda client: client.customers.bulk_update(TEAM, ids(1), notes="x" * 524_000)).succeeded == 1


def test_idempotency_keys_may_have_the_maximum_length(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    api_mock.post(CUSTOMERS).respond(201, json=ok({**CUSTOMER, "email": "j@example.com"}))
    run(lambda client: client.customers.bulk_delete(TEAM, ids(1), idempotency_key="k" * 244))
    run(lambda client: client.customers.upsert(TEAM, email="j@example.com", name="J", idempotency_key="k" * 200))
    keys = [request.headers["Idempotency-Key"] for request in requests(api_mock)]
    assert keys == ["k" * 244 + "-1", "k" * 200 + "-create-1"]


@pytest.mark.parametrize("call", ["bulk_delete", "bulk_import"])
def test_an_empty_input_sends_no_request_and_counts_zero(api_mock: respx.Router, run: Runner, call: str) -> None:
    result = run(lambda client: getattr(client.customers, call)(TEAM, []))
    assert set(result.model_dump(exclude={"errors"}).values()) == {0}
    assert (result.errors, requests(api_mock)) == ([], [])


@pytest.mark.parametrize("strategy", ["", " ", None, 7])
def test_a_merge_strategy_must_not_be_blank(run: Runner, strategy: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"^merge_strategy must be a string"):
        run(lambda client: client.customers.bulk_import(TEAM, records(1), merge_strategy=strategy))


@pytest.mark.parametrize(
    ("sent", "returned"),
    [("straße@example.com", "STRASSE@example.com"), ("ren\u00e9@example.com", "RENE\u0301@example.com")],
)
def test_the_email_of_an_error_is_compared_case_folded_and_normalized(
    api_mock: respx.Router, run: Runner, sent: str, returned: str
) -> None:
    api_mock.post(IMPORT).respond(json=ok({"errors": [{"email": returned}]}))
    rows = [record(0), record(1, email=sent)]
    assert run(lambda client: client.customers.bulk_import(TEAM, rows)).errors[0].index == 1


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"index": 3}, (3, None, "3@example.com")),
        ({"index": 3, "id": "cus_9"}, (3, "cus_9", "3@example.com")),
        ({"index": 0, "email": "3@EXAMPLE.com "}, (3, None, "3@EXAMPLE.com ")),
        ({"index": 0, "email": "else@example.com"}, (0, None, "else@example.com")),
    ],
)
def test_an_error_of_an_import_has_the_email_of_its_record(
    api_mock: respx.Router, run: Runner, entry: object, expected: tuple[object, ...]
) -> None:
    api_mock.post(IMPORT).respond(json=ok({"errors": [entry]}))
    [found] = run(lambda client: client.customers.bulk_import(TEAM, records(5))).errors
    assert (found.index, found.id, found.email) == expected


def test_an_error_that_is_a_string_has_only_a_message(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).respond(json=ok({"total": 2, "errors": ["It failed."]}))
    result = run(lambda client: client.customers.bulk_delete(TEAM, ids(2)))
    assert result.errors == [BulkError(index=None, id=None, email=None, code=None, message="It failed.")]
    assert set(BulkError().model_dump().values()) == {None}


def test_an_error_without_an_id_does_not_match_the_id_none(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).respond(json=ok({"errors": [{"message": "It failed."}]}))
    [found] = run(lambda client: client.customers.bulk_delete(TEAM, ["None"])).errors
    assert (found.index, found.id) == (None, None)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"object": "bulk_result", "total": 3, "succeeded": 3},
        {"object": "import_result", "resource": "tickets", "total": 3, "created": 3},
    ],
)
def test_an_import_rejects_a_response_of_another_kind(api_mock: respx.Router, run: Runner, data: object) -> None:
    api_mock.post(IMPORT).respond(json=ok(data))
    with pytest.raises(APIResponseValidationError, match="not as documented: data") as raised:
        run(lambda client: client.customers.bulk_import(TEAM, records(3)))
    assert raised.value.partial == ImportResult()


class Interrupt(BaseException):
    """An exception of a signal handler."""


class Interrupts(BaseException):
    """An exception group, which Python 3.10 does not have."""

    exceptions = (ZeroDivisionError(), Interrupt())


def interrupt_request(request: httpx.Request) -> httpx.Response:
    raise Interrupt("of the request")


async def ids_that_raise_when_closed(exception: BaseException) -> AsyncIterator[str]:
    try:
        for each in ids(500):
            yield each
    finally:
        raise exception


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
@pytest.mark.parametrize("interrupt", [Interrupt, Interrupts])
def test_an_interrupt_while_the_source_is_closed_is_raised(
    api_mock: respx.Router, run: Runner, interrupt: type[BaseException]
) -> None:
    api_mock.post(BULK).respond(403, json=error())
    with pytest.raises(interrupt):
        run(lambda client: client.customers.bulk_delete(TEAM, ids_that_raise_when_closed(interrupt())))


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_a_failure_to_close_the_source_logs_a_warning(
    api_mock: respx.Router, run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    api_mock.post(BULK).respond(403, json=error())
    failure = ZeroDivisionError("of the source")
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, ids_that_raise_when_closed(failure)))
    assert raised.value.partial == BulkResult()
    assert f"the iterable of a bulk call could not be closed: {failure!r}" in caplog.messages


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_the_first_of_two_interrupts_is_raised(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=interrupt_request)
    items = ids_that_raise_when_closed(Interrupt("of the source"))
    with pytest.raises(Interrupt, match="of the request"):
        run(lambda client: client.customers.bulk_delete(TEAM, items))


def test_a_generator_is_closed_before_the_error_is_raised(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).respond(403, json=error())
    events = []

    def read() -> Iterator[str]:
        try:
            yield from ids(500)
        finally:
            events.append("closed")

    items = read()
    with pytest.raises(APIStatusError):
        run(lambda client: client.customers.bulk_delete(TEAM, items))
    assert events == ["closed"]


NOTES = pytest.mark.skipif(not hasattr(BaseException, "add_note"), reason="Python 3.10 has no notes")


@NOTES
@pytest.mark.parametrize("exception", [ZeroDivisionError, Interrupt])
@pytest.mark.parametrize(("count", "sent"), [(99, None), (250, "2. Results: total=200, succeeded=198, failed=2")])
def test_a_note_has_the_number_of_requests_and_the_counts_without_row_errors(
    api_mock: respx.Router, run: Runner, exception: type[BaseException], count: int, sent: str | None
) -> None:
    api_mock.post(BULK).respond(json=ok({"total": 100, "failed": 1, "errors": [{"id": "cus_7"}]}))

    def read() -> Iterator[str]:
        yield from ids(count)
        raise exception

    with pytest.raises(exception) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, read(), idempotency_key="k"))
    note = f"Requests sent by this bulk call: {sent}. To continue, repeat it with idempotency_key='k'."
    assert getattr(raised.value, "__notes__", []) == ([note] if sent else [])


@NOTES
def test_an_interrupted_first_request_adds_a_note_without_results(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=interrupt_request)
    with pytest.raises(Interrupt) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, ids(1), idempotency_key="k"))
    [note] = raised.value.__notes__
    assert note.startswith("Requests sent by this bulk call: 1. Results: none. ")


def test_an_export_sends_its_filters_and_requests_json(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(EXPORT).respond(json=ok({"totalRows": 0, "resources": {"customers": []}}))
    run(lambda client: client.customers.export(TEAM, sentiment="happy", search="jane"))
    [request] = requests(api_mock)
    wanted = {"type": "customers", "filters": {"sentiment": "happy", "search": "jane"}}
    assert body(request) == {"resources": [wanted], "format": "json"}
    assert uuid.UUID(request.headers["Idempotency-Key"]).version == 4


@pytest.mark.parametrize(
    ("count", "messages"),
    [
        (9_999, []),
        (10_000, ["an export is limited to 10000 customers, and this one has 10000: customers.list returns all"]),
    ],
)
def test_an_export_of_10_000_customers_logs_a_warning(
    api_mock: respx.Router, run: Runner, caplog: pytest.LogCaptureFixture, count: int, messages: list[str]
) -> None:
    rows = [customer(number) for number in range(count)]
    api_mock.post(EXPORT).respond(json=ok({"totalRows": 12_345, "resources": {"customers": rows}}))
    assert run(lambda client: client.customers.export(TEAM)).total_rows == 12_345
    assert caplog.messages == messages


def test_both_writes_of_an_upsert_send_all_fields(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(CUSTOMERS).respond(409, json=error("resource_already_exists"))
    api_mock.get(CUSTOMERS).respond(json=page_of([CUSTOMER], has_more=False))
    api_mock.patch(f"{CUSTOMERS}/{ID}").respond(json=ok(CUSTOMER))
    fields = {"sentiment": "happy", "status": "inactive", "tags": ["a"], "notes": "n", "custom_fields": {"a": 1}}
    email, other = CUSTOMER["email"], {"metadata": {"crm": "7"}, "extra_body": {"vip": True}}
    run(lambda client: client.customers.upsert(TEAM, email=email, name="Jane", **fields, **other))
    changes = {
        "name": "Jane",
        "sentiment": "happy",
        "status": "inactive",
        "tags": ["a"],
        "notes": "n",
        "customFields": {"a": 1},
        "metadata": {"crm": "7"},
        "vip": True,
    }
    created, _, updated = requests(api_mock)
    assert (body(created), body(updated)) == ({**changes, "email": email}, changes)


@pytest.mark.parametrize("status", [403, 409])
def test_an_upsert_raises_the_error_of_its_update(api_mock: respx.Router, run: Runner, status: int) -> None:
    api_mock.post(CUSTOMERS).respond(409, json=error("resource_already_exists"))
    api_mock.get(CUSTOMERS).respond(json=page_of([CUSTOMER], has_more=False))
    api_mock.patch(f"{CUSTOMERS}/{ID}").respond(status, json=error())
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.upsert(TEAM, email=CUSTOMER["email"], name="Jane", idempotency_key="k"))
    assert (raised.value.status_code, raised.value.idempotency_key) == (status, "k")
    assert [request.method for request in requests(api_mock)] == ["POST", "GET", "PATCH"]


@pytest.mark.parametrize("status", [403, 500])
def test_an_error_of_an_upsert_has_the_key_of_the_upsert(api_mock: respx.Router, run: Runner, status: int) -> None:
    api_mock.post(CUSTOMERS).respond(status, json=error())
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.upsert(TEAM, email="j@example.com", name="J", idempotency_key="k"))
    assert raised.value.idempotency_key == "k"


def test_an_update_of_an_upsert_has_a_key_of_at_most_255_characters(api_mock: respx.Router, run: Runner) -> None:
    holder = {**CUSTOMER, "id": "cus_" + "x" * 100}
    api_mock.post(CUSTOMERS).respond(409, json=error("resource_already_exists"))
    api_mock.get(CUSTOMERS).respond(json=page_of([holder], has_more=False))
    api_mock.patch().respond(json=ok(holder))
    email = CUSTOMER["email"]
    run(lambda client: client.customers.upsert(TEAM, email=email, name="J", idempotency_key="k" * 200))
    assert requests(api_mock)[-1].headers["Idempotency-Key"] == f"{'k' * 200}-update-{holder['id']}"[:255]


@pytest.mark.parametrize(
    "conflict",
    [
        error("idempotency_key_reused", param=None),
        error("IDEMPOTENCY_KEY_REUSED"),
        error("conflict", param="Idempotency-Key"),
        {"error": {"code": None, "param": "idempotency_key"}},
        {"error": "The Idempotency-Key was used with another body."},
    ],
)
def test_a_conflict_about_the_key_of_an_upsert_is_raised_at_once(
    api_mock: respx.Router, run: Runner, conflict: object
) -> None:
    api_mock.post(CUSTOMERS).respond(409, json=conflict)
    with pytest.raises(ConflictError):
        run(lambda client: client.customers.upsert(TEAM, email="j@example.com", name="J"))
    assert len(requests(api_mock)) == 1


@pytest.mark.parametrize(
    ("conflict", "attempts"),
    [
        (error("conflict", param="email"), 5),
        (error("duplicate_email"), 5),
        (error("EMAIL_TAKEN"), 5),
        ({"error": "A customer with this address Exists."}, 5),
        (error("conflict", message="Another request exists."), 1),
        (error("conflict"), 1),
        ({"error": "Conflict"}, 1),
    ],
)
def test_an_upsert_retries_only_a_conflict_about_the_email_address(
    api_mock: respx.Router, run: Runner, conflict: object, attempts: int
) -> None:
    api_mock.post(CUSTOMERS).respond(409, json=conflict)
    api_mock.get(CUSTOMERS).respond(json=page_of([], has_more=False))
    with pytest.raises(ConflictError):
        run(lambda client: client.customers.upsert(TEAM, email="j@example.com", name="J"))
    assert len([request for request in requests(api_mock) if request.method == "POST"]) == attempts


def test_an_upsert_gives_up_if_each_update_finds_the_customer_deleted(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(CUSTOMERS).respond(409, json=error("resource_already_exists"))
    api_mock.get(CUSTOMERS).respond(json=page_of([CUSTOMER], has_more=False))
    api_mock.patch(f"{CUSTOMERS}/{ID}").respond(404, json=error("resource_missing"))
    with pytest.raises(ConflictError):
        run(lambda client: client.customers.upsert(TEAM, email=CUSTOMER["email"], name="Jane"))
    assert len([request for request in requests(api_mock) if request.method == "PATCH"]) == 5
