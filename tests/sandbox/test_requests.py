"""`cstar_sandbox.requests`: what arrived."""

import logging
from datetime import datetime, timedelta, timezone

import httpx
import pytest

from cstar.sandbox._request_log import ReceivedRequest, RequestLog, request_json


def test_a_request_is_there_once_it_is_answered(fresh_api, cstar_sandbox):
    answer = fresh_api.post(
        "/customers?x=%20y",
        content=b'{"name": 1}',
        headers={"Idempotency-Key": "k", "Content-Type": "application/json"},
    )
    [received] = cstar_sandbox.requests
    assert (received.method, received.path) == ("POST", f"/api/v1/teams/{cstar_sandbox.team_id}/customers")
    assert (received.query, received.body) == ("x=%20y", b'{"name": 1}')
    assert (received.status, received.request_id) == (400, answer.headers["X-Request-Id"])
    assert received.headers["idempotency-key"] == "k"
    assert received.headers["content-type"] == "application/json"
    assert (received.replayed, received.fault) == (False, None)
    assert timedelta(0) <= datetime.now(timezone.utc) - received.at < timedelta(minutes=1)


def test_requests_are_in_the_order_of_their_answers(fresh_api, cstar_sandbox):
    for number in range(3):
        fresh_api.get("/customers", params={"page": number})
    assert [received.query for received in cstar_sandbox.requests] == ["page=0", "page=1", "page=2"]


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "Basic ", ""])
def test_no_key_is_kept(cstar_sandbox, scheme):
    httpx.get(f"{cstar_sandbox.url}/auth/whoami", headers={"Authorization": scheme + cstar_sandbox.api_key})
    assert cstar_sandbox.api_key not in str(request_json(cstar_sandbox.requests[0]))
    assert cstar_sandbox.requests[0].headers["authorization"] == f"{scheme}***"


def test_no_key_is_kept_in_another_header_either(cstar_sandbox):
    httpx.get(f"{cstar_sandbox.url}/auth/whoami", headers={"X-Api-Key": f"key={cstar_sandbox.api_key}"})
    assert cstar_sandbox.requests[0].headers["x-api-key"] == "key=sk_test_***"


def test_a_body_over_the_limit_is_not_kept(fresh_api, cstar_sandbox):
    fresh_api.post("/customers", content=b"x" * (1024 * 1024 + 1))
    assert (cstar_sandbox.requests[0].status, cstar_sandbox.requests[0].body) == (413, b"")


def test_its_repr_fits_on_a_line_and_shows_no_headers(fresh_api, cstar_sandbox):
    fresh_api.get("/customers")
    assert "headers" not in repr(cstar_sandbox.requests[0])


def test_a_replay_is_marked(fresh_api, cstar_sandbox):
    for _ in range(2):
        fresh_api.post("/customers", json={"name": "J", "email": "j@example.com"}, headers={"Idempotency-Key": "k"})
    assert [received.replayed for received in cstar_sandbox.requests] == [False, True]


def test_a_dropped_request_has_no_status_and_says_which_fault_it_was(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("drop")
    with pytest.raises(httpx.RemoteProtocolError):
        fresh_api.get("/customers")
    assert (
        cstar_sandbox.requests[0].status,
        cstar_sandbox.requests[0].fault,
        cstar_sandbox.requests[0].request_id,
    ) == (None, "drop", None)


def test_unknown_paths_are_listed_as_they_were_sent(fresh_api, cstar_sandbox):
    fresh_api.get("/customers/%2e%2e%2Fx")
    assert cstar_sandbox.requests[0].path.endswith("/customers/%2e%2e%2Fx")


def test_a_snapshot_does_not_change_and_cannot_be_cleared_by_mistake(fresh_api, cstar_sandbox):
    before = cstar_sandbox.requests
    fresh_api.get("/customers")
    assert before == ()
    assert not hasattr(before, "clear")


def request(number, body=b""):
    now = datetime.now(timezone.utc)
    return ReceivedRequest("GET", f"/{number}", "", {}, body, 200, None, False, None, now, 0.0)


def test_the_newest_1000_are_kept():
    log = RequestLog()
    for number in range(1001):
        log.add(request(number))
    assert [log.requests()[each].path for each in (0, -1)] == ["/1", "/1000"]
    assert len(log.requests()) == 1000


def test_after_a_reset_as_much_is_kept_as_before():
    log = RequestLog()
    body = b"x" * 1024 * 1024
    for _ in range(2):
        for number in range(64):
            log.add(request(number, body))
        assert len(log.requests()) == 64
        log.clear()


def test_large_bodies_push_out_older_ones_so_that_memory_stays_bounded():
    log = RequestLog()
    body = b"x" * 1024 * 1024
    for number in range(100):
        log.add(request(number, body))
    assert sum(len(received.body) for received in log.requests()) == 64 * len(body)
    assert log.requests()[-1].path == "/99"


def test_what_is_searched_for_is_logged_at_debug_only(fresh_api, caplog):
    with caplog.at_level(logging.DEBUG, "cstar.sandbox"):
        fresh_api.get("/customers", params={"search": "ada@example.com"})
    levels = [record.levelno for record in caplog.records if "ada" in record.getMessage()]
    assert levels == [logging.DEBUG]


def test_no_key_is_kept_in_a_path_or_query(fresh_api, cstar_sandbox, caplog):
    with caplog.at_level(logging.DEBUG, "cstar.sandbox"):
        fresh_api.get(f"/{cstar_sandbox.api_key}", params={"key": cstar_sandbox.webhook_secret})
    shown = caplog.text + str(request_json(cstar_sandbox.requests[0]))
    assert cstar_sandbox.api_key not in shown
    assert cstar_sandbox.webhook_secret not in shown
