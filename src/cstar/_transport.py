"""The only room that sends and sleeps: `Transport` and `AsyncTransport`, two thin twins.

They differ where they wait and nowhere else. What an attempt sends, what its outcome means and whether another one
follows is decided in the functions they share and in the pure rooms.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypedDict, TypeVar, cast

import httpx
from tenacity import AsyncRetrying, Retrying, sleep_using_event, stop_any, stop_when_event_set

from cstar._codec import HIDDEN, Answer, decode, raise_for_status, rate_limit, tighter
from cstar._logging import logger
from cstar._options import HEADERS_OF_A_CALL, is_loopback
from cstar._retry import is_lost_answer, is_worth_retrying, policy
from cstar._version import __version__
from cstar.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    ConfigurationError,
    CstarError,
    InvalidParameterError,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from typing_extensions import Self

    from cstar._call import Call
    from cstar._options import Options
    from cstar._retry import Outcome
    from cstar.models import RateLimit

H = TypeVar("H", httpx.Client, httpx.AsyncClient)
T = TypeVar("T")
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

USER_AGENT = f"cstar-python/{__version__} python/{sys.version.split()[0]} httpx/{httpx.__version__}"
EMPTY_STREAM = httpx.ByteStream(b"")
# After these no byte of the request was sent.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# httpx's own limit of 100 would let the 101st of an async app's simultaneous calls wait until it times out. Not more
# idle ones than httpx keeps, because it looks at each of them for every request.
LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=20)


class Pool(Generic[H]):
    """The httpx client under one or more of ours (`with_options` shares it), and what its answers told last.

    Args:
        make: Builds a httpx client.
        given: The caller's own, used in place of a built one and never closed here.
        home: Tells the process and event loop we are in: connections opened in one are of no use in another.

    Attributes:
        told: The headers of answers that told of the rate limit and were not read yet. Those that overtake each other
            are among the last ones.
        reserved: How many pages each process has on their way that walks sent for ahead of need.
        lock: Held while `reserved` changes.
        user_agent: What requests call themselves: the caller's httpx client may have a name of its own.
    """

    def __init__(self, make: Callable[[], H], given: H | None, home: Callable[[], object]) -> None:
        self.told: deque[httpx.Headers] = deque(maxlen=100)
        self.reserved: Counter[int] = Counter()
        self.lock: threading.Lock = threading.Lock()
        self._make: Callable[[], H] = make
        self._given: H | None = given
        self._current_home = home
        # Built when it is used. One value, so that a thread never sees the connections of one home as another's.
        self._built: tuple[object, H] | None = None
        self._process = os.getpid()
        self._is_closed = False
        self._rate_limit: RateLimit | None = None
        agent = "" if given is None else given.headers.get("User-Agent", "")
        self.user_agent: str = USER_AGENT if not agent or agent.startswith("python-httpx/") else agent

    @property
    def is_own(self) -> bool:
        """Whether the httpx client is built here."""
        return self._given is None

    @property
    def rate_limit(self) -> RateLimit | None:
        """Where the key stood at the last answer. Read when it is asked for, since most programs never do."""
        with suppress(IndexError):
            while True:
                self._rate_limit = tighter(self._rate_limit, rate_limit(self.told.popleft()))
        return self._rate_limit

    @property
    def http(self) -> H:
        """The httpx client to send with.

        Raises:
            CstarError: It was closed, or it is the caller's and came here with a fork.
        """
        if self._is_closed or (self._given is not None and self._given.is_closed):
            raise CstarError("the client is closed: build a new one, or keep this one open for as long as it is used")
        if self._given is not None:
            if self._process != os.getpid():
                raise CstarError(
                    "an http_client of your own does not survive a fork: build it in the process that uses it"
                )
            return self._given
        built, home = self._built, self._current_home()
        if built is None or built[0] != home:
            built = self._built = (home, self._make())
        return built[1]

    def detach(self) -> H | None:
        """Let go of the connections for good, and tell what the transport has to close for that."""
        if self._given is not None:
            return None
        self._is_closed = True
        built, self._built = self._built, None
        return built[1] if built is not None and built[0] == self._current_home() else None


def _process() -> object:
    # After a fork, parent and child would read each other's answers from the same sockets.
    return os.getpid()


def _process_and_event_loop() -> object:
    # A program that calls asyncio.run() several times has a new event loop each time; the old one's sockets are dead.
    return os.getpid(), _event_loop()


def _event_loop() -> object:
    # A trio that was not imported is not running, and too much to import for asking.
    if "trio" in sys.modules:
        import trio

        with suppress(RuntimeError):
            return trio.lowlevel.current_trio_token()
    import asyncio

    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


@dataclass(slots=True)
class Exchange:
    """One call on its way.

    Attributes:
        call: What is sent.
        attempts: How often it was tried.
        first: What the first attempt came to, until the retrying has taken it over.
        was_sent: Whether an attempt went out at all.
        lost_answer: Whether one went out and its answer was lost.
        started: When the attempt of now began, by the clock that measures.
    """

    call: Call[Any]
    attempts: int = 0
    first: Outcome | None = None
    was_sent: bool = False
    lost_answer: bool = False
    started: float = 0.0

    def __str__(self) -> str:
        return str(self.call)

    @property
    def log_fields(self) -> dict[str, object]:
        """What every log record about it has as attributes."""
        return {"method": self.call.method, "path": self.call.path, "attempt": self.attempts}


def _headers_of(call: Call[Any]) -> RawHeaders:
    headers: RawHeaders = []
    if call.body is not None:
        headers.append((b"Content-Type", b"application/json"))
    if call.body is not None or call.method in {"POST", "PUT", "PATCH"}:
        headers.append((b"Content-Length", b"%d" % len(call.body or b"")))
    if call.idempotency_key is not None:
        headers.append((b"Idempotency-Key", call.idempotency_key.encode()))
    return headers


class _Common(Generic[H]):
    """What both transports do between their waits."""

    def __init__(self, options: Options, pool: Pool[H], *, closes_pool: bool = True) -> None:
        self.options = options
        self.pool: Pool[H] = pool
        self._closes_pool = closes_pool
        self._policy = policy(max_retries=options.max_retries, max_retry_wait=options.max_retry_wait)
        self._headers = httpx.Headers(
            {
                "Accept": "application/json",
                "CStar-Version": options.api_version,
                "User-Agent": pool.user_agent,
                # httpx shows this one as '[secure]', should a debugger or an error reporter print the headers.
                "Authorization": f"Bearer {options.api_key}",
            }
        )
        self._headers.update(options.default_headers)
        self._host = httpx.URL(options.base_url).netloc
        self._timeout = httpx.Timeout(options.timeout).as_dict()
        # The httpx client's own headers as they were last, and what they make with ours.
        self._merged: tuple[RawHeaders, httpx.Headers] | None = None

    def with_options(self, options: Options) -> Self:
        """A transport of other options over the same connections, which stay this one's to close."""
        return type(self)(options, self.pool, closes_pool=False)

    def reserve_page(self, *, needed: bool) -> bool:
        """Take a place in the key's budget for a page; whether there was one, or it is needed anyway."""
        budget = self.pool.rate_limit
        is_known = budget is not None and budget.reset_at > datetime.now(timezone.utc)
        with self.pool.lock:
            if budget is not None and is_known and not needed and budget.remaining <= self.pool.reserved[os.getpid()]:
                return False
            self.pool.reserved[os.getpid()] += 1
            return True

    def release_page(self) -> None:
        """Give a place back: the answer has told of its request, or none is to come."""
        with self.pool.lock:
            self.pool.reserved[os.getpid()] -= 1

    def _wait_for_budget(self) -> float:
        """Seconds until the key may be used again. None where they are too many: the server's refusal tells better."""
        budget = self.pool.rate_limit
        if budget is None or budget.remaining > 0:
            return 0.0
        wait = (budget.reset_at - datetime.now(timezone.utc)).total_seconds()
        if not 0.0 < wait <= self.options.max_retry_wait:
            return 0.0
        logger.info(
            "the rate limit of %d requests is used up; waiting %.2f s",
            budget.limit,
            wait,
            extra={"rate_limit": budget.limit, "rate_limit_wait": wait},
        )
        return wait

    def _begin(self, exchange: Exchange, http: H) -> httpx.Request:
        """The request of the next attempt."""
        exchange.attempts += 1
        exchange.started = time.perf_counter()
        try:
            request = self._request(exchange.call, http)
        except httpx.InvalidURL as invalid:
            raise InvalidParameterError(f"the parameters do not fit into a URL: {invalid}") from None
        request.read()  # for hooks that look at `request.content`
        return request

    def _request(self, call: Call[Any], http: H) -> httpx.Request:
        headers: httpx.Headers = self._headers_over(http)
        added: RawHeaders = _headers_of(call)
        if added:
            headers = httpx.Headers([*headers.raw, *added])
        if http.params or http.cookies:  # the caller's own, or those that the server set
            return http.build_request(
                call.method,
                self.options.base_url + call.path,
                params=call.query or None,
                content=call.body,
                headers=headers,
                timeout=self.options.timeout,
            )
        # What `build_request` would make of it, without merging all of it anew: that takes as long as the rest of what
        # httpx does for a call. Given as a stream, the body is not looked at again, and the headers stand as they are.
        return httpx.Request(
            call.method,
            self.options.base_url + call.target,
            headers=headers,
            stream=httpx.ByteStream(call.body or b""),
            extensions={"timeout": self._timeout.copy()},
        )

    def _headers_over(self, http: H) -> httpx.Headers:
        """The headers of every call: the httpx client's own, and ours over them."""
        own = http.headers.raw
        if self._merged is None or self._merged[0] != own:
            merged: httpx.Headers = http.headers.copy()
            merged.update(self._headers)
            if "Host" not in merged:
                merged = httpx.Headers([(b"Host", self._host), *merged.raw])
            for name in HEADERS_OF_A_CALL:
                merged.pop(name, None)
            self._merged = own, merged
        return self._merged[1]

    def _answered(self, exchange: Exchange, response: httpx.Response) -> Answer:
        """An attempt got an answer, good or bad."""
        exchange.was_sent = True
        try:
            content = response.content
        except httpx.ResponseNotRead:
            content = b""
        # It was read. As it is, it and its stream hold each other, and all of it waits for the garbage collector.
        response.stream = EMPTY_STREAM
        answer = Answer(
            response.status_code,
            response.headers,
            content,
            self.options.api_key,
            exchange.attempts,
            exchange.lost_answer,
        )
        exchange.lost_answer = exchange.lost_answer or is_lost_answer(answer)
        if "X-RateLimit-Remaining" in response.headers:
            self.pool.told.append(response.headers)
        if logger.isEnabledFor(logging.DEBUG):
            name = answer.request_id
            told = f"{answer.status_code}, request {name}" if name else f"{answer.status_code}"
            self._log_attempt(exchange, told, status_code=answer.status_code, request_id=name)
        return answer

    def _unanswered(
        self, exchange: Exchange, error: httpx.HTTPError | httpx.InvalidURL, response: httpx.Response | None
    ) -> Outcome:
        """An attempt ended in one of httpx's errors; a few of these are answers after all.

        Raises:
            APIResponseValidationError: It was a redirect to nonsense.
        """
        # httpx reads where a redirect leads although it is not to follow it; if that fails, it keeps the answer.
        if isinstance(error, httpx.InvalidURL) or "location header" in str(error):
            raise APIResponseValidationError(
                f"{exchange} was answered with a redirect, but not as the API documents: "
                "it redirects to something that is not a URL.",
                attempts=exchange.attempts,
                idempotency_key=exchange.call.idempotency_key,
            ) from None
        if isinstance(error, httpx.HTTPStatusError):  # a caller's own event hook called raise_for_status()
            return self._answered(exchange, error.response)
        # A refusal is one without its body too, and what cannot be decompressed cannot be got by asking again.
        if response is not None and (not response.is_success or isinstance(error, httpx.DecodingError)):
            return self._answered(exchange, response)
        if not isinstance(error, NOT_SENT):
            exchange.was_sent = exchange.lost_answer = True
        self._log_attempt(exchange, type(error).__name__, error_type=type(error).__name__)
        lost = self._connection_error(exchange, error)
        # Where the cause's own words hold the key (a malformed answer is quoted in them), it is not passed on.
        if self.options.api_key not in repr([error, error.__cause__, error.__context__]):
            lost.__cause__ = error
        return lost

    def _connection_error(self, exchange: Exchange, error: httpx.HTTPError) -> APIConnectionError:
        call, name = exchange.call, type(error).__name__
        with suppress(RuntimeError):
            # The error keeps its request, and that one's headers hold the key.
            error.request = httpx.Request(error.request.method, error.request.url)
        is_timeout = isinstance(error, httpx.TimeoutException)
        sentence = f"{call} got no answer from {self.options.base_url}{' in time' if is_timeout else ''}"
        if exchange.attempts > 1:
            sentence += f" after {exchange.attempts} attempts"
        reason = str(error).replace(self.options.api_key, HIDDEN)
        sentence += f" ({name}: {reason})." if reason else f" ({name})."
        if call.idempotency_key is not None and exchange.was_sent:
            sentence += " It may have been carried out: repeating it with this error's idempotency_key is safe."
        return (APITimeoutError if is_timeout else APIConnectionError)(
            sentence,
            attempts=exchange.attempts,
            idempotency_key=call.idempotency_key,
        )

    @staticmethod
    def _log_attempt(exchange: Exchange, told: str, **fields: object) -> None:
        seconds = time.perf_counter() - exchange.started
        extra = {**exchange.log_fields, **fields, "duration": seconds}
        logger.debug("%s: attempt %d: %s, %.3f s", exchange, exchange.attempts, told, seconds, extra=extra)


