"""Misbehaving on request, as a client sees it on the wire."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import httpx
import pytest

from cstar.sandbox import Fault, Faults, Sandbox
from cstar.sandbox._faults import read_fault

JANE = {"name": "Jane", "email": "jane@example.com"}
ERRORS = [400, 401, 403, 404, 405, 409, 413, 422, 418, 429, 500, 502, 503, 599]


def total(fresh_api):
    answer = fresh_api.get("/customers")
    assert answer.status_code == 200
    return answer.json()["pagination"]["total"]


def statuses(fresh_api, count):
    return [fresh_api.get("/customers").status_code for _ in range(count)]


def test_a_fault_strikes_the_next_request_once(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=503)
    assert statuses(fresh_api, 3) == [503, 200, 200]


def test_a_fault_strikes_as_often_as_it_is_told_to(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=503, times=2)
    assert statuses(fresh_api, 4) == [503, 503, 200, 200]


def test_faults_strike_in_the_order_in_which_they_were_added_one_for_each_request(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=500)
    cstar_sandbox.faults.add("status", status=429, times=2)
    assert statuses(fresh_api, 4) == [500, 429, 429, 200]


def test_only_requests_with_the_method_are_struck(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=503, method="post")
    assert fresh_api.get("/customers").status_code == 200
    assert fresh_api.post("/customers", json=JANE).status_code == 503


def test_only_requests_to_the_path_are_struck(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=503, path="*/customers/*")
    assert fresh_api.get("/customers").status_code == 200
    assert fresh_api.get("/customers/cus_1").status_code == 503


@pytest.mark.parametrize("status", ERRORS)
def test_an_injected_error_is_in_the_envelope_with_every_header(fresh_api, cstar_sandbox, status):
    cstar_sandbox.faults.add("status", status=status)
    answer = fresh_api.get("/customers")
    error = answer.json()["error"]
    assert answer.status_code == status
    assert error["message"].startswith(f"The sandbox was told to answer with {status}")
    assert error["request_id"] == answer.headers["X-Request-Id"]
    assert error["doc_url"].endswith(f"#{error['code']}")
    for header in ("CStar-Version", "X-RateLimit-Limit", "X-RateLimit-Remaining"):
        assert header in answer.headers


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", "parameter_invalid"),
        (401, "authentication_error", "invalid_api_key"),
        (403, "authentication_error", "insufficient_permissions"),
        (404, "not_found_error", "resource_missing"),
        (409, "invalid_request_error", "resource_already_exists"),
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (500, "api_error", "internal_error"),
        (503, "api_error", "service_unavailable"),
    ],
)
def test_an_injected_error_has_the_type_and_code_of_its_status(fresh_api, cstar_sandbox, status, kind, code):
    cstar_sandbox.faults.add("status", status=status)
    error = fresh_api.get("/customers").json()["error"]
    assert (error["type"], error["code"]) == (kind, code)


@pytest.mark.parametrize("status", [200, 204, 302])
def test_an_injected_status_that_is_no_error_has_no_body(fresh_api, cstar_sandbox, status):
    cstar_sandbox.faults.add("status", status=status)
    answer = fresh_api.get("/customers")
    assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize("retry_after", [0, 30, "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
@pytest.mark.parametrize("kind", ["status", "html"])
def test_a_refusal_carries_the_chosen_retry_after(fresh_api, cstar_sandbox, kind, retry_after):
    cstar_sandbox.faults.add(kind, status=429, retry_after=retry_after)
    answer = fresh_api.get("/customers")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, str(retry_after))


@pytest.mark.parametrize("kind", ["status", "html", "drop", "garbage"])
def test_before_the_work_means_that_nothing_is_done(fresh_api, cstar_sandbox, kind):
    cstar_sandbox.faults.add(kind, status={"status": 503}.get(kind), when="before")
    attempt(fresh_api)
    assert total(fresh_api) == 0


@pytest.mark.parametrize("kind", ["status", "html", "drop", "garbage"])
def test_after_the_work_means_that_only_the_answer_is_lost(fresh_api, cstar_sandbox, kind):
    cstar_sandbox.faults.add(kind, status={"status": 503}.get(kind), when="after")
    attempt(fresh_api, key="k")
    assert total(fresh_api) == 1
    again = attempt(fresh_api, key="k")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert total(fresh_api) == 1


def attempt(fresh_api, key=None):
    try:
        return fresh_api.post("/customers", json=JANE, headers={"Idempotency-Key": key} if key else None)
    except httpx.TransportError as error:
        return error


def test_a_spoilt_answer_is_not_what_an_idempotency_key_remembers(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=500)
    assert attempt(fresh_api, key="k").status_code == 500
    again = attempt(fresh_api, key="k")
    assert again.status_code == 201
    assert "Idempotent-Replayed" not in again.headers


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_dropped_connection_gives_no_answer_at_all(fresh_api, cstar_sandbox, when):
    cstar_sandbox.faults.add("drop", when=when)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        fresh_api.get("/customers")


def test_only_the_struck_connection_is_dropped(fresh_api, cstar_sandbox):
    with httpx.Client(base_url=fresh_api.base_url, headers=fresh_api.headers) as other:
        assert statuses(other, 1) == [200]
        pool_of_other = other.get("/customers").extensions["network_stream"]
        cstar_sandbox.faults.add("drop")
        assert isinstance(attempt(fresh_api), httpx.RemoteProtocolError)
        assert other.get("/customers").extensions["network_stream"] is pool_of_other


def test_a_cut_answer_breaks_off_in_the_middle_of_its_body(fresh_api, cstar_sandbox):
    whole = fresh_api.get("/customers")
    cstar_sandbox.faults.add("cut")
    with fresh_api.stream("GET", "/customers") as answer:
        assert answer.status_code == 200
        assert int(answer.headers["Content-Length"]) == len(whole.content)
        with pytest.raises(httpx.RemoteProtocolError, match=f"received {len(whole.content) // 2} bytes"):
            answer.read()


def test_a_cut_answer_was_done_nevertheless(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("cut")
    attempt(fresh_api)
    assert total(fresh_api) == 1


def test_garbage_calls_itself_json_and_is_not(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("garbage")
    answer = fresh_api.post("/customers", json=JANE)
    assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/json")
    with pytest.raises(ValueError, match="codec can't decode"):
        json.loads(answer.content)
    assert total(fresh_api) == 1


@pytest.mark.parametrize(("given", "seen"), [(None, 502), (504, 504), (200, 200)])
def test_an_error_page_is_html_with_nothing_of_the_api(fresh_api, cstar_sandbox, given, seen):
    cstar_sandbox.faults.add("html", status=given)
    answer = fresh_api.get("/customers")
    assert (answer.status_code, answer.headers["Content-Type"]) == (seen, "text/html")
    assert answer.text.startswith("<html>")
    assert "X-Request-Id" not in answer.headers


def test_latency_holds_an_answer_up_and_several_add_up(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("latency", seconds=0.02)
    cstar_sandbox.faults.add("latency", seconds=0.03)
    assert statuses(fresh_api, 2) == [200, 200]
    slow, quick = cstar_sandbox.requests[-2:]
    assert (slow.fault, quick.fault) == ("latency", None)
    assert slow.duration >= 0.05 > quick.duration


def test_latency_comes_before_another_fault(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=503)
    cstar_sandbox.faults.add("latency", seconds=0.02)
    assert statuses(fresh_api, 1) == [503]
    assert cstar_sandbox.requests[-1].duration >= 0.02


def test_a_request_that_a_reset_overtakes_is_neither_done_nor_listed(fresh_api, cstar_sandbox):
    """A test whose client gave up leaves its request behind, and the next test must not see it."""
    cstar_sandbox.faults.add("latency", seconds=0.3, method="POST")
    with ThreadPoolExecutor() as threads:
        held = threads.submit(attempt, fresh_api)
        eventually(lambda: not list(cstar_sandbox.faults))
        cstar_sandbox.reset()
        assert isinstance(held.result(), httpx.RemoteProtocolError)
    assert total(fresh_api) == 0
    assert [request.method for request in cstar_sandbox.requests] == ["GET"]


def test_a_request_that_is_held_up_at_the_stop_gets_no_answer():
    with ThreadPoolExecutor() as threads, Sandbox() as box:
        box.faults.add("latency", seconds=3600)
        held = threads.submit(httpx.get, f"{box.url}/auth/whoami")
        eventually(lambda: not list(box.faults))
        box.stop()
        assert isinstance(held.exception(), httpx.TransportError)


def eventually(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("kind", ["drop", "cut"])
def test_a_connection_is_broken_whatever_address_a_proxy_claims_it_has(fresh_api, cstar_sandbox, kind):
    cstar_sandbox.faults.add(kind)
    with pytest.raises(httpx.RemoteProtocolError):
        fresh_api.get("/customers", headers={"X-Forwarded-For": "203.0.113.7"})


def test_a_cut_answer_that_no_buffer_holds_still_sends_its_half(fresh_api, cstar_sandbox):
    for number in range(20):
        body = {**JANE, "email": f"jane{number}@example.com", "notes": "x" * 900_000}
        assert fresh_api.post("/customers", json=body).status_code == 201
    length = len(fresh_api.get("/customers").content)
    cstar_sandbox.faults.add("cut")
    with pytest.raises(httpx.RemoteProtocolError, match=f"received {length // 2} bytes, expected {length}"):
        fresh_api.get("/customers")


def test_an_error_after_the_work_keeps_the_headers_of_the_answer(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=500, when="after")
    answer = fresh_api.get("/customers")
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] == answer.json()["error"]["request_id"]
    assert "X-RateLimit-Remaining" in answer.headers


def test_a_status_below_400_can_carry_a_retry_after(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("status", status=202, retry_after=7)
    assert fresh_api.get("/customers").headers["Retry-After"] == "7"


@pytest.mark.parametrize("path", ["/auth/whoami", "/api/v1/auth/whoami", "*/whoami", "/auth/w?oami"])
def test_a_path_may_be_whole_or_from_below_the_base_path(cstar_sandbox, path):
    cstar_sandbox.faults.add("status", status=503, path=path)
    assert httpx.get(f"{cstar_sandbox.url}/auth/whoami").status_code == 503


def test_brackets_in_a_path_mean_nothing_special():
    faults = Faults()
    faults.add("drop", path="*/[ab]")
    assert faults.decide("GET", "/a").fault is None
    assert faults.decide("GET", "/[ab]").fault is not None


def test_latency_holds_up_no_other_request(fresh_api, cstar_sandbox):
    cstar_sandbox.faults.add("latency", seconds=3600, method="POST")
    stuck = threading.Thread(target=attempt, args=(httpx.Client(base_url=fresh_api.base_url, timeout=0.2),))
    stuck.start()
    assert statuses(fresh_api, 1) == [200]
    stuck.join()


def test_a_fault_strikes_whoever_asks_even_without_a_key(cstar_sandbox):
    cstar_sandbox.faults.add("status", status=503)
    assert httpx.get(f"{cstar_sandbox.url}/nowhere").status_code == 503
    assert httpx.get(f"{cstar_sandbox.url}/nowhere").status_code == 401


def test_a_fault_can_be_taken_back_and_all_of_them_can(fresh_api, cstar_sandbox):
    first, second = cstar_sandbox.faults.add("status", status=500), cstar_sandbox.faults.add("status", status=500)
    assert list(cstar_sandbox.faults) == [first, second]
    cstar_sandbox.faults.remove(first)
    assert list(cstar_sandbox.faults) == [second]
    cstar_sandbox.faults.clear()
    assert statuses(fresh_api, 1) == [200]


def test_faults_wait_for_a_start_and_survive_a_stop():
    box = Sandbox()
    box.faults.add("status", status=503, times=2)
    for _ in range(2):
        with box:
            assert httpx.get(f"{box.url}/auth/whoami").status_code == 503
    assert not list(box.faults)


# Without HTTP: what strikes whom.


def struck(faults, count):
    return [faults.decide("GET", "/").fault is not None for _ in range(count)]


def test_a_probability_without_times_strikes_without_limit():
    faults = Faults()
    faults.add("drop", probability=1)
    assert struck(faults, 100) == [True] * 100


def test_a_probability_strikes_about_that_share_and_the_same_requests_for_the_same_seed():
    picked = []
    for seed in (1, 1, 2):
        faults = Faults()
        faults.add("drop", probability=0.25, seed=seed)
        picked.append(struck(faults, 1000))
    assert picked[0] == picked[1] != picked[2]
    assert 200 < sum(picked[0]) < 300


def test_a_probability_with_times_ends_after_so_many_strikes():
    faults = Faults()
    faults.add("drop", probability=0.5, seed=1, times=3)
    assert sum(struck(faults, 100)) == 3
    assert not list(faults)


def test_what_does_not_match_uses_up_nothing():
    faults = Faults()
    faults.add("drop", method="POST", probability=0.5, seed=1, times=1)
    for _ in range(100):
        assert faults.decide("GET", "/").fault is None
    [untouched] = faults
    assert untouched.times == 1


def test_flaky_is_any_failure_that_a_client_should_survive_the_same_ones_for_the_same_seed():
    def sequence():
        faults = Faults()
        faults.add("flaky", probability=1, seed=3)
        return [faults.decide("GET", "/").fault for _ in range(200)]

    kinds = {(fault.kind, fault.status, fault.acts) for fault in sequence()}
    assert kinds == {
        ("status", 500, False),
        ("status", 503, False),
        ("html", 502, False),
        ("html", 504, True),
        ("drop", None, False),
        ("drop", None, True),
        ("cut", None, True),
    }
    assert sequence() == sequence()


def test_threads_that_share_a_fault_strike_exactly_as_often_as_told():
    faults = Faults()
    faults.add("drop", times=500)
    counts = []
    threads = [threading.Thread(target=lambda: counts.append(sum(struck(faults, 100)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 500


NONSENSE = [
    ({"kind": "explode"}, "kind must be one of latency, status, drop, cut, garbage, html, flaky, not 'explode'"),
    ({"kind": ["drop"]}, "kind must be one of .*"),
    ({"kind": "status"}, "needs a status, such as status=503"),
    ({"kind": "latency"}, "needs seconds, such as seconds=0.5"),
    ({"kind": "status", "status": 99}, "status must be a whole number from 200 to 599, not 99"),
    ({"kind": "status", "status": 600}, "status must be .*, not 600"),
    ({"kind": "status", "status": True}, "status must be .*, not True"),
    ({"kind": "status", "status": "503"}, "status must be .*, not '503'"),
    ({"kind": "drop", "status": 503}, "status has no meaning for the kind 'drop', only for status, html"),
    ({"kind": "drop", "seconds": 1}, "seconds has no meaning .* only for latency"),
    ({"kind": "cut", "when": "before"}, "when has no meaning .*"),
    ({"kind": "drop", "when": "later"}, "when must be 'before' or 'after', not 'later'"),
    ({"kind": "latency", "seconds": -1}, "seconds must be a number from 0 to 3600, not -1"),
    ({"kind": "latency", "seconds": float("nan")}, "seconds must be .*"),
    ({"kind": "latency", "seconds": float("inf")}, "seconds must be .*"),
    ({"kind": "drop", "times": 0}, "times must be a whole number from 1 on, not 0"),
    ({"kind": "drop", "times": 1.5}, "times must be .*"),
    ({"kind": "drop", "probability": 0}, "probability must be above 0 and at most 1, not 0"),
    ({"kind": "drop", "probability": 1.1}, "probability must be .*"),
    ({"kind": "drop", "seed": "x"}, "seed must be a whole number, not 'x'"),
    ({"kind": "drop", "method": 1}, "method must be one of GET, POST, .*, not 1"),
    ({"kind": "drop", "method": "PSOT"}, "method must be one of .*, not 'PSOT'"),
    ({"kind": "drop", "method": "\ud800"}, "method must be one of .*"),
    ({"kind": "drop", "path": 1}, "path must be a path such as '\\*/customers', without a query, not 1"),
    ({"kind": "drop", "path": "customers"}, "path must be .*"),
    ({"kind": "drop", "path": "/ü"}, "path must be .*"),
]


@pytest.mark.parametrize(("given", "message"), NONSENSE)
def test_a_fault_that_makes_no_sense_is_refused_with_what_would(given, message):
    faults = Faults()
    with pytest.raises(ValueError, match=message):
        faults.add(**given)
    with pytest.raises(ValueError, match=message):
        faults.add(**read_fault(given))
    assert not list(faults)


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "ü", " 5", "5 ", " ", 1.5, True, [], -3])
def test_a_retry_after_must_fit_into_a_header(value):
    with pytest.raises(ValueError, match="retry_after must be seconds from 0 on, or a text"):
        Fault("status", status=429, retry_after=value)


@pytest.mark.parametrize("document", [[], "drop", None, 1])
def test_a_json_fault_must_be_an_object(document):
    with pytest.raises(ValueError, match="A fault is a JSON object such as"):
        read_fault(document)


def test_a_json_fault_with_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"'retry_after' is not part of a fault; allowed are kind, .* retryAfter"):
        read_fault({"kind": "status", "status": 429, "retry_after": 3})


@pytest.mark.parametrize("status", [status.value for status in HTTPStatus if status >= 200])
def test_every_status_there_is_can_be_chosen(status):
    assert Fault("status", status=status).status == status
