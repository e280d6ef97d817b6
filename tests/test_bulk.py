"""Bulk calls, exports and upserts: chunks, idempotency keys, results, and partial results of failed calls."""

from __future__ import annotations

import csv
import dataclasses
import enum
import json
import pickle
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstar import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    BulkResult,
    ConflictError,
    Cstar,
    CustomerExport,
    ImportResult,
    InvalidParameterError,
)
from cstar._bulk import MAX_BODY_SIZE
from cstar.resources._customer_calls import bulk_delete_job, bulk_import_job
from support import CUSTOMER, CUSTOMERS, ID, KEY, TEAM, Runner, error, ok, page_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import respx

    from cstar.sandbox import Sandbox

BULK, IMPORT, EXPORT = (f"/teams/{TEAM}/{name}" for name in ("bulk", "import", "export"))


def record(number: int, **fields: object) -> dict[str, Any]:
    return {"name": f"Customer {number}", "email": f"{number}@example.com", **fields}


def records(count: int) -> Iterator[dict[str, Any]]:
    return (record(number) for number in range(count))


def ids(count: int) -> list[str]:
    return [f"cus_{number}" for number in range(count)]


def body(request: httpx.Request) -> dict[str, Any]:
    return json.loads(request.content)


def bulk_success(request: httpx.Request) -> httpx.Response:
    count = len(body(request)["ids"])
    return httpx.Response(200, json=ok({"total": count, "succeeded": count, "failed": 0, "errors": []}))


def import_success(request: httpx.Request) -> httpx.Response:
    count = len(body(request)["records"])
    return httpx.Response(200, json=ok({"total": count, "created": count, "updated": 0, "skipped": 0, "errors": []}))


def requests(router: respx.Router) -> list[httpx.Request]:
    return [call.request for call in router.calls]


# ── Requests ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_has_at_most_100_ids(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    result = run(lambda client: client.customers.bulk_delete(TEAM, iter(ids(205))))
    assert [len(body(request)["ids"]) for request in requests(api_mock)] == [100, 100, 5]
    assert body(requests(api_mock)[2]) == {"action": "delete", "resource": "customers", "ids": ids(205)[200:]}
    assert (result.total, result.succeeded, result.failed, result.errors) == (205, 205, 0, [])


