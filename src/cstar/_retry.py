"""Pure: is this outcome worth another attempt, and after how long. Strategies for tenacity, named for what they mean.

To change what is tried again, change `is_worth_retrying`: it also decides after the first attempt, when tenacity is not
asked yet. To change the waits and the end, change `policy`, the only place that puts the strategies together.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeAlias, TypedDict, cast

from tenacity import retry_if_result, stop_after_attempt, stop_any
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from cstar._codec import Answer, retry_after
from cstar._logging import logger
from cstar.errors import APIConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

BACKOFF_INITIAL = 0.5
BACKOFF_MAXIMUM = 8.0
BACKOFF_JITTER = 0.25
# What time.sleep() can do everywhere; whoever allows any wait gets the error for a longer one.
LONGEST_SLEEP = 1_000_000.0


# What an attempt came to.
Outcome: TypeAlias = Answer | APIConnectionError


def is_worth_retrying(outcome: Outcome) -> bool:
    """No answer, 408, 429 and 5xx can come out otherwise next time; a 409 or another 4xx cannot."""
    if isinstance(outcome, APIConnectionError):
        return True
    return outcome.status_code in {408, 429} or outcome.status_code >= 500


def is_lost_answer(answer: Answer) -> bool:
    """502 and 504 come from a proxy that got no answer: whether the API acted is unknown, as without any answer."""
    return answer.status_code in {502, 504}


class wait_backoff(wait_base):  # noqa: N801 - tenacity's strategies are named like functions
    """Exponential backoff, each wait longer by a random part of itself so that clients do not return in step."""

    def __init__(self, *, initial: float, maximum: float, jitter: float) -> None:
        self.initial, self.maximum, self.jitter = initial, maximum, jitter

    def __call__(self, retry_state: RetryCallState) -> float:
        # The exponent is bounded because 2.0 ** 1024 overflows; the maximum is reached long before.
        backoff = min(self.maximum, self.initial * 2.0 ** min(retry_state.attempt_number - 1, 64))
        return backoff * random.uniform(1, 1 + self.jitter)  # noqa: S311 - not for secrets


class wait_at_most(wait_base):  # noqa: N801
    """Another strategy's wait, capped."""

    def __init__(self, wait: wait_base, maximum: float) -> None:
        self.wait, self.maximum = wait, maximum

    def __call__(self, retry_state: RetryCallState) -> float:
        return min(self.wait(retry_state), self.maximum)


class wait_as_asked(wait_base):  # noqa: N801
    """What the server asks for with Retry-After; another strategy's wait where it asks for nothing."""

    def __init__(self, otherwise: wait_base) -> None:
        self.otherwise = otherwise

    def __call__(self, retry_state: RetryCallState) -> float:
        outcome = _outcome(retry_state)
        asked = retry_after(outcome) if isinstance(outcome, Answer) else None
        return self.otherwise(retry_state) if asked is None else asked


class stop_if_wait_exceeds(stop_base):  # noqa: N801
    """Do not sit through a wait longer than this: the caller can do better with the error than with a sleep."""

    def __init__(self, maximum: float) -> None:
        self.maximum = maximum

    def __call__(self, retry_state: RetryCallState) -> bool:
        return retry_state.upcoming_sleep > self.maximum


class Policy(TypedDict):
    """The keywords of `tenacity.Retrying` and `tenacity.AsyncRetrying` alike."""

    retry: retry_if_result
    wait: wait_base
    stop: stop_base
    before_sleep: Callable[[RetryCallState], None]
    retry_error_callback: Callable[[RetryCallState], Outcome]


def policy(*, max_retries: int, max_retry_wait: float) -> Policy:
    """The retry policy of every call.

    Args:
        max_retries: Attempts after the first.
        max_retry_wait: The longest single wait, in seconds. Our own backoff is cut to it; a server that asks for a
            longer one ends the retries.
    """
    max_retry_wait = min(max_retry_wait, LONGEST_SLEEP)
    backoff = wait_backoff(initial=BACKOFF_INITIAL, maximum=BACKOFF_MAXIMUM, jitter=BACKOFF_JITTER)
    return {
        "retry": retry_if_result(is_worth_retrying),
        "wait": wait_as_asked(otherwise=wait_at_most(backoff, max_retry_wait)),
        "stop": stop_any(stop_after_attempt(max_retries + 1), stop_if_wait_exceeds(max_retry_wait)),
        "before_sleep": _log_retry,
        "retry_error_callback": _outcome,
    }


def _outcome(retry_state: RetryCallState) -> Outcome:
    """What the last attempt came to, which is also what stands when attempts run out."""
    assert retry_state.outcome is not None  # tenacity asks the strategies after an attempt
    return cast("Outcome", retry_state.outcome.result())


def _log_retry(retry_state: RetryCallState) -> None:
    outcome = _outcome(retry_state)
    fields: dict[str, object]
    if isinstance(outcome, APIConnectionError):
        cause = outcome.__cause__ or outcome
        fields = {"error_type": type(cause).__name__}
        reason = f"got no answer ({type(cause).__name__}: {cause})"
    else:
        fields = {"status_code": outcome.status_code}
        reason = f"was answered with {outcome.status_code}"
    exchange, wait = retry_state.args[0], retry_state.upcoming_sleep
    logger.info(
        "%s: attempt %d %s; retrying in %.2f s",
        exchange,
        retry_state.attempt_number,
        reason,
        wait,
        extra={**exchange.log_fields, **fields, "retry_wait": wait},
    )
