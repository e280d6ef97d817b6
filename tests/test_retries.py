"""Which outcomes are tried again, after how long, and what is the same on every attempt."""

from __future__ import annotations

import email.utils
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

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
from support import CUSTOMER, CUSTOMERS, DELETE_SAMPLE, DETAIL, ID, TEAM, Speaker, error, ok

if TYPE_CHECKING:
    import respx

GET = f"{CUSTOMERS}/{ID}"
FINE = httpx.Response(200, json=ok(DETAIL))


@pytest.mark.parametrize("status", [408, 429, 500, 501, 502, 503, 504, 599])
def test_a_status_that_may_pass_is_retried(wire: respx.Router, say: Speaker, status: int) -> None:
    route = wire.get(GET).mock(side_effect=[httpx.Response(status), FINE])
    assert say(lambda client: client.customers.get(TEAM, ID)).id == ID
    assert route.call_count == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 422, 423, 425, 451])
def test_a_status_that_cannot_pass_is_not_retried(wire: respx.Router, say: Speaker, status: int) -> None:
    route = wire.get(GET).respond(status, headers={"Location": "https://elsewhere.test/"})
    with pytest.raises(APIStatusError) as caught:
        say(lambda client: client.customers.get(TEAM, ID))
    assert (route.call_count, caught.value.attempts, say.waits) == (1, 1, [])


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
        httpx.LocalProtocolError(""),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_no_answer_is_retried(wire: respx.Router, say: Speaker, fault: Exception) -> None:
    route = wire.get(GET).mock(side_effect=[fault, FINE])
    assert say(lambda client: client.customers.get(TEAM, ID)).id == ID
    assert route.call_count == 2


def test_the_default_is_three_retries_after_the_first_attempt(wire: respx.Router, say: Speaker) -> None:
    route = wire.get(GET).respond(503, json=error(message="Down."))
    with pytest.raises(InternalServerError) as caught:
        say(lambda client: client.customers.get(TEAM, ID))
    assert (route.call_count, caught.value.attempts) == (4, 4)


def test_max_retries_0_tries_once(wire: respx.Router, say: Speaker) -> None:
    route = wire.get(GET).mock(side_effect=httpx.ReadTimeout(""))
    with pytest.raises(APITimeoutError) as caught:
        say(lambda client: client.customers.get(TEAM, ID), max_retries=0)
    assert (route.call_count, caught.value.attempts) == (1, 1)


def test_the_last_outcome_stands_when_attempts_run_out(wire: respx.Router, say: Speaker) -> None:
    wire.get(GET).mock(side_effect=[httpx.Response(500), httpx.ConnectError("refused")])
    with pytest.raises(APIConnectionError) as caught:
        say(lambda client: client.customers.get(TEAM, ID), max_retries=1)
    assert caught.value.attempts == 2


def test_waits_double_from_half_a_second_to_eight_with_up_to_a_quarter_more(wire: respx.Router, say: Speaker) -> None:
    wire.get(GET).respond(500)
    with pytest.raises(InternalServerError):
        say(lambda client: client.customers.get(TEAM, ID), max_retries=7)
    for wait, base in zip(say.waits, [0.5, 1, 2, 4, 8, 8, 8], strict=True):
        assert base <= wait <= base * 1.25


def test_waits_differ_from_call_to_call(wire: respx.Router, say: Speaker) -> None:
    wire.get(GET).respond(500)
    for _ in range(3):
        with pytest.raises(InternalServerError):
            say(lambda client: client.customers.get(TEAM, ID), max_retries=1)
    assert len(set(say.waits)) == 3


def test_max_retry_wait_caps_the_backoff(wire: respx.Router, say: Speaker) -> None:
    wire.get(GET).mock(side_effect=[httpx.Response(500), httpx.Response(500), FINE])
    say(lambda client: client.customers.get(TEAM, ID), max_retry_wait=0.1)
    assert say.waits == [0.1, 0.1]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_wins_over_the_backoff(wire: respx.Router, say: Speaker, status: int) -> None:
    wire.get(GET).mock(side_effect=[httpx.Response(status, headers={"Retry-After": "7"}), FINE])
    say(lambda client: client.customers.get(TEAM, ID))
    assert say.waits == [7.0]


def test_retry_after_as_a_date_wins_over_the_backoff(wire: respx.Router, say: Speaker) -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    wire.get(GET).mock(side_effect=[httpx.Response(429, headers={"Retry-After": date}), FINE])
    say(lambda client: client.customers.get(TEAM, ID))
    assert 25 < say.waits[0] <= 30


