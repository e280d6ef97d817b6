"""Attempts, retries and the delays between them: `Transport` and `AsyncTransport`, two thin twins.

They differ where they wait and nowhere else. What an attempt sends, what its outcome means and whether another one
follows is decided in the methods they share and in the pure rooms.
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
from cstar._connections import KeptConnectionError, end_lease
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
    from cstar._options import Options
    from cstar._retry import Outcome

ClientsT = TypeVar("ClientsT", HttpClients, AsyncHttpClients)
T = TypeVar("T")

# Given an auth, httpx does not look for a user name in each URL. Ours have none.
NO_AUTH = httpx.Auth()
EMPTY_STREAM = httpx.ByteStream(b"")
# Seconds. Sockets take no timeout of 0 or less.
_SHORTEST_TIMEOUT = 0.001
# Seconds by which an attempt is cancelled later than its waits time out, because their errors say more. With a custom
# httpx client it is longer, because httpx's pool can lose a connection when a request is cancelled.
_CANCELLATION_DELAY, _CANCELLATION_DELAY_IF_CUSTOM = 0.005, 0.25


class _BaseTransport(Generic[ClientsT]):
    """What both transports do between their waits."""

    def __init__(self, options: Options, clients: ClientsT, budget: Budget, *, owns_clients: bool = True) -> None:
        self.options = options
        self.clients: ClientsT = clients
        self.budget = budget
        self._owns_clients = owns_clients
        self._requests = RequestBuilder(options, clients.user_agent)
        self._timeout = None if isinstance(options.timeout, httpx.Timeout) else float(options.timeout)
        self._timeout_parts = httpx.Timeout(options.timeout).as_dict()
        self._shared_deadline: float | None = None  # by time.monotonic()
        self._policy = policy(
            max_retries=options.max_retries, max_retry_wait=options.max_retry_wait, before_sleep=self._on_retry
        )

    @classmethod
    def build(cls, options: Options, http_client: Any) -> Self:  # noqa: ANN401 - each twin names its kind
        """A transport with connections of its own, or over those of a custom httpx client."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[object, ...]:
        if self.clients.is_custom:
            raise TypeError("a client with a custom http_client can be neither pickled nor copied")
        return type(self).build, (self.options, None)

    def with_options(self, options: Options) -> Self:
        """A transport with other options over the same connections, which stay this one's to close."""
        return type(self)(options, self.clients, self.budget, owns_clients=False)

    def with_shared_deadline(self) -> Self:
        """A transport over the same connections whose calls end by one deadline, which begins now."""
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

    def _begin_attempt(self, state: CallState, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """The request of the next attempt."""
        state.begin_attempt(self._timeout)
        extensions: dict[str, object] = {"timeout": self._timeouts(state)}
        if state.attempt_deadline is not None:
            extensions["deadline"] = state.attempt_deadline
        if state.needs_new_connection:
            extensions["new_connection"] = True
            state.needs_new_connection = False
        return self._requests.build(state.call, http, extensions)

    def _timeouts(self, state: CallState) -> dict[str, float | None]:
        """The timeouts of the single waits, as httpx takes them."""
        if (left := state.attempt_time_left()) is None or not state.is_cut_by_deadline:
            return self._timeout_parts.copy()
        left = max(left, _SHORTEST_TIMEOUT)
        return {name: left if part is None else min(part, left) for name, part in self._timeout_parts.items()}

    def _on_response(self, state: CallState, response: httpx.Response, content: bytes) -> ReceivedResponse:
        """An attempt got a response, good or bad."""
        state.was_sent = True
        stream = response.extensions.get("network_stream")
        # A response that was read and its stream refer to each other, and would wait for the garbage collector.
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
        self.budget.learn(response.headers, sent=state.attempt_started)
        if logger.isEnabledFor(logging.DEBUG):
            request_id = received.request_id
            text = f"{received.status_code}, request {request_id}" if request_id else f"{received.status_code}"
            _log_attempt(state, text, status_code=received.status_code, request_id=request_id)
        return received

    def _on_rejected(
        self, state: CallState, response: httpx.Response | None, rejected: BodyRejectedError | MemoryError
    ) -> APIResponseValidationError:
        """An attempt got a response whose body is not accepted."""
        reason = str(rejected) or "there is not enough memory for it"
        status_code = 0 if response is None else response.status_code
        headers = httpx.Headers() if response is None else response.headers
        received = ReceivedResponse(status_code, headers, b"", self.options.api_key, state.attempts)
        self._notify(state, received, None)
        return APIResponseValidationError(
            received.redact(
                f"{state} cannot be carried out: {reason}."
                if response is None
                else f"{state} was answered with {status_code}, but its body is not accepted: {reason}."
            ),
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
        """An attempt ended with an error of httpx. A few of these mean a response after all.

        Raises:
            APIResponseValidationError: It was a redirect to nonsense.
        """
        # httpx parses the target of a redirect although it is not to follow it, and keeps the response if that fails.
        if isinstance(error, httpx.InvalidURL) or "location header" in str(error):
            raise APIResponseValidationError(
                f"{state} was answered with a redirect, but not as the API documents: "
                "it redirects to something that is not a URL.",
                attempts=state.attempts,
                idempotency_key=state.call.idempotency_key,
            ) from None
        if isinstance(error, httpx.HTTPStatusError):  # a caller's own event hook called raise_for_status()
            return self._on_response(state, error.response, _content_if_read(error.response))
        # A response with an error status says what happened without its body, too.
        if response is not None and (not response.is_success or isinstance(error, httpx.DecodingError)):
            return self._on_response(state, response, b"")
        # Our own connections know how far they got.
        if request.extensions.get("was_sent", True) and was_sent(error):
            state.was_sent = state.lost_response = True
        state.needs_new_connection = isinstance(error, KeptConnectionError)
        state.is_permanent = is_permanent(error)
        _log_attempt(state, type(error).__name__, error_type=type(error).__name__)
        lost = connection_error(state, error, self.options, self.clients.proxy)
        # Do not chain a cause whose text contains the API key, as an error about a malformed response may.
        if self.options.api_key not in repr([error, error.__cause__, error.__context__]):
            lost.__cause__ = error
        return lost

    def _on_retry(self, state: CallState, outcome: Outcome, delay: float) -> None:
        log_retry(state, outcome, delay)
        self._notify(state, outcome, delay)

    def _notify(self, state: CallState, outcome: Outcome, retry_wait: float | None) -> None:
        """Call the caller's `on_attempt`."""
        if self.options.on_attempt is None:
            return
        response = None if isinstance(outcome, APIConnectionError) else outcome
        attempt = Attempt(
            state.call.method,
            state.call.path,
            state.attempts,
            None if response is None else response.status_code,
            outcome if isinstance(outcome, APIConnectionError) else None,
            state.attempt_duration,
            retry_wait,
            None if response is None else response.request_id,
        )
        try:
            self.options.on_attempt(attempt)
        except Exception:
            # The response must not be lost with it.
            logger.warning("on_attempt raised an exception, which is ignored", exc_info=True)


def _reference(stream: Any) -> Callable[[], Any]:  # noqa: ANN401 - a network stream of httpcore, or of a custom transport
    try:
        return ref(stream)  # a response that is kept must not keep its connection
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
    """Sends calls and waits between attempts."""

    @cached_property
    def _retrying(self) -> Retrying:
        from tenacity import Retrying  # loaded by the first retry

        return Retrying(**self._policy)

    @classmethod
    def build(cls, options: Options, http_client: httpx.Client | None) -> Self:
        return cls(options, HttpClients(options.base_url, http_client), Budget())

    def send(self, call: Call[Any]) -> ReceivedResponse:
        """Send a call, with retries where they can help.

        Raises:
            APIConnectionError: No attempt got a response.
            APIResponseValidationError: The body of a response is not accepted.
        """
        state = self._new_state(call)
        outcome: Outcome = self._attempt(state)
        # Creating a tenacity retry costs as much as parsing a response, and few calls need one.
        if is_retryable(outcome, state):
            state.first = outcome
            outcome = self._retrying(self._next_attempt, state)
        self._notify(state, outcome, None)
        if isinstance(outcome, APIConnectionError):
            try:
                raise outcome
            finally:
                del outcome, state  # the error and this frame would refer to each other
        return outcome

    def fetch(self, call: Call[T]) -> T:
        """Send a call and decode its response."""
        return interpret(call, self.send(call))

    def _next_attempt(self, state: CallState) -> Outcome:
        outcome, state.first = state.first, None
        if outcome is None and state.last is not None and state.is_over:
            return state.last  # the delay took longer than it should have
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
        request = self._begin_attempt(state, http)
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
        """Wait for the rate limit to reset, if it is used up and that does not take too long."""
        if wait := self.budget.seconds_until_reset(self._longest_wait()):
            self._retrying.sleep(with_jitter(wait))

    def back_off(self, attempt_number: int) -> None:
        """Wait as before a retry."""
        self._retrying.sleep(min(backoff(attempt_number), self._longest_wait()))

    def until(self, left: threading.Event) -> Transport:
        """A transport over the same connections that stops retrying and waiting once an event is set."""
        from tenacity import sleep_using_event

        transport = self.with_options(self.options)
        stop = transport._policy["stop"]
        transport._retrying = transport._retrying.copy(
            sleep=sleep_using_event(left), stop=lambda state: left.is_set() or stop(state)
        )
        return transport

    def close(self) -> None:
        """Close the connections, unless they are another transport's, or those of a custom httpx client."""
        if self._owns_clients:
            self.clients.close()


def _read(response: httpx.Response, state: CallState) -> bytes:
    """Read the body of a response, until the deadline of the attempt at most."""
    try:
        body = Body(response)
        if not body.is_read:
            assert isinstance(response.stream, httpx.SyncByteStream)
            for chunk in response.stream:
                body.feed(chunk)
                # A custom httpx client does not keep the deadline itself.
                if (left := state.attempt_time_left()) is not None and left <= 0:
                    raise httpx.ReadTimeout("timed out")  # noqa: TRY301
            response.close()
    except BaseException:
        response.close()
        raise
    return body.content


class AsyncTransport(_BaseTransport[AsyncHttpClients]):
    """Sends calls and waits between attempts, on asyncio or trio."""

    def __init__(
        self, options: Options, clients: AsyncHttpClients, budget: Budget, *, owns_clients: bool = True
    ) -> None:
        super().__init__(options, clients, budget, owns_clients=owns_clients)
        self._cancellation_delay = _CANCELLATION_DELAY_IF_CUSTOM if clients.is_custom else _CANCELLATION_DELAY

    @cached_property
    def _retrying(self) -> AsyncRetrying:
        from tenacity import AsyncRetrying  # loaded by the first retry

        return AsyncRetrying(**self._policy)

    @classmethod
    def build(cls, options: Options, http_client: httpx.AsyncClient | None) -> Self:
        return cls(options, AsyncHttpClients(options.base_url, http_client), Budget())

    async def send(self, call: Call[Any]) -> ReceivedResponse:
        """Send a call, with retries where they can help.

        Raises:
            APIConnectionError: No attempt got a response.
            APIResponseValidationError: The body of a response is not accepted.
        """
        state = self._new_state(call)
        outcome: Outcome = await self._attempt(state)
        # Creating a tenacity retry costs as much as parsing a response, and few calls need one.
        if is_retryable(outcome, state):
            state.first = outcome
            outcome = await self._retrying(self._next_attempt, state)
        self._notify(state, outcome, None)
        if isinstance(outcome, APIConnectionError):
            try:
                raise outcome
            finally:
                del outcome, state  # the error and this frame would refer to each other
        return outcome

    async def fetch(self, call: Call[T]) -> T:
        """Send a call and decode its response."""
        return interpret(call, await self.send(call))

    async def _next_attempt(self, state: CallState) -> Outcome:
        outcome, state.first = state.first, None
        if outcome is None and state.last is not None and state.is_over:
            return state.last  # the delay took longer than it should have
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
        request = self._begin_attempt(state, http)
        responses: list[httpx.Response] = []
        try:
            content = await self._exchange(state, http, request, responses)
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

    async def _exchange(
        self, state: CallState, http: httpx.AsyncClient, request: httpx.Request, responses: list[httpx.Response]
    ) -> bytes:
        """Send a request and read its response, until the deadline of the attempt at most."""
        from cstar._event_loop import cancel_after

        left = state.attempt_time_left()
        if left is None:
            return await _send_and_read(http, request, responses)
        try:
            async with cancel_after(left + self._cancellation_delay):
                return await _send_and_read(http, request, responses)
        except TimeoutError as error:
            if state.attempt_deadline is None or time.monotonic() < state.attempt_deadline:
                raise  # an event hook's own
            raise httpx.ReadTimeout("timed out") from error

    async def wait_for_budget(self) -> None:
        """Wait for the rate limit to reset, if it is used up and that does not take too long."""
        if wait := self.budget.seconds_until_reset(self._longest_wait()):
            await self._sleep(with_jitter(wait))

    async def back_off(self, attempt_number: int) -> None:
        """Wait as before a retry."""
        await self._sleep(min(backoff(attempt_number), self._longest_wait()))

    async def _sleep(self, seconds: float) -> None:
        # tenacity declares the sleep of its sync and its async side as one.
        await cast("Callable[[float], Awaitable[None]]", self._retrying.sleep)(seconds)

    async def close(self) -> None:
        """Close the connections, unless they are another transport's, or those of a custom httpx client."""
        if self._owns_clients:
            self.clients.close()


async def _send_and_read(http: httpx.AsyncClient, request: httpx.Request, responses: list[httpx.Response]) -> bytes:
    """Send a request, note the response as soon as it has begun, and read its body."""
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
                    # The iteration goes on to its error: an async generator must not be left before its end.
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