def test_a_request_has_at_most_500_records(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(IMPORT).mock(side_effect=import_success)
    result = run(lambda client: client.customers.bulk_import(TEAM, records(12_345)))
    assert [len(body(request)["records"]) for request in requests(api_mock)] == [500] * 24 + [345]
    assert body(requests(api_mock)[24])["records"][-1] == {"name": "Customer 12344", "email": "12344@example.com"}
    assert (result.total, result.created, result.updated, result.skipped) == (12_345, 12_345, 0, 0)


def test_a_bulk_update_sends_all_fields_of_update_with_each_chunk(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    fields = {"name": "J", "email": "j@x.io", "sentiment": "happy", "status": "inactive", "tags": ["vip"]}
    fields |= {"notes": None, "metadata": {"crm": None}}
    other = {"custom_fields": {"a": 1}, "extra_body": {"vip": True}}
    run(lambda client: client.customers.bulk_update(TEAM, ids(101), **fields, **other))
    changes = {**fields, "customFields": {"a": 1}, "vip": True}
    assert [body(request)["data"] for request in requests(api_mock)] == [changes, changes]
    assert {body(request)["action"] for request in requests(api_mock)} == {"update"}


def test_a_record_has_the_fields_of_create_except_those_that_are_none(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(IMPORT).mock(side_effect=import_success)
    rows = [record(1, custom_fields={"seats": 5}, metadata={"crm": "7"}, tags=("a",), notes=None, status="inactive")]
    run(lambda client: client.customers.bulk_import(TEAM, rows, merge_strategy="update"))
    assert body(requests(api_mock)[0]) == {
        "resource": "customers",
        "records": [
            {
                "name": "Customer 1",
                "email": "1@example.com",
                "customFields": {"seats": 5},
                "metadata": {"crm": "7"},
                "tags": ["a"],
                "status": "inactive",
            }
        ],
        "mergeStrategy": "update",
    }


def test_a_call_without_an_idempotency_key_gets_a_new_one(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    for _ in range(2):
        run(lambda client: client.customers.bulk_delete(TEAM, ids(1)))
    keys = [request.headers["Idempotency-Key"] for request in requests(api_mock)]
    assert len(set(keys)) == 2
    assert all(uuid.UUID(key.removesuffix("-1")).version == 4 for key in keys)


def test_items_are_read_lazily(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    requests_sent = []

    def items() -> Iterator[str]:
        for each in ids(300):
            requests_sent.append(len(api_mock.calls))
            yield each

    run(lambda client: client.customers.bulk_delete(TEAM, items()))
    assert requests_sent == [0] * 100 + [1] * 100 + [2] * 100


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_the_async_client_accepts_an_async_iterable(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(IMPORT).mock(side_effect=import_success)

    async def items() -> AsyncIterator[dict[str, Any]]:
        for each in records(501):
            yield each

    assert run(lambda client: client.customers.bulk_import(TEAM, items())).created == 501


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_an_async_iterator_without_aclose_is_accepted(api_mock: respx.Router, run: Runner) -> None:
    class Source:
        def __init__(self) -> None:
            self.ids = ids(3)

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> str:
            if not self.ids:
                raise StopAsyncIteration
            return self.ids.pop(0)

    api_mock.post(BULK).mock(side_effect=bulk_success)
    assert run(lambda client: client.customers.bulk_delete(TEAM, Source())).succeeded == 3


class KnownCustomer(str, enum.Enum):
    JANE = "cus_1"


@pytest.mark.parametrize(("customer_id", "sent"), [(uuid.UUID(TEAM), TEAM), (KnownCustomer.JANE, "cus_1")])
def test_an_id_may_be_a_uuid_or_a_string_enum(
    api_mock: respx.Router, run: Runner, customer_id: object, sent: str
) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    run(lambda client: client.customers.bulk_delete(TEAM, {customer_id}))
    assert body(requests(api_mock)[0])["ids"] == [sent]


# ── Validation ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cus_1", r"ids must be a list or another iterable \(put a single item in a list\), not 'cus_1'"),
        (b"cus_1", r"ids must be a list or another iterable \(.*\), not a value of type bytes"),
        ({"cus_1": 1}, r"ids must be a list or another iterable \(.*\), not a value of type dict"),
        (7, "ids must be a list or another iterable, not 7"),
        (["cus_1", 7], r"ids\[1\] must be a string \(.*\) or a uuid.UUID, not 7"),
        ([f"{KEY}\n"], r"ids\[0\] must be an id, not an API key$"),
    ],
)
def test_invalid_ids_are_rejected_with_their_index(run: Runner, value: object, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{message}"):
        run(lambda client: client.customers.bulk_delete(TEAM, value))


@pytest.mark.parametrize(
    ("row", "param", "message"),
    [
        (5, "records[1]", r"records\[1\] must be a mapping of the fields of create, .*, not 5"),
        ({}, "records[1]", r"records\[1\] must have a name and an email, but has no name"),
        ({"name": "Jane"}, "records[1]", r"records\[1\] must have a name and an email, but has no email"),
        ({**record(1), "name": None}, "records[1]", r"records\[1\] must have a name and an email, but has no name"),
        (
            {"nmae": "J", "mail": "j"},
            "records[1].nmae",
            r"records\[1\] has the unknown field 'nmae' \(did you mean 'name'\?\): the fields are name",
        ),
        ({**record(1), 5: 5}, "records[1].5", r"records\[1\] has the unknown field 5"),
        ({**record(1), None: ["x"]}, "records[1]", r"records\[1\] has more values than the header has names: \['x'\]$"),
        (record(1, tags="vip"), "records[1].tags", r"records\[1\].tags must be a list or tuple of strings, not 'vip'"),
        (
            record(1, status="gone"),
            "records[1].status",
            r"records\[1\].status must be one of 'active', 'inactive', not 'gone'",
        ),
        (
            record(1, metadata={"a": None}),
            "records[1].metadata['a']",
            r"records\[1\].metadata\['a'\] must be a string, not None",
        ),
        (
            record(1, notes="x" * MAX_BODY_SIZE),
            "records[1]",
            r"records\[1\] must have at most 1,048,516 bytes as JSON, not 1,048,6",
        ),
    ],
)
def test_an_invalid_record_is_rejected_with_its_index(run: Runner, row: object, param: str, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{message}") as raised:
        run(lambda client: client.customers.bulk_import(TEAM, [record(0), row]))
    assert (raised.value.param, raised.value.index) == (param, 1)
    assert (raised.value.partial, raised.value.idempotency_key) == (None, None)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("Name,email\nJ,j@example.com", r"the unknown field 'Name' \(did you mean 'name'\?\): the fields are name, "),
        (
            "name,email,customFields\nJ,j@example.com,1",
            r"the unknown field 'customFields' \(did you mean 'custom_fields'\?\): ",
        ),
        ("name;email\nJ;j@example.com", r"the unknown field 'name;email': the fields are "),
        ("name,email,phone\nJ,j@example.com,1", r"the unknown field 'phone': the fields are "),
        (
            "\ufeffname,email\nJ,j@example.com",
            r"the unknown field .* \(a byte order mark: open the file with encoding='utf-8-sig'\): ",
        ),
        ("name,email\nJ,j@example.com,1", r"more values than the header has names: \['1'\]$"),
    ],
)
def test_a_csv_file_with_wrong_columns_is_rejected_with_a_hint(run: Runner, table: str, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=rf"^records\[0\] has {message}"):
        run(lambda client: client.customers.bulk_import(TEAM, csv.DictReader(table.splitlines())))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "an update must change something: pass at least one of name, email"),
        ({"status": "gone"}, "status must be one of 'active', 'inactive', not 'gone'"),
        (
            {"notes": "x", "idempotency_key": "k" * 245},
            "idempotency_key must be a string of 1 to 244 printable ASCII characters without a space at either end",
        ),
        (
            {"notes": "x" * 600_000},
            r"the request without its items must have at most 524,288 bytes as JSON, not 600,0\d\d$",
        ),
    ],
)
def test_a_bulk_update_is_validated_before_the_first_id_is_read(
    run: Runner, options: dict[str, Any], message: str
) -> None:
    items = iter(ids(3))
    with pytest.raises(InvalidParameterError, match=f"^{message}"):
        run(lambda client: client.customers.bulk_update(TEAM, items, **options))
    assert len(list(items)) == 3


def test_the_sync_client_rejects_an_async_iterable() -> None:
    async def items() -> AsyncIterator[str]:
        yield "cus_1"

    with Cstar(KEY) as client, pytest.raises(InvalidParameterError, match="only AsyncCstar accepts async iterables"):
        client.customers.bulk_delete(TEAM, items())  # type: ignore[arg-type]


# ── Results ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_results_are_summed_and_errors_have_indices_of_the_whole_input(api_mock: respx.Router, run: Runner) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        count = len(body(request)["ids"])
        errors = [{"index": 3, "code": "resource_missing", "message": "Not found."}]
        return httpx.Response(200, json=ok({"total": count, "succeeded": count - 1, "failed": 1, "errors": errors}))

    api_mock.post(BULK).mock(side_effect=respond)
    result = run(lambda client: client.customers.bulk_delete(TEAM, ids(150)))
    assert (result.total, result.succeeded, result.failed) == (150, 148, 2)
    assert [(each.index, each.id) for each in result.errors] == [(3, "cus_3"), (103, "cus_103")]


@pytest.mark.parametrize(
    ("entry", "index", "customer_id"),
    [
        ({"index": 0}, 100, "cus_100"),
        ({"index": "3"}, 103, "cus_103"),
        ({"id": "cus_103"}, 103, "cus_103"),
        ({"id": "CUS_103", "index": 0}, 103, "CUS_103"),  # the id takes precedence over the index
        ({"index": 3, "id": "cus_103"}, 103, "cus_103"),
        ({"index": 3, "id": "0b9ad6f4-6a5e-4b57-a2a0-1f3f7a1c9d10"}, 103, "0b9ad6f4-6a5e-4b57-a2a0-1f3f7a1c9d10"),
        ({"index": 3, "email": "jane@example.com"}, 103, "cus_103"),
        ({"index": 10}, None, None),
        ({"index": -1}, None, None),
        ({"id": "cus_unknown"}, None, "cus_unknown"),
        ({"id": {"value": "cus_103"}}, None, {"value": "cus_103"}),
        ({"email": "jane@example.com"}, None, None),
        ({"message": "Something failed."}, None, None),
        ("Something failed.", None, None),
    ],
)
def test_an_error_has_an_index_if_its_item_can_be_identified(
    api_mock: respx.Router, run: Runner, entry: object, index: int | None, customer_id: object
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        errors = [entry] if len(body(request)["ids"]) < 100 else []
        return httpx.Response(200, json=ok({"errors": errors}))

    api_mock.post(BULK).mock(side_effect=respond)
    result = run(lambda client: client.customers.bulk_delete(TEAM, ids(110)))
    assert [(each.index, each.id) for each in result.errors] == [(index, customer_id)]
    assert (result.total, result.succeeded, result.failed) == (110, 109, 1)  # derived: the responses have no counts


@pytest.mark.parametrize(
    ("errors", "messages"),
    [
        ("All failed.", ["All failed."]),
        (7, ["7"]),
        ([7, None, ["x"]], ["7", "None", "['x']"]),
        ({"cus_1": "Not found."}, [None]),
        ([{"index": "first", "id": 7, "message": "It failed."}], ["It failed."]),
    ],
)
def test_errors_of_any_shape_are_kept(api_mock: respx.Router, run: Runner, errors: object, messages: object) -> None:
    api_mock.post(BULK).respond(json=ok({"total": 2, "succeeded": 0, "failed": 2, "errors": errors}))
    result = run(lambda client: client.customers.bulk_delete(TEAM, ids(2)))
    assert [each.message for each in result.errors] == messages
    assert result.failed == 2


def test_an_error_with_a_duplicate_email_address_has_no_index(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(IMPORT).respond(json=ok({"errors": [{"email": "1@example.com"}]}))
    result = run(lambda client: client.customers.bulk_import(TEAM, [record(1), record(1)]))
    assert result.errors[0].index is None


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"total": 7, "succeeded": 3, "failed": 2}, (7, 3, 2)),  # the counts of the server, whatever their sum
        ({"total": 7, "failed": 2}, (7, 5, 2)),
        ({"total": 5, "failed": 9}, (5, 0, 9)),
        ({"total": 5, "succeeded": 9}, (5, 9, 0)),
        ({"succeeded": 4}, (5, 4, 1)),
        ({"succeeded": 0}, (5, 0, 5)),
        ({"errors": ["It failed."]}, (5, 4, 1)),
        ({"object": "bulk_result"}, (5, 5, 0)),
        ({"total": None, "succeeded": None, "failed": None, "errors": []}, (5, 5, 0)),
        ({"total": "many", "failed": {}, "errors": None}, (5, 5, 0)),
        ({"total": -5, "failed": True, "errors": ["It failed."]}, (5, 4, 1)),
    ],
)
def test_missing_or_invalid_counts_are_derived_from_the_others(
    api_mock: respx.Router, run: Runner, data: object, counts: tuple[int, int, int]
) -> None:
    api_mock.post(BULK).respond(json=ok(data))
    result = run(lambda client: client.customers.bulk_delete(TEAM, ids(5)))
    assert (result.total, result.succeeded, result.failed) == counts


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"total": 9, "created": 4, "updated": 1, "skipped": 1}, (9, 4, 1, 1)),
        ({"total": 7, "updated": 2, "skipped": 1, "errors": ["It failed."]}, (7, 3, 2, 1)),
        ({"total": 2, "skipped": 2, "errors": ["It exists."] * 2}, (2, 0, 0, 2)),
        ({"created": 3}, (5, 3, 0, 0)),
        ({"created": 0}, (5, 0, 0, 0)),
        ({"errors": []}, (5, 5, 0, 0)),
    ],
)
def test_missing_counts_of_an_import_are_derived_from_the_others(
    api_mock: respx.Router, run: Runner, data: object, counts: tuple[int, int, int, int]
) -> None:
    api_mock.post(IMPORT).respond(json=ok(data))
    result = run(lambda client: client.customers.bulk_import(TEAM, records(5)))
    assert (result.total, result.created, result.updated, result.skipped) == counts


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"object": "customer", "id": "cus_1"},
        {"id": "cus_1", "name": "Jane"},
        {"message": "Nothing was done."},
        {"object": "import_result", "total": 500, "created": 500},
        {"object": "bulk_result", "action": "update", "total": 3, "succeeded": 3},
        {"object": "bulk_result", "resource": "tickets", "total": 3, "succeeded": 3},
    ],
)
def test_a_response_of_another_kind_is_rejected(api_mock: respx.Router, run: Runner, data: object) -> None:
    api_mock.post(BULK).respond(json=ok(data))
    with pytest.raises(APIResponseValidationError, match="not as documented: data") as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, ids(3)))
    assert raised.value.partial == BulkResult()


