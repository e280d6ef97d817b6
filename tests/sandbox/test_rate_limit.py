"""The rate limit of each key, with a fake clock."""

import math
from types import SimpleNamespace

import httpx
import pytest

from cstar.sandbox import Sandbox
from support import team_client

SECOND = 1_000_000  # in microseconds
START = 1_800_000_000 * SECOND


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(at=START)
    monkeypatch.setattr("cstar.sandbox._clock.now", lambda: clock.at)
    return clock


@pytest.fixture
def box(clock):
    with Sandbox(rate_limit=(3, 60)) as box:
        yield box


def get(box, key=None, path="/auth/whoami"):
    return httpx.get(f"{box.url}{path}", headers={"Authorization": f"Bearer {key or box.api_key}"})


def test_requests_above_the_limit_are_rejected_until_the_window_ends(box, clock):
    assert [get(box).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    clock.at += 60 * SECOND - 1
    assert get(box).status_code == 429
    clock.at += 1
    assert [get(box).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_the_headers_have_the_limit_remaining_reset_and_window(box, clock):
    def rate_limit():
        headers = get(box).headers
        return [int(headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset", "Window")]

    end = START // SECOND + 60
    assert rate_limit() == [3, 2, end, 60]
    clock.at += 10 * SECOND
    assert [rate_limit()[1] for _ in range(3)] == [1, 0, 0]
    assert rate_limit() == [3, 0, end, 60]


def test_the_error_says_when_to_retry(box, clock):
    for _ in range(3):
        get(box)
    clock.at += 30 * SECOND + 1
    response = get(box)
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert response.headers["Retry-After"] == "30"
    assert "retry in 30 seconds" in error["message"]


def test_each_key_has_its_own_rate_limit(box):
    assert [get(box).status_code for _ in range(4)][-1] == 429
    assert get(box, box.publishable_key).status_code == 200


def test_requests_with_an_unknown_key_are_not_counted(box):
    unknown = "sk_test_" + "x" * 32
    assert {get(box, unknown).status_code for _ in range(5)} == {401}
    assert get(box).headers["X-RateLimit-Remaining"] == "2"


def test_a_rejected_write_does_not_use_up_its_idempotency_key(box, clock):
    request = {"json": {"name": "Jane", "email": "jane@example.com"}, "headers": {"Idempotency-Key": "k"}}
    for _ in range(3):
        get(box)
    with team_client(box) as api:
        assert api.post("/customers", **request).status_code == 429
        clock.at += 60 * SECOND
        response = api.post("/customers", **request)
    assert response.status_code == 201
    assert "Idempotent-Replayed" not in response.headers


def test_errors_count_against_the_rate_limit(box):
    assert get(box, path="/nowhere").headers["X-RateLimit-Remaining"] == "2"


def test_replays_count_against_the_rate_limit(box):
    with team_client(box) as api:
        responses = [api.delete("/customers/cus_1", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [response.headers["X-RateLimit-Remaining"] for response in responses] == ["2", "1"]


def test_a_reset_starts_a_new_window(box):
    for _ in range(4):
        get(box)
    box.reset()
    assert get(box).headers["X-RateLimit-Remaining"] == "2"


def test_fractions_of_a_second_are_rounded_up_in_headers(clock):
    with Sandbox(rate_limit=(1, 0.5)) as box:
        assert get(box).headers["X-RateLimit-Window"] == "1"
        assert get(box).headers["Retry-After"] == "1"
        clock.at += SECOND // 2
        assert get(box).status_code == 200


@pytest.mark.parametrize(
    "rate_limit",
    [(0, 60), (1, 0), (-1, 60), (1, -1), (1,), (1, 2, 3), 5, ("5", "6"), (1.5, 6), (True, 6), (1, math.inf), (1, 1e-7)],
)
def test_an_invalid_rate_limit_is_rejected(rate_limit):
    with pytest.raises(ValueError, match="rate_limit must be a whole number of requests and a number of seconds"):
        Sandbox(rate_limit=rate_limit)


def test_a_clock_that_is_set_back_starts_a_new_window(box, clock):
    for _ in range(4):
        get(box)
    clock.at -= 3600 * SECOND
    response = get(box)
    assert response.status_code == 200
    assert int(response.headers["X-RateLimit-Reset"]) == clock.at // SECOND + 60
