"""Tests of pages and iterators over HTTP, with the sync and the async client."""

from __future__ import annotations

import base64
import copy
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime  # noqa: TC003 - for pydantic
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from cstar import (
    APIResponseValidationError,
    AsyncCstar,
    AsyncPage,
    Cstar,
    CstarError,
    Customer,
    InternalServerError,
    InvalidParameterError,
    Page,
)
from cstar._ending import MAX_STALE_SLICES
from support import CUSTOMERS, KEY, TEAM, URL, Runner, customer, error, ok, page_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import respx

ROWS = [customer(number) for number in range(1, 8)]
IDS = [row["id"] for row in ROWS]


def serve(
    rows: list[dict[str, Any]], shape: Callable[..., dict[str, object]]
) -> Callable[[httpx.Request], httpx.Response]:
    """Return a handler that serves rows in one of the envelopes of the API."""

    def handle(request: httpx.Request) -> httpx.Response:
        number, size = int(request.url.params["page"]), int(request.url.params["pageSize"])
        assert number < 100, "the iteration does not end"
        start = (number - 1) * size
        return httpx.Response(200, json=shape(rows[start : start + size], number, size, len(rows)))

    return handle


def current(rows: list[dict[str, Any]], number: int, size: int, total: int) -> dict[str, object]:
    return page_of(rows, number, size=size, total=total, has_more=number * size < total)


def in_meta(rows: list[dict[str, Any]], number: int, size: int, total: int) -> dict[str, object]:
    pages = -(-total // size)
    return ok(rows, meta={"pagination": {"page": number, "pageSize": size, "total": total, "totalPages": pages}})


def in_meta_without_pages(rows: list[dict[str, Any]], number: int, size: int, total: int) -> dict[str, object]:
    return ok(rows, meta={"pagination": {"page": number, "pageSize": size, "total": total}})


def without_numbers(rows: list[dict[str, Any]], number: int, size: int, total: int) -> dict[str, object]:
    return ok(rows, pagination={"total": total, "hasMore": number * size < total})


SHAPES = pytest.mark.parametrize("shape", [current, in_meta, in_meta_without_pages, without_numbers])


def requested_pages(route: respx.Route) -> list[str]:
    return [call.request.url.params["page"] for call in route.calls]


@SHAPES
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_iterating_reads_all_rows_with_one_request_per_page(
    api_mock: respx.Router, run: Runner, shape: Any, size: int
) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, shape))
    rows = run.collect(lambda client: client.customers.list(TEAM, page_size=size))
    assert [row.id for row in rows] == IDS
    assert all(type(row) is Customer for row in rows)
    assert requested_pages(route) == [str(number) for number in range(1, -(-7 // size) + 1)]
    assert {call.request.url.params["pageSize"] for call in route.calls} == {str(size)}


@SHAPES
def test_an_empty_list_needs_one_request(api_mock: respx.Router, run: Runner, shape: Any) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve([], shape))
    assert run.collect(lambda client: client.customers.list(TEAM)) == []
    assert route.call_count == 1


@SHAPES
def test_a_page_has_its_number_size_total_and_has_more(api_mock: respx.Router, run: Runner, shape: Any) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, shape))
    page = run(lambda client: client.customers.list(TEAM, page=2, page_size=3))
    assert isinstance(page, Page if run.kind == "sync" else AsyncPage)
    assert (page.page, page.page_size, page.total, page.has_more) == (2, 3, 7, True)
    assert [row.id for row in page.data] == IDS[3:6]
    assert repr(page) == f"{type(page).__name__}(page=2, page_size=3, total=7, has_more=True, data=[3 rows])"