def test_retry_after_as_a_date_counts_from_now() -> None:
    answer = ReceivedResponse(429, httpx.Headers({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), b"", "key")
    assert retry_after(answer, now=datetime(2015, 10, 21, 7, 27, 30, tzinfo=timezone.utc)) == 30.0


def test_retry_after_in_the_past_means_now(wire: respx.Router, say: Speaker) -> None:
    wire.get(GET).mock(
        side_effect=[httpx.Response(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), FINE]
    )
    say(lambda client: client.customers.get(TEAM, ID))
    assert say.waits == [0.0]


def test_retry_after_of_the_older_error_shape_is_honoured(wire: respx.Router, say: Speaker) -> None:
    limited = {"error": {"code": "RATE_LIMITED", "message": "Slow down.", "retryAfter": 12}}
    wire.get(GET).mock(side_effect=[httpx.Response(429, json=limited), FINE])
    say(lambda client: client.customers.get(TEAM, ID))
    assert say.waits == [12.0]


@pytest.mark.parametrize("nonsense", ["soon", "-5", "nan", "inf", "1e999", "", "Wed, 99 Foo 2015", "٣٣", "3_3"])
def test_a_retry_after_that_makes_no_sense_falls_back_to_the_backoff(
    wire: respx.Router, say: Speaker, nonsense: str
) -> None:
    headers = httpx.Headers({"Retry-After": nonsense}, encoding="utf-8")
    wire.get(GET).mock(side_effect=[httpx.Response(429, headers=headers), FINE])
    say(lambda client: client.customers.get(TEAM, ID))
    assert len(say.waits) == 1
    assert say.waits[0] <= 3


@given(st.text())
def test_no_retry_after_ever_breaks_or_asks_for_a_negative_wait(text: str) -> None:
    wait = retry_after(ReceivedResponse(429, httpx.Headers({"Retry-After": text}, encoding="utf-8"), b"", "key"))
    assert wait is None or wait >= 0


def test_asked_to_wait_longer_than_max_retry_wait_it_raises_at_once(wire: respx.Router, say: Speaker) -> None:
    route = wire.post(CUSTOMERS).respond(429, json=error(message="Slow down."), headers={"Retry-After": "3000"})
    with pytest.raises(RateLimitError) as caught:
        say(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert caught.value.retry_after == 3000
    assert caught.value.idempotency_key == route.calls.last.request.headers["Idempotency-Key"]
    assert (route.call_count, say.waits) == (1, [])
    assert "Retry after 3000 s." in str(caught.value)


def test_asked_to_wait_just_max_retry_wait_it_waits(wire: respx.Router, say: Speaker) -> None:
    wire.get(GET).mock(side_effect=[httpx.Response(429, headers={"Retry-After": "60"}), FINE])
    say(lambda client: client.customers.get(TEAM, ID))
    assert say.waits == [60.0]


def test_max_retry_wait_is_the_callers_to_raise(wire: respx.Router, say: Speaker) -> None:
    wire.get(GET).mock(side_effect=[httpx.Response(429, headers={"Retry-After": "3000"}), FINE])
    say(lambda client: client.customers.get(TEAM, ID), max_retry_wait=float("inf"))
    assert say.waits == [3000.0]


def test_every_attempt_of_a_write_sends_the_same_bytes_and_key(wire: respx.Router, say: Speaker) -> None:
    route = wire.post(CUSTOMERS).mock(
        side_effect=[httpx.ReadTimeout(""), httpx.Response(502), httpx.Response(201, json=ok(CUSTOMER))]
    )
    say(lambda client: client.customers.create(TEAM, name="J", email=CUSTOMER["email"]))
    requests = [call.request for call in route.calls]
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 1
    assert len({request.content for request in requests}) == 1
    assert len(requests) == 3


def test_a_failed_write_tells_the_key_that_was_sent(wire: respx.Router, say: Speaker) -> None:
    route = wire.post(CUSTOMERS).mock(side_effect=httpx.ReadTimeout(""))
    with pytest.raises(APITimeoutError) as caught:
        say(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"), max_retries=1)
    assert caught.value.idempotency_key == route.calls.last.request.headers["Idempotency-Key"]
    assert "It may have been carried out" in str(caught.value)


def test_a_write_that_never_went_out_is_not_said_to_be_carried_out(wire: respx.Router, say: Speaker) -> None:
    wire.post(CUSTOMERS).mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(APIConnectionError) as caught:
        say(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert "carried out" not in str(caught.value)


def test_a_failed_read_has_no_key(wire: respx.Router, say: Speaker) -> None:
    wire.get(GET).respond(404, json=error("resource_missing"))
    with pytest.raises(NotFoundError) as caught:
        say(lambda client: client.customers.get(TEAM, ID))
    assert caught.value.idempotency_key is None


def test_a_conflict_is_raised_after_one_attempt(wire: respx.Router, say: Speaker) -> None:
    route = wire.post(CUSTOMERS).respond(409, json=error("resource_already_exists", "Taken.", param="email"))
    with pytest.raises(ConflictError):
        say(lambda client: client.customers.create(TEAM, name="J", email="j@x.io"))
    assert route.call_count == 1


def test_an_answer_that_is_not_the_documented_one_is_not_retried(wire: respx.Router, say: Speaker) -> None:
    route = wire.get(GET).respond(200, text='{"success": tr')
    with pytest.raises(APIResponseValidationError):
        say(lambda client: client.customers.get(TEAM, ID))
    assert route.call_count == 1


@pytest.mark.parametrize("lost", [httpx.ReadTimeout(""), httpx.RemoteProtocolError(""), httpx.Response(504)])
def test_a_delete_whose_answer_was_lost_and_whose_retry_says_404_did_delete(
    wire: respx.Router, say: Speaker, lost: Exception | httpx.Response
) -> None:
    wire.delete(GET).mock(side_effect=[lost, httpx.Response(404, json=error("resource_missing"))])
    assert say(lambda client: client.customers.delete(TEAM, ID)) == DeletedCustomer(deleted=True, id=ID)


def test_a_lost_deletion_stays_remembered_over_further_attempts(wire: respx.Router, say: Speaker) -> None:
    wire.delete(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(503), httpx.Response(404)])
    assert say(lambda client: client.customers.delete(TEAM, ID)).deleted


def test_a_raw_delete_shows_the_404_and_parses_to_the_receipt(wire: respx.Router, say: Speaker) -> None:
    wire.delete(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(404)])
    raw = say(lambda client: client.customers.with_raw_response.delete(TEAM, ID))
    assert (raw.status_code, raw.attempts, raw.parse().id) == (404, 2, ID)


def test_a_deletion_by_request_whose_answer_was_lost_returns_none(wire: respx.Router, say: Speaker) -> None:
    wire.delete("/things/1").mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(404)])
    assert say(lambda client: client.request("DELETE", "/things/1")) is None