def _answer(call: Call[Any], outcome: Outcome) -> Answer:
    """The answer that an outcome is, if it is a good one.

    Raises:
        APIConnectionError: It is none.
        APIStatusError: It is an error's.
    """
    if isinstance(outcome, APIConnectionError):
        try:
            raise outcome
        finally:
            del outcome  # or the error and this frame would keep each other alive
    raise_for_status(call, outcome)
    return outcome


class Transport(_Common[httpx.Client]):
    """Sends calls and waits between attempts."""

    def __init__(self, options: Options, pool: Pool[httpx.Client], *, closes_pool: bool = True) -> None:
        super().__init__(options, pool, closes_pool=closes_pool)
        self._retrying = Retrying(**self._policy)

    def send(self, call: Call[T]) -> Answer:
        """Send a call, again where that can help, until its outcome stands.

        Raises:
            APIConnectionError: No attempt got an answer.
            APIStatusError: The server answered with an error.
        """
        return _answer(call, self._outcome(Exchange(call)))

    def fetch(self, call: Call[T]) -> T:
        """Send a call, and give what its answer carries."""
        return decode(call, self.send(call))

    def _outcome(self, exchange: Exchange) -> Outcome:
        outcome = exchange.first = self._attempt(exchange)
        # Only now, because to set the retrying up takes as long as to read an answer, and few calls need it.
        return self._retrying(self._next, exchange) if is_worth_retrying(outcome) else outcome

    def _next(self, exchange: Exchange) -> Outcome:
        outcome, exchange.first = exchange.first, None
        return self._attempt(exchange) if outcome is None else outcome

    def _attempt(self, exchange: Exchange) -> Outcome:
        http = self.pool.http
        request = self._begin(exchange, http)
        response: httpx.Response | None = None
        try:
            response = http.send(request, stream=True, follow_redirects=False)
            try:
                response.read()
            except BaseException:
                response.close()
                raise
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return self._unanswered(exchange, error, response)
        return self._answered(exchange, response)

    def wait_for_budget(self) -> None:
        """Sit out a rate limit that is known to be used up, if it does not take longer than `max_retry_wait`."""
        if wait := self._wait_for_budget():
            self._retrying.sleep(wait)

    def until(self, left: threading.Event) -> Transport:
        """A transport over the same connections that neither retries nor sleeps any more once an event is set."""
        transport = self.with_options(self.options)
        transport._retrying = self._retrying.copy(
            sleep=sleep_using_event(left), stop=stop_any(self._policy["stop"], stop_when_event_set(left))
        )
        return transport

    def close(self) -> None:
        """Close the connections, unless they are the caller's."""
        if self._closes_pool and (http := self.pool.detach()):
            http.close()