def test_every_page_is_requested_with_the_same_filters(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    run.collect(lambda client: client.customers.list(TEAM, status="active", page_size=4, extra_query={"x": [1, 2]}))
    assert [call.request.url.params.multi_items() for call in route.calls] == [
        [("page", number), ("pageSize", "4"), ("status", "active"), ("x", "1"), ("x", "2")] for number in ("1", "2")
    ]


def test_iteration_may_begin_at_any_page(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    rows = run.collect(lambda client: client.customers.list(TEAM, page=2, page_size=3))
    assert [row.id for row in rows] == IDS[3:]
    assert requested_pages(route) == ["2", "3"]


def test_iter_pages_yields_whole_pages(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    pages = run.collect(lambda client: client.customers.list(TEAM, page_size=3).iter_pages())
    assert [[row.id for row in page.data] for page in pages] == [IDS[:3], IDS[3:6], IDS[6:]]
    assert [page.has_more for page in pages] == [True, True, False]


def test_get_next_page_of_the_last_page_raises(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))

    def get_next(client: Any) -> Any:
        return client.customers.list(TEAM).get_next_page()

    async def get_next_async(client: Any) -> Any:
        return await (await client.customers.list(TEAM)).get_next_page()

    with pytest.raises(CstarError, match="page 1 is the last one: check has_more first"):
        run(get_next if run.kind == "sync" else get_next_async)


def test_pages_are_fetched_lazily(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    counts: list[int] = []
    run.walk(lambda client: client.customers.list(TEAM, page_size=3), lambda _: counts.append(route.call_count))
    assert counts == [1, 1, 1, 2, 2, 2, 3]


def test_a_failing_page_is_retried_and_raises_after_earlier_rows_are_yielded(
    api_mock: respx.Router, run: Runner
) -> None:
    first = page_of(ROWS[:3], size=3, total=7, has_more=True)
    api_mock.get(CUSTOMERS, params={"page": "1"}).respond(json=first)
    failing = api_mock.get(CUSTOMERS, params={"page": "2"}).respond(500, json=error())
    seen: list[str] = []
    with pytest.raises(InternalServerError):
        run.walk(
            lambda client: client.customers.list(TEAM, page_size=3), lambda row: seen.append(row.id), max_retries=1
        )
    assert seen == IDS[:3]
    assert failing.call_count == 2


def test_an_async_list_sends_no_request_before_it_is_awaited(api_mock: respx.Router) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))

    def create_list(client: Any) -> None:
        client.customers.list(TEAM)

    Runner("asyncio")(create_list)
    assert route.call_count == 0


# ── Iteration ends, and yields each row once ─────────────────────────────────────────────────────────────────────────


def always_more(rows: list[dict[str, Any]], number: int, size: int, total: int) -> dict[str, object]:
    return page_of(rows, number, size=size, total=total, has_more=True)


def test_if_has_more_is_always_true_iteration_ends_at_the_first_empty_page(
    api_mock: respx.Router, run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, always_more))
    pages = run.collect(lambda client: client.customers.list(TEAM, page_size=3).iter_pages())
    assert [[row.id for row in page.data] for page in pages] == [IDS[:3], IDS[3:6], IDS[6:]]
    assert requested_pages(route) == ["1", "2", "3", "4"]
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_iteration_ends_if_the_server_repeats_its_last_page(api_mock: respx.Router, run: Runner) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        number = min(int(request.url.params["page"]), 3)
        return httpx.Response(200, json=always_more(ROWS[(number - 1) * 3 : number * 3], number, 3, 7))

    route = api_mock.get(CUSTOMERS).mock(side_effect=handle)
    rows = run.collect(lambda client: client.customers.list(TEAM, page_size=3))
    assert [row.id for row in rows] == IDS
    assert route.call_count == 4


@pytest.mark.parametrize("total", [0, 7, 45])
def test_iteration_ends_if_the_server_ignores_the_page_number(
    api_mock: respx.Router, run: Runner, caplog: pytest.LogCaptureFixture, total: int
) -> None:
    route = api_mock.get(CUSTOMERS).respond(json=page_of(ROWS, 1, size=7, total=total, has_more=True))
    rows = run.collect(lambda client: client.customers.list(TEAM, page_size=7))
    assert [row.id for row in rows] == IDS
    assert route.call_count <= MAX_STALE_SLICES + 1
    warning = "iteration ended after 7 of 45 rows: the server repeats rows, and hasMore is still true"
    assert (warning in caplog.text) == (total == 45)


