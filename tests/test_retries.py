"""Which outcomes are tried again, after how long, and what is the same on every attempt."""

from __future__ import annotations

import email.utils
import ssl
import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstar import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    ConflictError,
    DeletedCustomer,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from cstar._response import ReceivedResponse, retry_after
from support import CUSTOMER, CUSTOMERS, DELETE_SAMPLE, DETAIL, ID, TEAM, Runner, error, ok

if TYPE_CHECKING:
    import respx

GET = f"{CUSTOMERS}/{ID}"
FINE = httpx.Response(200, json=ok(DETAIL))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_a_status_that_may_pass_is_retried(api_mock: respx.Router, run: Runner, status: int) -> None:
    route = api_mock.get(GET).mock(side_effect=[httpx.Response(status), FINE])
    assert run(lambda client: client.customers.get(TEAM, ID)).id == ID
    assert route.call_count == 2


@pytest.mark.parametrize(
    "status", [301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 422, 423, 425, 451, 501, 505]
)
def test_a_status_that_cannot_pass_is_not_retried(api_mock: respx.Router, run: Runner, status: int) -> None:
    route = api_mock.get(GET).respond(status, headers={"Location": "https://elsewhere.test/"})
    with pytest.raises(APIStatusError) as caught:
        run(lambda client: client.customers.get(TEAM, ID))
    assert (route.call_count, caught.value.attempts, run.sleeps) == (1, 1, [])


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout(""),
        httpx.PoolTimeout(""),
        httpx.ReadError(""),
        httpx.ReadTimeout(""),
        httpx.WriteError(""),
        httpx.WriteTimeout(""),
        httpx.CloseError(""),
        httpx.ProxyError(""),
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.ProxyError("503 Service Unavailable"),
        httpx.ProxyError("429 Too Many Requests"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_no_answer_is_retried(api_mock: respx.Router, run: Runner, fault: Exception) -> None:
    route = api_mock.get(GET).mock(side_effect=[fault, FINE])
    assert run(lambda client: client.customers.get(TEAM, ID)).id == ID
    assert route.call_count == 2


def caused(error: Exception, *causes: Exception) -> Exception:
    """An error with a chain of causes."""
    for effect, cause in zip([error, *causes], causes, strict=False):
        effect.__cause__ = cause
    return error


PERMANENT = {
    "certificate": caused(httpx.ConnectError(""), OSError(), ssl.SSLCertVerificationError("self-signed certificate")),
    "plain HTTP on a port for TLS": caused(httpx.ConnectError(""), ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")),
    "scheme": httpx.UnsupportedProtocol("Request URL has an unsupported protocol 'ftp://'"),
    "malformed": caused(httpx.LocalProtocolError("Illegal header value"), ValueError()),
    "refused by the proxy": httpx.ProxyError("403 Forbidden"),
    "unknown to the proxy": httpx.ProxyError("407 Proxy Authentication Required"),
}


def attempts_after(run: Runner, fault: Exception) -> int:
    """The number of attempts of a call whose first one fails."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if len(requests) == 1:
            raise fault
        return httpx.Response(200, json=ok(DETAIL))

    own = run.http_client(transport=httpx.MockTransport(answer))  # respx would replace the causes
    with suppress(APIConnectionError):
        run(lambda client: client.customers.get(TEAM, ID), http_client=own)
    return len(requests)


@pytest.mark.parametrize("fault", PERMANENT.values(), ids=PERMANENT)
def test_what_the_next_attempt_cannot_change_is_not_retried(run: Runner, fault: Exception) -> None:
    assert attempts_after(run, fault) == 1


def test_a_stream_that_http_2_refuses_is_retried(run: Runner) -> None:
    """It is the state of the connection that is wrong, not the request."""
    refusal = type("ProtocolError", (Exception,), {"__module__": "h2.exceptions"})
    assert attempts_after(run, caused(httpx.LocalProtocolError(""), refusal())) == 2


def test_the_default_is_three_retries_after_the_first_attempt(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(503, json=error(message="Down."))
    with pytest.raises(InternalServerError) as caught:
        run(lambda client: client.customers.get(TEAM, ID))
    assert (route.call_count, caught.value.attempts) == (4, 4)


def test_max_retries_0_tries_once(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).mock(side_effect=httpx.ReadTimeout(""))
    with pytest.raises(APITimeoutError) as caught:
        run(lambda client: client.customers.get(TEAM, ID), max_retries=0)
    assert (route.call_count, caught.value.attempts) == (1, 1)


def test_the_last_outcome_stands_when_attempts_run_out(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).mock(side_effect=[httpx.Response(500), httpx.ConnectError("refused")])
    with pytest.raises(APIConnectionError) as caught:
        run(lambda client: client.customers.get(TEAM, ID), max_retries=1)
    assert caught.value.attempts == 2


def test_waits_double_from_half_a_second_to_eight_with_up_to_a_quarter_more(
    api_mock: respx.Router, run: Runner
) -> None:
    api_mock.get(GET).respond(500)
    with pytest.raises(InternalServerError):
        run(lambda client: client.customers.get(TEAM, ID), max_retries=7)
    for wait, base in zip(run.sleeps, [0.5, 1, 2, 4, 8, 8, 8], strict=True):
        assert base <= wait <= base * 1.25


def test_waits_differ_from_call_to_call(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(500)
    for _ in range(3):
        with pytest.raises(InternalServerError):
            run(lambda client: client.customers.get(TEAM, ID), max_retries=1)
    assert len(set(run.sleeps)) == 3


def test_max_retry_wait_caps_the_backoff(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).mock(side_effect=[httpx.Response(500), httpx.Response(500), FINE])
    run(lambda client: client.customers.get(TEAM, ID), max_retry_wait=0.1)
    assert run.sleeps == [0.1, 0.1]


def waits_asked_for(api_mock: respx.Router, run: Runner, response: httpx.Response, **options: Any) -> float:
    """The seconds slept after a response."""
    api_mock.get(GET).mock(side_effect=[response, FINE])
    run(lambda client: client.customers.get(TEAM, ID), **options)
    [wait] = run.sleeps
    return wait


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_wins_over_the_backoff(api_mock: respx.Router, run: Runner, status: int) -> None:
    assert 7 <= waits_asked_for(api_mock, run, httpx.Response(status, headers={"Retry-After": "7"})) <= 7.7


def test_retry_after_as_a_date_wins_over_the_backoff(api_mock: respx.Router, run: Runner) -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 25 < waits_asked_for(api_mock, run, httpx.Response(429, headers={"Retry-After": date})) <= 33


@pytest.mark.parametrize("ahead", [-86_400, -60, 0, 60, 86_400])
def test_a_retry_after_date_is_read_against_the_date_of_the_response(
    api_mock: respx.Router, run: Runner, ahead: int
) -> None:
    """A clock that is wrong, here or there, does not matter."""
    there = time.time() + ahead
    headers = {
        "Date": email.utils.formatdate(there, usegmt=True),
        "Retry-After": email.utils.formatdate(there + 20, usegmt=True),
    }
    assert 20 <= waits_asked_for(api_mock, run, httpx.Response(503, headers=headers)) <= 22


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Foo 2015 00:00:00 GMT"])
def test_a_response_whose_date_makes_no_sense_is_of_now(api_mock: respx.Router, run: Runner, date: str) -> None:
    headers = {"Date": date, "Retry-After": email.utils.formatdate(time.time() + 30, usegmt=True)}
    assert 25 < waits_asked_for(api_mock, run, httpx.Response(503, headers=headers)) <= 33


def test_retry_after_as_a_date_counts_from_now() -> None:
    answer = ReceivedResponse(429, httpx.Headers({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), b"", "key")
    assert retry_after(answer, now=datetime(2015, 10, 21, 7, 27, 30, tzinfo=timezone.utc)) == 30.0


@pytest.mark.parametrize("asked", ["0", "0.1", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_the_backoff_is_the_least_wait(api_mock: respx.Router, run: Runner, asked: str) -> None:
    route = api_mock.get(GET).respond(503, headers={"Retry-After": asked})
    with pytest.raises(InternalServerError):
        run(lambda client: client.customers.get(TEAM, ID))
    assert route.call_count == 4
    for wait, base in zip(run.sleeps, [0.5, 1, 2], strict=True):
        assert base <= wait <= base * 1.25


@pytest.mark.parametrize(("asked", "most"), [(10, 11), (40, 44), (50, 55), (1000, 1005)])
def test_clients_that_were_told_the_same_wait_do_not_return_in_step(
    api_mock: respx.Router, sleeps: list[float], asked: int, most: float
) -> None:
    api_mock.get(GET).mock(side_effect=[httpx.Response(429, headers={"Retry-After": str(asked)}), FINE] * 20)
    for _ in range(20):
        Runner("sync")(lambda client: client.customers.get(TEAM, ID), max_retry_wait=1000)
    assert asked <= min(sleeps) < max(sleeps) <= most
    assert max(sleeps) > asked + (most - asked) / 2


def test_max_retry_wait_of_0_retries_at_once(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).mock(side_effect=[httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(500), FINE])
    run(lambda client: client.customers.get(TEAM, ID), max_retry_wait=0)
    assert run.sleeps == [0, 0]


def test_a_wait_that_just_fits_the_deadline_is_not_given_up_for_its_jitter(api_mock: respx.Router, run: Runner) -> None:
    wait = waits_asked_for(api_mock, run, httpx.Response(429, headers={"Retry-After": "50"}), deadline=50.5)
    assert 50 <= wait < 50.5


@pytest.mark.parametrize("name", ["retryAfter", "retry_after"])
def test_retry_after_of_the_older_error_shape_is_honoured(api_mock: respx.Router, run: Runner, name: str) -> None:
    limited = {"error": {"code": "RATE_LIMITED", "message": "Slow down.", name: 12}}
    assert 12 <= waits_asked_for(api_mock, run, httpx.Response(429, json=limited)) <= 13.2


def used_up(seconds: float, *, remaining: int = 0, skew: float = 0, **headers: str) -> httpx.Response:
    """A 429 whose headers say when the budget is back, by a clock that is wrong by some seconds."""
    now = int(time.time() + skew)
    limit = {"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": str(remaining)}
    limit |= {"X-RateLimit-Reset": str(int(now + seconds)), "X-RateLimit-Window": "3600"}
    return httpx.Response(429, headers={"Date": email.utils.formatdate(now, usegmt=True), **limit, **headers})


@pytest.mark.parametrize("skew", [-7200, 0, 7200])
def test_a_429_without_retry_after_waits_for_the_reset(api_mock: respx.Router, run: Runner, skew: float) -> None:
    assert 30 <= waits_asked_for(api_mock, run, used_up(30, skew=skew)) <= 33


def test_the_reset_that_a_429_waits_for_is_told_by_its_error(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).mock(return_value=used_up(1800))
    with pytest.raises(RateLimitError) as caught:
        run(lambda client: client.customers.get(TEAM, ID))
    assert (caught.value.retry_after, caught.value.attempts) == (1800, 1)
    assert "Retry after 1800 s." in str(caught.value)


def test_retry_after_wins_over_the_reset(api_mock: respx.Router, run: Runner) -> None:
    assert 5 <= waits_asked_for(api_mock, run, used_up(1800, **{"Retry-After": "5"})) <= 5.5


@pytest.mark.parametrize(
    "response", [used_up(30, remaining=7), used_up(-30), httpx.Response(429)], ids=["left", "past", "no headers"]
)
def test_a_429_whose_budget_is_not_used_up_backs_off(api_mock: respx.Router, run: Runner, response: Any) -> None:
    assert waits_asked_for(api_mock, run, response) <= 0.625


def test_a_reset_that_is_absurdly_far_ahead_is_one_window_ahead(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).mock(return_value=used_up(10**10))
    with pytest.raises(RateLimitError) as caught:
        run(lambda client: client.customers.get(TEAM, ID))
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize("nonsense", ["soon", "-5", "nan", "inf", "1e999", "", "Wed, 99 Foo 2015", "٣٣", "3_3"])
def test_a_retry_after_that_makes_no_sense_falls_back_to_the_backoff(
    api_mock: respx.Router, run: Runner, nonsense: str
) -> None:
    headers = httpx.Headers({"Retry-After": nonsense}, encoding="utf-8")
    api_mock.get(GET).mock(side_effect=[httpx.Response(429, headers=headers), FINE])
    run(lambda client: client.customers.get(TEAM, ID))
    assert len(run.sleeps) == 1
    assert run.sleeps[0] <= 3


@given(st.text())
def test_no_retry_after_ever_breaks_or_asks_for_a_negative_wait(text: str) -> None:
    wait = retry_after(ReceivedResponse(429, httpx.Headers({"Retry-After": text}, encoding="utf-8"), b"", "key"))
    assert wait is None or wait >= 0


def test_asked_to_wait_longer_than_max_retry_wait_it_raises_at_once(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).respond(429, json=error(message="Slow down."), headers={"Retry-After": "3000"})
    with pytest.raises(RateLimitError) as caught:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert caught.value.retry_after == 3000
    assert caught.value.idempotency_key == route.calls.last.request.headers["Idempotency-Key"]
    assert (route.call_count, run.sleeps) == (1, [])
    assert "Retry after 3000 s." in str(caught.value)


def test_asked_to_wait_just_max_retry_wait_it_waits(api_mock: respx.Router, run: Runner) -> None:
    assert 60 <= waits_asked_for(api_mock, run, httpx.Response(429, headers={"Retry-After": "60"})) <= 65


def test_max_retry_wait_is_the_callers_to_raise(api_mock: respx.Router, run: Runner) -> None:
    response = httpx.Response(429, headers={"Retry-After": "3000"})
    assert 3000 <= waits_asked_for(api_mock, run, response, max_retry_wait=float("inf")) <= 3005


def test_every_attempt_of_a_write_sends_the_same_bytes_and_key(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(
        side_effect=[httpx.ReadTimeout(""), httpx.Response(502), httpx.Response(201, json=ok(CUSTOMER))]
    )
    run(lambda client: client.customers.create(TEAM, name="J", email=CUSTOMER["email"]))
    requests = [call.request for call in route.calls]
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 1
    assert len({request.content for request in requests}) == 1
    assert len(requests) == 3


def test_a_failed_write_tells_the_key_that_was_sent(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=httpx.ReadTimeout(""))
    with pytest.raises(APITimeoutError) as caught:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"), max_retries=1)
    assert caught.value.idempotency_key == route.calls.last.request.headers["Idempotency-Key"]
    assert "It may have been carried out" in str(caught.value)


def test_a_write_that_never_went_out_is_not_said_to_be_carried_out(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(CUSTOMERS).mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(APIConnectionError) as caught:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert "carried out" not in str(caught.value)


def test_a_failed_read_has_no_key(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(404, json=error("resource_missing"))
    with pytest.raises(NotFoundError) as caught:
        run(lambda client: client.customers.get(TEAM, ID))
    assert caught.value.idempotency_key is None


def test_a_conflict_is_raised_after_one_attempt(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).respond(409, json=error("resource_already_exists", "Taken.", param="email"))
    with pytest.raises(ConflictError):
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert route.call_count == 1


LOST = [httpx.ReadTimeout(""), httpx.RemoteProtocolError(""), httpx.Response(502), httpx.Response(504)]


@pytest.mark.parametrize("lost", LOST, ids=repr)
@pytest.mark.parametrize("code", ["idempotency_conflict", "request_in_progress", None])
def test_a_conflict_after_a_lost_response_is_retried(
    api_mock: respx.Router, run: Runner, lost: Exception | httpx.Response, code: str | None
) -> None:
    """The first attempt may still be under way at the server."""
    conflict = httpx.Response(409, json=error(code) if code else {"success": False, "error": "Conflict"})
    route = api_mock.post(CUSTOMERS).mock(side_effect=[lost, conflict, httpx.Response(201, json=ok(CUSTOMER))])
    run(lambda client: client.customers.create(TEAM, name="J", email=CUSTOMER["email"]))
    assert route.call_count == 3


@pytest.mark.parametrize("code", ["resource_already_exists", "EMAIL_EXISTS", "duplicate_email", "email_taken"])
def test_a_conflict_whose_code_says_that_the_resource_exists_is_not_retried(
    api_mock: respx.Router, run: Runner, code: str
) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(409, json=error(code))])
    with pytest.raises(ConflictError):
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert route.call_count == 2


def test_a_conflict_that_stays_after_a_lost_response_is_raised(api_mock: respx.Router, run: Runner) -> None:
    conflict = httpx.Response(409, json=error("request_in_progress"))
    route = api_mock.post(CUSTOMERS).mock(side_effect=[httpx.ReadTimeout(""), conflict, conflict, conflict])
    with pytest.raises(ConflictError) as caught:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert (route.call_count, caught.value.attempts) == (4, 4)


def test_an_answer_that_is_not_the_documented_one_is_not_retried(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(200, text='{"success": tr')
    with pytest.raises(APIResponseValidationError):
        run(lambda client: client.customers.get(TEAM, ID))
    assert route.call_count == 1


@pytest.mark.parametrize("lost", [httpx.ReadTimeout(""), httpx.RemoteProtocolError(""), httpx.Response(504)])
def test_a_delete_whose_answer_was_lost_and_whose_retry_says_404_did_delete(
    api_mock: respx.Router, run: Runner, lost: Exception | httpx.Response
) -> None:
    api_mock.delete(GET).mock(side_effect=[lost, httpx.Response(404, json=error("resource_missing"))])
    assert run(lambda client: client.customers.delete(TEAM, ID)) == DeletedCustomer(deleted=True, id=ID)


def test_a_lost_deletion_stays_remembered_over_further_attempts(api_mock: respx.Router, run: Runner) -> None:
    api_mock.delete(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(503), httpx.Response(404)])
    assert run(lambda client: client.customers.delete(TEAM, ID)).deleted


def test_a_raw_delete_shows_the_404_and_parses_to_the_receipt(api_mock: respx.Router, run: Runner) -> None:
    api_mock.delete(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(404)])
    raw = run(lambda client: client.customers.with_raw_response.delete(TEAM, ID))
    assert (raw.status_code, raw.attempts, raw.parse().id) == (404, 2, ID)


def test_a_deletion_by_request_whose_answer_was_lost_returns_none(api_mock: respx.Router, run: Runner) -> None:
    api_mock.delete("/things/1").mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(404)])
    assert run(lambda client: client.request("DELETE", "/things/1")) is None


NOTHING_LOST = [None, httpx.Response(503), httpx.Response(429), httpx.ConnectError(""), httpx.PoolTimeout("")]


@pytest.mark.parametrize("first", NOTHING_LOST, ids=repr)
def test_a_delete_of_nobody_is_not_found(
    api_mock: respx.Router, run: Runner, first: Exception | httpx.Response | None
) -> None:
    missing = httpx.Response(404, json=error("resource_missing", "No such customer."))
    api_mock.delete(GET).mock(side_effect=[first, missing] if first else [missing])
    with pytest.raises(NotFoundError, match="No such customer"):
        run(lambda client: client.customers.delete(TEAM, ID))


def test_a_delete_that_is_retried_and_answered_returns_the_servers_receipt(api_mock: respx.Router, run: Runner) -> None:
    api_mock.delete(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(200, text=DELETE_SAMPLE)])
    raw = run(lambda client: client.customers.with_raw_response.delete(TEAM, ID))
    assert (raw.status_code, raw.attempts) == (200, 2)


def test_only_a_delete_takes_404_for_done(api_mock: respx.Router, run: Runner) -> None:
    api_mock.patch(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(404)])
    with pytest.raises(NotFoundError):
        run(lambda client: client.customers.update(TEAM, ID, name="J"))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_passes_straight_through(
    api_mock: respx.Router, sleeps: list[float], stop: type[BaseException]
) -> None:
    requests: list[httpx.Request] = []

    def interrupt(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise stop

    api_mock.get(GET).mock(side_effect=interrupt)
    with pytest.raises(stop):
        Runner("sync")(lambda client: client.customers.get(TEAM, ID))
    assert (len(requests), sleeps) == (1, [])


def test_a_nonsensical_header_does_not_hide_what_the_body_asks(api_mock: respx.Router, run: Runner) -> None:
    limited = {"error": {"message": "Slow down.", "retryAfter": 12}}
    response = httpx.Response(429, json=limited, headers={"Retry-After": "soon"})
    assert 12 <= waits_asked_for(api_mock, run, response) <= 13.2


@pytest.mark.parametrize("header", ["3, 5", "5,3", "5, soon"])
def test_of_several_retry_after_headers_the_greatest_number_counts(
    api_mock: respx.Router, run: Runner, header: str
) -> None:
    assert 5 <= waits_asked_for(api_mock, run, httpx.Response(503, headers={"Retry-After": header})) <= 5.5


def test_a_conflict_whose_message_says_that_it_exists_is_not_retried(api_mock: respx.Router, run: Runner) -> None:
    """In the older shape, there is no code."""
    taken = httpx.Response(409, json={"success": False, "error": "A customer with this email already exists"})
    route = api_mock.post(CUSTOMERS).mock(side_effect=[httpx.ReadTimeout(""), taken])
    with pytest.raises(ConflictError):
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert route.call_count == 2


def test_no_wait_is_longer_than_a_computer_can_sleep(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(429, headers={"Retry-After": "1e20"})
    with pytest.raises(RateLimitError):
        run(lambda client: client.customers.get(TEAM, ID), max_retry_wait=float("inf"))
    assert run.sleeps == []


@pytest.mark.parametrize("zone", ["", " -0000", " +0000", " GMT"])
def test_a_retry_after_date_without_a_zone_is_in_utc(zone: str) -> None:
    answer = ReceivedResponse(429, httpx.Headers({"Retry-After": f"Wed, 21 Oct 2015 07:28:00{zone}"}), b"", "key")
    assert retry_after(answer, now=datetime(2015, 10, 21, 7, 27, 30, tzinfo=timezone.utc)) == 30.0


def test_a_retry_after_date_in_another_zone_is_that_moment() -> None:
    answer = ReceivedResponse(429, httpx.Headers({"Retry-After": "Wed, 21 Oct 2015 09:28:00 +0200"}), b"", "key")
    assert retry_after(answer, now=datetime(2015, 10, 21, 7, 27, 30, tzinfo=timezone.utc)) == 30.0