class AsyncTransport(_Common[httpx.AsyncClient]):
    """Sends calls and waits between attempts, on asyncio or trio."""

    def __init__(self, options: Options, pool: Pool[httpx.AsyncClient], *, closes_pool: bool = True) -> None:
        super().__init__(options, pool, closes_pool=closes_pool)
        self._retrying = AsyncRetrying(**self._policy)

    async def send(self, call: Call[T]) -> Answer:
        """Send a call, again where that can help, until its outcome stands.

        Raises:
            APIConnectionError: No attempt got an answer.
            APIStatusError: The server answered with an error.
        """
        return _answer(call, await self._outcome(Exchange(call)))

    async def fetch(self, call: Call[T]) -> T:
        """Send a call, and give what its answer carries."""
        return decode(call, await self.send(call))

    async def _outcome(self, exchange: Exchange) -> Outcome:
        outcome = exchange.first = await self._attempt(exchange)
        # Only now, because to set the retrying up takes as long as to read an answer, and few calls need it.
        return await self._retrying(self._next, exchange) if is_worth_retrying(outcome) else outcome

    async def _next(self, exchange: Exchange) -> Outcome:
        outcome, exchange.first = exchange.first, None
        return await self._attempt(exchange) if outcome is None else outcome

    async def _attempt(self, exchange: Exchange) -> Outcome:
        http = self.pool.http
        request = self._begin(exchange, http)
        response: httpx.Response | None = None
        try:
            response = await http.send(request, stream=True, follow_redirects=False)
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return self._unanswered(exchange, error, response)
        return self._answered(exchange, response)

    async def wait_for_budget(self) -> None:
        """Sit out a rate limit that is known to be used up, if it does not take longer than `max_retry_wait`."""
        if wait := self._wait_for_budget():
            # tenacity declares the sleep of its sync and its async side as one.
            await cast("Callable[[float], Awaitable[None]]", self._retrying.sleep)(wait)

    async def close(self) -> None:
        """Close the connections, unless they are the caller's."""
        if self._closes_pool and (http := self.pool.detach()):
            await http.aclose()


