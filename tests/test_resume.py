"""Walks that are stopped at any row, and resumed from a checkpoint, against the model of `test_walk`."""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstar import InvalidParameterError
from cstar._checkpoint import LAST_ROWS, Checkpoint, Hole, PageRequest, ReadRow, decode, encode, thinned
from cstar._decode import PageData
from cstar._walk import Walk
from test_walk import WRITERS, Row, Server

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPE = "0" * 16


@dataclass
class Flaky(Server):
    """A server that answers some requests with nothing, and the same page never again."""

    chance: random.Random = field(default_factory=random.Random)
    share: float = 0.0
    dark: list[int] = field(default_factory=list)

    def answer(self, request: PageRequest) -> PageData[Row]:
        data = super().answer(request)
        start = (request.page - 1) * min(request.size, self.largest)
        if data.rows and self.chance.random() < self.share and start not in self.dark:
            self.dark.append(start)
            return PageData([], data.total, data.page, data.page_size, has_more=data.has_more)
        return data


def read_some(
    walk: Walk[Row],
    server: Server,
    most: int | None,
    *,
    ahead: int = 0,
    meanwhile: Callable[[], object] = lambda: None,
    chance: random.Random | None = None,
    visit: Callable[[Row], object] = lambda _: None,
) -> tuple[list[str], Checkpoint]:
    """Read so many rows, or all, as a client does: the rows, and the checkpoint after them, once through text."""
    given: list[str] = []
    pending: deque[PageRequest] = deque()
    answers: dict[int, PageData[Row]] = {}
    while walk.next_request is not None:
        while len(pending) < max(1, ahead):
            request = walk.request_after(pending[-1]) if pending else walk.next_request
            if request is None:
                break
            pending.append(request)
        while 0 not in answers:
            waiting = [place for place in range(len(pending)) if place not in answers]
            place = chance.choice(waiting) if chance else waiting[0]
            answers[place] = server.answer(pending[place])
            meanwhile()
        rows = walk.receive(pending.popleft(), answers.pop(0))
        answers = {place - 1: data for place, data in answers.items()}
        if walk.plan_changed:
            pending.clear()
            answers.clear()
        for place, row in enumerate(rows):
            if len(given) == most:
                return given, stored(walk.memory.progress.checkpoint(pending=len(rows) - place))
            given.append(row.id)
            visit(row)
    return given, stored(walk.memory.progress.checkpoint())


def stored(checkpoint: Checkpoint) -> Checkpoint:
    assert decode(encode(checkpoint, SCOPE), SCOPE) == checkpoint
    return checkpoint