def test_iterating_can_be_continued_after_an_error(api_mock: respx.Router, run: Runner) -> None:
    serve_page = serve(ROWS, current)
    failures = [httpx.Response(500)]

    def handle(request: httpx.Request) -> httpx.Response:
        return failures.pop() if request.url.params["page"] == "2" and failures else serve_page(request)

    api_mock.get(CUSTOMERS).mock(side_effect=handle)
    ids: list[str] = []

    def read(client: Any) -> None:
        rows = iter(client.customers.list(TEAM, page_size=3))
        ids.extend(next(rows).id for _ in range(3))
        with pytest.raises(InternalServerError):
            next(rows)
        ids.extend(row.id for row in rows)

    async def read_async(client: Any) -> None:
        rows = aiter(client.customers.list(TEAM, page_size=3))
        ids.extend([(await anext(rows)).id for _ in range(3)])
        with pytest.raises(InternalServerError):
            await anext(rows)
        ids.extend([row.id async for row in rows])

    run(read if run.kind == "sync" else read_async, max_retries=0)
    assert ids == IDS


def test_iter_pages_of_an_empty_list_yields_one_empty_page(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve([], current))
    [page] = run.collect(lambda client: client.customers.list(TEAM).iter_pages())
    assert (page.data, page.total) == ([], 0)


def test_pagination_beside_data_takes_precedence_over_pagination_in_meta(api_mock: respx.Router, run: Runner) -> None:
    both = {**current(ROWS, 1, 7, 7), "meta": {"pagination": {"page": 1, "pageSize": 1, "total": 99, "totalPages": 99}}}
    api_mock.get(CUSTOMERS).respond(json=both)
    page = run(lambda client: client.customers.list(TEAM))
    assert (page.total, page.has_more) == (7, False)


def test_threads_may_share_one_iterator(api_mock: respx.Router) -> None:
    rows = [customer(number) for number in range(99)]
    api_mock.get(CUSTOMERS).mock(side_effect=serve(rows, current))

    def work(client: Any) -> list[str]:
        shared = iter(client.customers.list(TEAM, page_size=10))
        with ThreadPoolExecutor(8) as threads:
            ids = threads.map(lambda _: [row.id for row in shared], range(8))
            return [each for part in ids for each in part]

    assert sorted(Runner("sync")(work)) == sorted(row["id"] for row in rows)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_second_task_on_an_async_iterator_raises(backend: str) -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        await anyio.lowlevel.checkpoint()
        return serve(ROWS, current)(request)

    errors: list[str] = []

    async def work(client: Any) -> None:
        shared = aiter(client.customers.list(TEAM, page_size=3))

        async def take() -> None:
            try:
                await anext(shared)
            except CstarError as error:
                errors.append(str(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            tasks.start_soon(take)

    Runner(backend)(work, http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
    assert errors == ["an iterator serves one task at a time: use one iterator per task, or a queue"]


def test_a_page_has_the_number_and_size_that_the_server_reports(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).respond(json=page_of(ROWS, 1, size=7, has_more=False))
    page = run(lambda client: client.customers.list(TEAM, page=3))
    assert (page.page, page.page_size) == (1, 7)


@pytest.mark.parametrize("prefetch", [0, 4])
def test_iterating_over_a_fetched_page_does_not_request_it_again(
    api_mock: respx.Router, run: Runner, prefetch: int
) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))

    def read(client: Any) -> tuple[list[str], list[int]]:
        page = client.customers.list(TEAM, page_size=3, prefetch=prefetch)
        return [row.id for row in page], [len(each.data) for each in page.iter_pages()]

    async def read_async(client: Any) -> tuple[list[str], list[int]]:
        page = await client.customers.list(TEAM, page_size=3, prefetch=prefetch)
        return [row.id async for row in page], [len(each.data) async for each in page.iter_pages()]

    assert run(read if run.kind == "sync" else read_async) == (IDS, [3, 3, 1])
    assert sorted(requested_pages(route)) == ["1", "2", "2", "3", "3"]


def test_a_next_page_can_be_iterated_over_and_has_a_next_page(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))

    def read(client: Any) -> tuple[list[str], list[str]]:
        page = client.customers.list(TEAM, page_size=2).get_next_page()
        return [row.id for row in page.get_next_page().data], [row.id for row in page]

    async def read_async(client: Any) -> tuple[list[str], list[str]]:
        page = await (await client.customers.list(TEAM, page_size=2)).get_next_page()
        return [row.id for row in (await page.get_next_page()).data], [row.id async for row in page]

    assert run(read if run.kind == "sync" else read_async) == (IDS[4:6], IDS[2:])
    assert requested_pages(route) == ["1", "2", "3", "3", "4"]


