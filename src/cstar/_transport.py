"""Send calls with retries: `Transport` and `AsyncTransport`.

Both do only the I/O and the delays. The shared base class and the pure modules build requests, interpret outcomes and
decide on retries.
"""

from __future__ import annotations

import logging
import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import ref

import httpx

from cstar import _aiohttp
from cstar._body import Body, BodyRejectedError
from cstar._budget import Budget
from cstar._call_state import CallState
from cstar._connections import StaleConnectionError, end_lease
from cstar._failures import connection_error, is_permanent, was_sent
from cstar._http_clients import AsyncHttpClients, HttpClients
from cstar._logging import logger
from cstar._request import RequestBuilder
from cstar._response import ReceivedResponse, interpret
from cstar._retry import backoff, is_lost_response, is_retryable, log_retry, policy, with_jitter
from cstar.errors import APIConnectionError, APIResponseValidationError
from cstar.models.attempt import Attempt

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable

    from tenacity import AsyncRetrying, Retrying
    from typing_extensions import Self

    from cstar._call import Call
    from cstar._call_state import Outcome
    from cstar._options import Options

ClientsT = TypeVar("ClientsT", HttpClients, AsyncHttpClients)
T = TypeVar("T")

# Keeps httpx from looking for a user name in each URL.
NO_AUTH = httpx.Auth()
EMPTY_STREAM = httpx.ByteStream(b"")
# Seconds. Sockets reject a negative timeout, and 0 means non-blocking.
_SHORTEST_TIMEOUT = 0.001
# Seconds from the deadline of an attempt to its cancellation, so that its waits time out first, with better errors.
# Longer with a custom httpx client, because httpx's pool can lose a connection when a request is cancelled.
_CANCELLATION_DELAY, _CANCELLATION_DELAY_IF_CUSTOM = 0.005, 0.25