def resumed_walks(
    seed: int,
    *,
    gapless: bool,
    ahead: int,
    holes: float,
    spoil: Callable[[Checkpoint], Checkpoint] = lambda point: point,
) -> tuple[list[list[str]], set[str], int]:
    """What several legs of one walk give, which rows were there throughout, and how many requests it took."""
    chance = random.Random(seed)
    page_size = chance.choice([7, 20, 60, 100])
    server = Flaky.of(chance.randrange(12 * page_size), largest=chance.choice([100, max(30, page_size + 1)]))
    server.chance, server.share = chance, holes
    start = {row.id for row in server.rows}
    busy = chance.choice([0, 1, 2])
    point: Checkpoint | None = None
    legs = []
    for left in reversed(range(chance.choice([2, 3, 5]))):
        walk: Walk[Row] = Walk(1, page_size=page_size, gapless=gapless, is_prefetching=ahead > 0, resume=point)
        given, point = read_some(
            walk,
            server,
            chance.randrange(1 + len(start) // 2) if left else None,
            ahead=ahead,
            meanwhile=lambda: [WRITERS[gapless](server, chance) for _ in range(chance.randrange(busy + 1))],
            chance=chance,
        )
        legs.append(given)
        point = spoil(point)
        for _ in range(chance.choice([0, 3, 60])):
            WRITERS[gapless](server, chance)
    return legs, start - server.removed, len(server.requests)


@pytest.mark.parametrize("holes", [0, 0.1], ids=["", "holes"])
@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@given(seed=st.integers(0, 2**32), ahead=st.sampled_from([0, 3, 8]))
def test_whoever_writes_and_wherever_it_stops_a_resumed_walk_loses_no_row(
    gapless: bool, ahead: int, holes: float, seed: int
) -> None:
    with patch("cstar._ending.logger.warning") as warning:
        legs, stayed, requests = resumed_walks(seed, gapless=gapless, ahead=ahead, holes=holes)
    # A page that was empty when the walk returned to it is given up, with a warning.
    assert stayed <= {row for leg in legs for row in leg} or (holes and warning.called)
    assert all(len(leg) == len(set(leg)) for leg in legs)
    assert requests <= 12 * len(legs) * (2 + max(1, ahead) + 8) + sum(map(len, legs))


def test_few_rows_come_twice_after_a_resume() -> None:
    twice = resumes = 0
    for seed in range(300):
        legs, _, _ = resumed_walks(seed, gapless=seed % 2 == 0, ahead=0, holes=0)
        rows = [row for leg in legs for row in leg]
        twice += len(rows) - len(set(rows))
        resumes += len(legs) - 1
    assert twice <= 2 * resumes


def _no_holes(point: Checkpoint) -> Checkpoint:
    return Checkpoint(point.origin, point.largest, point.total, point.rows)


@pytest.mark.parametrize(("spoil", "holes"), [(_no_holes, 0.2), (lambda _: Checkpoint(0, 100, 0), 0.0)])
def test_the_model_notices_a_checkpoint_that_forgets(spoil: Any, holes: float) -> None:
    failures = 0
    for seed in range(100):
        legs, stayed, _ = resumed_walks(seed, gapless=True, ahead=0, holes=holes, spoil=spoil)
        rows = [row for leg in legs for row in leg]
        failures += not stayed <= set(rows) or len(rows) > len(set(rows)) + 200
    assert failures > 3


@pytest.mark.parametrize("page_size", [1, 7, 100])
@pytest.mark.parametrize("stop", [0, 1, 99, 100, 101, 350, 700])
def test_a_quiet_walk_costs_at_most_one_request_more_for_a_resume(stop: int, page_size: int) -> None:
    server = Server.of(700)
    first, point = read_some(Walk(1, page_size=page_size), server, stop)
    rest, _ = read_some(Walk(1, page_size=page_size, resume=point), server, None)
    assert first + rest == [f"row{number}" for number in range(700)]
    # One page is requested again; if the walk stopped at the end of a page, the next one had been requested already.
    assert len(server.requests) <= 700 / page_size + 2


def test_a_resumed_walk_may_have_another_page_size() -> None:
    server = Server.of(700)
    first, point = read_some(Walk(1, page_size=100), server, 333)
    rest, _ = read_some(Walk(1, page_size=30, resume=point), server, None)
    assert first + rest == [f"row{number}" for number in range(700)]


@pytest.mark.parametrize("gapless", [False, True])
def test_a_finished_walk_that_is_resumed_gives_only_what_has_come_behind(gapless: bool) -> None:
    server = Server.of(350)
    _, point = read_some(Walk(1, page_size=100), server, None)
    before = len(server.requests)
    assert read_some(Walk(1, page_size=100, gapless=gapless, resume=point), server, None)[0] == []
    assert len(server.requests) - before <= 2
    server.rows.append(Row("later", 9999))
    assert read_some(Walk(1, page_size=100, gapless=gapless, resume=point), server, None)[0] == ["later"]


def test_a_loop_that_removes_every_row_and_is_stopped_goes_on_with_the_others() -> None:
    server = Server.of(2000)

    def remove(row: Row) -> None:
        server.delete(server.rows.index(row))

    first, point = read_some(Walk(1, page_size=100), server, 777, visit=remove)
    before = len(server.requests)
    rest, _ = read_some(Walk(1, page_size=100, resume=point), server, None, visit=remove)
    assert first + rest == [f"row{number}" for number in range(2000)]
    assert len(server.requests) - before <= 17


def test_rows_that_come_in_front_before_each_of_many_legs_make_none_come_twice() -> None:
    server, point, rows = Server.of(3000), None, list[str]()
    for stop in (250, 250, 250, None):
        given, point = read_some(Walk(1, page_size=100, resume=point), server, stop)
        rows += given
        for _ in range(400):
            server.insert_in_front()
    assert rows == [f"row{number}" for number in range(3000)]


@pytest.mark.parametrize("came", [1, 250, 3000])
def test_rows_that_came_in_front_between_the_legs_cost_one_request(came: int) -> None:
    server = Server.of(2000)
    first, point = read_some(Walk(1, page_size=100), server, 777)
    for _ in range(came):
        server.insert_in_front()
    before = len(server.requests)
    rest, _ = read_some(Walk(1, page_size=100, resume=point), server, None)
    assert first + rest == [f"row{number}" for number in range(2000)]
    assert len(server.requests) - before <= 13 * 1.2 + 2


def test_if_all_known_rows_are_gone_a_landmark_spares_most_of_what_was_read() -> None:
    server = Server.of(20_000)
    first, point = read_some(Walk(1, page_size=100), server, 10_000)
    for _ in range(400):
        server.delete(9700)
    before = len(server.requests)
    rest, _ = read_some(Walk(1, page_size=100, resume=point), server, None)
    assert {f"row{number}" for number in range(20_000)} - server.removed <= set(first + rest)
    assert len(set(first) & set(rest)) <= 600
    assert len(server.requests) - before <= 130


def test_rows_deleted_all_over_the_list_do_not_send_a_resume_to_its_beginning() -> None:
    chance, server = random.Random(1), Server.of(20_000)
    first, point = read_some(Walk(1, page_size=100), server, 10_000)
    for _ in range(4000):
        server.delete(chance.randrange(len(server.rows)))
    rest, _ = read_some(Walk(1, page_size=100, resume=point), server, None)
    assert {f"row{number}" for number in range(20_000)} - server.removed <= set(first + rest)
    assert len(set(first) & set(rest)) <= 200


def test_canned_pages_are_resumed_where_they_were_left() -> None:
    pages = {
        number: PageData([Row(f"{number}-{place}") for place in range(length)], 10**6, number, 100, has_more=number < 4)
        for number, length in enumerate([3, 1, 5, 2], 1)
    }

    class Mock(Server):
        def answer(self, request: PageRequest) -> PageData[Row]:
            return pages[request.page]

    whole = [row.id for data in pages.values() for row in data.rows]
    for stop in range(len(whole) + 1):
        first, point = read_some(Walk(1, page_size=100), Mock([]), stop)
        assert first + read_some(Walk(1, page_size=100, resume=point), Mock([]), None)[0] == whole


def test_canned_pages_without_a_known_row_are_read_from_the_beginning() -> None:
    def page(number: int) -> PageData[Row]:
        return PageData([Row(f"{number}-0"), Row(f"{number}-1")], 10**6, number, 100, has_more=number < 4)

    class Mock(Server):
        def answer(self, request: PageRequest) -> PageData[Row]:
            return page(request.page)

    point = Checkpoint(0, 100, 10**6, (("gone", 201, 0),))
    given, _ = read_some(Walk(1, page_size=100, resume=point), Mock([]), None)
    assert given == [row.id for number in range(1, 5) for row in page(number).rows]


# ── The token ────────────────────────────────────────────────────────────────────────────────────────────────────────

HOLE = Hole(1, 100, 350, 100, ("a", "b"), ("c",), (PageRequest(2, 100),))
POINT = Checkpoint(0, 100, 350, (("a", 7, 0), ("ü", 8, 0), ("\ud800", 3, 1)), (HOLE,))


@pytest.mark.parametrize(
    "point",
    [
        Checkpoint(0, 100, 0),
        POINT,
        Checkpoint(200, 30, 5, ((7, 0, 0), (UUID(int=7), 1, 0))),  # ids that are no strings
    ],
)
def test_a_token_holds_a_checkpoint(point: Checkpoint) -> None:
    token = encode(point, SCOPE)
    assert decode(token, SCOPE) == point
    assert token.isascii()
    assert not set(token) & set("+/=")


def tampered(**changes: Any) -> str:
    token = encode(POINT, SCOPE)
    content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**content, **changes}).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        *("", "x", "not a token", "ü", "e30", "bnVsbA", "W10", encode(POINT, SCOPE)[:-7], encode(POINT, SCOPE) + "A"),
        *(tampered(version=2), tampered(version="1"), tampered(origin=-1), tampered(total=1.5), tampered(total=True)),
        *(tampered(total=10**30), tampered(largest=0), tampered(largest=101), tampered(ids=["a"]), tampered(ids="abc")),
        *(tampered(ids=[None, 1, 2]), tampered(ids=[["x"], 1, 2]), tampered(places=[[0, 0, 10**9]]), tampered(holes=1)),
        *(tampered(places=[[0, 0, 1.0]]), tampered(holes=[[1]]), tampered(holes=[[1, 1, 1, 1, [], [], []]])),
        *(tampered(list=7), tampered(total=float("nan")), "A" * 2_000_000),
    ],
    ids=lambda token: token[:20],
)
def test_a_text_that_is_no_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InvalidParameterError, match="resume must be a checkpoint: the text that") as caught:
        decode(token, SCOPE)
    assert caught.value.param == "resume"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("token", [b"e30", 7, True, ["x"], {}])