def test_a_closed_iterator_yields_nothing_and_sends_no_request(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))

    def read(client: Any) -> tuple[list[str], int]:
        page = client.customers.list(TEAM, page_size=3)
        rows, pages = iter(page), page.iter_pages()
        ids = [next(rows).id, next(pages).data[0].id]
        rows.close()
        pages.close()
        return ids, len([*rows, *pages])

    async def read_async(client: Any) -> tuple[list[str], int]:
        page = await client.customers.list(TEAM, page_size=3)
        rows, pages = aiter(page), page.iter_pages()
        ids = [(await anext(rows)).id, (await anext(pages)).data[0].id]
        await rows.aclose()
        await pages.aclose()
        return ids, len([row async for row in rows] + [each async for each in pages])

    assert run(read if run.kind == "sync" else read_async) == ([IDS[0], IDS[0]], 0)
    assert requested_pages(route) == ["1"]


def test_a_page_of_iter_pages_has_a_next_page(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))

    def read(client: Any) -> list[list[str]]:
        pages = client.customers.list(TEAM, page_size=2).iter_pages()
        return [[row.id for row in each.get_next_page().data] for each in pages if each.has_more]

    async def read_async(client: Any) -> list[list[str]]:
        pages = client.customers.list(TEAM, page_size=2).iter_pages()
        return [[row.id for row in (await each.get_next_page()).data] async for each in pages if each.has_more]

    assert run(read if run.kind == "sync" else read_async) == [IDS[2:4], IDS[4:6], IDS[6:]]


@SHAPES
def test_a_page_after_the_last_one_has_no_next_page(api_mock: respx.Router, run: Runner, shape: Any) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, shape))
    assert not run(lambda client: client.customers.list(TEAM, page=9, page_size=3)).has_more


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_page_cannot_be_pickled_or_copied(api_mock: respx.Router, run: Runner, duplicate: Any) -> None:
    api_mock.get(CUSTOMERS).respond(json=page_of([customer(1)], has_more=False))
    page = run(lambda client: client.customers.list(TEAM))
    with pytest.raises(TypeError, match="because it holds a client: use its data"):
        duplicate(page)
    assert pickle.loads(pickle.dumps(page.data)) == page.data


# ── to_list and first ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("limit", "requests"), [(None, 10), (0, 1), (2, 1), (3, 1), (4, 3), (99, 10)])
def test_to_list_reads_no_more_pages_than_the_limit_needs(
    api_mock: respx.Router, run: Runner, limit: int | None, requests: int
) -> None:
    customers = [customer(number) for number in range(30)]
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(customers, current))

    async def read_async(client: Any) -> Any:
        return await (await client.customers.list(TEAM, page_size=3, prefetch=8)).to_list(limit)

    def read(client: Any) -> Any:
        return client.customers.list(TEAM, page_size=3, prefetch=8).to_list(limit)

    rows = run(read if run.kind == "sync" else read_async)
    assert [row.id for row in rows] == [row["id"] for row in customers][:limit]
    assert route.call_count <= requests  # for 4 rows: 2 pages and a prefetched one


@pytest.mark.parametrize("limit", [-1, 1.5, True, "3"])
def test_a_limit_must_be_a_whole_number(api_mock: respx.Router, run: Runner, limit: Any) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    with pytest.raises(InvalidParameterError, match="limit must be a whole number from 0"):
        run(lambda client: client.customers.list(TEAM).to_list(limit))


