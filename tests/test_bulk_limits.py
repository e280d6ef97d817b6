"""Limits and edge cases of bulk calls, exports and upserts."""

from __future__ import annotations

import enum
import inspect
import json
import types
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cstar import (
    APIResponseValidationError,
    APIStatusError,
    BulkError,
    ConflictError,
    CustomerRecord,
    ImportResult,
    InvalidParameterError,
)
from cstar._bulk import MAX_BODY_SIZE
from cstar.resources._customer_calls import bulk_import_job
from cstar.resources.customers import Customers
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

    import respx


def test_a_bulk_update_has_the_fields_of_update(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    fields = {"name": "J", "email": "j@x.io", "sentiment": "happy", "status": "inactive", "metadata": {"crm": None}}
    run(lambda client: client.customers.bulk_update(TEAM, ids(1), **fields, extra_body={"vip": True}))
    assert body(requests(api_mock)[0])["data"] == {**fields, "vip": True}


def test_a_record_may_be_any_mapping(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(IMPORT).mock(side_effect=import_success)
    row = types.MappingProxyType(record(1))
    assert run(lambda client: client.customers.bulk_import(TEAM, [row])).created == 1
    with pytest.raises(InvalidParameterError, match="put a single item in a list"):
        run(lambda client: client.customers.bulk_import(TEAM, row))


def test_a_typed_record_has_the_fields_of_create() -> None:
    beside = {"self", "team_id", "extra_body", "idempotency_key"}
    assert CustomerRecord.__annotations__.keys() == inspect.signature(Customers.create).parameters.keys() - beside


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


@pytest.mark.parametrize("size", [400_000, 524_000])
def test_the_fields_of_a_bulk_update_may_take_half_of_a_request(api_mock: respx.Router, run: Runner, size: int) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    assert run(lambda client: client.customers.bulk_update(TEAM, ids(1), notes="x" * size)).succeeded == 1


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


def test_an_id_of_a_string_enum_is_sent_as_its_value(api_mock: respx.Router, run: Runner) -> None:
    class Known(str, enum.Enum):
        JANE = "cus_1"

    api_mock.post(BULK).mock(side_effect=bulk_success)
    run(lambda client: client.customers.bulk_delete(TEAM, [Known.JANE]))
    assert body(requests(api_mock)[0])["ids"] == ["cus_1"]


@pytest.mark.parametrize(
    ("row", "param", "message"),
    [
        ({"nmae": "J", "mail": "j"}, "records[1].nmae", r"records\[1\] has the unknown field 'nmae'"),
        ({}, "records[1]", r"records\[1\] must have a name and an email, but has no name"),
        (record(1, tags="vip"), "records[1].tags", r"records\[1\].tags must be"),
        (record(1, metadata={"a": None}), "records[1].metadata['a']", r"records\[1\].metadata\['a'\] must be a string"),
        (5, "records[1]", r"records\[1\] must be a mapping"),
        ({**record(1), None: ["x"]}, "records[1]", r"records\[1\] has more values than the header has names"),
        (record(1, notes="x" * MAX_BODY_SIZE), "records[1]", r"records\[1\] must have at most"),
    ],
)
def test_the_error_of_a_record_names_the_parameter(run: Runner, row: object, param: str, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{message}") as raised:
        run(lambda client: client.customers.bulk_import(TEAM, [record(0), row]))
    assert raised.value.param == param


@pytest.mark.parametrize("strategy", ["", " ", None, 7])
def test_a_merge_strategy_must_not_be_blank(run: Runner, strategy: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"^merge_strategy must be a string"):
        run(lambda client: client.customers.bulk_import(TEAM, records(1), merge_strategy=strategy))


def test_fields_that_are_too_long_are_rejected_with_their_size(run: Runner) -> None:
    with pytest.raises(InvalidParameterError, match=r"at most 524,288 bytes as JSON, not 600,0\d\d$"):
        run(lambda client: client.customers.bulk_update(TEAM, ids(1), notes="x" * 600_000))


@pytest.mark.parametrize(
    ("entry", "index"),
    [
        ({"index": 0}, 100),
        ({"index": 10}, None),
        ({"email": "jane@example.com"}, None),
        ({"index": 3, "email": "jane@example.com"}, 103),
        ({"id": {"value": "cus_103"}}, None),
    ],
)
def test_an_error_has_the_index_of_the_item_that_it_identifies(
    api_mock: respx.Router, run: Runner, entry: object, index: int | None
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        errors = [entry] if len(body(request)["ids"]) < 100 else []
        return httpx.Response(200, json=ok({"errors": errors}))

    api_mock.post(BULK).mock(side_effect=respond)
    result = run(lambda client: client.customers.bulk_delete(TEAM, ids(110)))
    assert [each.index for each in result.errors] == [index]
    assert (result.total, result.succeeded, result.failed) == (110, 109, 1)  # which the responses left out


def test_the_email_of_an_error_is_compared_by_unicode_case_folding(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(IMPORT).respond(json=ok({"errors": [{"email": "STRASSE@example.com"}]}))
    rows = [record(0), record(1, email="straße@example.com")]
    assert run(lambda client: client.customers.bulk_import(TEAM, rows)).errors[0].index == 1


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"index": 3}, (3, None, "3@example.com")),
        ({"index": 3, "id": "cus_9"}, (3, "cus_9", "3@example.com")),
        ({"index": 0, "email": "3@EXAMPLE.com"}, (3, None, "3@EXAMPLE.com")),
        ({"index": 0, "email": "else@example.com"}, (0, None, "else@example.com")),
    ],
)
def test_an_error_of_an_import_has_the_email_of_its_record(
    api_mock: respx.Router, run: Runner, entry: object, expected: tuple[object, ...]
) -> None:
    api_mock.post(IMPORT).respond(json=ok({"errors": [entry]}))
    [found] = run(lambda client: client.customers.bulk_import(TEAM, records(5))).errors
    assert (found.index, found.id, found.email) == expected


def test_an_error_keeps_the_id_as_the_server_spells_it(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).respond(json=ok({"errors": [{"id": "CUS_1"}]}))
    [found] = run(lambda client: client.customers.bulk_delete(TEAM, ids(3))).errors
    assert (found.index, found.id) == (1, "CUS_1")


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
    ("data", "counts"),
    [
        ({"total": 7, "succeeded": 3, "failed": 2}, (7, 3, 2)),
        ({"total": 7, "failed": 2}, (7, 5, 2)),
        ({"succeeded": 4}, (5, 4, 1)),
        ({"errors": ["It failed."]}, (5, 4, 1)),
        ({"object": "bulk_result"}, (5, 5, 0)),
    ],
)
def test_the_counts_of_the_server_take_precedence(
    api_mock: respx.Router, run: Runner, data: object, counts: object
) -> None:
    api_mock.post(BULK).respond(json=ok(data))
    result = run(lambda client: client.customers.bulk_delete(TEAM, ids(5)))
    assert (result.total, result.succeeded, result.failed) == counts


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"total": 9, "created": 4, "updated": 1, "skipped": 1}, (9, 4, 1, 1)),
        ({"total": 7, "updated": 2, "skipped": 1, "errors": ["It failed."]}, (7, 3, 2, 1)),
        ({"created": 3}, (5, 3, 0, 0)),
        ({"created": 0}, (5, 0, 0, 0)),
        ({"errors": []}, (5, 5, 0, 0)),
    ],
)
def test_the_counts_of_the_server_take_precedence_in_an_import(
    api_mock: respx.Router, run: Runner, data: object, counts: object
) -> None:
    api_mock.post(IMPORT).respond(json=ok(data))
    result = run(lambda client: client.customers.bulk_import(TEAM, records(5)))
    assert (result.total, result.created, result.updated, result.skipped) == counts


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"total": 5, "succeeded": 9}, (5, 9, 0)),
        ({"succeeded": 0}, (5, 0, 5)),
    ],
)
def test_a_missing_count_is_derived_and_never_negative(
    api_mock: respx.Router, run: Runner, data: object, counts: tuple[int, int, int]
) -> None:
    api_mock.post(BULK).respond(json=ok(data))
    result = run(lambda client: client.customers.bulk_delete(TEAM, ids(5)))
    assert (result.total, result.succeeded, result.failed) == counts


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


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
@pytest.mark.parametrize("interrupt", [Interrupt, Interrupts])
def test_an_interrupt_while_the_source_is_closed_is_raised(
    api_mock: respx.Router, run: Runner, interrupt: type[BaseException]
) -> None:
    async def read() -> AsyncIterator[str]:
        try:
            for each in ids(500):
                yield each
        finally:
            raise interrupt

    api_mock.post(BULK).respond(403, json=error())
    with pytest.raises(interrupt):
        run(lambda client: client.customers.bulk_delete(TEAM, read()))


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_a_failure_to_close_the_source_logs_a_warning(
    api_mock: respx.Router, run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def read() -> AsyncIterator[str]:
        try:
            for each in ids(500):
                yield each
        finally:
            raise ZeroDivisionError("of the source")

    api_mock.post(BULK).respond(403, json=error())
    with pytest.raises(APIStatusError):
        run(lambda client: client.customers.bulk_delete(TEAM, read()))
    expected = "the iterable of a bulk call could not be closed: ZeroDivisionError('of the source')"
    assert expected in caplog.messages


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_the_first_of_two_interrupts_is_raised(api_mock: respx.Router, run: Runner) -> None:
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise Interrupt("of the request")

    async def read() -> AsyncIterator[str]:
        try:
            for each in ids(500):
                yield each
        finally:
            raise Interrupt("of the source")

    api_mock.post(BULK).mock(side_effect=interrupt)
    with pytest.raises(Interrupt, match="of the request"):
        run(lambda client: client.customers.bulk_delete(TEAM, read()))


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_an_async_generator_is_closed_before_the_error_is_raised(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).respond(403, json=error())
    events = []

    async def read() -> AsyncIterator[str]:
        try:
            for each in ids(500):
                yield each
        finally:
            events.append("closed")

    async def act(client: Any) -> list[str]:
        items = read()  # a reference that keeps it from the garbage collector
        with pytest.raises(APIStatusError):
            await client.customers.bulk_delete(TEAM, items)
        return [*events]

    assert run(act) == ["closed"]


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


@pytest.mark.skipif(not hasattr(BaseException, "add_note"), reason="notes are from Python 3.11 on")
@pytest.mark.parametrize(("count", "sent"), [(99, None), (250, "2. Results: total=200, succeeded=200, failed=0")])
def test_a_note_has_the_number_of_requests_and_the_results(
    api_mock: respx.Router, run: Runner, count: int, sent: str | None
) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)

    def read() -> Iterator[str]:
        yield from ids(count)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, read(), idempotency_key="k"))
    note = f"Requests sent by this bulk call: {sent}. To continue, repeat it with idempotency_key='k'."
    assert getattr(raised.value, "__notes__", []) == ([note] if sent else [])


