"""Tests of walks that are stopped at any row and resumed from a checkpoint, against the model of `test_walk`."""

from __future__ import annotations

import base64
import itertools
import json
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import test_walk
from cstar import InvalidParameterError
from cstar._checkpoint import LAST_ROWS, Checkpoint, Hole, PageRequest, ReadRow, decode, encode, thin
from cstar._decode import PageData
from cstar._walk import Walk
from test_walk import WRITERS, CannedServer, Row, Server

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPE = "0" * 16


@dataclass
class Flaky(Server):
    """A server that returns a page empty with the probability `share`, but each page at most once."""

    rng: random.Random = field(default_factory=random.Random)
    share: float = 0.0
    emptied_starts: list[int] = field(default_factory=list)

    def respond(self, request: PageRequest) -> PageData[Row]:
        data = super().respond(request)
        start = (request.page - 1) * min(request.size, self.max_page_size)
        if data.rows and self.rng.random() < self.share and start not in self.emptied_starts:
            self.emptied_starts.append(start)
            return PageData([], data.total, data.page, data.page_size, has_more=data.has_more)
        return data


def read_some(walk: Walk[Row], server: Server, limit: int | None, **options: Any) -> tuple[list[str], Checkpoint]:
    """Read as in `test_walk`, and check that the checkpoint survives as a token."""
    ids, checkpoint = test_walk.read_some(walk, server, limit, **options)
    assert decode(encode(checkpoint, SCOPE), SCOPE) == checkpoint
    return ids, checkpoint


