"""The request log, `Sandbox.requests`."""

import logging
from datetime import datetime, timedelta, timezone

import httpx
import pytest

from cstar.sandbox._request_log import ReceivedRequest, RequestLog, request_json


def test_a_request_is_logged_before_its_response_is_sent(empty_api, cstar_sandbox):
    response = empty_api.post(
        "/customers?x=%20y",
        content=b'{"name": 1}',
        headers={"Idempotency-Key": "k", "Content-Type": "application/json"},
    )
    [received] = cstar_sandbox.requests
    assert (received.method, received.path) == ("POST", f"/api/v1/teams/{cstar_sandbox.team_id}/customers")
    assert (received.query, received.body) == ("x=%20y", b'{"name": 1}')
    assert (received.status, received.request_id) == (400, response.headers["X-Request-Id"])
    assert received.headers["idempotency-key"] == "k"
    assert received.headers["content-type"] == "application/json"
    assert (received.replayed, received.fault) == (False, None)
    assert timedelta(0) <= datetime.now(timezone.utc) - received.at < timedelta(minutes=1)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "Basic ", ""])
def test_the_authorization_header_is_redacted(cstar_sandbox, scheme):
    httpx.get(f"{cstar_sandbox.url}/auth/whoami", headers={"Authorization": scheme + cstar_sandbox.api_key})
    assert cstar_sandbox.api_key not in str(request_json(cstar_sandbox.requests[0]))
    assert cstar_sandbox.requests[0].headers["authorization"] == f"{scheme}***"


def test_keys_in_other_headers_are_redacted(cstar_sandbox):
    httpx.get(f"{cstar_sandbox.url}/auth/whoami", headers={"X-Api-Key": f"key={cstar_sandbox.api_key}"})
    assert cstar_sandbox.requests[0].headers["x-api-key"] == "key=sk_test_***"


def test_a_body_above_the_limit_is_not_logged(empty_api, cstar_sandbox):
    empty_api.post("/customers", content=b"x" * (1024 * 1024 + 1))
    assert (cstar_sandbox.requests[0].status, cstar_sandbox.requests[0].body) == (413, b"")


def test_the_repr_of_a_request_has_no_headers(empty_api, cstar_sandbox):
    empty_api.get("/customers")
    assert "headers" not in repr(cstar_sandbox.requests[0])


def test_a_replay_is_marked(empty_api, cstar_sandbox):
    for _ in range(2):
        empty_api.post("/customers", json={"name": "J", "email": "j@example.com"}, headers={"Idempotency-Key": "k"})
    assert [received.replayed for received in cstar_sandbox.requests] == [False, True]


def test_a_dropped_request_has_no_status_and_its_fault(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("drop")
    with pytest.raises(httpx.RemoteProtocolError):
        empty_api.get("/customers")
    [received] = cstar_sandbox.requests
    assert (received.status, received.fault, received.request_id) == (None, "drop", None)


def test_a_path_is_logged_as_sent(empty_api, cstar_sandbox):
    empty_api.get("/customers/%2e%2e%2Fx")
    assert cstar_sandbox.requests[0].path.endswith("/customers/%2e%2e%2Fx")


def request(number, body=b""):
    now = datetime.now(timezone.utc)
    return ReceivedRequest("GET", f"/{number}", "", {}, body, 200, None, False, None, now, 0.0)


def test_the_log_keeps_the_newest_1000_requests_oldest_first():
    log = RequestLog()
    for number in range(1001):
        log.add(request(number))
    assert [log.requests()[each].path for each in (0, -1)] == ["/1", "/1000"]
    assert len(log.requests()) == 1000


def test_a_reset_frees_the_memory_of_the_log():
    log = RequestLog()
    body = b"x" * 1024 * 1024
    for _ in range(2):
        for number in range(64):
            log.add(request(number, body))
        assert len(log.requests()) == 64
        log.clear()


def test_the_log_keeps_at_most_64_mib_of_bodies():
    log = RequestLog()
    body = b"x" * 1024 * 1024
    for number in range(100):
        log.add(request(number, body))
    assert sum(len(received.body) for received in log.requests()) == 64 * len(body)
    assert log.requests()[-1].path == "/99"


def test_the_query_is_logged_only_at_debug(empty_api, caplog):
    with caplog.at_level(logging.DEBUG, "cstar.sandbox"):
        empty_api.get("/customers", params={"search": "ada@example.com"})
    levels = [record.levelno for record in caplog.records if "ada" in record.getMessage()]
    assert levels == [logging.DEBUG]


def test_keys_in_a_path_or_query_are_redacted(empty_api, cstar_sandbox, caplog):
    with caplog.at_level(logging.DEBUG, "cstar.sandbox"):
        empty_api.get(f"/{cstar_sandbox.api_key}", params={"key": cstar_sandbox.webhook_secret})
    shown = caplog.text + str(request_json(cstar_sandbox.requests[0]))
    assert cstar_sandbox.api_key not in shown
    assert cstar_sandbox.webhook_secret not in shown