@pytest.mark.parametrize("rows", [ROWS, []])
def test_first_returns_the_first_row_or_none(api_mock: respx.Router, run: Runner, rows: list[dict[str, Any]]) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(rows, current))
    first = run(lambda client: client.customers.list(TEAM, page_size=3, prefetch=8).first())
    assert (first and first.id) == (IDS[0] if rows else None)
    assert route.call_count == 1


def test_an_awaited_page_has_first_and_to_list(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))

    def read(client: Any) -> tuple[Any, int]:
        page = client.customers.list(TEAM, page=2, page_size=3)
        return page.first(), len(page.to_list())

    async def read_async(client: Any) -> tuple[Any, int]:
        page = await client.customers.list(TEAM, page=2, page_size=3)
        return await page.first(), len(await page.to_list())

    first, count = run(read if run.kind == "sync" else read_async)
    assert (first.id, count) == (IDS[3], 4)


def test_a_page_is_true_if_it_has_rows(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    assert run(lambda client: client.customers.list(TEAM))
    assert not run(lambda client: client.customers.list(TEAM, page=9))


USES: dict[str, Callable[[Any], object]] = {
    "data": lambda paginator: paginator.data,
    "total": lambda paginator: paginator.total,
    "page": lambda paginator: paginator.page,
    "page_size": lambda paginator: paginator.page_size,
    "has_more": lambda paginator: paginator.has_more,
    "get_next_page": lambda paginator: paginator.get_next_page(),
    "bool": bool,
    "len": len,
    "for": list,
    "in": lambda paginator: "x" in paginator,
    "index": lambda paginator: paginator[0],
}


@pytest.mark.parametrize("use", USES)
def test_an_async_list_used_before_it_is_awaited_raises(use: str) -> None:
    with pytest.raises(CstarError, match="await"):
        USES[use](AsyncCstar(KEY).customers.list(TEAM))


def test_an_async_list_supports_introspection_before_it_is_awaited() -> None:
    paginator: Any = AsyncCstar(KEY).customers.list(TEAM)
    assert not hasattr(paginator, "data")
    assert not hasattr(paginator, "unknown")
    assert inspect.isawaitable(paginator)
    assert "AsyncPaginator" in repr(paginator)
    assert [name for name, _ in inspect.getmembers(paginator) if name == "to_list"] == ["to_list"]
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            duplicate(paginator)
    with pytest.raises(AttributeError, match="object has no attribute 'next_page'"):
        paginator.next_page()


# ── gapless ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_gapless_requests_pages_that_overlap(api_mock: respx.Router, run: Runner) -> None:
    rows = [customer(number) for number in range(150)]
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(rows, current))
    found = run.collect(lambda client: client.customers.list(TEAM, gapless=True))
    assert [row.id for row in found] == [row["id"] for row in rows]
    requests = [call.request.url.params for call in route.calls]
    assert [(params["page"], params["pageSize"]) for params in requests] == [("1", "100"), ("2", "99")]


# ── Checkpoints ──────────────────────────────────────────────────────────────────────────────────────────────────────


def read_with_checkpoints(run: Runner, count: int, **options: Any) -> tuple[list[str], list[str]]:
    """Read rows, and return their ids and the checkpoints before the first row and after each row."""

    def read(client: Any) -> tuple[list[str], list[str]]:
        rows = iter(client.customers.list(TEAM, **options))
        tokens, ids = [rows.checkpoint()], []
        for row in islice(rows, count):
            ids.append(row.id)
            tokens.append(rows.checkpoint())
        rows.close()
        assert rows.checkpoint() == tokens[-1]
        return ids, tokens

    async def read_async(client: Any) -> tuple[list[str], list[str]]:
        rows = aiter(client.customers.list(TEAM, **options))
        tokens, ids = [rows.checkpoint()], []
        while len(ids) < count:
            ids.append((await anext(rows)).id)
            tokens.append(rows.checkpoint())
        await rows.aclose()
        assert rows.checkpoint() == tokens[-1]
        return ids, tokens

    return run(read if run.kind == "sync" else read_async)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_list_can_be_resumed_after_any_row(api_mock: respx.Router, run: Runner, prefetch: int) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    ids, tokens = read_with_checkpoints(run, 7, page_size=3, prefetch=prefetch)
    assert ids == IDS
    for count, token in enumerate(tokens):
        rows = run.collect(
            lambda client: client.customers.list(TEAM, page_size=3, prefetch=prefetch, resume=token)  # noqa: B023
        )
        assert [row.id for row in rows] == IDS[count:]