class _BaseTransport(Generic[ClientsT]):
    """The parts of both transports that do no I/O."""

    def __init__(self, options: Options, clients: ClientsT, budget: Budget, *, owns_clients: bool = True) -> None:
        self.options = options
        self.clients: ClientsT = clients
        self.budget = budget
        self._owns_clients = owns_clients
        self._requests = RequestBuilder(options, clients.user_agent)
        self._timeout = None if isinstance(options.timeout, httpx.Timeout) else float(options.timeout)
        self._timeout_parts = httpx.Timeout(options.timeout).as_dict()
        self._shared_deadline: float | None = None  # by `time.monotonic()`
        self._policy = policy(
            max_retries=options.max_retries, max_retry_wait=options.max_retry_wait, before_sleep=self._on_retry
        )

    @classmethod
    def build(cls, options: Options, http_client: Any) -> Self:  # noqa: ANN401 - the subclasses declare the type
        """Create a transport with a new connection pool, or over a custom httpx client."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[object, ...]:
        if self.clients.is_custom:
            raise TypeError("a client with a custom http_client can be neither pickled nor copied")
        return type(self).build, (self.options, None)

    def with_options(self, options: Options) -> Self:
        """Create a transport with other options over the same connections. Closing it does not close them."""
        return type(self)(options, self.clients, self.budget, owns_clients=False)

    def with_shared_deadline(self) -> Self:
        """Create a transport over the same connections whose calls share one deadline, which starts now."""
        if self.options.deadline is None:
            return self
        transport = self.with_options(self.options)
        transport._shared_deadline = time.monotonic() + self.options.deadline
        return transport

    def _longest_wait(self) -> float:
        deadline = self.options.deadline
        return self.options.max_retry_wait if deadline is None else min(deadline, self.options.max_retry_wait)

    def _new_state(self, call: Call[Any]) -> CallState:
        deadline = self._shared_deadline
        if deadline is None and self.options.deadline is not None:
            deadline = time.monotonic() + self.options.deadline
        return CallState(call, deadline)

    def _build_request(self, state: CallState, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Begin the next attempt and build its request."""
        state.begin_attempt(self._timeout)
        extensions: dict[str, object] = {"timeout": self._timeouts(state)}
        if state.attempt_deadline is not None:
            extensions["deadline"] = state.attempt_deadline
        if state.needs_new_connection:
            extensions["new_connection"] = True
            state.needs_new_connection = False
        return self._requests.build(state.call, http, extensions)

    def _timeouts(self, state: CallState) -> dict[str, float | None]:
        """Return the timeouts of the attempt, by httpx's names."""
        if (left := state.attempt_time_left()) is None or not state.is_cut_by_deadline:
            return self._timeout_parts.copy()
        left = max(left, _SHORTEST_TIMEOUT)
        return {name: left if part is None else min(part, left) for name, part in self._timeout_parts.items()}

    def _on_response(self, state: CallState, response: httpx.Response, content: bytes) -> ReceivedResponse:
        """Record the response of an attempt, with any status."""
        state.was_sent = True
        stream = response.extensions.get("network_stream")
        # Break the reference cycle of a response and its stream.
        response.stream = EMPTY_STREAM
        received = ReceivedResponse(
            response.status_code,
            response.headers,
            content,
            self.options.api_key,
            state.attempts,
            state.lost_response,
            None if stream is None else partial(_shut_down, _reference(stream)),
            self.clients.proxy,
            self.options.base_url,
        )
        state.lost_response = state.lost_response or is_lost_response(received)
        self.budget.record(response.headers, sent=state.attempt_started)
        if logger.isEnabledFor(logging.DEBUG):
            request_id = received.request_id
            text = f"{received.status_code}, request {request_id}" if request_id else f"{received.status_code}"
            _log_attempt(state, text, status_code=received.status_code, request_id=request_id)
        return received

    def _on_rejected(
        self, state: CallState, response: httpx.Response | None, rejected: BodyRejectedError | MemoryError
    ) -> APIResponseValidationError:
        """Record a response whose body is rejected, and return the error to raise."""
        reason = str(rejected) or "there is not enough memory for it"
        if response is None:
            status_code, headers = 0, httpx.Headers()
            sentence = f"{state} failed: {reason}."
        else:
            status_code, headers = response.status_code, response.headers
            sentence = f"{state} returned {status_code}, but its body is rejected: {reason}."
        received = ReceivedResponse(status_code, headers, b"", self.options.api_key, state.attempts)
        self._notify(state, received, None)
        return APIResponseValidationError(
            received.redact(sentence),
            status_code=status_code,
            headers=received.redacted_headers(),
            attempts=state.attempts,
            idempotency_key=state.call.idempotency_key,
        )

    def _on_error(
        self,
        state: CallState,
        error: httpx.HTTPError | httpx.InvalidURL,
        request: httpx.Request,
        response: httpx.Response | None,
    ) -> Outcome:
        """Record the httpx error of an attempt, and return its outcome: the response, if there was one.

        Raises:
            APIResponseValidationError: The response is a redirect to an invalid URL.
        """
        # httpx parses the target of a redirect even if it does not follow it. On failure it discards the response.
        if isinstance(error, httpx.InvalidURL):
            raise APIResponseValidationError(
                f"{state} returned a redirect, but the response is not as documented: its target is not a URL.",
                attempts=state.attempts,
                idempotency_key=state.call.idempotency_key,
            ) from None
        if isinstance(error, httpx.HTTPStatusError):  # an event hook called `raise_for_status()`
            return self._on_response(state, error.response, _content_if_read(error.response))
        # The status of an error response is enough to raise its error.
        if response is not None and (not response.is_success or isinstance(error, httpx.DecodingError)):
            return self._on_response(state, response, b"")
        # This client's connections report whether the request was sent.
        if request.extensions.get("was_sent", True) and was_sent(error):
            state.was_sent = state.lost_response = True
        state.needs_new_connection = isinstance(error, StaleConnectionError)
        state.is_permanent = is_permanent(error)
        _log_attempt(state, type(error).__name__, error_type=type(error).__name__)
        failure = connection_error(state, error, self.options, self.clients.proxy)
        # Do not chain a cause whose text contains the API key, such as an error about a malformed response.
        if self.options.api_key not in repr([error, error.__cause__, error.__context__]):
            failure.__cause__ = error
        return failure

    def _on_retry(self, state: CallState, outcome: Outcome, delay: float) -> None:
        log_retry(state, outcome, delay)
        self._notify(state, outcome, delay)

    def _notify(self, state: CallState, outcome: Outcome, retry_wait: float | None) -> None:
        """Call the `on_attempt` option with an `Attempt`."""
        if self.options.on_attempt is None:
            return
        response = None if isinstance(outcome, APIConnectionError) else outcome
        attempt = Attempt(
            state.call.method,
            state.call.path,
            state.attempts,
            None if response is None else response.status_code or None,
            outcome if isinstance(outcome, APIConnectionError) else None,
            state.attempt_duration,
            retry_wait,
            None if response is None else response.request_id,
        )
        try:
            self.options.on_attempt(attempt)
        except Exception:
            logger.warning("on_attempt raised an exception, which is ignored", exc_info=True)


def _reference(stream: Any) -> Callable[[], Any]:  # noqa: ANN401 - a network stream of httpcore, or of a custom transport
    try:
        return ref(stream)  # a stored response must not keep its connection alive
    except TypeError:
        return lambda: None


def _shut_down(reference: Callable[[], Any]) -> None:
    from cstar._network import shut_down

    if (stream := reference()) is not None:
        shut_down(stream)