NOTHING_LOST = [None, httpx.Response(503), httpx.Response(429), httpx.ConnectError(""), httpx.PoolTimeout("")]


@pytest.mark.parametrize("first", NOTHING_LOST, ids=repr)
def test_a_delete_of_nobody_is_not_found(
    wire: respx.Router, say: Speaker, first: Exception | httpx.Response | None
) -> None:
    missing = httpx.Response(404, json=error("resource_missing", "No such customer."))
    wire.delete(GET).mock(side_effect=[first, missing] if first else [missing])
    with pytest.raises(NotFoundError, match="No such customer"):
        say(lambda client: client.customers.delete(TEAM, ID))


def test_a_delete_that_is_retried_and_answered_returns_the_servers_receipt(wire: respx.Router, say: Speaker) -> None:
    wire.delete(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(200, text=DELETE_SAMPLE)])
    raw = say(lambda client: client.customers.with_raw_response.delete(TEAM, ID))
    assert (raw.status_code, raw.attempts) == (200, 2)


def test_only_a_delete_takes_404_for_done(wire: respx.Router, say: Speaker) -> None:
    wire.patch(GET).mock(side_effect=[httpx.ReadTimeout(""), httpx.Response(404)])
    with pytest.raises(NotFoundError):
        say(lambda client: client.customers.update(TEAM, ID, name="J"))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_passes_straight_through(
    wire: respx.Router, waits: list[float], stop: type[BaseException]
) -> None:
    requests: list[httpx.Request] = []

    def interrupt(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise stop

    wire.get(GET).mock(side_effect=interrupt)
    with pytest.raises(stop):
        Speaker("sync")(lambda client: client.customers.get(TEAM, ID))
    assert (len(requests), waits) == (1, [])


def test_a_nonsensical_header_does_not_hide_what_the_body_asks(wire: respx.Router, say: Speaker) -> None:
    limited = {"error": {"message": "Slow down.", "retryAfter": 12}}
    wire.get(GET).mock(side_effect=[httpx.Response(429, json=limited, headers={"Retry-After": "soon"}), FINE])
    say(lambda client: client.customers.get(TEAM, ID))
    assert say.waits == [12.0]


def test_no_wait_is_longer_than_a_computer_can_sleep(wire: respx.Router, say: Speaker) -> None:
    wire.get(GET).respond(429, headers={"Retry-After": "1e20"})
    with pytest.raises(RateLimitError):
        say(lambda client: client.customers.get(TEAM, ID), max_retry_wait=float("inf"))
    assert say.waits == []


@pytest.mark.parametrize(("asked", "wait"), [("0", 0.0), ("0.5", 0.5)])
def test_a_short_retry_after_is_honoured_too(wire: respx.Router, say: Speaker, asked: str, wait: float) -> None:
    wire.get(GET).mock(side_effect=[httpx.Response(429, headers={"Retry-After": asked}), FINE])
    say(lambda client: client.customers.get(TEAM, ID))
    assert say.waits == [wait]


@pytest.mark.parametrize("zone", ["", " -0000", " +0000", " GMT"])
def test_a_retry_after_date_without_a_zone_is_in_utc(zone: str) -> None:
    answer = ReceivedResponse(429, httpx.Headers({"Retry-After": f"Wed, 21 Oct 2015 07:28:00{zone}"}), b"", "key")
    assert retry_after(answer, now=datetime(2015, 10, 21, 7, 27, 30, tzinfo=timezone.utc)) == 30.0


def test_a_retry_after_date_in_another_zone_is_that_moment() -> None:
    answer = ReceivedResponse(429, httpx.Headers({"Retry-After": "Wed, 21 Oct 2015 09:28:00 +0200"}), b"", "key")
    assert retry_after(answer, now=datetime(2015, 10, 21, 7, 27, 30, tzinfo=timezone.utc)) == 30.0