def test_the_api_key_is_redacted_in_partial_results(api_mock: respx.Router, run: Runner) -> None:
    errors = [{"index": 0, "message": f"{KEY} may not.", "hint": KEY}]
    api_mock.post(BULK).mock(side_effect=[httpx.Response(200, json=ok({"errors": errors})), httpx.Response(403)])
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, ids(150)))
    assert raised.value.partial.errors[0].message == "[hidden] may not."
    assert KEY.encode() not in pickle.dumps(raised.value)


def test_a_partial_result_keeps_invalid_fields_of_its_errors(api_mock: respx.Router, run: Runner) -> None:
    errors = [{"index": 0, "code": {"reason": KEY}}, "Not found.", 7]
    api_mock.post(BULK).mock(side_effect=[httpx.Response(200, json=ok({"errors": errors})), httpx.Response(403)])
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, ids(150)))
    assert [each.code for each in raised.value.partial.errors] == [{"reason": "[hidden]"}, None, None]
    assert [each.message for each in raised.value.partial.errors] == [None, "Not found.", "7"]


async def ids_in_a_task_group() -> AsyncIterator[str]:
    async with anyio.create_task_group():
        for each in ids(500):
            yield each


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_a_call_can_fail_while_its_source_has_a_task_group(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).respond(403, json=error())
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, ids_in_a_task_group()))
    assert raised.value.partial == BulkResult()


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_a_call_can_be_cancelled_while_its_source_has_a_task_group(api_mock: respx.Router, run: Runner) -> None:
    async def respond(request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    async def act(client: Any) -> bool:
        with anyio.move_on_after(0.05) as scope:
            await client.customers.bulk_delete(TEAM, ids_in_a_task_group())
        return scope.cancelled_caught

    api_mock.post(BULK).mock(side_effect=respond)
    assert run(act)


@pytest.mark.parametrize("run", ["asyncio", "trio"], indirect=True)
def test_an_async_iterator_is_closed_before_the_error_is_raised(api_mock: respx.Router, run: Runner) -> None:
    class Source:
        is_closed = False

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> str:
            return "cus_1"

        async def aclose(self) -> None:
            self.is_closed = True

    async def act(client: Any) -> bool:
        source = Source()
        with pytest.raises(APIStatusError):
            await client.customers.bulk_delete(TEAM, source)
        return source.is_closed

    api_mock.post(BULK).respond(403, json=error())
    assert run(act)


# ── Partial results ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_status_error_has_the_partial_result_and_survives_pickle(api_mock: respx.Router, run: Runner) -> None:
    success = httpx.Response(200, json=ok({"total": 500, "created": 500}))
    api_mock.post(IMPORT).mock(side_effect=[success, success, httpx.Response(403)])
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.bulk_import(TEAM, records(2000), idempotency_key="crm"))
    for each in (raised.value, pickle.loads(pickle.dumps(raised.value))):
        assert each.partial == ImportResult(total=1000, created=1000)
        assert each.idempotency_key == "crm"
    assert len(requests(api_mock)) == 3


