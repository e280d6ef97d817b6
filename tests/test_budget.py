"""The rate-limit budget: reading the headers, concurrent responses, and the wait for the reset."""

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
    """Rate-limit headers of a response sent at `now`, whose window ends `reset` seconds later."""
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


# ── Reading the headers ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("window", "reset", "expected"),
    [
        ("3600", 3600, 3600),
        ("3600", 3601, 3600),
        ("3600", 10**9, 3600),
        (None, 86_400, 86_400),
        (None, 10**9, 86_400),
        ("0", 10**9, 86_400),
        ("nan", 10**9, 86_400),
        ("3600", -50, -50),
    ],
)
def test_a_reset_is_at_most_one_window_or_a_day_ahead(window: str | None, reset: float, expected: float) -> None:
    limit = rate_limit(headers(0, reset=reset, window=window))
    assert limit is not None
    assert limit.reset_at == NOW + timedelta(seconds=expected)


@pytest.mark.parametrize("reset", [str(int(NOW.timestamp() + 40) * 1000), "40"])
def test_a_reset_may_be_in_milliseconds_or_in_seconds_from_now(reset: str) -> None:
    values = headers(0)
    values["X-RateLimit-Reset"] = reset
    limit = rate_limit(values)
    assert limit is not None
    assert limit.reset_at == NOW + timedelta(seconds=40)


@pytest.mark.parametrize("window", ["1h", "60, 60", ""])
def test_an_invalid_window_is_ignored(window: str) -> None:
    limit = rate_limit(headers(0, reset=40, window=window))
    assert limit is not None
    assert (limit.window, limit.reset_at) == (None, NOW + timedelta(seconds=40))


def test_without_a_date_header_the_local_clock_is_used() -> None:
    limit = rate_limit(headers(0, reset=10**9, now=None))
    assert limit is not None
    assert abs((limit.reset_at - datetime.now(timezone.utc)).total_seconds() - 3600) < 5


# ── Concurrent responses ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_response_to_the_latest_request_is_used(budget: Budget, clock: Clock) -> None:
    """The earlier response may have a lower remaining count, a later reset, or another limit."""
    for earlier in (headers(0), headers(5, reset=3599), headers(900, limit=2000)):
        budget.record(earlier, sent=clock.now)
        clock.now += 1
        budget.record(headers(500, reset=60), sent=clock.now)
        assert remaining(budget) == 500
        clock.now += 1


@pytest.mark.parametrize("order", [(5, 7), (7, 5)])
def test_the_lowest_remaining_of_concurrent_responses_is_used(
    budget: Budget, clock: Clock, order: tuple[int, int]
) -> None:
    sent = clock.now
    for count in order:
        clock.now += 1
        budget.record(headers(count), sent=sent)
    assert remaining(budget) == 5


@pytest.mark.parametrize("order", [(0, 999), (999, 0)])
def test_the_later_window_of_concurrent_responses_is_used(budget: Budget, clock: Clock, order: tuple[int, int]) -> None:
    sent = clock.now
    for count in order:
        clock.now += 1
        budget.record(headers(count, reset=3600 if count else 1), sent=sent)
    assert remaining(budget) == 999


@pytest.mark.parametrize("invalid", [{"Remaining": "many"}, {"Reset": "nan"}, {"Reset": "1e999"}, {"Reset": ""}])
def test_invalid_headers_are_ignored(budget: Budget, clock: Clock, invalid: dict[str, str]) -> None:
    budget.record(headers(5), sent=clock.now)
    clock.now += 1
    fields = {"Limit": "1000", "Remaining": "4", "Reset": "1774864800", **invalid}
    budget.record(httpx.Headers({f"X-RateLimit-{name}": value for name, value in fields.items()}), sent=clock.now)
    assert remaining(budget) == 5


# ── Waiting for the reset ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("skew", [-7200, 0, 7200])
def test_the_wait_is_measured_by_the_servers_clock(budget: Budget, clock: Clock, skew: int) -> None:
    budget.record(headers(0, reset=40, now=datetime.now(timezone.utc) + timedelta(seconds=skew)), sent=clock.now)
    assert budget.seconds_until_reset(60) == pytest.approx(40, abs=1)


def test_the_wait_decreases_with_the_monotonic_clock(budget: Budget, clock: Clock) -> None:
    budget.record(headers(0, reset=40), sent=clock.now)
    clock.now += 15
    assert budget.seconds_until_reset(60) == pytest.approx(25)
    clock.now += 25
    assert budget.seconds_until_reset(60) == 0


@pytest.mark.parametrize(("count", "reset", "wait"), [(0, 61, 0), (0, 60, 60), (1, 30, 0), (0, -1, 0)])
def test_only_an_exhausted_budget_that_resets_in_time_is_waited_for(
    budget: Budget, clock: Clock, count: int, reset: float, wait: float
) -> None:
    budget.record(headers(count, reset=reset), sent=clock.now)
    assert budget.seconds_until_reset(60) == pytest.approx(wait)


def test_before_the_first_response_there_is_no_wait(budget: Budget) -> None:
    assert budget.rate_limit is None
    assert budget.seconds_until_reset(60) == 0


def test_prefetched_pages_are_reserved_up_to_the_remaining_requests(budget: Budget, clock: Clock) -> None:
    budget.record(headers(2), sent=clock.now)
    assert [budget.reserve_page(needed=False) for _ in range(3)] == [True, True, False]
    assert budget.reserve_page(needed=True)
    for _ in range(2):
        budget.release_page()
    assert budget.reserve_page(needed=False)


def test_pages_can_be_reserved_again_after_the_reset(budget: Budget, clock: Clock) -> None:
    budget.record(headers(0, reset=40), sent=clock.now)
    assert not budget.reserve_page(needed=False)
    clock.now += 41
    assert budget.reserve_page(needed=False)