def test_a_token_is_text(token: object) -> None:
    with pytest.raises(InvalidParameterError, match="resume must be a checkpoint: the text that"):
        decode(token, SCOPE)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_whatever_is_passed_is_refused_in_one_way(token: object) -> None:
    with pytest.raises(InvalidParameterError):
        decode(token, SCOPE)


def test_a_token_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="it belongs to another one") as caught:
        decode(encode(POINT, "1" * 16), SCOPE)
    assert caught.value.param == "resume"


@given(count=st.integers(0, 3000), step=st.integers(1, 500))
def test_a_token_stays_small_however_long_the_walk(count: int, step: int) -> None:
    rows: tuple[ReadRow, ...] = ()
    for begin in range(0, count, step):
        rows = thinned((*rows, *((f"row{place}", place, 0) for place in range(begin, min(count, begin + step)))))
    assert rows[-LAST_ROWS:] == tuple((f"row{place}", place, 0) for place in range(max(0, count - LAST_ROWS), count))
    assert len(rows) <= LAST_ROWS + 12
    far = [count - row[1] for row in rows[:-LAST_ROWS]]
    assert all(each <= 4.5 * max(LAST_ROWS, near) + 2 * step for each, near in itertools.pairwise(far))


def test_a_hole_soon_after_another_one_is_read_as_well() -> None:
    """Only one row stood between the two when the walk was stopped."""
    legs, stayed, _ = resumed_walks(340, gapless=True, ahead=8, holes=0.1)
    assert stayed <= {row for leg in legs for row in leg}
