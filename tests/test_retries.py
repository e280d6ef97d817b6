"""The retry policy: which outcomes are retried, after which delay, and with which body and idempotency key."""

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
SUCCESS = httpx.Response(200, json=ok(DETAIL))


# ── Outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_a_temporary_error_status_is_retried(api_mock: respx.Router, run: Runner, status: int) -> None:
    route = api_mock.get(GET).mock(side_effect=[httpx.Response(status), SUCCESS])
    assert run(lambda client: client.customers.get(TEAM, ID)).id == ID
    assert route.call_count == 2


@pytest.mark.parametrize("status", [302, 307, 400, 401, 403, 404, 409, 410, 422, 425, 451, 501, 505])
def test_any_other_error_status_is_not_retried(api_mock: respx.Router, run: Runner, status: int) -> None:
    route = api_mock.get(GET).respond(status, headers={"Location": "https://elsewhere.test/"})
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.customers.get(TEAM, ID))
    assert (route.call_count, raised.value.attempts, run.sleeps) == (1, 1, [])


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
def test_a_connection_error_is_retried(api_mock: respx.Router, run: Runner, fault: Exception) -> None:
    route = api_mock.get(GET).mock(side_effect=[fault, SUCCESS])
    assert run(lambda client: client.customers.get(TEAM, ID)).id == ID
    assert route.call_count == 2


def with_causes(error: Exception, *causes: Exception) -> Exception:
    """Return an error with a chain of causes."""
    for effect, cause in zip([error, *causes], causes, strict=False):
        effect.__cause__ = cause
    return error