def resumed_walks(
    seed: int,
    *,
    gapless: bool,
    prefetch: int,
    holes: float,
    damage: Callable[[Checkpoint], Checkpoint] = lambda checkpoint: checkpoint,
) -> tuple[list[list[str]], set[str], int]:
    """Walk a list in several runs, each resumed from the checkpoint of the last, while others change the list.

    Returns:
        The ids read in each run, the ids of the rows that stayed throughout, and the number of requests.
    """
    rng = random.Random(seed)
    page_size = rng.choice([7, 20, 60, 100])
    server = Flaky.of(rng.randrange(12 * page_size), max_page_size=rng.choice([100, max(30, page_size + 1)]))
    server.rng, server.share = rng, holes
    start = {row.id for row in server.rows}
    max_writes = rng.choice([0, 1, 2])
    checkpoint: Checkpoint | None = None
    runs = []
    for runs_to_follow in reversed(range(rng.choice([2, 3, 5]))):
        walk: Walk[Row] = Walk(1, page_size=page_size, gapless=gapless, is_prefetching=prefetch > 0, resume=checkpoint)
        ids, checkpoint = read_some(
            walk,
            server,
            rng.randrange(1 + len(start) // 2) if runs_to_follow else None,
            prefetch=prefetch,
            meanwhile=lambda: [WRITERS[gapless](server, rng) for _ in range(rng.randrange(max_writes + 1))],
            rng=rng,
        )
        runs.append(ids)
        checkpoint = damage(checkpoint)
        for _ in range(rng.choice([0, 3, 60])):
            WRITERS[gapless](server, rng)
    return runs, start - server.removed, len(server.requests)


@pytest.mark.parametrize("holes", [0, 0.1], ids=["", "holes"])
@pytest.mark.parametrize("gapless", [False, True], ids=["default", "gapless"])
@given(seed=st.integers(0, 2**32), prefetch=st.sampled_from([0, 3, 8]))
def test_a_resumed_walk_loses_no_row_that_stays(gapless: bool, prefetch: int, holes: float, seed: int) -> None:
    with patch("cstar._ending.logger.warning") as warning:
        runs, stayed, requests = resumed_walks(seed, gapless=gapless, prefetch=prefetch, holes=holes)
    # A page that is empty twice is skipped, with a warning.
    assert stayed <= {row for run in runs for row in run} or (holes and warning.called)
    assert all(len(run) == len(set(run)) for run in runs)
    assert requests <= 12 * len(runs) * (2 + max(1, prefetch) + 8) + sum(map(len, runs))


def test_few_rows_are_repeated_after_a_resume() -> None:
    repeated = resumes = 0
    for seed in range(300):
        runs, _, _ = resumed_walks(seed, gapless=seed % 2 == 0, prefetch=0, holes=0)
        rows = [row for run in runs for row in run]
        repeated += len(rows) - len(set(rows))
        resumes += len(runs) - 1
    assert repeated <= 2 * resumes


@pytest.mark.parametrize(
    ("damage", "holes"),
    [(lambda checkpoint: replace(checkpoint, holes=()), 0.2), (lambda _: Checkpoint(0, 100, 0), 0.0)],
    ids=["holes", "rows"],
)
def test_the_model_detects_a_checkpoint_without_its_rows_or_holes(damage: Any, holes: float) -> None:
    failures = 0
    for seed in range(100):
        runs, stayed, _ = resumed_walks(seed, gapless=True, prefetch=0, holes=holes, damage=damage)
        rows = [row for run in runs for row in run]
        failures += not stayed <= set(rows) or len(rows) > len(set(rows)) + 200
    assert failures > 3


@pytest.mark.parametrize("page_size", [1, 7, 100])
@pytest.mark.parametrize("stop", [0, 1, 100, 101, 350, 700])
def test_a_resume_costs_at_most_one_request_if_nothing_has_moved(stop: int, page_size: int) -> None:
    server = Server.of(700)
    first, checkpoint = read_some(Walk(1, page_size=page_size), server, stop)
    rest, _ = read_some(Walk(1, page_size=page_size, resume=checkpoint), server, None)
    assert first + rest == [f"row{number}" for number in range(700)]
    # The second walk requests one page again. The first walk may have requested a page of which it read no row.
    assert len(server.requests) <= 700 / page_size + 2


def test_a_resumed_walk_may_have_another_page_size() -> None:
    server = Server.of(700)
    first, checkpoint = read_some(Walk(1, page_size=100), server, 333)
    rest, _ = read_some(Walk(1, page_size=30, resume=checkpoint), server, None)
    assert first + rest == [f"row{number}" for number in range(700)]


@pytest.mark.parametrize("gapless", [False, True])
def test_resuming_after_the_end_reads_only_rows_appended_since(gapless: bool) -> None:
    server = Server.of(350)
    _, checkpoint = read_some(Walk(1, page_size=100), server, None)
    before = len(server.requests)
    assert read_some(Walk(1, page_size=100, gapless=gapless, resume=checkpoint), server, None)[0] == []
    assert len(server.requests) - before <= 2
    server.rows.append(Row("later", 9999))
    assert read_some(Walk(1, page_size=100, gapless=gapless, resume=checkpoint), server, None)[0] == ["later"]


def test_a_stopped_loop_that_deletes_each_row_resumes_with_the_next_row() -> None:
    server = Server.of(2000)

    def remove(row: Row) -> None:
        server.delete(server.rows.index(row))

    first, checkpoint = read_some(Walk(1, page_size=100), server, 777, visit=remove)
    before = len(server.requests)
    rest, _ = read_some(Walk(1, page_size=100, resume=checkpoint), server, None, visit=remove)
    assert first + rest == [f"row{number}" for number in range(2000)]
    assert len(server.requests) - before <= 17


def test_rows_inserted_in_front_between_many_runs_repeat_no_row() -> None:
    server, checkpoint, rows = Server.of(3000), None, list[str]()
    for stop in (250, 250, 250, None):
        ids, checkpoint = read_some(Walk(1, page_size=100, resume=checkpoint), server, stop)
        rows += ids
        for _ in range(400):
            server.insert_in_front()
    assert rows == [f"row{number}" for number in range(3000)]


@pytest.mark.parametrize("inserted", [1, 250, 3000])
def test_rows_inserted_in_front_between_two_runs_cost_at_most_two_requests(inserted: int) -> None:
    server = Server.of(2000)
    first, checkpoint = read_some(Walk(1, page_size=100), server, 777)
    for _ in range(inserted):
        server.insert_in_front()
    before = len(server.requests)
    rest, _ = read_some(Walk(1, page_size=100, resume=checkpoint), server, None)
    assert first + rest == [f"row{number}" for number in range(2000)]
    assert len(server.requests) - before <= 13 + 2


def test_if_the_last_rows_are_deleted_the_walk_resumes_at_a_landmark() -> None:
    server = Server.of(20_000)
    first, checkpoint = read_some(Walk(1, page_size=100), server, 10_000)
    for _ in range(400):
        server.delete(9700)
    before = len(server.requests)
    rest, _ = read_some(Walk(1, page_size=100, resume=checkpoint), server, None)
    assert {f"row{number}" for number in range(20_000)} - server.removed <= set(first + rest)
    assert len(set(first) & set(rest)) <= 600
    assert len(server.requests) - before <= 130


def test_rows_deleted_all_over_the_list_do_not_send_a_resume_back_to_the_start() -> None:
    rng, server = random.Random(1), Server.of(20_000)
    first, checkpoint = read_some(Walk(1, page_size=100), server, 10_000)
    for _ in range(4000):
        server.delete(rng.randrange(len(server.rows)))
    rest, _ = read_some(Walk(1, page_size=100, resume=checkpoint), server, None)
    assert {f"row{number}" for number in range(20_000)} - server.removed <= set(first + rest)
    assert len(set(first) & set(rest)) <= 200


def test_canned_pages_are_resumed_after_the_last_row_read() -> None:
    pages = {
        number: PageData([Row(f"{number}-{place}") for place in range(length)], 10**6, number, 100, has_more=number < 4)
        for number, length in enumerate([3, 1, 5, 2], 1)
    }
    server = CannedServer([], pages=pages)
    whole = [row.id for data in pages.values() for row in data.rows]
    for stop in range(len(whole) + 1):
        first, checkpoint = read_some(Walk(1, page_size=100), server, stop)
        assert first + read_some(Walk(1, page_size=100, resume=checkpoint), server, None)[0] == whole


def test_canned_pages_without_a_known_row_are_read_from_the_start() -> None:
    pages = {
        number: PageData([Row(f"{number}-0"), Row(f"{number}-1")], 10**6, number, 100, has_more=number < 4)
        for number in range(1, 5)
    }
    checkpoint = Checkpoint(0, 100, 10**6, (("gone", 201, 0),))
    ids, _ = read_some(Walk(1, page_size=100, resume=checkpoint), CannedServer([], pages=pages), None)
    assert ids == [row.id for data in pages.values() for row in data.rows]


def test_a_hole_one_row_behind_another_hole_is_read() -> None:
    runs, stayed, _ = resumed_walks(340, gapless=True, prefetch=8, holes=0.1)  # a walk with such holes
    assert stayed <= {row for run in runs for row in run}


# ── The token ────────────────────────────────────────────────────────────────────────────────────────────────────────

HOLE = Hole(1, 100, 350, 100, ("a", "b"), ("c",), (PageRequest(2, 100),))
CHECKPOINT = Checkpoint(0, 100, 350, (("a", 7, 0), ("ü", 8, 0), ("\ud800", 3, 1)), (HOLE,))


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(0, 100, 0),
        CHECKPOINT,
        Checkpoint(200, 30, 5, ((7, 0, 0), (UUID(int=7), 1, 0))),  # ids of other types
    ],
)
def test_a_checkpoint_is_restored_from_its_url_safe_token(checkpoint: Checkpoint) -> None:
    token = encode(checkpoint, SCOPE)
    assert decode(token, SCOPE) == checkpoint
    assert token.isascii()
    assert not set(token) & set("+/=")


