"""The walk itself, against a model of a server whose rows come and go while it is read. Nothing here touches HTTP.

`pytest tests/test_walk.py --hypothesis-profile=nightly` takes 10,000 walks of each kind.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstar._checkpoint import PageRequest
from cstar._decode import PageData
from cstar._ending import MAX_SLICES_PAST_TOTAL
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
    """A list, newest first, and what others do to it. Rows keep their order for as long as they live."""

    rows: list[Row]
    largest: int = 100
    removed: set[str] = field(default_factory=set)
    hidden: list[Row] = field(default_factory=list)
    made: int = 0
    requests: list[PageRequest] = field(default_factory=list)

    @classmethod
    def of(cls, count: int, *, largest: int = 100) -> Server:
        return cls([Row(f"row{number}", number) for number in range(count)], largest)

    def answer(self, ask: PageRequest) -> PageData[Row]:
        self.requests.append(ask)
        assert len(self.requests) < 10_000, "this walk does not end"
        size = min(ask.size, self.largest)
        start = (ask.page - 1) * size
        end = start + size
        return PageData(self.rows[start:end], len(self.rows), ask.page, size, has_more=end < len(self.rows))

    def insert_in_front(self) -> None:
        self.made += 1
        self.rows.insert(0, Row(f"new{self.made}", -self.made))

    def insert(self, rank: float) -> None:
        self.made += 1
        self._place(Row(f"new{self.made}", rank))

    def delete(self, place: int) -> Row:
        row = self.rows.pop(place)
        self.removed.add(row.id)
        return row

    def hide(self, place: int) -> None:
        """A row no longer matches the filter."""
        self.hidden.append(self.delete(place))

    def show(self, place: int) -> None:
        """It matches again, and stands where it stood."""
        self._place(self.hidden.pop(place))

    def _place(self, row: Row) -> None:
        self.rows.insert(bisect_right([each.rank for each in self.rows], row.rank), row)


def write_in_front_delete_anywhere(server: Server, chance: random.Random) -> None:
    if server.rows and chance.random() < 0.5:
        server.delete(chance.randrange(len(server.rows)))
    else:
        server.insert_in_front()


def write_anywhere(server: Server, chance: random.Random) -> None:
    action = chance.random()
    if server.rows and action < 0.5:
        (server.hide if chance.random() < 0.7 else server.delete)(chance.randrange(len(server.rows)))
    elif server.hidden and action < 0.8:
        server.show(chance.randrange(len(server.hidden)))
    else:
        server.insert(chance.uniform(-10, 1000))


def read(
    walk: Walk[Row],
    server: Server,
    *,
    ahead: int = 0,
    meanwhile: Callable[[], object] = lambda: None,
    chance: random.Random | None = None,
    visit: Callable[[Row], object] = lambda _: None,
) -> list[str]:
    """Read a list to its end as a client does, with so many requests under way, answered in any order."""
    given: list[str] = []
    asked: deque[PageRequest] = deque()
    answers: dict[int, PageData[Row]] = {}
    while walk.next_request is not None:
        while len(asked) < max(1, ahead):
            ask = walk.request_after(asked[-1]) if asked else walk.next_request
            if ask is None:
                break
            asked.append(ask)
        while 0 not in answers:
            waiting = [place for place in range(len(asked)) if place not in answers]
            place = chance.choice(waiting) if chance else waiting[0]
            answers[place] = server.answer(asked[place])
            meanwhile()
        for row in walk.receive(asked.popleft(), answers.pop(0)):
            given.append(row.id)
            visit(row)
        answers = {place - 1: part for place, part in answers.items()}
        if walk.plan_changed:
            asked.clear()
            answers.clear()
    return given


WRITERS = {False: write_in_front_delete_anywhere, True: write_anywhere}


def churned(
    chance: random.Random, *, gapless: bool, ahead: int, make: Callable[..., Walk[Row]] = Walk
) -> tuple[list[str], set[str]]:
    """What a walk gives while others write, and which rows were there from its beginning to its end."""
    page_size = chance.choice([13, 20, 60, 100])
    server = Server.of(chance.randrange(12 * page_size), largest=chance.choice([100, page_size, max(14, page_size)]))
    if server.largest == page_size:
        server.largest += 1  # a server that gives no more than what it was asked for first looks like a mock
    busy = chance.choice([0.1, 1, 3])
    start = {row.id for row in server.rows}

    def meanwhile() -> None:
        for _ in range(chance.randrange(int(busy) + 1) if busy >= 1 else chance.random() < busy):
            WRITERS[gapless](server, chance)

    walk: Walk[Row] = make(1, page_size=page_size, gapless=gapless, is_prefetching=ahead > 0)
    return read(walk, server, ahead=ahead, meanwhile=meanwhile, chance=chance), start - server.removed


@pytest.mark.parametrize("ahead", [0, 3, 8])
@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@given(seed=st.integers(0, 2**32))
def test_whoever_writes_meanwhile_no_row_that_stayed_is_lost_and_none_comes_twice(
    gapless: bool, ahead: int, seed: int
) -> None:
    given, stayed = churned(random.Random(seed), gapless=gapless, ahead=ahead)
    assert len(given) == len(set(given))
    assert stayed <= set(given)


def test_rows_that_come_in_front_while_as_many_go_are_noticed_though_answers_overtake_each_other() -> None:
    """Page 2 is answered after pages 3 to 6, and in between the whole list has moved down by two pages."""
    walk: Walk[Row] = Walk(1, page_size=20, ahead=True)
    server = Server.of(400)
    given = [row.id for row in walk.receive(PageRequest(1, 20), server.answer(PageRequest(1, 20)))]
    early = {number: server.answer(PageRequest(number, 20)) for number in range(3, 7)}
    for _ in range(40):
        server.insert_in_front()
        server.delete(len(server.rows) - 1)
    early[2] = server.answer(PageRequest(2, 20))
    number = 2
    while number in early and not walk.plan_changed:
        given += [row.id for row in walk.receive(PageRequest(number, 20), early[number])]
        number += 1
    given += read(walk, server)
    assert {f"row{number}" for number in range(360)} <= set(given)


class UsesEverySlice(Walk[Row]):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.memory.first_known = lambda rows: 0 if rows else None  # type: ignore[method-assign]


class RemembersNothing(Walk[Row]):
    def take(self, request: PageRequest, data: PageData[Row]) -> list[Row]:
        super().take(request, data)
        return data.rows


class TakesNoNoticeOfTotals(Walk[Row]):
    def _adapt(self, request: PageRequest, data: PageData[Row], size: int, *, has_moved: bool) -> None:
        super()._adapt(request, data, size, has_moved=self.memory.first_known(data.rows) is not None)


class TakesNoNoticeOfAnything(Walk[Row]):
    def _adapt(self, request: PageRequest, data: PageData[Row], size: int, *, has_moved: bool) -> None:
        pass


@pytest.mark.parametrize("mutant", [UsesEverySlice, RemembersNothing, TakesNoNoticeOfTotals, TakesNoNoticeOfAnything])
def test_without_any_part_of_the_rule_rows_are_lost_or_come_twice(mutant: type[Walk[Row]]) -> None:
    """The model would notice: it is not that nothing happens in it."""
    failures = 0
    for seed in range(200):
        given, stayed = churned(random.Random(seed), gapless=False, ahead=0, make=mutant)
        failures += len(given) > len(set(given)) or not stayed <= set(given)
    assert failures > 2


@pytest.mark.parametrize("total", [0, 1, 99, 100, 101, 1234])
@pytest.mark.parametrize("page_size", [1, 7, 50, 100])
@pytest.mark.parametrize("ahead", [0, 8])
def test_a_quiet_walk_sends_exactly_the_conventional_requests(total: int, page_size: int, ahead: int) -> None:
    server = Server.of(total)
    pages = max(1, -(-total // page_size))
    assert len(read(Walk(1, page_size=page_size), server, ahead=ahead)) == total
    assert server.requests == [PageRequest(number, page_size) for number in range(1, pages + 1)]


@pytest.mark.parametrize("total", [0, 1, 100, 101, 1000, 12_345, 100_000])
def test_a_quiet_gapless_walk_sends_at_most_a_fifth_more(total: int) -> None:
    server = Server.of(total)
    assert len(read(Walk(1, page_size=100, gapless=True), server)) == total
    assert len(server.requests) <= max(1, -(-total // 100)) * 1.2


@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@pytest.mark.parametrize("page_size", [10, 100])
def test_a_loop_that_takes_each_row_out_of_the_list_sees_all_in_about_one_request_a_page(
    page_size: int, gapless: bool
) -> None:
    server = Server.of(3000)
    given = read(
        Walk(1, page_size=page_size, gapless=gapless), server, visit=lambda row: server.delete(server.rows.index(row))
    )
    assert given == [f"row{number}" for number in range(3000)]
    assert len(server.requests) <= 3000 / 100 + 3


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
def test_a_loop_that_takes_some_rows_out_costs_about_twice_the_requests_at_most(share: float) -> None:
    chance, server = random.Random(1), Server.of(3000)

    def visit(row: Row) -> None:
        if chance.random() < share:
            server.delete(server.rows.index(row))

    assert len(read(Walk(1, page_size=100), server, visit=visit)) == 3000
    assert len(server.requests) <= 65


def test_rows_that_come_in_front_meanwhile_are_not_visited() -> None:
    server = Server.of(350)
    given = read(Walk(1, page_size=100), server, visit=lambda _: server.insert_in_front())
    assert given == [f"row{number}" for number in range(350)]


@pytest.mark.parametrize("per_request", [50, 100, 200])
def test_a_walk_catches_up_with_a_list_that_grows_in_front_as_fast_as_it_is_read(per_request: int) -> None:
    server = Server.of(1000)

    def meanwhile() -> None:
        for _ in range(per_request):
            server.insert_in_front()

    assert [row for row in read(Walk(1, page_size=100), server, meanwhile=meanwhile) if row.startswith("row")] == [
        f"row{number}" for number in range(1000)
    ]
    assert len(server.requests) < 200


def test_one_import_of_500_rows_in_front_costs_a_fifth_more_requests_at_most() -> None:
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


@pytest.mark.parametrize(
    ("writers", "gapless"),
    [(write_in_front_delete_anywhere, False), (write_anywhere, True)],
    ids=["default", "gapless"],
)
def test_while_others_write_a_walk_costs_a_fifth_more_requests_at_most(
    writers: Callable[[Server, random.Random], None], gapless: bool
) -> None:
    pages = requests = 0
    for seed in range(20):
        chance, server = random.Random(seed), Server.of(3000)
        pages += 30
        read(
            Walk(1, page_size=100, gapless=gapless),
            server,
            meanwhile=lambda: writers(server, chance),  # noqa: B023
        )
        requests += len(server.requests)
    assert requests <= 1.2 * pages


def test_a_list_that_grows_at_its_end_as_fast_as_it_is_read_is_left_at_last(caplog: pytest.LogCaptureFixture) -> None:
    server = Server.of(150)

    def meanwhile() -> None:
        count = len(server.rows)
        server.rows.extend(Row(f"row{number}", number) for number in range(count, count + 200))

    read(Walk(1, page_size=100), server, meanwhile=meanwhile)
    assert len(server.requests) < MAX_SLICES_PAST_TOTAL * 1.3
    assert "1000 pages past the total of 150" in caplog.text


def test_a_walk_from_a_later_page_never_gives_what_stands_before_it() -> None:
    server = Server.of(500)
    given = read(Walk(3, page_size=100), server, visit=lambda row: server.delete(server.rows.index(row)))
    assert given == [f"row{number}" for number in range(200, 500)]


def test_a_server_that_gives_fewer_rows_a_page_than_asked_for_is_read_page_by_page() -> None:
    server = Server.of(500, largest=30)
    assert len(read(Walk(1, page_size=100), server)) == 500
    assert server.requests == [PageRequest(number, 100) for number in range(1, 18)]


def test_such_a_server_too_is_read_without_loss() -> None:
    for seed in range(100):
        chance, server = random.Random(seed), Server.of(300, largest=30)
        start = {row.id for row in server.rows}
        given = read(
            Walk(1, page_size=100, gapless=True),
            server,
            meanwhile=lambda: write_anywhere(server, chance),  # noqa: B023
        )
        assert start - server.removed <= set(given)


def test_nothing_is_requested_ahead_behind_the_last_page() -> None:
    walk, server = Walk[Row](1, page_size=50), Server.of(100)
    assert walk.request_after(PageRequest(1, 50)) is None
    walk.receive(PageRequest(1, 50), server.answer(PageRequest(1, 50)))
    assert walk.request_after(PageRequest(1, 50)) == PageRequest(2, 50)
    assert walk.request_after(PageRequest(2, 50)) is None


# ── Holes: empty pages below the total ───────────────────────────────────────────────────────────────────────────────


@dataclass
class Holey(Server):
    """A server that answers some page numbers with nothing, a number of times."""

    empty: dict[int, int] = field(default_factory=dict)
    says_more: bool = True

    def answer(self, request: PageRequest) -> PageData[Row]:
        data = super().answer(request)
        if self.empty.get(request.page, 0) > 0 and data.rows:
            self.empty[request.page] -= 1
            return PageData([], data.total, data.page, data.page_size, has_more=data.has_more and self.says_more)
        return data


def holey(count: int, empty: dict[int, int], *, says_more: bool = True) -> Holey:
    server = Holey.of(count)
    return Holey(server.rows, empty=empty, says_more=says_more)


@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@pytest.mark.parametrize("ahead", [0, 4])
@pytest.mark.parametrize("says_more", [True, False])
@pytest.mark.parametrize("page", [1, 2, 3, 4])
def test_an_empty_page_is_read_when_the_walk_returns_to_it(
    page: int, says_more: bool, ahead: int, gapless: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = holey(350, {page: 1}, says_more=says_more)
    given = read(Walk(1, page_size=100, gapless=gapless, is_prefetching=ahead > 0), server, ahead=ahead)
    assert sorted(given) == sorted(f"row{number}" for number in range(350))
    assert len(server.requests) <= 5 + (page == 1 or gapless) + ahead
    assert caplog.text == ""


@pytest.mark.parametrize("gapless", [False, True])
@pytest.mark.parametrize("page", [1, 2, 3, 4])
def test_a_page_that_stays_empty_costs_one_request_more_and_is_a_warning(
    page: int, gapless: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = holey(350, {page: 99})
    given = read(Walk(1, page_size=100, gapless=gapless), server)
    assert 250 <= len(given) == len(set(given)) < 350
    assert len(server.requests) <= 6
    assert caplog.text.count("WARNING") == 1
    assert f"a walk ended after {len(given)} of 350 rows" in caplog.text


@pytest.mark.parametrize("total", [10**9, 500])
def test_empty_pages_without_end_are_left_after_ten_and_asked_for_once_more(
    total: int, caplog: pytest.LogCaptureFixture
) -> None:
    walk, requests = Walk[Row](1, page_size=10), 0
    while walk.next_request is not None:
        rows = [Row(f"row{number}") for number in range(10)] if walk.next_request.page == 1 else []
        walk.receive(walk.next_request, PageData(rows, total, None, None, has_more=True))
        requests += 1
    assert requests == 12
    assert f"a walk ended after 10 of {total} rows: pages are empty" in caplog.text


@pytest.mark.parametrize("size", [-5, -100, 0])
def test_a_page_size_that_makes_no_sense_costs_no_row(size: int) -> None:
    class Odd(Server):
        def answer(self, ask: PageRequest) -> PageData[Row]:
            data = super().answer(ask)
            return PageData(data.rows, data.total, data.page, size, has_more=data.has_more)

    assert len(read(Walk(1, page_size=100), Odd.of(350))) == 350


def test_a_server_that_ignores_the_page_size_is_read_page_by_page() -> None:
    class Fixed(Server):
        def answer(self, ask: PageRequest) -> PageData[Row]:
            return super().answer(PageRequest(ask.page, 100))

    server = Fixed.of(1000)
    assert len(read(Walk(1, page_size=20), server)) == 1000
    assert len(server.requests) == 10


def test_a_total_that_the_rows_exceed_does_not_end_a_walk() -> None:
    class Page(Server):
        def answer(self, ask: PageRequest) -> PageData[Row]:
            data = super().answer(ask)
            if len(self.requests) == 2:
                for _ in range(100):
                    self.insert_in_front()
            return PageData(data.rows, len(data.rows), data.page, data.page_size, has_more=data.has_more)

    given = read(Walk(1, page_size=100), Page.of(1000))
    assert {f"row{number}" for number in range(1000)} <= set(given)


@pytest.mark.parametrize("gapless", [False, True])
def test_rows_that_a_second_empty_page_hides_are_read_or_warned_of(
    gapless: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for after in range(1, 9):
        caplog.clear()
        server = holey(250, {2: 1, 3: 1, 4: 1})

        def meanwhile(server: Holey = server, after: int = after) -> None:
            if len(server.requests) == after:
                for _ in range(100):
                    server.insert_in_front()
                server.empty = dict.fromkeys(range(1, 9), 1)

        given = read(Walk(1, page_size=100, gapless=gapless), server, meanwhile=meanwhile)
        assert {f"row{number}" for number in range(250)} <= set(given) or "a walk ended after" in caplog.text


def test_a_page_of_one_row_may_be_a_hole() -> None:
    server = holey(9, {1: 1, 4: 1, 5: 1, 9: 1})
    given = read(Walk(1, page_size=1), server)
    assert sorted(given) == [f"row{number}" for number in range(9)]
    assert len(server.requests) <= 14


def test_the_last_page_that_is_short_of_the_total_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    walk: Walk[Row] = Walk(1, page_size=2)
    walk.receive(PageRequest(1, 2), PageData([Row("a"), Row("b")], 5, 1, 2, has_more=False))
    assert walk.next_request is None
    assert "a walk ended after 2 of 5 rows: the server says that no page follows" in caplog.text


def test_rows_that_came_in_front_are_no_reason_for_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    server = Server.of(350)
    read(Walk(1, page_size=100), server, visit=lambda _: server.insert_in_front())
    assert caplog.text == ""


# ── Canned pages: what people mock a server with ─────────────────────────────────────────────────────────────────────


def conventional(pages: Mapping[int, PageData[Row]]) -> Iterator[str]:
    number = 1
    while True:
        yield from (row.id for row in pages[number].rows)
        if not pages[number].has_more:
            return
        number += 1


def canned(chance: random.Random) -> tuple[dict[int, PageData[Row]], int]:
    """Pages by their number, whatever size is asked for, with totals and sizes that need not be right; and the size."""
    size = chance.choice([1, 2, 3, 5])
    lengths = [size] * chance.randrange(5) + [chance.randint(1, size)]
    if chance.random() < 0.3:
        lengths = [chance.randint(1, size) for _ in lengths]
    total = sum(lengths)
    say_total = chance.choice(
        [
            lambda _: total,
            lambda place: lengths[place],
            lambda _: lengths[0],
            lambda place: sum(lengths[: place + 1]),
            lambda _: 0,
            lambda _: 10**9,
            lambda _: total + chance.choice([-1, 0, 0, 1]),
        ]
    )
    told_size = chance.choice([None, size, 7, 100])
    pages = {
        place + 1: PageData(
            [Row(f"{place}-{number}") for number in range(length)],
            say_total(place),
            chance.choice([None, place + 1]),
            told_size,
            has_more=place + 1 < len(lengths),
        )
        for place, length in enumerate(lengths)
    }
    return pages, chance.choice([size, 20, 100])


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@given(seed=st.integers(0, 2**32))
def test_canned_pages_are_read_as_a_conventional_loop_would(gapless: bool, ahead: int, seed: int) -> None:
    chance = random.Random(seed)
    pages, page_size = canned(chance)

    class Mock(Server):
        def answer(self, ask: PageRequest) -> PageData[Row]:
            self.requests.append(ask)
            return pages.get(ask.page) or PageData([], 0, ask.page, None, has_more=False)

    given = read(Walk(1, page_size=page_size, gapless=gapless), Mock([]), ahead=ahead, chance=chance)
    assert given == list(conventional(pages))


def test_a_gapless_walk_of_canned_pages_says_that_it_proves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    walk: Walk[Row] = Walk(1, page_size=2, gapless=True)
    walk.receive(PageRequest(1, 2), PageData([Row("a"), Row("b")], 3, 1, 2, has_more=True))
    assert walk.next_request == PageRequest(1, 100)
    walk.receive(walk.next_request, PageData([Row("a"), Row("b")], 3, 1, 2, has_more=True))
    assert walk.next_request == PageRequest(2, 2)
    assert "gaps cannot be ruled out" in caplog.text


def test_canned_pages_are_no_reason_for_a_warning_where_nothing_is_to_be_proved(
    caplog: pytest.LogCaptureFixture,
) -> None:
    walk: Walk[Row] = Walk(1, page_size=2)
    walk.receive(PageRequest(1, 2), PageData([Row("a")], 2, 1, 2, has_more=True))
    walk.receive(PageRequest(2, 2), PageData([Row("b")], 2, 2, 2, has_more=False))
    assert walk.next_request is None
    assert caplog.text == ""