def _content_if_read(response: httpx.Response) -> bytes:
    try:
        return response.content
    except httpx.ResponseNotRead:
        return b""


def _log_attempt(state: CallState, text: str, **fields: object) -> None:
    seconds = state.attempt_duration
    extra = {**state.log_fields, **fields, "duration": seconds}
    logger.debug("%s: attempt %d: %s, %.3f s", state, state.attempts, text, seconds, extra=extra)


class Transport(_BaseTransport[HttpClients]):
    """The transport of `Cstar`."""

    @cached_property
    def _retrying(self) -> Retrying:
        from tenacity import Retrying  # imported by the first retry

        return Retrying(**self._policy)

    @classmethod
    def build(cls, options: Options, http_client: httpx.Client | None) -> Self:
        return cls(options, HttpClients(options.base_url, http_client), Budget())

    def send(self, call: Call[Any]) -> ReceivedResponse:
        """Send a call, with retries.

        Raises:
            APIConnectionError: No attempt got a response.
            APIResponseValidationError: The body of a response is rejected.
        """
        state = self._new_state(call)
        outcome: Outcome = self._attempt(state)
        # A tenacity retry loop takes as long as parsing a response, and few calls need one.
        if is_retryable(outcome, state):
            state.first = outcome
            outcome = self._retrying(self._next_attempt, state)
        self._notify(state, outcome, None)
        if isinstance(outcome, APIConnectionError):
            try:
                raise outcome
            finally:
                del outcome, state  # break the reference cycle of the error and this frame
        return outcome

    def fetch(self, call: Call[T]) -> T:
        """Send a call and decode its response."""
        return interpret(call, self.send(call))

    def _next_attempt(self, state: CallState) -> Outcome:
        outcome, state.first = state.first, None
        if outcome is None and state.last is not None and state.is_over:
            return state.last  # the delay outlasted the deadline
        return self._attempt(state) if outcome is None else outcome

    def _attempt(self, state: CallState) -> Outcome:
        outcome = self._send_once(state)
        if state.needs_new_connection:
            self._notify(state, outcome, 0.0)
            outcome = self._send_once(state)
        state.last = outcome
        return outcome

    def _send_once(self, state: CallState) -> Outcome:
        http = self.clients.get()
        request = self._build_request(state, http)
        response: httpx.Response | None = None
        try:
            response = http.send(request, stream=True, auth=http.auth or NO_AUTH, follow_redirects=False)
            content = _read(response, state)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return self._on_error(state, error, request, response)
        except (BodyRejectedError, MemoryError) as rejected:
            raise self._on_rejected(state, response, rejected) from None
        finally:
            end_lease(request)
        return self._on_response(state, response, content)

    def wait_for_budget(self) -> None:
        """Wait until the rate limit resets, if it is used up and the wait is not too long."""
        if wait := self.budget.seconds_until_reset(self._longest_wait()):
            self._retrying.sleep(with_jitter(wait))

    def back_off(self, attempt_number: int) -> None:
        """Wait for the retry delay after an attempt."""
        self._retrying.sleep(min(backoff(attempt_number), self._longest_wait()))

    def until(self, cancelled: threading.Event) -> Transport:
        """Create a transport over the same connections that stops retrying and waiting when an event is set."""
        from tenacity import sleep_using_event

        transport = self.with_options(self.options)
        stop = transport._policy["stop"]
        transport._retrying = transport._retrying.copy(
            sleep=sleep_using_event(cancelled), stop=lambda state: cancelled.is_set() or stop(state)
        )
        return transport

    def close(self) -> None:
        """Close the connections, except those of another transport or a custom httpx client."""
        if self._owns_clients:
            self.clients.close()


def _read(response: httpx.Response, state: CallState) -> bytes:
    """Read the body of a response until the deadline of the attempt."""
    try:
        body = Body(response)
        if not body.is_read:
            assert isinstance(response.stream, httpx.SyncByteStream)
            for chunk in response.stream:
                body.feed(chunk)
                # A custom httpx client does not enforce the deadline.
                if (left := state.attempt_time_left()) is not None and left <= 0:
                    raise httpx.ReadTimeout("timed out")  # noqa: TRY301
            response.close()
    except BaseException:
        response.close()
        raise
    return body.content


