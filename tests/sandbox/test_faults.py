"""Faults: the requests that they apply to, and the responses that a client gets."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from cstar.sandbox import Faults, Sandbox
from cstar.sandbox._faults import read_fault

JANE = {"name": "Jane", "email": "jane@example.com"}


def total(api):
    response = api.get("/customers")
    assert response.status_code == 200
    return response.json()["pagination"]["total"]


def statuses(api, count):
    return [api.get("/customers").status_code for _ in range(count)]


def create(api, key=None):
    """Create a customer; return the response, or the transport error."""
    try:
        return api.post("/customers", json=JANE, headers={"Idempotency-Key": key} if key else None)
    except httpx.TransportError as error:
        return error


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# Matching requests


def test_faults_apply_to_the_next_requests_in_the_order_in_which_they_were_added(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=500)
    cstar_sandbox.faults.add("status", status=429, times=2)
    assert statuses(empty_api, 4) == [500, 429, 429, 200]


def test_a_fault_can_be_limited_to_a_method_ignoring_case(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=503, method="post")
    assert empty_api.get("/customers").status_code == 200
    assert empty_api.post("/customers", json=JANE).status_code == 503


def test_a_fault_can_be_limited_to_a_path(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=503, path="*/customers/*")
    assert empty_api.get("/customers").status_code == 200
    assert empty_api.get("/customers/cus_1").status_code == 503


@pytest.mark.parametrize("path", ["/auth/whoami", "/api/v1/auth/whoami", "*/whoami", "/auth/w?oami"])
def test_a_path_matches_with_or_without_the_base_path(path):
    faults = Faults()
    faults.add("drop", path=path)
    assert faults.decide("GET", "/api/v1/auth/whoami").fault is not None


def test_brackets_in_a_path_have_no_special_meaning():
    faults = Faults()
    faults.add("drop", path="*/[ab]")
    assert faults.decide("GET", "/a").fault is None
    assert faults.decide("GET", "/[ab]").fault is not None


def test_a_fault_also_applies_to_requests_without_a_key(cstar_sandbox):
    cstar_sandbox.faults.add("status", status=503)
    assert httpx.get(f"{cstar_sandbox.url}/nowhere").status_code == 503
    assert httpx.get(f"{cstar_sandbox.url}/nowhere").status_code == 401


def test_removed_and_cleared_faults_no_longer_apply(empty_api, cstar_sandbox):
    first, second, third = (cstar_sandbox.faults.add("status", status=status) for status in (500, 503, 504))
    assert list(cstar_sandbox.faults) == [first, second, third]
    cstar_sandbox.faults.remove(first)
    assert statuses(empty_api, 1) == [503]
    cstar_sandbox.faults.clear()
    assert list(cstar_sandbox.faults) == []
    assert statuses(empty_api, 1) == [200]


def test_faults_can_be_added_before_the_start_and_survive_a_stop():
    box = Sandbox()
    box.faults.add("status", status=503, times=2)
    for _ in range(2):
        with box:
            assert httpx.get(f"{box.url}/auth/whoami").status_code == 503
    assert not list(box.faults)


def applied(faults, count):
    return [faults.decide("GET", "/").fault is not None for _ in range(count)]


def test_without_times_a_fault_with_a_probability_has_no_limit():
    faults = Faults()
    faults.add("drop", probability=1)
    assert applied(faults, 100) == [True] * 100


def test_the_same_seed_chooses_the_same_requests():
    chosen = []
    for seed in (1, 1, 2):
        faults = Faults()
        faults.add("drop", probability=0.25, seed=seed)
        chosen.append(applied(faults, 1000))
    assert chosen[0] == chosen[1] != chosen[2]
    assert 200 < sum(chosen[0]) < 300


def test_times_limits_a_fault_with_a_probability():
    faults = Faults()
    faults.add("drop", probability=0.5, seed=1, times=3)
    assert sum(applied(faults, 100)) == 3
    assert not list(faults)


def test_flaky_chooses_among_failures_after_which_a_client_should_retry():
    def sequence():
        faults = Faults()
        faults.add("flaky", probability=1, seed=3)
        return [faults.decide("GET", "/").fault for _ in range(200)]

    assert {(fault.kind, fault.status, fault.acts) for fault in sequence()} == {
        ("status", 500, False),
        ("status", 503, False),
        ("html", 502, False),
        ("html", 504, True),
        ("drop", None, False),
        ("drop", None, True),
        ("cut", None, True),
    }
    assert sequence() == sequence()


def test_times_limits_a_fault_across_threads():
    faults = Faults()
    faults.add("drop", times=500)
    with ThreadPoolExecutor(8) as threads:
        assert sum(map(sum, threads.map(lambda _: applied(faults, 100), range(8)))) == 500


# Effects


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", "parameter_invalid"),
        (401, "authentication_error", "invalid_api_key"),
        (403, "authentication_error", "insufficient_permissions"),
        (404, "not_found_error", "resource_missing"),
        (409, "invalid_request_error", "resource_already_exists"),
        (418, "invalid_request_error", "parameter_invalid"),
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (500, "api_error", "internal_error"),
        (503, "api_error", "service_unavailable"),
        (599, "api_error", "internal_error"),
    ],
)
def test_an_error_status_has_the_envelope_of_the_api(empty_api, cstar_sandbox, status, kind, code):
    cstar_sandbox.faults.add("status", status=status)
    response = empty_api.get("/customers")
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == (status, kind, code)
    assert str(status) in error["message"]
    assert error["request_id"] == response.headers["X-Request-Id"]
    assert {"cstar-version", "x-ratelimit-limit", "x-ratelimit-remaining"} <= set(response.headers)


@pytest.mark.parametrize("status", [200, 204, 302])
def test_a_status_below_400_has_no_body(empty_api, cstar_sandbox, status):
    cstar_sandbox.faults.add("status", status=status, retry_after=7)
    response = empty_api.get("/customers")
    assert (response.status_code, response.content, response.headers["Retry-After"]) == (status, b"", "7")


@pytest.mark.parametrize("retry_after", [0, 30, "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
@pytest.mark.parametrize("kind", ["status", "html"])
def test_retry_after_is_a_header_of_the_response(empty_api, cstar_sandbox, kind, retry_after):
    cstar_sandbox.faults.add(kind, status=429, retry_after=retry_after)
    response = empty_api.get("/customers")
    assert (response.status_code, response.headers["Retry-After"]) == (429, str(retry_after))


@pytest.mark.parametrize("kind", ["status", "html", "drop", "garbage"])
def test_a_fault_before_the_request_prevents_the_write(empty_api, cstar_sandbox, kind):
    cstar_sandbox.faults.add(kind, status=503 if kind == "status" else None, when="before")
    create(empty_api)
    assert total(empty_api) == 0


@pytest.mark.parametrize("kind", ["status", "html", "drop", "garbage"])
def test_a_fault_after_the_request_loses_only_the_response(empty_api, cstar_sandbox, kind):
    cstar_sandbox.faults.add(kind, status=503 if kind == "status" else None, when="after")
    create(empty_api, key="k")
    again = create(empty_api, key="k")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert total(empty_api) == 1


def test_an_error_after_the_request_has_the_headers_of_the_response(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=500, when="after")
    response = empty_api.get("/customers")
    assert response.headers["X-Request-Id"] == response.json()["error"]["request_id"]
    assert "X-RateLimit-Remaining" in response.headers


def test_the_response_of_a_fault_is_not_replayed(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=500)
    assert create(empty_api, key="k").status_code == 500
    again = create(empty_api, key="k")
    assert again.status_code == 201
    assert "Idempotent-Replayed" not in again.headers


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_dropped_connection_has_no_response(empty_api, cstar_sandbox, when):
    cstar_sandbox.faults.add("drop", when=when)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        empty_api.get("/customers")


def test_a_drop_closes_no_other_connection(empty_api, cstar_sandbox):
    with httpx.Client(base_url=empty_api.base_url, headers=empty_api.headers) as other:
        stream = other.get("/customers").extensions["network_stream"]
        cstar_sandbox.faults.add("drop")
        assert isinstance(create(empty_api), httpx.RemoteProtocolError)
        assert other.get("/customers").extensions["network_stream"] is stream


def test_half_of_the_body_of_a_cut_response_arrives_even_if_it_exceeds_the_buffers(empty_api, cstar_sandbox):
    for number in range(8):
        body = {**JANE, "email": f"jane{number}@example.com", "notes": "x" * 900_000}
        assert empty_api.post("/customers", json=body).status_code == 201
    length = len(empty_api.get("/customers").content)
    cstar_sandbox.faults.add("cut")
    with empty_api.stream("GET", "/customers") as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match=f"received {length // 2} bytes, expected {length}"):
            response.read()


def test_a_response_is_cut_after_the_request_was_handled(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("cut")
    assert isinstance(create(empty_api), httpx.RemoteProtocolError)
    assert total(empty_api) == 1


def test_garbage_has_the_media_type_of_json_and_is_not_json(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("garbage")
    response = create(empty_api)
    assert (response.status_code, response.headers["Content-Type"]) == (201, "application/json")
    with pytest.raises(ValueError, match="codec can't decode"):
        json.loads(response.content)
    assert total(empty_api) == 1


@pytest.mark.parametrize(("given", "received"), [(None, 502), (504, 504), (200, 200)])
def test_an_error_page_is_html_without_headers_of_the_api(empty_api, cstar_sandbox, given, received):
    cstar_sandbox.faults.add("html", status=given)
    response = empty_api.get("/customers")
    assert (response.status_code, response.headers["Content-Type"]) == (received, "text/html")
    assert response.text.startswith("<html>")
    assert "X-Request-Id" not in response.headers


def test_a_latency_delays_a_response(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("latency", seconds=0.05)
    assert statuses(empty_api, 1) == [200]
    [received] = cstar_sandbox.requests
    assert received.fault == "latency"
    assert received.duration >= 0.05


def test_latencies_add_up_and_apply_before_another_fault():
    faults = Faults()
    drop = faults.add("drop")
    faults.add("latency", seconds=2)
    faults.add("latency", seconds=3)
    assert faults.decide("GET", "/") == (drop, 5)
    assert faults.decide("GET", "/") == (None, 0)


def test_a_latency_does_not_delay_other_requests(empty_api, cstar_sandbox):
    cstar_sandbox.faults.add("latency", seconds=3600, method="POST")
    timeout = httpx.Timeout(10, read=0.2)
    with ThreadPoolExecutor() as threads, httpx.Client(base_url=empty_api.base_url, timeout=timeout) as other:
        delayed = threads.submit(create, other)
        wait_until(lambda: not list(cstar_sandbox.faults))
        assert statuses(empty_api, 1) == [200]
        assert isinstance(delayed.result(), httpx.ReadTimeout)


def test_a_reset_drops_delayed_requests(empty_api, cstar_sandbox):
    """A delayed request of one test must not affect the next test."""
    cstar_sandbox.faults.add("latency", seconds=0.5, method="POST")
    with ThreadPoolExecutor() as threads:
        delayed = threads.submit(create, empty_api)
        wait_until(lambda: not list(cstar_sandbox.faults))
        cstar_sandbox.reset()
        assert isinstance(delayed.result(), httpx.RemoteProtocolError)
    assert total(empty_api) == 0
    assert [request.method for request in cstar_sandbox.requests] == ["GET"]


# Invalid faults


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "explode"}, "kind must be 'latency', 'status', 'drop', .* or 'flaky', not 'explode'"),
        ({"kind": ["drop"]}, "kind must be .*, not \\['drop'\\]"),
        ({"kind": "status"}, "needs a status, such as 503"),
        ({"kind": "latency"}, "needs seconds, such as 0.5"),
        ({"kind": "status", "status": 199}, "status must be greater than or equal to 200, not 199"),
        ({"kind": "status", "status": 600}, "status must be less than or equal to 599, not 600"),
        ({"kind": "status", "status": "503"}, "status must be a valid integer, not '503'"),
        ({"kind": "html", "retry_after": -3}, "retry_after must be greater than or equal to 0, not -3"),
        ({"kind": "html", "retry_after": "ü"}, "retry_after must be a number of seconds, or printable ASCII text"),
        ({"kind": "drop", "status": 503}, "status has no meaning for the kind 'drop', only for status, html"),
        ({"kind": "drop", "seconds": 1}, "seconds has no meaning .* only for latency"),
        ({"kind": "cut", "when": "before"}, "when has no meaning .*"),
        ({"kind": "drop", "when": "later"}, "when must be 'before' or 'after', not 'later'"),
        ({"kind": "latency", "seconds": -1}, "seconds must be .*, not -1"),
        ({"kind": "latency", "seconds": float("nan")}, "seconds must be .*, not nan"),
        ({"kind": "latency", "seconds": 3601}, "seconds must be less than or equal to 3600, not 3601"),
        ({"kind": "drop", "times": 0}, "times must be greater than or equal to 1, not 0"),
        ({"kind": "drop", "probability": 0}, "probability must be greater than 0, not 0"),
        ({"kind": "drop", "probability": 1.1}, "probability must be less than or equal to 1, not 1.1"),
        ({"kind": "drop", "seed": "x"}, "seed must be a valid integer, not 'x'"),
        ({"kind": "drop", "method": "PSOT"}, "method must be 'GET', 'POST', .*, not 'PSOT'"),
        ({"kind": "drop", "path": "customers"}, "path must .*, not 'customers'"),
        ({"kind": "drop", "path": "/\ud800"}, "path must .*"),
        ({"kind": "html", "status": 204}, "The kind 'html' has a body"),
    ],
)
def test_an_invalid_fault_is_rejected_in_one_line(given, message):
    faults = Faults()
    for read in (dict, read_fault):
        with pytest.raises(ValueError, match=f"^.*{message}.*$") as caught:
            faults.add(**read(given))
        assert "\n" not in str(caught.value)
    assert not list(faults)


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", " 5", "5 ", 1.5, True])
def test_a_retry_after_that_no_header_can_hold_is_rejected(value):
    with pytest.raises(ValueError, match="retry_after must "):
        Faults().add("status", status=429, retry_after=value)


def test_an_unknown_name_in_json_is_rejected_with_the_known_names():
    with pytest.raises(ValueError, match=r"'retries' is not a field of a fault; allowed are kind, .* retryAfter"):
        read_fault({"kind": "drop", "retries": 3})