PERMANENT = {
    "certificate": with_causes(
        httpx.ConnectError(""), OSError(), ssl.SSLCertVerificationError("self-signed certificate")
    ),
    "plain HTTP on a TLS port": with_causes(httpx.ConnectError(""), ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")),
    "scheme": httpx.UnsupportedProtocol("Request URL has an unsupported protocol 'ftp://'"),
    "malformed": with_causes(httpx.LocalProtocolError("Illegal header value"), ValueError()),
    "rejected by the proxy": httpx.ProxyError("403 Forbidden"),
    "not authenticated at the proxy": httpx.ProxyError("407 Proxy Authentication Required"),
}


def attempts_after(run: Runner, fault: Exception) -> int:
    """Return the number of attempts of a call whose first attempt fails."""
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if len(requests) == 1:
            raise fault
        return httpx.Response(200, json=ok(DETAIL))

    http_client = run.http_client(transport=httpx.MockTransport(handler))  # respx would replace the causes
    with suppress(APIConnectionError):
        run(lambda client: client.customers.get(TEAM, ID), http_client=http_client)
    return len(requests)


@pytest.mark.parametrize("fault", PERMANENT.values(), ids=PERMANENT)
def test_a_permanent_failure_is_not_retried(run: Runner, fault: Exception) -> None:
    assert attempts_after(run, fault) == 1


def test_a_protocol_error_of_http_2_is_retried(run: Runner) -> None:
    """Its cause is the state of the connection, not the request."""
    cause = type("ProtocolError", (Exception,), {"__module__": "h2.exceptions"})
    assert attempts_after(run, with_causes(httpx.LocalProtocolError(""), cause())) == 2


def test_a_response_with_an_invalid_body_is_not_retried(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(200, text='{"success": tr')
    with pytest.raises(APIResponseValidationError):
        run(lambda client: client.customers.get(TEAM, ID))
    assert route.call_count == 1


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_retried(
    api_mock: respx.Router, sleeps: list[float], interrupt: type[BaseException]
) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise interrupt

    api_mock.get(GET).mock(side_effect=handler)
    with pytest.raises(interrupt):
        Runner("sync")(lambda client: client.customers.get(TEAM, ID))
    assert (len(requests), sleeps) == (1, [])


# ── The number of attempts, and the backoff ──────────────────────────────────────────────────────────────────────────


def test_a_call_is_retried_three_times_by_default(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(503, json=error(message="Down."))
    with pytest.raises(InternalServerError) as raised:
        run(lambda client: client.customers.get(TEAM, ID))
    assert (route.call_count, raised.value.attempts) == (4, 4)


def test_a_call_with_max_retries_0_makes_one_attempt(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).mock(side_effect=httpx.ReadTimeout(""))
    with pytest.raises(APITimeoutError) as raised:
        run(lambda client: client.customers.get(TEAM, ID), max_retries=0)
    assert (route.call_count, raised.value.attempts) == (1, 1)


def test_the_error_of_the_last_attempt_is_raised(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).mock(side_effect=[httpx.Response(500), httpx.ConnectError("refused")])
    with pytest.raises(APIConnectionError) as raised:
        run(lambda client: client.customers.get(TEAM, ID), max_retries=1)
    assert raised.value.attempts == 2


def test_the_backoff_doubles_from_half_a_second_to_8_with_jitter(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(500)
    with pytest.raises(InternalServerError):
        run(lambda client: client.customers.get(TEAM, ID), max_retries=7)
    for delay, base in zip(run.sleeps, [0.5, 1, 2, 4, 8, 8, 8], strict=True):
        assert base <= delay <= base * 1.25


def test_the_jitter_of_each_call_differs(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(500)
    for _ in range(3):
        with pytest.raises(InternalServerError):
            run(lambda client: client.customers.get(TEAM, ID), max_retries=1)
    assert len(set(run.sleeps)) == 3


def test_max_retry_wait_limits_the_backoff(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).mock(side_effect=[httpx.Response(500), httpx.Response(500), SUCCESS])
    run(lambda client: client.customers.get(TEAM, ID), max_retry_wait=0.1)
    assert run.sleeps == [0.1, 0.1]


def test_max_retry_wait_0_retries_without_delay(api_mock: respx.Router, run: Runner) -> None:
    responses = [httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(500), SUCCESS]
    api_mock.get(GET).mock(side_effect=responses)
    run(lambda client: client.customers.get(TEAM, ID), max_retry_wait=0)
    assert run.sleeps == [0, 0]


# ── Retry-After ──────────────────────────────────────────────────────────────────────────────────────────────────────


def delay_after(api_mock: respx.Router, run: Runner, response: httpx.Response, **options: Any) -> float:
    """Return the delay between this response and the retry, in seconds."""
    api_mock.get(GET).mock(side_effect=[response, SUCCESS])
    run(lambda client: client.customers.get(TEAM, ID), **options)
    [delay] = run.sleeps
    return delay


def with_header(value: str) -> ReceivedResponse:
    """Return a 429 with this Retry-After."""
    return ReceivedResponse(429, httpx.Headers({"Retry-After": value}, encoding="utf-8"), b"", "key")


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_overrides_the_backoff(api_mock: respx.Router, run: Runner, status: int) -> None:
    assert 7 <= delay_after(api_mock, run, httpx.Response(status, headers={"Retry-After": "7"})) <= 7.7


@pytest.mark.parametrize("ahead", [-86_400, -60, 0, 60, 86_400])
def test_a_retry_after_date_is_relative_to_the_date_of_the_response(
    api_mock: respx.Router, run: Runner, ahead: int
) -> None:
    """So a wrong clock, of the server or of this machine, does not matter."""
    server_time = time.time() + ahead
    headers = {
        "Date": email.utils.formatdate(server_time, usegmt=True),
        "Retry-After": email.utils.formatdate(server_time + 20, usegmt=True),
    }
    assert 20 <= delay_after(api_mock, run, httpx.Response(503, headers=headers)) <= 22


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 99 Foo 2015 00:00:00 GMT"])
def test_without_a_valid_date_a_retry_after_date_is_relative_to_now(
    api_mock: respx.Router, run: Runner, date: str | None
) -> None:
    headers = {"Retry-After": email.utils.formatdate(time.time() + 30, usegmt=True)}
    headers |= {} if date is None else {"Date": date}
    assert 25 < delay_after(api_mock, run, httpx.Response(503, headers=headers)) <= 33


@pytest.mark.parametrize("time_and_zone", ["07:28:00", "07:28:00 -0000", "07:28:00 GMT", "09:28:00 +0200"])
def test_a_retry_after_date_may_have_any_zone_and_is_in_utc_without_one(time_and_zone: str) -> None:
    response = with_header(f"Wed, 21 Oct 2015 {time_and_zone}")
    assert retry_after(response, now=datetime(2015, 10, 21, 7, 27, 30, tzinfo=timezone.utc)) == 30.0


@pytest.mark.parametrize("header", ["3, 5", "5,3", "5, soon"])
def test_the_greatest_of_several_retry_after_headers_is_used(header: str) -> None:
    assert retry_after(with_header(header)) == 5


@pytest.mark.parametrize("invalid", ["soon", "-5", "nan", "inf", "1e999", "", "Wed, 99 Foo 2015", "٣٣", "3_3"])
def test_an_invalid_retry_after_is_ignored(invalid: str) -> None:
    assert retry_after(with_header(invalid)) is None


@given(st.text())
def test_any_retry_after_is_ignored_or_not_negative(text: str) -> None:
    seconds = retry_after(with_header(text))
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("name", ["retryAfter", "retry_after"])
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}], ids=["no header", "invalid header"])
def test_without_a_valid_header_retry_after_in_the_body_is_used(
    api_mock: respx.Router, run: Runner, name: str, headers: dict[str, str]
) -> None:
    body = {"error": {"code": "RATE_LIMITED", "message": "Slow down.", name: 12}}
    assert 12 <= delay_after(api_mock, run, httpx.Response(429, json=body, headers=headers)) <= 13.2


@pytest.mark.parametrize("requested", ["0", "0.1", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_the_delay_is_at_least_the_backoff(api_mock: respx.Router, run: Runner, requested: str) -> None:
    route = api_mock.get(GET).respond(503, headers={"Retry-After": requested})
    with pytest.raises(InternalServerError):
        run(lambda client: client.customers.get(TEAM, ID))
    assert route.call_count == 4
    for delay, base in zip(run.sleeps, [0.5, 1, 2], strict=True):
        assert base <= delay <= base * 1.25


@pytest.mark.parametrize(("requested", "longest"), [(10, 11), (40, 44), (50, 55), (1000, 1005)])
def test_a_requested_delay_gets_a_jitter_of_up_to_10_percent_and_5_seconds(
    api_mock: respx.Router, sleeps: list[float], requested: int, longest: float
) -> None:
    limited = httpx.Response(429, headers={"Retry-After": str(requested)})
    api_mock.get(GET).mock(side_effect=[limited, SUCCESS] * 20)
    for _ in range(20):
        Runner("sync", sleeps)(lambda client: client.customers.get(TEAM, ID), max_retry_wait=1000)
    assert requested <= min(sleeps) < max(sleeps) <= longest
    assert max(sleeps) > requested + (longest - requested) / 2


def test_the_jitter_is_omitted_if_only_the_requested_delay_fits_the_deadline(
    api_mock: respx.Router, run: Runner
) -> None:
    delay = delay_after(api_mock, run, httpx.Response(429, headers={"Retry-After": "50"}), deadline=50.5)
    assert 50 <= delay < 50.5


def test_a_retry_after_above_max_retry_wait_raises_at_once(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).respond(429, json=error(message="Slow down."), headers={"Retry-After": "3000"})
    with pytest.raises(RateLimitError) as raised:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert raised.value.retry_after == 3000
    assert raised.value.idempotency_key == route.calls.last.request.headers["Idempotency-Key"]
    assert (route.call_count, run.sleeps) == (1, [])
    assert "Retry after 3000 s." in str(raised.value)


def test_a_retry_after_of_exactly_max_retry_wait_is_honoured(api_mock: respx.Router, run: Runner) -> None:
    assert 60 <= delay_after(api_mock, run, httpx.Response(429, headers={"Retry-After": "60"})) <= 65


def test_max_retry_wait_may_be_infinite(api_mock: respx.Router, run: Runner) -> None:
    response = httpx.Response(429, headers={"Retry-After": "3000"})
    assert 3000 <= delay_after(api_mock, run, response, max_retry_wait=float("inf")) <= 3005


def test_a_retry_after_above_the_limit_of_sleep_raises_at_once(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(429, headers={"Retry-After": "1e20"})
    with pytest.raises(RateLimitError):
        run(lambda client: client.customers.get(TEAM, ID), max_retry_wait=float("inf"))
    assert run.sleeps == []


# ── The reset of the rate limit ──────────────────────────────────────────────────────────────────────────────────────


def rate_limited(seconds: float, *, remaining: int = 0, ahead: float = 0, **headers: str) -> httpx.Response:
    """Return a 429 of a rate limit that resets in `seconds`, from a server whose clock is `ahead` seconds ahead."""
    now = int(time.time() + ahead)
    limit = {"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": str(remaining)}
    limit |= {"X-RateLimit-Reset": str(int(now + seconds)), "X-RateLimit-Window": "3600"}
    return httpx.Response(429, headers={"Date": email.utils.formatdate(now, usegmt=True), **limit, **headers})


@pytest.mark.parametrize("ahead", [-7200, 0, 7200])
def test_a_429_without_retry_after_is_retried_after_the_reset(
    api_mock: respx.Router, run: Runner, ahead: float
) -> None:
    assert 30 <= delay_after(api_mock, run, rate_limited(30, ahead=ahead)) <= 33


def test_the_time_until_the_reset_is_the_retry_after_of_the_error(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).mock(return_value=rate_limited(1800))
    with pytest.raises(RateLimitError) as raised:
        run(lambda client: client.customers.get(TEAM, ID))
    assert (raised.value.retry_after, raised.value.attempts) == (1800, 1)
    assert "Retry after 1800 s." in str(raised.value)


@pytest.mark.parametrize("value", ["0", "0, 0"])
def test_a_retry_after_of_0_overrides_the_reset(api_mock: respx.Router, run: Runner, value: str) -> None:
    assert delay_after(api_mock, run, rate_limited(1800, **{"Retry-After": value})) <= 0.625  # only the backoff


def test_retry_after_overrides_the_reset(api_mock: respx.Router, run: Runner) -> None:
    assert 5 <= delay_after(api_mock, run, rate_limited(1800, **{"Retry-After": "5"})) <= 5.5


@pytest.mark.parametrize(
    "response",
    [rate_limited(30, remaining=7), rate_limited(-30), httpx.Response(429)],
    ids=["requests remaining", "reset in the past", "no headers"],
)
def test_a_429_is_retried_after_the_backoff_unless_the_limit_is_used_up(
    api_mock: respx.Router, run: Runner, response: httpx.Response
) -> None:
    assert delay_after(api_mock, run, response) <= 0.625


# ── Writes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_attempts_of_a_write_send_the_same_body_and_idempotency_key(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(
        side_effect=[httpx.ReadTimeout(""), httpx.Response(502), httpx.Response(201, json=ok(CUSTOMER))]
    )
    run(lambda client: client.customers.create(TEAM, name="J", email=CUSTOMER["email"]))
    requests = [call.request for call in route.calls]
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 1
    assert len({request.content for request in requests}) == 1
    assert len(requests) == 3


def test_the_error_of_a_write_has_its_idempotency_key(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=httpx.ReadTimeout(""))
    with pytest.raises(APITimeoutError) as raised:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"), max_retries=1)
    assert raised.value.idempotency_key == route.calls.last.request.headers["Idempotency-Key"]
    assert "The request may have been carried out" in str(raised.value)


def test_the_error_of_an_unsent_write_does_not_say_that_it_may_be_done(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(CUSTOMERS).mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(APIConnectionError) as raised:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert "carried out" not in str(raised.value)


def test_the_error_of_a_read_has_no_idempotency_key(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(404, json=error("resource_missing"))
    with pytest.raises(NotFoundError) as raised:
        run(lambda client: client.customers.get(TEAM, ID))
    assert raised.value.idempotency_key is None


# ── Conflicts ────────────────────────────────────────────────────────────────────────────────────────────────────────

LOST = [httpx.ReadTimeout(""), httpx.RemoteProtocolError(""), httpx.Response(502), httpx.Response(504)]


@pytest.mark.parametrize(
    ("lost", "conflict"),
    [*((lost, error("request_in_progress")) for lost in LOST), (LOST[0], {"success": False, "error": "Conflict"})],
)
def test_a_conflict_after_a_lost_response_is_retried(
    api_mock: respx.Router, run: Runner, lost: Exception | httpx.Response, conflict: Any
) -> None:
    """The server may still be processing the first attempt."""
    responses = [lost, httpx.Response(409, json=conflict), httpx.Response(201, json=ok(CUSTOMER))]
    route = api_mock.post(CUSTOMERS).mock(side_effect=responses)
    run(lambda client: client.customers.create(TEAM, name="J", email=CUSTOMER["email"]))
    assert route.call_count == 3


@pytest.mark.parametrize(
    "conflict",
    [
        error("EMAIL_EXISTS"),
        error("duplicate_email"),
        error("email_taken"),
        {"success": False, "error": "A customer with this email already exists"},
    ],
)
def test_a_conflict_with_an_existing_resource_is_not_retried(
    api_mock: respx.Router, run: Runner, conflict: Any
) -> None:
    responses = [httpx.ReadTimeout(""), httpx.Response(409, json=conflict)]
    route = api_mock.post(CUSTOMERS).mock(side_effect=responses)
    with pytest.raises(ConflictError):
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert route.call_count == 2


def test_a_lasting_conflict_after_a_lost_response_is_raised(api_mock: respx.Router, run: Runner) -> None:
    conflict = httpx.Response(409, json=error("request_in_progress"))
    route = api_mock.post(CUSTOMERS).mock(side_effect=[httpx.ReadTimeout(""), conflict, conflict, conflict])
    with pytest.raises(ConflictError) as raised:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert (route.call_count, raised.value.attempts) == (4, 4)


# ── Deletes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "outcomes",
    [
        [httpx.ReadTimeout("")],
        [httpx.RemoteProtocolError("")],
        [httpx.Response(504)],
        [httpx.ReadTimeout(""), httpx.Response(503)],
    ],
)
def test_a_404_to_a_delete_is_a_success_after_a_lost_response(
    api_mock: respx.Router, run: Runner, outcomes: list[Exception | httpx.Response]
) -> None:
    api_mock.delete(GET).mock(side_effect=[*outcomes, httpx.Response(404, json=error("resource_missing"))])
    assert run(lambda client: client.customers.delete(TEAM, ID)) == DeletedCustomer(deleted=True, id=ID)


@pytest.mark.parametrize(("status", "text"), [(404, ""), (200, DELETE_SAMPLE)])
def test_a_raw_delete_after_a_lost_response_parses_to_the_receipt(
    api_mock: respx.Router, run: Runner, status: int, text: str
) -> None:
    api_mock.delete(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(status, text=text)])
    raw = run(lambda client: client.customers.with_raw_response.delete(TEAM, ID))
    assert (raw.status_code, raw.attempts, raw.parse().id) == (status, 2, ID)


def test_a_delete_by_request_returns_none_for_a_404_after_a_lost_response(api_mock: respx.Router, run: Runner) -> None:
    api_mock.delete("/things/1").mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(404)])
    assert run(lambda client: client.request("DELETE", "/things/1")) is None


@pytest.mark.parametrize(
    "first", [None, httpx.Response(503), httpx.Response(429), httpx.ConnectError(""), httpx.PoolTimeout("")], ids=repr
)
def test_a_404_to_a_delete_raises_if_no_response_was_lost(
    api_mock: respx.Router, run: Runner, first: Exception | httpx.Response | None
) -> None:
    missing = httpx.Response(404, json=error("resource_missing", "No such customer."))
    api_mock.delete(GET).mock(side_effect=[first, missing] if first else [missing])
    with pytest.raises(NotFoundError, match="No such customer"):
        run(lambda client: client.customers.delete(TEAM, ID))


def test_a_404_to_an_update_raises_after_a_lost_response(api_mock: respx.Router, run: Runner) -> None:
    api_mock.patch(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(404)])
    with pytest.raises(NotFoundError):
        run(lambda client: client.customers.update(TEAM, ID, name="J"))