def tampered(**changes: Any) -> str:
    token = encode(CHECKPOINT, SCOPE)
    content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**content, **changes}).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        *("", "x", "not a token", "ü", "e30", "bnVsbA", "W10"),
        *(encode(CHECKPOINT, SCOPE)[:-7], encode(CHECKPOINT, SCOPE) + "A"),
        *(tampered(version=2), tampered(version="1"), tampered(origin=-1), tampered(total=1.5), tampered(total=True)),
        *(tampered(total=10**30), tampered(largest=0), tampered(largest=101), tampered(ids=["a"]), tampered(ids="abc")),
        *(tampered(ids=[None, 1, 2]), tampered(ids=[["x"], 1, 2]), tampered(places=[[0, 0, 10**9]]), tampered(holes=1)),
        *(tampered(places=[[0, 0, 1.0]]), tampered(holes=[[1]]), tampered(holes=[[1, 1, 1, 1, [], [], []]])),
        *(tampered(list=7), tampered(total=float("nan")), "A" * 2_000_000, b"e30", 7, ["x"]),
    ],
    ids=lambda token: repr(token)[:20],
)
def test_a_value_that_is_not_a_token_is_rejected_and_not_shown(token: object) -> None:
    with pytest.raises(InvalidParameterError, match="resume must be a checkpoint: the string that") as caught:
        decode(token, SCOPE)
    assert caught.value.param == "resume"
    assert len(str(caught.value)) < 200


@given(st.text(max_size=200))
def test_any_other_string_is_rejected_with_the_same_error(token: str) -> None:
    with pytest.raises(InvalidParameterError, match="resume must be a checkpoint: the string that"):
        decode(token, SCOPE)


@given(count=st.integers(0, 3000), step=st.integers(1, 500))
def test_a_token_stays_small_in_a_long_walk(count: int, step: int) -> None:
    rows: tuple[ReadRow, ...] = ()
    for begin in range(0, count, step):
        rows = thin((*rows, *((f"row{index}", index, 0) for index in range(begin, min(count, begin + step)))))
    assert rows[-LAST_ROWS:] == tuple((f"row{index}", index, 0) for index in range(max(0, count - LAST_ROWS), count))
    assert len(rows) <= LAST_ROWS + 12
    distances = [count - row[1] for row in rows[:-LAST_ROWS]]
    assert all(each <= 4.5 * max(LAST_ROWS, nearer) + 2 * step for each, nearer in itertools.pairwise(distances))