def test_a_connection_error_has_the_partial_result(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(
        side_effect=[httpx.Response(200, json=ok({"total": 100})), *[httpx.ConnectError("no")] * 4]
    )
    with pytest.raises(APIConnectionError) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, ids(150)))
    assert (raised.value.partial.total, raised.value.attempts) == (100, 4)


def test_an_error_about_an_invalid_item_has_the_partial_result(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    with pytest.raises(InvalidParameterError, match=r"^ids\[120\] must be") as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, [*ids(120), "a b"], idempotency_key="k"))
    assert (raised.value.partial.succeeded, raised.value.idempotency_key) == (100, "k")
    assert len(requests(api_mock)) == 1


@pytest.mark.parametrize("count", [0, 100])
def test_an_api_error_of_the_callers_iterable_has_the_partial_result(
    api_mock: respx.Router, run: Runner, count: int
) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)
    api_mock.get(CUSTOMERS).respond(403, json=error())

    def items(client: Any) -> Iterator[str]:
        yield from ids(count)
        yield from (each.id for each in client.customers.list(TEAM))

    async def items_async(client: Any) -> AsyncIterator[str]:
        for each in ids(count):
            yield each
        async for each in client.customers.list(TEAM):
            yield each.id

    source = items if run.kind == "sync" else items_async
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, source(client), idempotency_key="k"))
    assert raised.value.partial == BulkResult(total=count, succeeded=count)
    assert raised.value.idempotency_key == "k"