class AsyncTransport(_BaseTransport[AsyncHttpClients]):
    """The transport of `AsyncCstar`, on asyncio and trio."""

    def __init__(
        self, options: Options, clients: AsyncHttpClients, budget: Budget, *, owns_clients: bool = True
    ) -> None:
        super().__init__(options, clients, budget, owns_clients=owns_clients)
        self._cancellation_delay = _CANCELLATION_DELAY_IF_CUSTOM if clients.is_custom else _CANCELLATION_DELAY

    @cached_property
    def _retrying(self) -> AsyncRetrying:
        from tenacity import AsyncRetrying  # imported by the first retry

        return AsyncRetrying(**self._policy)

    @classmethod
    def build(cls, options: Options, http_client: httpx.AsyncClient | None) -> Self:
        return cls(options, AsyncHttpClients(options.base_url, http_client), Budget())

    async def send(self, call: Call[Any]) -> ReceivedResponse:
        """Send a call, with retries.

        Raises:
            APIConnectionError: No attempt got a response.
            APIResponseValidationError: The body of a response is rejected.
        """
        state = self._new_state(call)
        outcome: Outcome = await self._attempt(state)
        # A tenacity retry loop takes as long as parsing a response, and few calls need one.
        if is_retryable(outcome, state):
            state.first = outcome
            outcome = await self._retrying(self._next_attempt, state)
        self._notify(state, outcome, None)
        if isinstance(outcome, APIConnectionError):
            try:
                raise outcome
            finally:
                del outcome, state  # break the reference cycle of the error and this frame
        return outcome

    async def fetch(self, call: Call[T]) -> T:
        """Send a call and decode its response."""
        return interpret(call, await self.send(call))

    async def _next_attempt(self, state: CallState) -> Outcome:
        outcome, state.first = state.first, None
        if outcome is None and state.last is not None and state.is_over:
            return state.last  # the delay outlasted the deadline
        return await self._attempt(state) if outcome is None else outcome

    async def _attempt(self, state: CallState) -> Outcome:
        outcome = await self._send_once(state)
        if state.needs_new_connection:
            self._notify(state, outcome, 0.0)
            outcome = await self._send_once(state)
        state.last = outcome
        return outcome

    async def _send_once(self, state: CallState) -> Outcome:
        http = self.clients.get()
        request = self._build_request(state, http)
        responses: list[httpx.Response] = []
        try:
            content = await self._send_until_deadline(state, http, request, responses)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return self._on_error(state, error, request, responses[0] if responses else None)
        except (BodyRejectedError, MemoryError) as rejected:
            raise self._on_rejected(state, responses[0] if responses else None, rejected) from None
        except Exception as error:
            if (mapped := _aiohttp.as_httpx_error(error)) is None:
                raise
            mapped.request = request
            return self._on_error(state, mapped, request, responses[0] if responses else None)
        finally:
            end_lease(request)
        return self._on_response(state, responses[0], content)

    async def _send_until_deadline(
        self, state: CallState, http: httpx.AsyncClient, request: httpx.Request, responses: list[httpx.Response]
    ) -> bytes:
        """Send a request and read its response until the deadline of the attempt."""
        from cstar._event_loop import cancel_after

        left = state.attempt_time_left()
        if left is None:
            return await _send_and_read(http, request, responses)
        try:
            async with cancel_after(left + self._cancellation_delay):
                return await _send_and_read(http, request, responses)
        except TimeoutError as error:
            if state.attempt_deadline is None or time.monotonic() < state.attempt_deadline:
                raise  # an event hook raised it
            raise httpx.ReadTimeout("timed out") from error

    async def wait_for_budget(self) -> None:
        """Wait until the rate limit resets, if it is used up and the wait is not too long."""
        if wait := self.budget.seconds_until_reset(self._longest_wait()):
            await self._sleep(with_jitter(wait))

    async def back_off(self, attempt_number: int) -> None:
        """Wait for the retry delay after an attempt."""
        await self._sleep(min(backoff(attempt_number), self._longest_wait()))

    async def _sleep(self, seconds: float) -> None:
        # tenacity declares one type for its sync and async `sleep`.
        await cast("Callable[[float], Awaitable[None]]", self._retrying.sleep)(seconds)

    async def close(self) -> None:
        """Close the connections, except those of another transport or a custom httpx client."""
        if self._owns_clients:
            self.clients.close()


async def _send_and_read(http: httpx.AsyncClient, request: httpx.Request, responses: list[httpx.Response]) -> bytes:
    """Send a request, append the response to `responses` when its headers have arrived, and read its body."""
    response = await http.send(request, stream=True, auth=http.auth or NO_AUTH, follow_redirects=False)
    responses.append(response)
    rejected: BodyRejectedError | None = None
    try:
        body = Body(response)
        if not body.is_read:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                try:
                    body.feed(chunk)
                except BodyRejectedError as error:
                    rejected = error
                    if (stream := response.extensions.get("network_stream")) is None:
                        break
                    # Continue the iteration to its error: an async generator must be exhausted.
                    await stream.aclose()
            await response.aclose()
    except BaseException as error:
        await response.aclose()
        if rejected is None or not isinstance(error, httpx.HTTPError):
            raise
        raise rejected from None
    if rejected is not None:
        raise rejected
    return body.content
