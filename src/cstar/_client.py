"""`Cstar` and `AsyncCstar`: options in, resources out, and the connections' lifecycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from cstar import models
from cstar._call import Call, encode, new_key
from cstar._check import check_choice, check_json, check_path, check_query
from cstar._codec import json_or_none, object_of
from cstar._logging import configure_from_environment
from cstar._options import (
    API_VERSION,
    DEFAULT_MAX_RETRIES,
    DEFAULT_MAX_RETRY_WAIT,
    DEFAULT_TIMEOUT,
    Options,
)
from cstar._transport import AsyncTransport, Transport, async_pool, pool
from cstar._types import NOT_GIVEN, Json, NotGiven, QueryValue
from cstar.errors import InvalidParameterError
from cstar.resources.customers import AsyncCustomers, Customers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import httpx
    from pydantic import JsonValue
    from typing_extensions import Self

    from cstar.models import Identity, RateLimit

T = TypeVar("T")
TransportT = TypeVar("TransportT", Transport, AsyncTransport)

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _whoami_call() -> Call[Identity]:
    return Call("GET", "/auth/whoami", object_of(models.Identity))


def _request_call(
    method: str,
    path: str,
    params: Mapping[str, QueryValue] | None,
    json: Json,
    cast_to: type[T] | None,
    idempotency_key: str | None,
) -> Call[Any]:  # `request` says of what, in its overloads
    method = check_choice("method", str(method).upper(), _METHODS)
    path = check_path("path", path)
    query = () if params is None else tuple(check_query("params", params))
    body = None if json is None else encode(check_json("json", json))
    if method == "GET":
        for param, value in (("json", json), ("idempotency_key", idempotency_key)):
            if value is not None:
                raise InvalidParameterError(f"{param} must be left out of a GET", param=param)
    else:
        idempotency_key = new_key(idempotency_key)
    if cast_to is not None:
        return Call(method, path, _parser_of(cast_to), query, body, idempotency_key)
    if_gone = (lambda: None) if method == "DELETE" else None
    return Call(method, path, json_or_none, query, body, idempotency_key, if_gone)


def _parser_of(cast_to: type[T]) -> Callable[[bytes], T]:
    try:
        return object_of(cast_to)
    except Exception as error:  # whatever pydantic and the type itself come up with
        reason = str(error).partition("\n")[0]
        raise InvalidParameterError(
            f"cast_to must be a type that pydantic can validate: {reason}", param="cast_to"
        ) from None


class _Client(Generic[TransportT]):
    """What both clients are besides their calls: checked options that can be changed, shown and pickled."""

    _transport: TransportT

    def _set_up(self, transport: TransportT) -> None:
        raise NotImplementedError

    @classmethod
    def _rebuild(cls, options: Options) -> Self:
        raise NotImplementedError

    @property
    def rate_limit(self) -> RateLimit | None:
        """Where the key stood at the last answer (API page "Rate limits"); `None` before the first one that tells."""
        return self._transport.pool.rate_limit

    def with_options(
        self,
        *,
        timeout: float | httpx.Timeout | NotGiven = NOT_GIVEN,
        max_retries: int | NotGiven = NOT_GIVEN,
        max_retry_wait: float | NotGiven = NOT_GIVEN,
        default_headers: Mapping[str, str] | NotGiven = NOT_GIVEN,
    ) -> Self:
        """The same client with some options changed: cheap, and over the same connections.

        Args:
            timeout: Seconds for each attempt, or an `httpx.Timeout`; see `Cstar`.
            max_retries: Attempts after the first.
            max_retry_wait: The longest single wait between attempts, in seconds.
            default_headers: Headers for every request, added to those there are.

        Returns:
            A new client. The connections stay with the one it came from: closing the new one does not close them.

        Raises:
            ConfigurationError: An option is malformed; the message says what is allowed.

        Example:
            ```python
            hasty = client.with_options(timeout=5, max_retries=0)
            ```
        """
        options = self._transport.options.with_changes(
            timeout=timeout, max_retries=max_retries, max_retry_wait=max_retry_wait, default_headers=default_headers
        )
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        changed._set_up(self._transport.with_options(options))
        return changed

    def __reduce__(self) -> tuple[Callable[[Options], Self], tuple[Options]]:
        if not self._transport.pool.is_own:
            raise TypeError(f"a {type(self).__name__} with an http_client of your own cannot be pickled or copied")
        return type(self)._rebuild, (self._transport.options,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._transport.options.base_url!r})"


class Cstar(_Client[Transport]):
    """A client of the cStar API.

    It is safe to share between threads, keeps its connections open between calls, and pickles (it is rebuilt from its
    options, the key among them). Close it, or use it in a `with` statement, when it is no longer needed.

    Args:
        api_key: `sk_live_…`, `sk_test_…` (reads and writes) or `pk_live_…`, `pk_test_…` (reads only). By default the
            environment variable `CSTAR_API_KEY`. A live key does not travel over plain http, except to loopback.
        base_url: The API's address. By default the environment variable `CSTAR_BASE_URL`, else
            `https://www.cstar.help/api/v1`.
        timeout: Seconds for each attempt to connect, and then for each wait for bytes to come or go; or an
            `httpx.Timeout` to set these apart. By default 30.
        max_retries: Attempts after the first, where there was no answer, or 408, 429 or 5xx. By default 3.
        max_retry_wait: The longest single wait between attempts, in seconds. Asked by the server to wait longer, the
            call raises at once, and the error's `retry_after` says how long it would be. By default 60.
        api_version: The API's version, a date (the `CStar-Version` header). By default `"2026-03-01"`.
        default_headers: Further headers for every request.
        http_client: An `httpx.Client` of your own. Its headers, cookies, hooks, auth, proxies and transport are used,
            its timeout and redirect setting are not, and it is not closed. Such a client does not pickle.

    Raises:
        ConfigurationError: An option is missing or malformed; the message says what is allowed.

    Example:
        ```python
        with Cstar() as client:
            for customer in client.customers.list(team_id, status="active"):
                print(customer.email)
        ```
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        max_retry_wait: float = DEFAULT_MAX_RETRY_WAIT,
        api_version: str = API_VERSION,
        default_headers: Mapping[str, str] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        options = Options.resolve(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            max_retry_wait=max_retry_wait,
            api_version=api_version,
            default_headers=default_headers,
        )
        configure_from_environment()
        self._set_up(Transport(options, pool(options, http_client)))

    def _set_up(self, transport: Transport) -> None:
        self._transport = transport
        self.customers: Customers = Customers(transport)

    @classmethod
    def _rebuild(cls, options: Options) -> Self:
        client = cls.__new__(cls)
        client._set_up(Transport(options, pool(options, None)))
        return client

    @overload
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: Json = None,
        cast_to: None = None,
        idempotency_key: str | None = None,
    ) -> JsonValue: ...
    @overload
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: Json = None,
        cast_to: type[T],
        idempotency_key: str | None = None,
    ) -> T: ...
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: Json = None,
        cast_to: type[T] | None = None,
        idempotency_key: str | None = None,
    ) -> T | JsonValue:
        """Call any other endpoint of the API, with the same key, retries, idempotency and errors.

        The rules are those of the API pages "Authentication", "Idempotency" and "Errors"; what to send, and what
        comes back, is on the endpoint's own page.

        Args:
            method: `"GET"`, `"POST"`, `"PUT"`, `"PATCH"` or `"DELETE"`.
            path: The path below the base URL, such as `f"/teams/{team_id}/tickets"`.
            params: Query parameters, in the API's spelling. A list repeats its name; `None` is left out.
            json: The body.
            cast_to: A type that the answer's `data` is validated as: a pydantic model, `list[Model]`, a dataclass, …
            idempotency_key: For a write: names this operation, as in `customers.create`. By default a fresh UUID.

        Returns:
            Without `cast_to` the JSON as it came, envelope and all; `None` for an answer without content, and for a
            deletion whose first answer was lost and whose repetition found nothing left. With `cast_to` its `data`.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            APIResponseValidationError: The answer is not JSON, or its `data` is not a `cast_to`.
            APIStatusError: The server answered with an error.
            APIConnectionError: No answer came.

        Example:
            ```python
            tickets = client.request("GET", f"/teams/{team_id}/tickets", params={"status": "open"})
            ```
        """
        call: Call[T] = _request_call(method, path, params, json, cast_to, idempotency_key)
        return self._transport.fetch(call)

    def whoami(self) -> Identity:
        """Ask whose key this is (API page "Authentication").

        Returns:
            The key's team, kind and environment. `team_id` is what the other calls need.

        Raises:
            AuthenticationError: The key is unknown or expired.
            APIStatusError: The server answered with another error.
            APIConnectionError: No answer came.

        Example:
            ```python
            team_id = client.whoami().team_id
            ```
        """
        return self._transport.fetch(_whoami_call())

    def close(self) -> None:
        """Close the connections; an `http_client` of your own stays open.

        Example:
            ```python
            client = Cstar()
            team_id = client.whoami().team_id
            client.close()
            ```
        """
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncCstar(_Client[AsyncTransport]):
    """An async client of the cStar API, on asyncio or trio.

    Share one between the tasks of an event loop. It keeps its connections open between calls, and pickles (it is
    rebuilt from its options, the key among them). Close it, or use it in an `async with` statement, when it is no
    longer needed.

    Args:
        api_key: `sk_live_…`, `sk_test_…` (reads and writes) or `pk_live_…`, `pk_test_…` (reads only). By default the
            environment variable `CSTAR_API_KEY`. A live key does not travel over plain http, except to loopback.
        base_url: The API's address. By default the environment variable `CSTAR_BASE_URL`, else
            `https://www.cstar.help/api/v1`.
        timeout: Seconds for each attempt to connect, and then for each wait for bytes to come or go; or an
            `httpx.Timeout` to set these apart. By default 30.
        max_retries: Attempts after the first, where there was no answer, or 408, 429 or 5xx. By default 3.
        max_retry_wait: The longest single wait between attempts, in seconds. Asked by the server to wait longer, the
            call raises at once, and the error's `retry_after` says how long it would be. By default 60.
        api_version: The API's version, a date (the `CStar-Version` header). By default `"2026-03-01"`.
        default_headers: Further headers for every request.
        http_client: An `httpx.AsyncClient` of your own. Its headers, cookies, hooks, auth, proxies and transport are
            used, its timeout and redirect setting are not, and it is not closed. Such a client does not pickle.

    Raises:
        ConfigurationError: An option is missing or malformed; the message says what is allowed.

    Example:
        ```python
        async with AsyncCstar() as client:
            async for customer in client.customers.list(team_id, status="active"):
                print(customer.email)
        ```
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        max_retry_wait: float = DEFAULT_MAX_RETRY_WAIT,
        api_version: str = API_VERSION,
        default_headers: Mapping[str, str] | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        options = Options.resolve(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            max_retry_wait=max_retry_wait,
            api_version=api_version,
            default_headers=default_headers,
        )
        configure_from_environment()
        self._set_up(AsyncTransport(options, async_pool(options, http_client)))

    def _set_up(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self.customers: AsyncCustomers = AsyncCustomers(transport)

    @classmethod
    def _rebuild(cls, options: Options) -> Self:
        client = cls.__new__(cls)
        client._set_up(AsyncTransport(options, async_pool(options, None)))
        return client

    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: Json = None,
        cast_to: None = None,
        idempotency_key: str | None = None,
    ) -> JsonValue: ...
    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: Json = None,
        cast_to: type[T],
        idempotency_key: str | None = None,
    ) -> T: ...
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: Json = None,
        cast_to: type[T] | None = None,
        idempotency_key: str | None = None,
    ) -> T | JsonValue:
        """Call any other endpoint of the API, with the same key, retries, idempotency and errors.

        The rules are those of the API pages "Authentication", "Idempotency" and "Errors"; what to send, and what
        comes back, is on the endpoint's own page.

        Args:
            method: `"GET"`, `"POST"`, `"PUT"`, `"PATCH"` or `"DELETE"`.
            path: The path below the base URL, such as `f"/teams/{team_id}/tickets"`.
            params: Query parameters, in the API's spelling. A list repeats its name; `None` is left out.
            json: The body.
            cast_to: A type that the answer's `data` is validated as: a pydantic model, `list[Model]`, a dataclass, …
            idempotency_key: For a write: names this operation, as in `customers.create`. By default a fresh UUID.

        Returns:
            Without `cast_to` the JSON as it came, envelope and all; `None` for an answer without content, and for a
            deletion whose first answer was lost and whose repetition found nothing left. With `cast_to` its `data`.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            APIResponseValidationError: The answer is not JSON, or its `data` is not a `cast_to`.
            APIStatusError: The server answered with an error.
            APIConnectionError: No answer came.

        Example:
            ```python
            tickets = await client.request("GET", f"/teams/{team_id}/tickets", params={"status": "open"})
            ```
        """
        call: Call[T] = _request_call(method, path, params, json, cast_to, idempotency_key)
        return await self._transport.fetch(call)

    async def whoami(self) -> Identity:
        """Ask whose key this is (API page "Authentication").

        Returns:
            The key's team, kind and environment. `team_id` is what the other calls need.

        Raises:
            AuthenticationError: The key is unknown or expired.
            APIStatusError: The server answered with another error.
            APIConnectionError: No answer came.

        Example:
            ```python
            team_id = (await client.whoami()).team_id
            ```
        """
        return await self._transport.fetch(_whoami_call())

    async def close(self) -> None:
        """Close the connections; an `http_client` of your own stays open.

        Example:
            ```python
            client = AsyncCstar()
            team_id = (await client.whoami()).team_id
            await client.close()
            ```
        """
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