@pytest.mark.skipif(not hasattr(BaseException, "add_note"), reason="notes are from Python 3.11 on")
def test_an_interrupted_first_request_adds_a_note_without_results(api_mock: respx.Router, run: Runner) -> None:
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise Interrupt

    api_mock.post(BULK).mock(side_effect=interrupt)
    with pytest.raises(Interrupt) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, ids(1), idempotency_key="k"))
    [note] = raised.value.__notes__
    assert note.startswith("Requests sent by this bulk call: 1. Results: none. ")


@pytest.mark.skipif(not hasattr(BaseException, "add_note"), reason="notes are from Python 3.11 on")
def test_an_interrupt_has_a_note(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)

    def read() -> Iterator[str]:
        yield from ids(150)
        raise Interrupt

    with pytest.raises(Interrupt) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, read(), idempotency_key="k"))
    [note] = raised.value.__notes__
    assert "succeeded=100" in note


def test_an_api_error_of_the_input_has_an_empty_partial_result(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).respond(403, json=error())

    def read(client: Any) -> Iterator[str]:
        yield from (each.id for each in client.customers.list(TEAM))

    async def read_async(client: Any) -> AsyncIterator[str]:
        async for each in client.customers.list(TEAM):
            yield each.id

    items = read if run.kind == "sync" else read_async
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, items(client), idempotency_key="k"))
    assert (raised.value.partial.total, raised.value.idempotency_key) == (0, "k")


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
    api_mock.get(CUSTOMERS).respond(json=ok([CUSTOMER], pagination={"total": 1, "page": 1, "hasMore": False}))
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
    api_mock.get(CUSTOMERS).respond(json=ok([CUSTOMER], pagination={"total": 1, "page": 1, "hasMore": False}))
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
    ],
)
def test_an_upsert_retries_a_conflict_about_an_email_without_a_customer(
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


@pytest.mark.parametrize("data", [{"message": "Nothing was done."}, {"id": "cus_1", "name": "Jane"}])
def test_a_response_without_counts_and_errors_is_rejected(api_mock: respx.Router, run: Runner, data: object) -> None:
    api_mock.post(BULK).respond(json=ok(data))
    with pytest.raises(APIResponseValidationError):
        run(lambda client: client.customers.bulk_delete(TEAM, ids(2)))