@cache
def _ssl_context() -> ssl.SSLContext:
    # Loading the certificates is nearly all that a httpx client costs to build, so our own ones share them.
    return httpx.create_ssl_context()


def pool(options: Options, given: httpx.Client | object | None) -> Pool[httpx.Client]:
    """A pool of connections for `Cstar`."""
    if given is not None and not isinstance(given, httpx.Client):
        raise ConfigurationError(f"http_client must be an httpx.Client, not a {type(given).__name__}")
    return Pool(lambda: httpx.Client(**_settings(options)), given, _process)


def async_pool(options: Options, given: httpx.AsyncClient | object | None) -> Pool[httpx.AsyncClient]:
    """A pool of connections for `AsyncCstar`."""
    if given is not None and not isinstance(given, httpx.AsyncClient):
        raise ConfigurationError(f"http_client must be an httpx.AsyncClient, not a {type(given).__name__}")
    return Pool(lambda: httpx.AsyncClient(**_settings(options)), given, _process_and_event_loop)


class _Settings(TypedDict):
    verify: ssl.SSLContext
    limits: httpx.Limits
    trust_env: bool


def _settings(options: Options) -> _Settings:
    # What stays on this machine has no business with a proxy that the environment names for the rest of the world.
    return {"verify": _ssl_context(), "limits": LIMITS, "trust_env": not is_loopback(httpx.URL(options.base_url).host)}
