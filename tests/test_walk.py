"""Tests of the state machine `Walk` against a model of a server whose list changes during the walk, without HTTP.

`pytest tests/test_walk.py --hypothesis-profile=nightly` runs 10,000 walks of each kind.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstar._checkpoint import Checkpoint, PageRequest
from cstar._decode import PageData
from cstar._ending import MAX_SLICES_PAST_TOTAL, MAX_STALE_SLICES
from cstar._walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True)
class Row:
    id: str
    rank: float = 0.0

    @property
    def created_at(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=timezone.utc) - timedelta(minutes=self.rank)


@dataclass
class Server:
    """A list, newest first, that other programs change. Rows keep their order."""

    rows: list[Row]
    max_page_size: int = 100
    removed: set[str] = field(default_factory=set)
    hidden: list[Row] = field(default_factory=list)
    inserted: int = 0
    requests: list[PageRequest] = field(default_factory=list)

    @classmethod
    def of(cls, count: int, *, max_page_size: int = 100) -> Server:
        return cls([Row(f"row{number}", number) for number in range(count)], max_page_size)

    def respond(self, request: PageRequest) -> PageData[Row]:
        self.requests.append(request)
        assert len(self.requests) < 10_000, "this walk does not end"
        size = min(request.size, self.max_page_size)
        start = (request.page - 1) * size
        end = start + size
        return PageData(self.rows[start:end], len(self.rows), request.page, size, has_more=end < len(self.rows))

    def insert_in_front(self) -> None:
        self.inserted += 1
        self.rows.insert(0, Row(f"new{self.inserted}", -self.inserted))

    def insert(self, rank: float) -> None:
        self.inserted += 1
        self._place(Row(f"new{self.inserted}", rank))

    def delete(self, index: int) -> Row:
        row = self.rows.pop(index)
        self.removed.add(row.id)
        return row

    def hide(self, index: int) -> None:
        """Remove a row from the list, as if it no longer matched the filter."""
        self.hidden.append(self.delete(index))

    def show(self, index: int) -> None:
        """Return a hidden row to its old position."""
        self._place(self.hidden.pop(index))

    def _place(self, row: Row) -> None:
        self.rows.insert(bisect_right([each.rank for each in self.rows], row.rank), row)


def write_in_front_delete_anywhere(server: Server, rng: random.Random) -> None:
    if server.rows and rng.random() < 0.5:
        server.delete(rng.randrange(len(server.rows)))
    else:
        server.insert_in_front()


def write_anywhere(server: Server, rng: random.Random) -> None:
    action = rng.random()
    if server.rows and action < 0.5:
        (server.hide if rng.random() < 0.7 else server.delete)(rng.randrange(len(server.rows)))
    elif server.hidden and action < 0.8:
        server.show(rng.randrange(len(server.hidden)))
    else:
        server.insert(rng.uniform(-10, 1000))


def read_some(
    walk: Walk[Row],
    server: Server,
    limit: int | None,
    *,
    prefetch: int = 0,
    meanwhile: Callable[[], object] = lambda: None,
    rng: random.Random | None = None,
    visit: Callable[[Row], object] = lambda _: None,
) -> tuple[list[str], Checkpoint]:
    """Read at most `limit` rows as a client does, and return their ids and the checkpoint after them.

    Up to `prefetch` requests are pending, and the server responds to them in any order. `meanwhile` runs after each
    response.
    """
    ids: list[str] = []
    pending: deque[PageRequest] = deque()
    responses: dict[int, PageData[Row]] = {}
    while walk.next_request is not None:
        while len(pending) < max(1, prefetch):
            request = walk.request_after(pending[-1]) if pending else walk.next_request
            if request is None:
                break
            pending.append(request)
        while 0 not in responses:
            unanswered = [number for number in range(len(pending)) if number not in responses]
            number = rng.choice(unanswered) if rng else unanswered[0]
            responses[number] = server.respond(pending[number])
            meanwhile()
        rows = walk.receive(pending.popleft(), responses.pop(0))
        responses = {number - 1: data for number, data in responses.items()}
        if walk.plan_changed:
            pending.clear()
            responses.clear()
        for position, row in enumerate(rows):
            if len(ids) == limit:
                return ids, walk.memory.progress.checkpoint(pending=len(rows) - position)
            ids.append(row.id)
            visit(row)
    return ids, walk.memory.progress.checkpoint()


def read(walk: Walk[Row], server: Server, **options: Any) -> list[str]:
    return read_some(walk, server, None, **options)[0]


WRITERS = {False: write_in_front_delete_anywhere, True: write_anywhere}


def walk_changing_list(
    rng: random.Random, *, gapless: bool, prefetch: int, make: Callable[..., Walk[Row]] = Walk
) -> tuple[list[str], set[str]]:
    """Walk a list that others change. Return the ids read, and the ids of the rows that stayed throughout."""
    page_size = rng.choice([13, 20, 60, 100])
    server = Server.of(rng.randrange(12 * page_size), max_page_size=rng.choice([100, page_size, max(14, page_size)]))
    if server.max_page_size == page_size:
        server.max_page_size += 1  # a server that always returns `page_size` rows looks like a mock
    write_rate = rng.choice([0.1, 1, 3])
    start = {row.id for row in server.rows}

    def meanwhile() -> None:
        for _ in range(rng.randrange(int(write_rate) + 1) if write_rate >= 1 else rng.random() < write_rate):
            WRITERS[gapless](server, rng)

    walk: Walk[Row] = make(1, page_size=page_size, gapless=gapless, is_prefetching=prefetch > 0)
    return read(walk, server, prefetch=prefetch, meanwhile=meanwhile, rng=rng), start - server.removed


@pytest.mark.parametrize("prefetch", [0, 3, 8])
@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@given(seed=st.integers(0, 2**32))
def test_rows_that_stay_are_read_exactly_once_while_others_change_the_list(
    gapless: bool, prefetch: int, seed: int
) -> None:
    ids, stayed = walk_changing_list(random.Random(seed), gapless=gapless, prefetch=prefetch)
    assert len(ids) == len(set(ids))
    assert stayed <= set(ids)


def test_prefetching_notices_that_rows_moved_although_the_total_is_the_same() -> None:
    """The server responds to page 2 after pages 3 to 6, and in between all rows move down by two pages."""
    walk: Walk[Row] = Walk(1, page_size=20, is_prefetching=True)
    server = Server.of(400)
    ids = [row.id for row in walk.receive(PageRequest(1, 20), server.respond(PageRequest(1, 20)))]
    early = {number: server.respond(PageRequest(number, 20)) for number in range(3, 7)}
    for _ in range(40):
        server.insert_in_front()
        server.delete(len(server.rows) - 1)
    early[2] = server.respond(PageRequest(2, 20))
    number = 2
    while number in early and not walk.plan_changed:
        ids += [row.id for row in walk.receive(PageRequest(number, 20), early[number])]
        number += 1
    ids += read(walk, server)
    assert {f"row{number}" for number in range(360)} <= set(ids)


class WithoutOverlap(Walk[Row]):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.memory.first_known = lambda rows: 0 if rows else None  # type: ignore[method-assign]


class WithoutMemory(Walk[Row]):
    def receive(self, request: PageRequest, data: PageData[Row]) -> list[Row]:
        super().receive(request, data)
        return data.rows


class WithoutTotals(Walk[Row]):
    def _update_mode(self, request: PageRequest, data: PageData[Row], size: int, *, has_moved: bool) -> None:
        super()._update_mode(request, data, size, has_moved=self.memory.first_known(data.rows) is not None)


class WithoutModes(Walk[Row]):
    def _update_mode(self, request: PageRequest, data: PageData[Row], size: int, *, has_moved: bool) -> None:
        pass


@pytest.mark.parametrize("mutant", [WithoutOverlap, WithoutMemory, WithoutTotals, WithoutModes])
def test_the_model_detects_a_walk_without_one_of_its_rules(mutant: type[Walk[Row]]) -> None:
    failures = 0
    for seed in range(200):
        ids, stayed = walk_changing_list(random.Random(seed), gapless=False, prefetch=0, make=mutant)
        failures += len(ids) > len(set(ids)) or not stayed <= set(ids)
    assert failures > 2


@pytest.mark.parametrize("total", [0, 1, 100, 101, 1234])
@pytest.mark.parametrize("page_size", [1, 7, 100])
@pytest.mark.parametrize("prefetch", [0, 8])
def test_a_list_that_does_not_change_is_read_with_one_request_per_page(
    total: int, page_size: int, prefetch: int
) -> None:
    server = Server.of(total)
    pages = max(1, -(-total // page_size))
    assert len(read(Walk(1, page_size=page_size), server, prefetch=prefetch)) == total
    assert server.requests == [PageRequest(number, page_size) for number in range(1, pages + 1)]


@pytest.mark.parametrize("total", [0, 101, 12_345])
def test_gapless_needs_at_most_20_percent_more_requests(total: int) -> None:
    server = Server.of(total)
    assert len(read(Walk(1, page_size=100, gapless=True), server)) == total
    assert len(server.requests) <= max(1, -(-total // 100)) * 1.2


@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@pytest.mark.parametrize("page_size", [10, 100])
def test_a_loop_that_deletes_each_row_needs_about_one_request_per_100_rows(page_size: int, gapless: bool) -> None:
    server = Server.of(3000)
    ids = read(
        Walk(1, page_size=page_size, gapless=gapless), server, visit=lambda row: server.delete(server.rows.index(row))
    )
    assert ids == [f"row{number}" for number in range(3000)]
    assert len(server.requests) <= 3000 / 100 + 3


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
def test_a_loop_that_deletes_some_rows_needs_about_twice_the_requests_at_most(share: float) -> None:
    rng, server = random.Random(1), Server.of(3000)

    def visit(row: Row) -> None:
        if rng.random() < share:
            server.delete(server.rows.index(row))

    assert len(read(Walk(1, page_size=100), server, visit=visit)) == 3000
    assert len(server.requests) <= 65


def test_rows_inserted_in_front_during_the_walk_are_not_read(caplog: pytest.LogCaptureFixture) -> None:
    server = Server.of(350)
    ids = read(Walk(1, page_size=100), server, visit=lambda _: server.insert_in_front())
    assert ids == [f"row{number}" for number in range(350)]
    assert caplog.text == ""


@pytest.mark.parametrize("per_request", [50, 100, 200])
def test_a_walk_keeps_up_with_rows_inserted_in_front_as_fast_as_it_reads(per_request: int) -> None:
    server = Server.of(1000)

    def meanwhile() -> None:
        for _ in range(per_request):
            server.insert_in_front()

    assert [row for row in read(Walk(1, page_size=100), server, meanwhile=meanwhile) if row.startswith("row")] == [
        f"row{number}" for number in range(1000)
    ]
    assert len(server.requests) < 200


def test_an_import_of_500_rows_in_front_costs_at_most_20_percent_more_requests() -> None:
    total = 0
    for after in range(2, 28):
        server = Server.of(3000)

        def meanwhile(server: Server = server, after: int = after) -> None:
            if len(server.requests) == after:
                for _ in range(500):
                    server.insert_in_front()

        assert len(read(Walk(1, page_size=100), server, meanwhile=meanwhile)) == 3000
        total += len(server.requests)
    assert total / 26 <= 1.2 * 30


@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
def test_writes_by_others_cost_at_most_20_percent_more_requests(gapless: bool) -> None:
    requests = 0
    for seed in range(20):
        rng, server = random.Random(seed), Server.of(3000)
        walk: Walk[Row] = Walk(1, page_size=100, gapless=gapless)
        read(walk, server, meanwhile=lambda: WRITERS[gapless](server, rng))  # noqa: B023
        requests += len(server.requests)
    assert requests <= 1.2 * 20 * 30


def test_a_walk_of_a_list_that_grows_at_the_end_as_fast_as_it_is_read_ends(caplog: pytest.LogCaptureFixture) -> None:
    server = Server.of(150)

    def meanwhile() -> None:
        count = len(server.rows)
        server.rows.extend(Row(f"row{number}", number) for number in range(count, count + 200))

    read(Walk(1, page_size=100), server, meanwhile=meanwhile)
    assert len(server.requests) < MAX_SLICES_PAST_TOTAL * 1.3
    assert "1000 pages past the total of 150" in caplog.text


def test_a_walk_from_a_later_page_never_reads_the_rows_before_it() -> None:
    server = Server.of(500)
    ids = read(Walk(3, page_size=100), server, visit=lambda row: server.delete(server.rows.index(row)))
    assert ids == [f"row{number}" for number in range(200, 500)]


def test_a_server_with_a_smaller_maximum_page_size_is_read_page_by_page() -> None:
    server = Server.of(500, max_page_size=30)
    assert len(read(Walk(1, page_size=100), server)) == 500
    assert server.requests == [PageRequest(number, 100) for number in range(1, 18)]


def test_a_server_with_a_smaller_maximum_page_size_is_read_without_gaps() -> None:
    for seed in range(100):
        rng, server = random.Random(seed), Server.of(300, max_page_size=30)
        start = {row.id for row in server.rows}
        ids = read(
            Walk(1, page_size=100, gapless=True),
            server,
            meanwhile=lambda: write_anywhere(server, rng),  # noqa: B023
        )
        assert start - server.removed <= set(ids)


def test_no_page_after_the_last_one_is_prefetched() -> None:
    walk, server = Walk[Row](1, page_size=50), Server.of(100)
    assert walk.request_after(PageRequest(1, 50)) is None
    walk.receive(PageRequest(1, 50), server.respond(PageRequest(1, 50)))
    assert walk.request_after(PageRequest(1, 50)) == PageRequest(2, 50)
    assert walk.request_after(PageRequest(2, 50)) is None


# ── Holes: empty pages below the total ───────────────────────────────────────────────────────────────────────────────


@dataclass
class ServerWithHoles(Server):
    """A server that returns some pages empty.

    Attributes:
        empty: The number of times that each page will still be returned empty.
        has_more: Whether the server reports more pages after an empty page.
    """

    empty: dict[int, int] = field(default_factory=dict)
    has_more: bool = True

    def respond(self, request: PageRequest) -> PageData[Row]:
        data = super().respond(request)
        if self.empty.get(request.page, 0) > 0 and data.rows:
            self.empty[request.page] -= 1
            return PageData([], data.total, data.page, data.page_size, has_more=data.has_more and self.has_more)
        return data


def server_with_holes(count: int, empty: dict[int, int], *, has_more: bool = True) -> ServerWithHoles:
    server = ServerWithHoles.of(count)
    return ServerWithHoles(server.rows, empty=empty, has_more=has_more)


@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("has_more", [True, False])
@pytest.mark.parametrize("page", [1, 2, 3, 4])
def test_an_empty_page_is_requested_again_at_the_end(
    page: int, has_more: bool, prefetch: int, gapless: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = server_with_holes(350, {page: 1}, has_more=has_more)
    ids = read(Walk(1, page_size=100, gapless=gapless, is_prefetching=prefetch > 0), server, prefetch=prefetch)
    assert sorted(ids) == sorted(f"row{number}" for number in range(350))
    assert len(server.requests) <= 5 + (page == 1 or gapless) + prefetch
    assert caplog.text == ""


@pytest.mark.parametrize("gapless", [False, True])
@pytest.mark.parametrize("page", [1, 2, 3, 4])
def test_a_page_that_stays_empty_costs_one_more_request_and_logs_a_warning(
    page: int, gapless: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = server_with_holes(350, {page: 99})
    ids = read(Walk(1, page_size=100, gapless=gapless), server)
    assert 250 <= len(ids) == len(set(ids)) < 350
    assert len(server.requests) <= 6
    assert caplog.text.count("WARNING") == 1
    assert f"iteration ended after {len(ids)} of 350 rows" in caplog.text


@pytest.mark.parametrize("total", [10**9, 500])
def test_after_ten_empty_pages_the_walk_requests_the_first_once_more_and_ends(
    total: int, caplog: pytest.LogCaptureFixture
) -> None:
    walk, requests = Walk[Row](1, page_size=10), 0
    while walk.next_request is not None:
        rows = [Row(f"row{number}") for number in range(10)] if walk.next_request.page == 1 else []
        walk.receive(walk.next_request, PageData(rows, total, None, None, has_more=True))
        requests += 1
    assert requests == 12
    assert f"iteration ended after 10 of {total} rows: the remaining pages are empty" in caplog.text


@pytest.mark.parametrize("size", [-5, 0])
def test_an_invalid_page_size_in_the_response_loses_no_row(size: int) -> None:
    class Odd(Server):
        def respond(self, request: PageRequest) -> PageData[Row]:
            data = super().respond(request)
            return PageData(data.rows, data.total, data.page, size, has_more=data.has_more)

    assert len(read(Walk(1, page_size=100), Odd.of(350))) == 350


def test_a_server_that_ignores_the_page_size_is_read_page_by_page() -> None:
    class Fixed(Server):
        def respond(self, request: PageRequest) -> PageData[Row]:
            return super().respond(PageRequest(request.page, 100))

    server = Fixed.of(1000)
    assert len(read(Walk(1, page_size=20), server)) == 1000
    assert len(server.requests) == 10


def test_a_total_below_the_number_of_rows_does_not_end_a_walk() -> None:
    class Miscounting(Server):
        def respond(self, request: PageRequest) -> PageData[Row]:
            data = super().respond(request)
            if len(self.requests) == 2:
                for _ in range(100):
                    self.insert_in_front()
            return PageData(data.rows, len(data.rows), data.page, data.page_size, has_more=data.has_more)

    ids = read(Walk(1, page_size=100), Miscounting.of(1000))
    assert {f"row{number}" for number in range(1000)} <= set(ids)


@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_warning_counts_the_rows_missing_in_several_holes(
    after: int, gapless: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = server_with_holes(250, {2: 1, 3: 1, 4: 1})

    def meanwhile() -> None:
        if len(server.requests) == after:
            for _ in range(100):
                server.insert_in_front()
            server.empty = dict.fromkeys(range(1, 9), 1)

    ids = read(Walk(1, page_size=100, gapless=gapless), server, meanwhile=meanwhile)
    missing = {f"row{number}" for number in range(250)} - set(ids)
    counts = re.findall(r"iteration ended after (\d+) of (\d+) rows", caplog.text)
    assert len(counts) == bool(missing)
    assert all(int(total) - int(found) >= len(missing) for found, total in counts)


def test_a_hole_may_be_a_page_of_one_row() -> None:
    server = server_with_holes(9, {1: 1, 4: 1, 5: 1, 9: 1})
    ids = read(Walk(1, page_size=1), server)
    assert sorted(ids) == [f"row{number}" for number in range(9)]
    assert len(server.requests) <= 14


def test_a_last_page_short_of_the_total_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    walk: Walk[Row] = Walk(1, page_size=2)
    walk.receive(PageRequest(1, 2), PageData([Row("a"), Row("b")], 5, 1, 2, has_more=False))
    assert walk.next_request is None
    assert "iteration ended after 2 of 5 rows: the server reports no further page" in caplog.text


# ── Canned pages, as in mocks ────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class CannedServer(Server):
    """A server that returns a fixed page for each number."""

    pages: Mapping[int, PageData[Row]] = field(default_factory=dict)

    def respond(self, request: PageRequest) -> PageData[Row]:
        self.requests.append(request)
        return self.pages.get(request.page) or PageData([], 0, request.page, None, has_more=False)


def conventional_loop(pages: Mapping[int, PageData[Row]]) -> Iterator[str]:
    number = 1
    while True:
        yield from (row.id for row in pages[number].rows)
        if not pages[number].has_more:
            return
        number += 1


def canned(rng: random.Random) -> tuple[dict[int, PageData[Row]], int]:
    """Return pages by number, whose totals and sizes may be wrong, and the page size to request."""
    size = rng.choice([1, 2, 3, 5])
    lengths = [size] * rng.randrange(5) + [rng.randint(1, size)]
    if rng.random() < 0.3:
        lengths = [rng.randint(1, size) for _ in lengths]
    total = sum(lengths)
    make_total = rng.choice(
        [
            lambda _: total,
            lambda index: lengths[index],
            lambda _: lengths[0],
            lambda index: sum(lengths[: index + 1]),
            lambda _: 0,
            lambda _: 10**9,
            lambda _: total + rng.choice([-1, 0, 0, 1]),
        ]
    )
    reported_size = rng.choice([None, size, 7, 100])
    pages = {
        index + 1: PageData(
            [Row(f"{index}-{number}") for number in range(length)],
            make_total(index),
            rng.choice([None, index + 1]),
            reported_size,
            has_more=index + 1 < len(lengths),
        )
        for index, length in enumerate(lengths)
    }
    return pages, rng.choice([size, 20, 100])


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@given(seed=st.integers(0, 2**32))
def test_canned_pages_are_read_as_by_a_conventional_loop(gapless: bool, prefetch: int, seed: int) -> None:
    rng = random.Random(seed)
    pages, page_size = canned(rng)
    server = CannedServer([], pages=pages)
    ids = read(Walk(1, page_size=page_size, gapless=gapless), server, prefetch=prefetch, rng=rng)
    assert ids == list(conventional_loop(pages))


def test_a_gapless_walk_of_canned_pages_warns_that_gaps_are_possible(caplog: pytest.LogCaptureFixture) -> None:
    walk: Walk[Row] = Walk(1, page_size=2, gapless=True)
    walk.receive(PageRequest(1, 2), PageData([Row("a"), Row("b")], 3, 1, 2, has_more=True))
    assert walk.next_request == PageRequest(1, 100)
    walk.receive(walk.next_request, PageData([Row("a"), Row("b")], 3, 1, 2, has_more=True))
    assert walk.next_request == PageRequest(2, 2)
    assert "gaps cannot be ruled out" in caplog.text


def test_a_gapless_walk_discards_a_page_of_another_size_and_requests_it_by_number() -> None:
    walk, server = Walk[Row](1, page_size=100, gapless=True), Server.of(300)
    walk.receive(PageRequest(1, 100), server.respond(PageRequest(1, 100)))
    assert walk.next_request == PageRequest(2, 99)
    unrelated = [Row(f"unrelated{number}") for number in range(50)]
    assert walk.receive(walk.next_request, PageData(unrelated, 300, 2, 50, has_more=True)) == []
    assert walk.next_request == PageRequest(2, 100)
    assert read(walk, server) == [f"row{number}" for number in range(100, 300)]


def test_a_gapless_walk_of_pages_of_one_row_warns_that_gaps_are_possible(caplog: pytest.LogCaptureFixture) -> None:
    server = Server.of(5, max_page_size=1)
    assert read(Walk(1, page_size=100, gapless=True), server) == [f"row{number}" for number in range(5)]
    assert [request.page for request in server.requests] == [1, 2, 3, 4, 5]
    assert "gaps cannot be ruled out" in caplog.text


def test_canned_pages_log_no_warning_without_gapless(caplog: pytest.LogCaptureFixture) -> None:
    walk: Walk[Row] = Walk(1, page_size=2)
    walk.receive(PageRequest(1, 2), PageData([Row("a")], 2, 1, 2, has_more=True))
    walk.receive(PageRequest(2, 2), PageData([Row("b")], 2, 2, 2, has_more=False))
    assert walk.next_request is None
    assert caplog.text == ""


# ── Every walk ends ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_walk_of_a_server_that_invents_rows_endlessly_ends(caplog: pytest.LogCaptureFixture) -> None:
    walk: Walk[Row] = Walk(1, page_size=1)
    pages = 0
    while walk.next_request is not None:
        data = PageData([Row(str(pages))], total=1, page=walk.next_request.page, page_size=1, has_more=True)
        walk.receive(walk.next_request, data)
        pages += 1
        assert pages <= MAX_SLICES_PAST_TOTAL
    assert pages == MAX_SLICES_PAST_TOTAL
    assert "ended after 1000 rows, 1000 pages past the total of 1" in caplog.text


@given(
    responses=st.lists(
        st.tuples(st.lists(st.integers(0, 20), max_size=5), st.integers(0, 50), st.none() | st.integers(1, 5)),
        min_size=1,
        max_size=5,
    ),
    page=st.integers(1, 3),
)
def test_a_walk_ends_and_repeats_no_row_whatever_pages_it_receives(
    responses: list[tuple[list[int], int, int | None]], page: int
) -> None:
    walk: Walk[Row] = Walk(page, page_size=5)
    ids: list[str] = []
    pages = 0
    while walk.next_request is not None:
        rows, total, size = responses[pages % len(responses)]
        data = PageData([Row(str(number)) for number in rows], total, None, size, has_more=True)
        ids += [row.id for row in walk.receive(walk.next_request, data)]
        pages += 1
        assert pages <= 21 * (MAX_STALE_SLICES + 1)
    assert len(ids) == len(set(ids))
