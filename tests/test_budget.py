"""The rate limit of the key: what the headers say, how far they are believed, and when the next request may go."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import httpx
import pytest

from cstar._budget import Budget, rate_limit

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


@dataclass
class Clock:
    """A monotonic clock."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> Budget:
    return Budget(clock)


def headers(
    remaining: int, *, reset: float = 3600, limit: int = 1000, window: str | None = "3600", now: datetime | None = NOW
) -> httpx.Headers:
    """The headers of a response of a certain time, whose window ends in some seconds."""
    values = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining)}
    values["X-RateLimit-Reset"] = str(int((now or datetime.now(timezone.utc)).timestamp() + reset))
    if window is not None:
        values["X-RateLimit-Window"] = window
    if now is not None:
        values["Date"] = email.utils.format_datetime(now, usegmt=True)
    return httpx.Headers(values)


def remaining(budget: Budget) -> int:
    assert budget.rate_limit is not None
    return budget.rate_limit.remaining


# ── What is believed ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("window", "reset", "believed"),
    [
        ("3600", 3600, 3600),
        ("3600", 3601, 3600),
        ("3600", 10**9, 3600),
        (None, 86_400, 86_400),
        (None, 10**9, 86_400),
        ("0", 10**9, 86_400),
        ("-5", 10**9, 86_400),
        ("nan", 10**9, 86_400),
        ("3600", -50, -50),
    ],
)
def test_a_reset_is_at_most_one_window_or_a_day_ahead(window: str | None, reset: float, believed: float) -> None:
    limit = rate_limit(headers(0, reset=reset, window=window))
    assert limit is not None
    assert limit.reset_at == NOW + timedelta(seconds=believed)


def test_a_reset_in_milliseconds_is_read() -> None:
    values = headers(0, reset=40)
    values["X-RateLimit-Reset"] += "000"
    limit = rate_limit(values)
    assert limit is not None
    assert limit.reset_at == NOW + timedelta(seconds=40)


def test_a_reset_in_seconds_from_now_is_read() -> None:
    values = headers(0)
    values["X-RateLimit-Reset"] = "40"
    limit = rate_limit(values)
    assert limit is not None
    assert limit.reset_at == NOW + timedelta(seconds=40)


@pytest.mark.parametrize("window", ["1h", "60, 60", ""])
def test_a_window_that_makes_no_sense_does_not_hide_the_rest(window: str) -> None:
    limit = rate_limit(headers(0, reset=40, window=window))
    assert limit is not None
    assert (limit.window, limit.reset_at) == (None, NOW + timedelta(seconds=40))


def test_a_response_without_a_date_is_of_now() -> None:
    limit = rate_limit(headers(0, reset=10**9, now=None))
    assert limit is not None
    assert abs((limit.reset_at - datetime.now(timezone.utc)).total_seconds() - 3600) < 5


# ── Which response counts ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_response_to_a_later_request_wins(budget: Budget, clock: Clock) -> None:
    """Whatever the earlier one said: fewer left, a later reset, another limit."""
    for earlier in (headers(0), headers(5, reset=3599), headers(900, limit=2000)):
        budget.record(earlier, sent=clock.now)
        clock.now += 1
        budget.record(headers(500, reset=60), sent=clock.now)
        assert remaining(budget) == 500
        clock.now += 1


@pytest.mark.parametrize("order", [(5, 7), (7, 5)])
def test_of_requests_at_the_same_time_the_fewest_remaining_count(
    budget: Budget, clock: Clock, order: tuple[int, int]
) -> None:
    sent = clock.now
    for left in order:
        clock.now += 1
        budget.record(headers(left), sent=sent)
    assert remaining(budget) == 5


@pytest.mark.parametrize("order", [(0, 999), (999, 0)])
def test_of_requests_at_the_same_time_the_later_window_counts(
    budget: Budget, clock: Clock, order: tuple[int, int]
) -> None:
    sent = clock.now
    for left in order:
        clock.now += 1
        budget.record(headers(left, reset=3600 if left else 1), sent=sent)
    assert remaining(budget) == 999


def test_headers_that_make_no_sense_change_nothing(budget: Budget, clock: Clock) -> None:
    budget.record(headers(5), sent=clock.now)
    clock.now += 1
    budget.record(httpx.Headers({"X-RateLimit-Remaining": "many"}), sent=clock.now)
    assert remaining(budget) == 5


# ── Waits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("skew", [-7200, 0, 7200])
def test_the_seconds_until_the_reset_are_those_of_the_servers_clock(budget: Budget, clock: Clock, skew: int) -> None:
    budget.record(headers(0, reset=40, now=datetime.now(timezone.utc) + timedelta(seconds=skew)), sent=clock.now)
    assert budget.seconds_until_reset(60) == pytest.approx(40, abs=1)


def test_the_wait_shrinks_with_the_monotonic_clock(budget: Budget, clock: Clock) -> None:
    budget.record(headers(0, reset=40), sent=clock.now)
    clock.now += 15
    assert budget.seconds_until_reset(60) == pytest.approx(25)
    clock.now += 25
    assert budget.seconds_until_reset(60) == 0


def test_a_wait_is_counted_from_the_response_though_it_is_looked_at_later(budget: Budget, clock: Clock) -> None:
    budget.record(headers(0, reset=40, now=None), sent=clock.now)
    clock.now += 15
    # This machine's clock has not moved: only the monotonic one has.
    assert budget.seconds_until_reset(60) == pytest.approx(25, abs=1)


@pytest.mark.parametrize(("left", "reset", "wait"), [(0, 61, 0), (0, 60, 60), (1, 30, 0), (0, -1, 0)])
def test_only_a_used_up_budget_that_is_back_soon_is_waited_for(
    budget: Budget, clock: Clock, left: int, reset: float, wait: float
) -> None:
    budget.record(headers(left, reset=reset), sent=clock.now)
    assert budget.seconds_until_reset(60) == pytest.approx(wait)


def test_nothing_is_waited_for_before_the_first_response(budget: Budget) -> None:
    assert budget.rate_limit is None
    assert budget.seconds_until_reset(60) == 0


def test_no_more_pages_are_reserved_than_are_left(budget: Budget, clock: Clock) -> None:
    budget.record(headers(2), sent=clock.now)
    assert [budget.reserve_page(needed=False) for _ in range(3)] == [True, True, False]
    assert budget.reserve_page(needed=True)
    for _ in range(2):
        budget.release_page()
    assert budget.reserve_page(needed=False)


def test_after_the_reset_pages_are_reserved_again(budget: Budget, clock: Clock) -> None:
    budget.record(headers(0, reset=40), sent=clock.now)
    assert not budget.reserve_page(needed=False)
    clock.now += 41
    assert budget.reserve_page(needed=False)