def test_an_api_error_of_the_callers_iterable_keeps_its_idempotency_key(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(BULK).mock(side_effect=bulk_success)

    def items() -> Iterator[str]:
        yield from ids(100)
        raise ConflictError("taken", idempotency_key="create-7")

    with pytest.raises(ConflictError) as raised:
        run(lambda client: client.customers.bulk_delete(TEAM, items(), idempotency_key="k"))
    assert (raised.value.partial.succeeded, raised.value.idempotency_key) == (100, "create-7")


def test_an_exception_that_accepts_no_note_propagates_unchanged(api_mock: respx.Router, run: Runner) -> None:
    @dataclasses.dataclass(frozen=True)
    class FrozenError(Exception):
        number: int

    def items() -> Iterator[str]:
        yield from ids(150)
        raise FrozenError(7)

    api_mock.post(BULK).mock(side_effect=bulk_success)
    with pytest.raises(FrozenError):
        run(lambda client: client.customers.bulk_delete(TEAM, items()))
    assert len(requests(api_mock)) == 1  # the incomplete chunk is not sent


def test_a_chunk_is_retried_with_the_key_of_the_call_and_its_number(api_mock: respx.Router, run: Runner) -> None:
    responses = iter([httpx.Response(503), httpx.ReadError("lost"), None])

    def respond(request: httpx.Request) -> httpx.Response:
        outcome = next(responses) if request.headers["Idempotency-Key"] == "k-2" else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or bulk_success(request)

    api_mock.post(BULK).mock(side_effect=respond)
    assert run(lambda client: client.customers.bulk_delete(TEAM, ids(150), idempotency_key="k")).succeeded == 150
    assert [request.headers["Idempotency-Key"] for request in requests(api_mock)] == ["k-1", "k-2", "k-2", "k-2"]


@given(count=st.integers(0, 1200), sizes=st.lists(st.integers(0, 400_000), max_size=12))
def test_chunks_have_every_record_once_in_order_within_the_limits(count: int, sizes: list[int]) -> None:
    rows = [*records(count), *(record(count + place, notes="x" * size) for place, size in enumerate(sizes))]
    job = bulk_import_job(TEAM, "skip", "key")
    calls = [call for row in rows if (call := job.feed(row))]
    calls += [call for call in [job.flush()] if call]
    assert job.flush() is None
    bodies = [json.loads(call.body) for call in calls]
    assert [row["email"] for body in bodies for row in body["records"]] == [row["email"] for row in rows]
    assert all(1 <= len(body["records"]) <= 500 for body in bodies)
    assert all(len(call.body) <= MAX_BODY_SIZE for call in calls)
    assert [call.idempotency_key for call in calls] == [f"key-{number + 1}" for number in range(len(calls))]


def test_a_bulk_call_keeps_at_most_one_chunk_in_memory() -> None:
    job = bulk_delete_job(TEAM, None)
    for number in range(10_000):
        if job.feed(f"cus_{number}"):
            job.receive(BulkResult(total=100, succeeded=100))
    lists = [value for value in vars(job).values() if isinstance(value, list)]
    assert max(map(len, lists)) <= 100


# ── Against the sandbox ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def box(cstar_sandbox: Sandbox) -> Sandbox:
    return cstar_sandbox


def options_for(box: Sandbox, **options: Any) -> dict[str, Any]:
    """The options of a client of this sandbox that retries without delay."""
    return {"api_key": box.api_key, "base_url": box.url, "max_retry_wait": 0, **options}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_faults_every_record_is_imported_and_deleted_once(box: Sandbox, run: Runner, seed: int) -> None:
    box.faults.add("flaky", probability=0.4, seed=seed)
    options = options_for(box, max_retries=30)
    result = run(lambda client: client.customers.bulk_import(box.team_id, records(2600)), **options)
    assert (result.created, result.skipped, result.errors) == (2600, 0, [])
    customers = run.collect(lambda client: client.customers.list(box.team_id), **options)
    assert sorted(each.email for each in customers) == sorted(row["email"] for row in records(2600))
    ids = [each.id for each in customers]
    deleted = run(lambda client: client.customers.bulk_delete(box.team_id, ids), **options)
    assert (deleted.succeeded, deleted.errors) == (2600, [])


def test_a_repeated_call_with_the_same_key_returns_the_complete_result(box: Sandbox, run: Runner) -> None:
    def import_rows() -> ImportResult:
        return run(
            lambda client: client.customers.bulk_import(box.team_id, rows, idempotency_key="crm"), **options_for(box)
        )

    rows = [*records(1200), record(0), {**record(1), "email": "nobody"}]
    run(lambda client: client.customers.create(box.team_id, **record(700)), **options_for(box))
    box.faults.add("status", status=403, path="*/import", times=1, when="after")
    with pytest.raises(APIStatusError):
        import_rows()
    result = import_rows()
    assert (result.total, result.created, result.skipped, len(result.errors)) == (1202, 1199, 2, 1)
    assert [(each.index, each.email) for each in result.errors] == [(1201, "nobody")]
    assert import_rows() == result


def test_a_deadline_bounds_all_requests_of_a_bulk_call(box: Sandbox, run: Runner) -> None:
    box.faults.add("latency", seconds=0.2, times=100)
    with pytest.raises(APITimeoutError, match="deadline") as raised:
        run(lambda client: client.customers.bulk_import(box.team_id, records(5000)), **options_for(box, deadline=0.5))
    assert raised.value.partial.created < 5000


# ── Exports ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_export_has_the_matching_customers(box: Sandbox, run: Runner) -> None:
    rows = [record(1, tags=["vip"]), record(2, status="inactive"), record(3)]
    run(lambda client: client.customers.bulk_import(box.team_id, rows), **options_for(box))
    export = run(lambda client: client.customers.export(box.team_id, status="active"), **options_for(box))
    assert (export.total_rows, [each.email for each in export.customers]) == (2, ["3@example.com", "1@example.com"])
    export = run(lambda client: client.customers.export(box.team_id, tag="vip"), **options_for(box))
    assert [each.tags for each in export.customers] == [["vip"]]


def test_iterating_an_export_raises_with_a_hint() -> None:
    with pytest.raises(TypeError, match=r"^an export is not iterable: iterate over its \.customers$"):
        list(CustomerExport())


def test_a_raw_response_of_an_export_survives_pickle(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(EXPORT).respond(json=ok({"totalRows": 1, "resources": {"customers": [CUSTOMER]}}))
    response = run(lambda client: client.customers.with_raw_response.export(TEAM))
    assert pickle.loads(pickle.dumps(response)).parse().customers[0].id == ID


@pytest.mark.parametrize(
    ("data", "total"),
    [
        ({"resources": {"customers": [{"id": ID, "createdAt": "soon"}]}}, 1),
        ({"total_rows": 12_000, "resources": {"customers": [CUSTOMER]}}, 12_000),
        ({"totalRows": 0, "resources": {"customers": None}}, 0),
        ({"totalRows": 0, "resources": None}, 0),
        ({"totalRows": 0, "resources": {"customers": 7}}, 0),
        ({"totalRows": "many", "resources": {"customers": [CUSTOMER]}}, 1),
    ],
)
def test_an_export_with_small_deviations_is_accepted(
    api_mock: respx.Router, run: Runner, data: object, total: int
) -> None:
    api_mock.post(EXPORT).respond(json=ok(data))
    export = run(lambda client: client.customers.export(TEAM))
    assert export.total_rows == total
    assert [each.id for each in export.customers] == [ID] * (total > 0)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"totalRows": 3},
        {"totalRows": "many", "resources": {"customers": {}}},
        {"totalRows": 3, "resources": None},
        {"totalRows": 3, "resources": {"customers": []}},
        {"totalRows": 1, "resources": [CUSTOMER]},
        {"object": "import_result", "total": 500},
        {"totalRows": 1, "resources": {"customers": [{"name": "Jane Doe"}]}},
    ],
)
def test_an_export_without_its_customers_is_rejected(api_mock: respx.Router, run: Runner, data: object) -> None:
    api_mock.post(EXPORT).respond(json=ok(data))
    with pytest.raises(APIResponseValidationError, match="not as documented: data") as raised:
        run(lambda client: client.customers.export(TEAM))
    assert "Jane" not in str(raised.value)
    assert "pydantic" not in str(raised.value)