def test_a_token_holds_ids_but_no_other_data_and_no_key(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    _, tokens = read_with_checkpoints(run, 7, page_size=3, search="jane")
    text = base64.urlsafe_b64decode(tokens[-1] + "==").decode()
    assert IDS[0] in text
    for other in (KEY, "example.com", "Jane", "jane", TEAM, URL):
        assert other not in text


@pytest.mark.parametrize("other", [{"page": 2}, {"status": "active"}, {"extra_query": {"sort": "name"}}])
def test_a_checkpoint_of_another_list_is_rejected(api_mock: respx.Router, run: Runner, other: dict[str, Any]) -> None:
    route = api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    _, tokens = read_with_checkpoints(run, 4, page_size=3)
    calls = route.call_count
    with pytest.raises(InvalidParameterError, match="it belongs to a list with another path") as caught:
        run.collect(lambda client: client.customers.list(TEAM, resume=tokens[-1], **{"page_size": 3, **other}))
    assert caught.value.param == "resume"
    assert route.call_count == calls


def test_a_resumed_page_has_all_its_rows_but_first_skips_those_read(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(CUSTOMERS).mock(side_effect=serve(ROWS, current))
    _, tokens = read_with_checkpoints(run, 4, page_size=3)
    page = run(lambda client: client.customers.list(TEAM, page_size=3, resume=tokens[-1]))
    assert (page.page, [row.id for row in page.data]) == (2, IDS[3:6])
    first = run(lambda client: client.customers.list(TEAM, page_size=3, resume=tokens[-1]).first())
    assert first.id == IDS[4]


def test_a_checkpoint_after_an_error_is_after_the_last_yielded_row(api_mock: respx.Router, run: Runner) -> None:
    serve_page = serve(ROWS, current)
    api_mock.get(CUSTOMERS, params={"page": "2"}).respond(500, json=error())
    api_mock.get(CUSTOMERS, params={"page": "1"}).mock(side_effect=serve_page)

    def read(client: Any) -> str:
        rows = iter(client.customers.list(TEAM, page_size=3))
        with pytest.raises(InternalServerError):
            list(rows)
        return rows.checkpoint()

    async def read_async(client: Any) -> str:
        rows = aiter(client.customers.list(TEAM, page_size=3))
        with pytest.raises(InternalServerError):
            [row async for row in rows]
        return rows.checkpoint()

    token = run(read if run.kind == "sync" else read_async, max_retries=0)
    api_mock.get(CUSTOMERS, params={"page": "2"}).mock(side_effect=serve_page)
    api_mock.get(CUSTOMERS, params={"page": "3"}).mock(side_effect=serve_page)
    rows = run.collect(lambda client: client.customers.list(TEAM, page_size=3, resume=token))
    assert [row.id for row in rows] == IDS[3:]


def test_a_checkpoint_does_not_wait_for_a_pending_page() -> None:
    """A signal handler may call `checkpoint()` while the main thread waits for a page."""
    tokens: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.params["page"] == "2":
            tokens.append(rows.checkpoint())
        return serve(ROWS, current)(request)

    with Cstar(KEY, base_url=URL, http_client=httpx.Client(transport=httpx.MockTransport(handle))) as client:
        rows = iter(client.customers.list(TEAM, page_size=3))
        assert len(list(rows)) == 7
        resumed = client.customers.list(TEAM, page_size=3, resume=tokens[0])
        assert [row.id for row in resumed] == IDS[3:]


# ── Any list of the API ──────────────────────────────────────────────────────────────────────────────────────────────


class Ticket(BaseModel):
    id: int


class Dated(BaseModel):
    id: int
    created_at: datetime


class WithoutId(BaseModel):
    name: str


class Mapped(TypedDict):
    id: str


@pytest.mark.parametrize("options", [{}, {"prefetch": 3, "gapless": True}], ids=str)
def test_any_list_can_be_paginated(api_mock: respx.Router, run: Runner, options: dict[str, Any]) -> None:
    tickets = [{"id": number} for number in range(7)]
    route = api_mock.get("/tickets").mock(side_effect=serve(tickets, current))
    rows = run.collect(
        lambda client: client.paginate("/tickets", cast_to=Ticket, params={"a": [1, 2]}, page_size=3, **options)
    )
    assert rows == [Ticket(id=number) for number in range(7)]
    assert route.calls[0].request.url.params.multi_items() == [("page", "1"), ("pageSize", "3"), ("a", "1"), ("a", "2")]


def test_prefetching_accepts_rows_with_aware_and_naive_datetimes(api_mock: respx.Router, run: Runner) -> None:
    zones = ("Z", "", "Z", "")
    rows = [{"id": number, "created_at": "2026-03-01T12:00:00" + zone} for number, zone in enumerate(zones)]
    api_mock.get("/rows").mock(side_effect=serve(rows, current))
    read = run.collect(lambda client: client.paginate("/rows", cast_to=Dated, page_size=1, prefetch=2))
    assert [row.id for row in read] == [0, 1, 2, 3]


def test_a_paginated_list_can_be_resumed(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get("/tickets").mock(side_effect=serve([{"id": number} for number in range(7)], current))

    def read(client: Any) -> Any:
        rows = iter(client.paginate("/tickets", cast_to=Ticket, page_size=3))
        next(rows)
        return rows.checkpoint()

    async def read_async(client: Any) -> Any:
        rows = aiter(client.paginate("/tickets", cast_to=Ticket, page_size=3))
        await anext(rows)
        return rows.checkpoint()

    token = run(read if run.kind == "sync" else read_async)
    rows = run.collect(lambda client: client.paginate("/tickets", cast_to=Ticket, page_size=3, resume=token))
    assert [row.id for row in rows] == list(range(1, 7))


def test_the_type_of_a_row_may_come_from_a_module_without_postponed_annotations(
    api_mock: respx.Router, run: Runner
) -> None:
    source = "from dataclasses import dataclass\n@dataclass\nclass Row:\n    id: str"
    names: dict[str, Any] = {}
    exec(compile(source, "rows.py", "exec", dont_inherit=True), names)
    api_mock.get("/rows").respond(json=page_of([{"id": "row_1"}], has_more=False))
    rows = run.collect(lambda client: client.paginate("/rows", cast_to=names["Row"]))
    assert [row.id for row in rows] == ["row_1"]


@pytest.mark.parametrize(
    "cast_to", [WithoutId, Annotated[WithoutId, ""], dict, Mapped, list[Ticket], int, Any, None, "Ticket", Ticket | int]
)
def test_a_row_type_without_an_id_is_rejected_before_any_request(run: Runner, cast_to: Any) -> None:
    with pytest.raises(InvalidParameterError, match="cast_to must be the type of one row, with an attribute id"):
        run.collect(lambda client: client.paginate("/tickets", cast_to=cast_to))


@pytest.mark.parametrize("name", ["page", "pageSize"])
def test_params_must_not_contain_the_page_or_its_size(run: Runner, name: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"params must not contain '{name}'") as caught:
        run.collect(lambda client: client.paginate("/tickets", cast_to=Ticket, params={name: 2}))
    assert caught.value.param == "params"


def test_a_row_whose_id_is_missing_is_rejected(api_mock: respx.Router, run: Runner) -> None:
    class Loose(BaseModel):
        id: str | None = None

    api_mock.get("/tickets").mock(side_effect=serve([{"key": 1}, {"key": 2}], current))
    with pytest.raises(APIResponseValidationError, match=r"data\.0\.id"):
        run.collect(lambda client: client.paginate("/tickets", cast_to=Loose))
