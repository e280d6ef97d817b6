"""Pure decisions: is this outcome worth another attempt, and after how long. Strategies for tenacity, as functions.

To change what is retried, change `is_retryable`: it also decides after the first attempt, before tenacity is asked. To
change the delays and the end, change `policy`.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, TypeAlias, TypedDict, cast

from cstar._logging import logger
from cstar._response import ReceivedResponse, error_fields, retry_after
from cstar.errors import APIConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

    from cstar._call_state import CallState

BACKOFF_INITIAL = 0.5
BACKOFF_MAXIMUM = 8.0
BACKOFF_JITTER = 0.25
# The jitter of a delay that the server asks for: a share of the delay, and at most so many seconds.
RETRY_AFTER_JITTER = 0.1
RETRY_AFTER_JITTER_MAXIMUM = 5.0
# Seconds. `time.sleep()` accepts no more on some platforms.
LONGEST_SLEEP = 1_000_000.0


# The outcome of an attempt.
Outcome: TypeAlias = ReceivedResponse | APIConnectionError


# The code of a 409 about a resource that is there already, or its message in the older shape without a code.
_EXISTS = re.compile("exists|duplicate|taken", re.IGNORECASE)


def is_retryable(outcome: Outcome, state: CallState) -> bool:
    """Whether another attempt may succeed: after no response, 408, 429, 5xx, and 409 after a lost response.

    Not after 501 and 505, and not after a failure that stays, such as a certificate that is not trusted.
    """
    if isinstance(outcome, APIConnectionError):
        return not state.is_permanent
    if outcome.status_code == 409:
        # The server may still be at work on an earlier attempt.
        fields = error_fields(outcome.body)
        return outcome.after_lost_response and not _EXISTS.search(fields.get("code") or fields.get("message", ""))
    return outcome.status_code in {408, 429} or (outcome.status_code >= 500 and outcome.status_code not in {501, 505})


def is_lost_response(response: ReceivedResponse) -> bool:
    """502 and 504 come from a proxy that got no response, so whether the API acted is unknown."""
    return response.status_code in {502, 504}


def backoff(attempt_number: int) -> float:
    """Exponential backoff in seconds, with jitter, so that clients do not return in step."""
    # The exponent is bounded because 2.0 ** 1024 overflows.
    delay = min(BACKOFF_MAXIMUM, BACKOFF_INITIAL * 2.0 ** min(attempt_number - 1, 64))
    return delay * random.uniform(1, 1 + BACKOFF_JITTER)  # noqa: S311 - not for secrets


def with_jitter(seconds: float) -> float:
    """A wait that the server asked for, and up to a tenth more, so that clients do not return in step."""
    return seconds + random.uniform(0, min(seconds * RETRY_AFTER_JITTER, RETRY_AFTER_JITTER_MAXIMUM))  # noqa: S311 - likewise


class Policy(TypedDict):
    """The keywords of `tenacity.Retrying` and `tenacity.AsyncRetrying` alike."""

    retry: Callable[[RetryCallState], bool]
    wait: Callable[[RetryCallState], float]
    stop: Callable[[RetryCallState], bool]
    before_sleep: Callable[[RetryCallState], None]
    retry_error_callback: Callable[[RetryCallState], Outcome]


def policy(
    *, max_retries: int, max_retry_wait: float, before_sleep: Callable[[CallState, Outcome, float], None]
) -> Policy:
    """The retry policy of every call.

    Args:
        max_retries: Attempts after the first.
        max_retry_wait: The longest delay, in seconds. The backoff is cut to it; if the server asks for a longer one,
            the call is not retried. The jitter does not count.
        before_sleep: Called before each delay, with its seconds.
    """
    longest = min(max_retry_wait, LONGEST_SLEEP)

    def retry(state: RetryCallState) -> bool:
        assert state.outcome is not None  # tenacity asks after an attempt
        return not state.outcome.failed and is_retryable(_outcome(state), _call_state(state))

    def asked(state: RetryCallState) -> float:
        outcome = _outcome(state)
        return (retry_after(outcome) if isinstance(outcome, ReceivedResponse) else None) or 0.0

    def wait(state: RetryCallState) -> float:
        least, seconds = min(backoff(state.attempt_number), longest), asked(state)
        if seconds <= least:
            return least
        left = _call_state(state).time_left()
        delay = with_jitter(seconds)
        return seconds if left is not None and delay >= left else delay

    def stop(state: RetryCallState) -> bool:
        # Do not begin a delay longer than `max_retry_wait` or the deadline: raise the error.
        left = _call_state(state).time_left()
        is_too_long = asked(state) > longest or (left is not None and state.upcoming_sleep >= left)
        return is_too_long or state.attempt_number > max_retries

    return {
        "retry": retry,
        "wait": wait,
        "stop": stop,
        "before_sleep": lambda state: before_sleep(_call_state(state), _outcome(state), state.upcoming_sleep),
        "retry_error_callback": _outcome,
    }


def _outcome(state: RetryCallState) -> Outcome:
    """The last outcome. It stands when there are no more attempts."""
    assert state.outcome is not None
    return cast("Outcome", state.outcome.result())


def _call_state(state: RetryCallState) -> CallState:
    return cast("CallState", state.args[0])


def log_retry(call: CallState, outcome: Outcome, delay: float) -> None:
    """Log that a call is retried."""
    fields: dict[str, object]
    if isinstance(outcome, APIConnectionError):
        cause = outcome.__cause__ or outcome
        fields = {"error_type": type(cause).__name__}
        reason = f"got no answer ({type(cause).__name__}: {cause})"
    else:
        fields = {"status_code": outcome.status_code}
        reason = f"was answered with {outcome.status_code}"
    logger.info(
        "%s: attempt %d %s; retrying in %.2f s",
        call,
        call.attempts,
        reason,
        delay,
        extra={**call.log_fields, **fields, "retry_wait": delay},
    )