# ── Upserts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def upsert(run: Runner, box: Sandbox, **fields: Any) -> Any:
    fields = {"email": "jane@example.com", "name": "Jane", **fields}
    return run(lambda client: client.customers.upsert(box.team_id, **fields), **options_for(box))


def test_an_upsert_of_a_new_email_address_takes_one_request(box: Sandbox, run: Runner) -> None:
    customer, created = upsert(run, box, tags=["vip"], metadata={"crm": "1"})
    assert (created, customer.tags, customer.metadata) == (True, ["vip"], {"crm": "1"})
    assert len(box.requests) == 1


def test_an_upsert_of_a_known_email_address_updates_the_given_fields(box: Sandbox, run: Runner) -> None:
    first = upsert(run, box, notes="kept", metadata={"one": "1"}).customer
    customer, created = upsert(run, box, email="JANE@example.com", name="Jane Doe", metadata={"two": "2"})
    assert (created, customer.id, customer.name, customer.notes) == (False, first.id, "Jane Doe", "kept")
    assert (customer.email, customer.metadata) == ("jane@example.com", {"one": "1", "two": "2"})
    assert [request.method for request in box.requests[1:]] == ["POST", "GET", "PATCH"]


def test_concurrent_upserts_create_one_customer(box: Sandbox) -> None:
    with Cstar(**options_for(box)) as client, ThreadPoolExecutor(20) as threads:
        results = list(
            threads.map(
                lambda number: client.customers.upsert(box.team_id, email="jane@example.com", name=f"Jane {number}"),
                range(20),
            )
        )
    assert sum(result.created for result in results) == 1
    assert len({result.customer.id for result in results}) == 1


