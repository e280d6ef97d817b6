"""The retry policy, as pure functions: which outcomes are retried, and after which delay.

`is_retryable` decides which outcomes are retried. `policy` decides the delays and the number of attempts, as strategies
for tenacity. The first attempt runs without tenacity, so the transport calls `is_retryable` for it.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, TypedDict, cast

from cstar._logging import logger
from cstar._response import ReceivedResponse, error_fields, retry_after
from cstar.errors import APIConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

    from cstar._call_state import CallState, Outcome

# Seconds. The delay doubles with each retry, up to the maximum.
BACKOFF_INITIAL = 0.5
BACKOFF_MAXIMUM = 8.0
# The jitter of the backoff: a fraction of the delay.
BACKOFF_JITTER = 0.25
# The jitter of a delay that the server requests: a fraction of the delay, and its maximum in seconds.
RETRY_AFTER_JITTER = 0.1
RETRY_AFTER_JITTER_MAXIMUM = 5.0
# Seconds: the limit of `time.sleep()` on some platforms.
LONGEST_SLEEP = 1_000_000.0

# Matches the code of a 409 for a resource that exists already, or its message if it has no code.
ALREADY_EXISTS = re.compile("exists|duplicate|taken", re.IGNORECASE)


def is_retryable(outcome: Outcome, state: CallState) -> bool:
    """Return whether to retry: after no response, 408, 429 or 5xx, and after 409 if an earlier response was lost.

    501, 505 and permanent failures, such as an untrusted certificate, are not retried.
    """
    if isinstance(outcome, APIConnectionError):
        return not state.is_permanent
    if outcome.status_code == 409:
        # The server may still be processing an earlier attempt.
        fields = error_fields(outcome.body)
        return outcome.after_lost_response and not ALREADY_EXISTS.search(
            fields.get("code") or fields.get("message", "")
        )
    return outcome.status_code in {408, 429} or (outcome.status_code >= 500 and outcome.status_code not in {501, 505})


def is_lost_response(response: ReceivedResponse) -> bool:
    """Return whether a proxy got no response from the API (502, 504). The request may have been carried out."""
    return response.status_code in {502, 504}


def backoff(attempt_number: int) -> float:
    """Return the exponential backoff in seconds, with jitter, so that clients do not retry at the same time."""
    # The exponent is bounded because 2.0 ** 1024 overflows.
    delay = min(BACKOFF_MAXIMUM, BACKOFF_INITIAL * 2.0 ** min(attempt_number - 1, 64))
    return delay * random.uniform(1, 1 + BACKOFF_JITTER)  # noqa: S311 - not for secrets


def with_jitter(seconds: float) -> float:
    """Add jitter of up to 10%, and at most 5 s, to a delay that the server requests."""
    return seconds + random.uniform(0, min(seconds * RETRY_AFTER_JITTER, RETRY_AFTER_JITTER_MAXIMUM))  # noqa: S311 - likewise


class Policy(TypedDict):
    """The keyword arguments of `tenacity.Retrying` and `tenacity.AsyncRetrying`."""

    retry: Callable[[RetryCallState], bool]
    wait: Callable[[RetryCallState], float]
    stop: Callable[[RetryCallState], bool]
    before_sleep: Callable[[RetryCallState], None]
    retry_error_callback: Callable[[RetryCallState], Outcome]


def policy(
    *, max_retries: int, max_retry_wait: float, before_sleep: Callable[[CallState, Outcome, float], None]
) -> Policy:
    """Return the retry policy of a client.

    Args:
        max_retries: The number of attempts after the first.
        max_retry_wait: The longest delay in seconds, without jitter. A longer backoff is reduced to it. If the server
            requests a longer delay, the call is not retried.
        before_sleep: Called before each delay, with its seconds.
    """
    longest = min(max_retry_wait, LONGEST_SLEEP)

    def retry(state: RetryCallState) -> bool:
        assert state.outcome is not None  # tenacity calls this after an attempt
        return not state.outcome.failed and is_retryable(_outcome(state), _call_state(state))

    def requested_delay(state: RetryCallState) -> float:
        outcome = _outcome(state)
        return (retry_after(outcome) if isinstance(outcome, ReceivedResponse) else None) or 0.0

    def wait(state: RetryCallState) -> float:
        own_delay, requested = min(backoff(state.attempt_number), longest), requested_delay(state)
        if requested <= own_delay:
            return own_delay
        left = _call_state(state).time_left()
        delay = with_jitter(requested)
        # Omit the jitter if it would exceed the deadline.
        return requested if left is not None and delay >= left else delay

    def stop(state: RetryCallState) -> bool:
        # Raise the error instead of starting a delay that exceeds `max_retry_wait` or the deadline.
        left = _call_state(state).time_left()
        is_too_long = requested_delay(state) > longest or (left is not None and state.upcoming_sleep >= left)
        return is_too_long or state.attempt_number > max_retries

    return {
        "retry": retry,
        "wait": wait,
        "stop": stop,
        "before_sleep": lambda state: before_sleep(_call_state(state), _outcome(state), state.upcoming_sleep),
        "retry_error_callback": _outcome,
    }


def _outcome(state: RetryCallState) -> Outcome:
    """Return the outcome of the last attempt. It is the result of the call if there are no more attempts."""
    assert state.outcome is not None
    return cast("Outcome", state.outcome.result())


def _call_state(state: RetryCallState) -> CallState:
    return cast("CallState", state.args[0])


def log_retry(state: CallState, outcome: Outcome, delay: float) -> None:
    """Log a retry."""
    fields: dict[str, object]
    if isinstance(outcome, APIConnectionError):
        cause = outcome.__cause__ or outcome
        fields = {"error_type": type(cause).__name__}
        reason = f"got no response ({type(cause).__name__}: {cause})"
    else:
        fields = {"status_code": outcome.status_code}
        reason = f"returned {outcome.status_code}"
    logger.info(
        "%s: attempt %d %s; retrying in %.2f s",
        state,
        state.attempts,
        reason,
        delay,
        extra={**state.log_fields, **fields, "retry_wait": delay},
    )