def test_a_repeated_upsert_with_the_same_key_has_one_effect(box: Sandbox, run: Runner) -> None:
    first = upsert(run, box, idempotency_key="form-7")
    again = upsert(run, box, idempotency_key="form-7")
    assert (first.created, again) == (True, first)
    changed = upsert(run, box, name="Changed", idempotency_key="form-8")
    run(lambda client: client.customers.update(box.team_id, first.customer.id, name="Newer"), **options_for(box))
    repeated = upsert(run, box, name="Changed", idempotency_key="form-8")
    assert (repeated.customer.name, repeated.created) == (changed.customer.name, False)
    assert run(lambda client: client.customers.get(box.team_id, first.customer.id), **options_for(box)).name == "Newer"


def test_an_upsert_strips_the_email_address(box: Sandbox, run: Runner) -> None:
    first = upsert(run, box, email=" jane@example.com ")
    assert (first.created, first.customer.email) == (True, "jane@example.com")
    assert not upsert(run, box, email="jane@example.com\t").created


def test_an_upsert_whose_responses_are_lost_has_one_effect(box: Sandbox, run: Runner) -> None:
    box.faults.add("drop", when="after", method="POST")
    assert upsert(run, box).created
    box.faults.add("drop", when="after", method="PATCH")
    assert upsert(run, box, name="Jane Doe").customer.name == "Jane Doe"
    assert run(lambda client: client.customers.list(box.team_id).first(), **options_for(box)).name == "Jane Doe"


def test_an_upsert_of_a_concurrently_deleted_customer_creates_it(api_mock: respx.Router, run: Runner) -> None:
    conflict = httpx.Response(409, json=error("resource_already_exists"))
    api_mock.post(CUSTOMERS).mock(side_effect=[conflict, conflict, httpx.Response(201, json=ok(CUSTOMER))])
    pages = [page_of(rows, has_more=False) for rows in ([], [CUSTOMER])]
    api_mock.get(CUSTOMERS).mock(side_effect=[httpx.Response(200, json=page) for page in pages])
    api_mock.patch(f"{CUSTOMERS}/{ID}").respond(404, json=error("resource_missing"))
    email = CUSTOMER["email"]
    result = run(lambda client: client.customers.upsert(TEAM, email=email, name="Jane", idempotency_key="k"))
    assert result.created
    keys = [request.headers["Idempotency-Key"] for request in requests(api_mock) if request.method != "GET"]
    assert keys == ["k-create-1", "k-create-2", f"k-update-{ID}", "k-create-3"]
    first, second = run.sleeps
    assert 0.5 <= first <= 0.625
    assert 1 <= second <= 1.25


def test_an_upsert_gives_up_after_five_conflicts(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(CUSTOMERS).respond(409, json=error("resource_already_exists"))
    api_mock.get(CUSTOMERS).respond(json=page_of([], has_more=False))
    with pytest.raises(ConflictError) as raised:
        run(lambda client: client.customers.upsert(TEAM, email="j@example.com", name="J", idempotency_key="k"))
    assert raised.value.idempotency_key == "k"
    assert str(raised.value).endswith("; the email address is taken, but no customer with it was found")
    assert len([request for request in requests(api_mock) if request.method == "POST"]) == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"email": "nobody"}, "email must be a complete email address, not 'nobody'"),
        ({"name": ""}, "name must be a string that is not blank, not ''"),
        ({"idempotency_key": "k" * 201}, "idempotency_key must be a string of 1 to 200 printable ASCII characters"),
    ],
)
def test_an_upsert_is_validated_before_the_first_request(run: Runner, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{message}"):
        run(lambda client: client.customers.upsert(TEAM, **{"email": "j@example.com", "name": "J", **fields}))


def test_a_deadline_bounds_all_requests_of_an_upsert(box: Sandbox, run: Runner) -> None:
    upsert(run, box)
    box.faults.add("latency", seconds=0.2, times=100)
    with pytest.raises(APITimeoutError, match="deadline"):
        run(
            lambda client: client.customers.upsert(box.team_id, email="jane@example.com", name="Jane"),
            **options_for(box, deadline=0.5),
        )
