"""The clients `Cstar` and `AsyncCstar`: their options, resources and lifecycle."""

from __future__ import annotations

import copy
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload
from uuid import UUID

import httpx
import pydantic
from pydantic_core import to_json
from typing_extensions import Self

from cstar import models
from cstar._call import Call, new_key
from cstar._check import check_choice, check_json, check_path, check_query
from cstar._decode import PageData, Parser, json_or_none, list_of, object_of
from cstar._listing import Listing, listing
from cstar._logging import configure_from_environment
from cstar._memory import HasId
from cstar._options import Options
from cstar._pagination import AsyncPaginator, Page
from cstar._response import RawResponse
from cstar._transport import AsyncTransport, Transport
from cstar._types import NOT_GIVEN, Json, NotGiven, QueryValue, Timeout
from cstar.errors import InvalidParameterError
from cstar.models.attempt import Attempt
from cstar.models.rate_limit import RateLimit
from cstar.resources._resource import AsyncResource, Resource, async_raw_form, raw_form
from cstar.resources.customers import Customers
from cstar.resources.customers_async import AsyncCustomers

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from cstar._lenient import Deviations
    from cstar._types import ListOptions

T = TypeVar("T")
ParsedT = TypeVar("ParsedT")
RowT = TypeVar("RowT", bound=HasId)
TransportT = TypeVar("TransportT", Transport, AsyncTransport)

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _whoami_call() -> Call[models.Identity]:
    return Call("GET", "/auth/whoami", object_of(models.Identity))


def _request_call(
    method: str,
    path: str,
    params: Mapping[str, QueryValue] | None,
    json: Json,
    cast_to: type[T] | None,
    idempotency_key: str | None,
) -> Call[Any]:  # the overloads of `request` declare the type
    method = check_choice("method", str(method).upper(), _METHODS)
    path = check_path("path", path)
    query = () if params is None else tuple(check_query("params", params))
    body = None if json is None else to_json(check_json("json", json))
    if method == "GET":
        for param, value in (("json", json), ("idempotency_key", idempotency_key)):
            if value is not None:
                raise InvalidParameterError(f"{param} must be omitted in a GET", param=param)
    else:
        idempotency_key = new_key(idempotency_key)
    if cast_to is not None:
        return Call(method, path, _cast_to_parser(object_of, cast_to), query, body, idempotency_key)
    deleted_value = _none if method == "DELETE" else None
    return Call(method, path, json_or_none, query, body, idempotency_key, deleted_value=deleted_value)


def _none() -> None:
    return None


def _paginate_listing(
    path: str,
    cast_to: type[RowT],
    params: Mapping[str, QueryValue] | None,
    **options: Unpack[ListOptions],
) -> Listing[RowT]:
    path = check_path("path", path)
    names = {name for name, _ in check_query("params", {} if params is None else params)}
    if reserved := sorted(names & {"page", "pageSize"}):
        raise InvalidParameterError(
            f"params must not contain {' and '.join(map(repr, reserved))}: use the arguments page and page_size",
            param="params",
        )
    if not _may_have_id(cast_to):
        shown = getattr(cast_to, "__name__", None) or repr(cast_to)
        raise InvalidParameterError(
            "cast_to must be the type of one row, with an attribute id, which identifies the row, "
            f"not {shown} (for any JSON: `class Row(BaseModel, extra='allow'): id: str`)",
            param="cast_to",
        )
    options["extra_query"] = params
    return listing(path, _RowParser(_cast_to_parser(list_of, cast_to)), {}, **options)


def _may_have_id(cast_to: Any) -> bool:  # noqa: ANN401 - any argument of the caller
    """Return whether instances of a type can have an attribute `id`."""
    origin, arguments = typing.get_origin(cast_to), typing.get_args(cast_to)
    if origin in {typing.Union, types.UnionType}:
        return all(map(_may_have_id, arguments))
    if origin is typing.Annotated:
        return _may_have_id(arguments[0])
    cls: Any = origin or cast_to
    if not isinstance(cls, type):
        return False
    allows_extra = issubclass(cls, pydantic.BaseModel) and cls.model_config.get("extra") == "allow"
    has_hint = any("id" in _annotations_of(each) for each in cls.__mro__)
    # A TypedDict has annotations, but its instances are dicts without attributes.
    return hasattr(cast("object", cls), "id") or allows_extra or (has_hint and not issubclass(cls, dict))


def _annotations_of(cls: type) -> Mapping[str, object]:
    """Return the annotations of a class, without those of its bases."""
    if sys.version_info >= (3, 14):  # PEP 649: evaluated on access, where a name may be undefined
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return cast("Mapping[str, object]", vars(cls).get("__annotations__", {}))


@dataclass(frozen=True)
class _RowParser(Generic[RowT]):
    """A parser of a list that rejects rows without an id."""

    parse: Parser[PageData[RowT]]

    def __call__(self, content: bytes) -> PageData[RowT]:
        return _check_ids(self.parse(content))

    def leniently(self, content: bytes) -> tuple[PageData[RowT], Deviations]:
        data, deviations = self.parse.leniently(content)
        return _check_ids(data), deviations


def _check_ids(data: PageData[RowT]) -> PageData[RowT]:
    for index, row in enumerate(data.rows):
        if not isinstance(getattr(row, "id", None), (str, int, UUID)):
            raise ValueError(f"data.{index}.id: Input should be a string, a whole number or a UUID")  # noqa: TRY004
    return data


def _cast_to_parser(parser_of: Callable[[type[T]], Parser[ParsedT]], cast_to: type[T]) -> Parser[ParsedT]:
    try:
        return parser_of(cast_to)
    except Exception as error:  # pydantic and the type itself can raise anything
        reason = str(error).partition("\n")[0]
        raise InvalidParameterError(
            f"cast_to must be a type that pydantic can validate: {reason}", param="cast_to"
        ) from None


class _Resource(cached_property[Any]):
    """A resource of a client. Accessed on the class, it is a resource without a client, for `create_autospec`."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:  # noqa: ANN401 - the resource's type
        if instance is None:
            return object.__new__(typing.get_type_hints(self.func)["return"])
        return super().__get__(instance, owner)


if TYPE_CHECKING:
    from functools import cached_property as _resource  # for type checkers and the reference
else:
    _resource = _Resource


def _without_resources(client: object, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a client without its cached resources, which use its transport."""
    return {
        name: value
        for name, value in attributes.items()
        if not isinstance(inspect.getattr_static(type(client), name, None), cached_property)
    }


def _slots_of(client: object) -> list[str]:
    """Return the names of the attributes in `__slots__` of a subclass."""
    slots: list[str] = []
    for cls in type(client).__mro__:
        names: str | Iterable[str] = vars(cls).get("__slots__", ())
        slots += [names] if isinstance(names, str) else names
    return [name for name in slots if name not in {"__dict__", "__weakref__"} and hasattr(client, name)]


class _Client(Generic[TransportT]):
    """The parts of both clients that do no I/O: options, copies and pickles."""

    _transport: TransportT

    @property
    def rate_limit(self) -> RateLimit | None:
        """The latest rate limit of the API key (API page "Rate limits"); `None` until a response has it."""
        return self._transport.budget.rate_limit

    def with_options(
        self,
        *,
        timeout: float | Timeout | NotGiven = NOT_GIVEN,
        deadline: float | NotGiven | None = NOT_GIVEN,
        max_retries: int | NotGiven = NOT_GIVEN,
        max_retry_wait: float | NotGiven = NOT_GIVEN,
        default_headers: Mapping[str, str] | NotGiven = NOT_GIVEN,
    ) -> Self:
        """Create a client with other options over the same connections.

        Args:
            timeout: Seconds for each attempt, or an `httpx.Timeout`; see `Cstar`.
            deadline: Seconds for each call, including all attempts and retry delays; `None` for no limit.
            max_retries: Maximum number of retries of a call.
            max_retry_wait: Maximum retry delay in seconds.
            default_headers: Headers to add to the client's default headers.

        Returns:
            A new client. Closing it does not close the connections; closing the original client does.

        Raises:
            ConfigurationError: An option is invalid.

        Example:
            ```python
            impatient = client.with_options(timeout=5, max_retries=0)
            ```
        """
        options = self._transport.options.with_changes(
            timeout=timeout,
            deadline=deadline,
            max_retries=max_retries,
            max_retry_wait=max_retry_wait,
            default_headers=default_headers,
        )
        return self._over(self._transport.with_options(options))

    def _over(self, transport: TransportT, **changes: object) -> Self:
        """Create a copy of this client with a transport and changed attributes."""
        client = object.__new__(type(self))
        for name in _slots_of(self):
            object.__setattr__(client, name, getattr(self, name))
        client.__dict__.update(_without_resources(self, vars(self)), _transport=transport, **changes)
        return client

    def __reduce_ex__(self, protocol: Any) -> Any:  # noqa: ANN401 - SupportsIndex in typeshed
        reduced: Any = super().__reduce_ex__(max(2, protocol))
        if type(self).__reduce__ is not object.__reduce__:
            return reduced  # a subclass defines its own
        # A copy gets new connections, and keeps the attributes and slots of a subclass.
        make, arguments = reduced[:2]
        state: Any = reduced[2]
        has_slots = isinstance(state, tuple)
        attributes = _without_resources(self, cast("dict[str, Any]", state[0] if has_slots else state))
        attributes["_transport"] = copy.copy(self._transport)
        return make, arguments, (attributes, state[1]) if has_slots else attributes

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._transport.options.base_url!r})"


class Cstar(_Client[Transport], Resource):
    """A client of the cStar API.

    It is thread-safe and keeps connections open between calls. It can be pickled; the pickle contains the API key.
    Close it when it is no longer needed, or use it in a `with` statement.

    Args:
        api_key: `sk_live_…` or `sk_test_…` to read and write, `pk_live_…` or `pk_test_…` only to read. By default the
            environment variable `CSTAR_API_KEY`. A live key is sent only over https or to a loopback address.
        base_url: The URL of the API. By default the environment variable `CSTAR_BASE_URL`, or else
            `https://www.cstar.help/api/v1`.
        timeout: Seconds for each attempt, from its start to the last byte of its response; or an `httpx.Timeout`, to
            limit connecting and each read and write separately. By default 30.
        deadline: Seconds for each call, including all attempts and retry delays. If a retry delay would exceed it, the
            call raises at once. By default no limit.
        max_retries: Maximum number of retries of a call. A call is retried if there is no response, after 408, 429 or
            5xx, and after a 409 that follows a lost response. By default 3.
        max_retry_wait: Maximum retry delay in seconds. If the server requests a longer delay, the call raises at once,
            with that delay as the error's `retry_after`. With 0, there is no backoff delay. By default 60.
        api_version: The version of the API, a date, sent as `CStar-Version`. By default `"2026-03-01"`.
        default_headers: Additional headers for every request.
        on_attempt: Called with an `Attempt` after each attempt, for metrics. Its exceptions are logged and ignored.
        http_client: A custom `httpx.Client`. Its headers, cookies, event hooks, auth, proxies and transport are used;
            its timeout and redirect settings are ignored. `close` leaves it open. A client with it cannot be pickled.

    Raises:
        ConfigurationError: An option is missing or invalid.

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
        timeout: float | httpx.Timeout = 30.0,
        deadline: float | None = None,
        max_retries: int = 3,
        max_retry_wait: float = 60.0,
        api_version: str = "2026-03-01",
        default_headers: Mapping[str, str] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        options = Options.resolve(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            deadline=deadline,
            max_retries=max_retries,
            max_retry_wait=max_retry_wait,
            api_version=api_version,
            default_headers=default_headers,
            on_attempt=on_attempt,
        )
        configure_from_environment()
        Resource.__init__(self, Transport.build(options, http_client))

    @_resource
    def customers(self) -> Customers:
        """The customers of a team."""
        return Customers(self._transport)

    @property
    def with_raw_response(self) -> CstarWithRawResponse:
        """`request` and `whoami`, returning a `RawResponse` with status, headers and `parse()`."""
        return CstarWithRawResponse(self._over(self._transport, _raw=True))

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
    ) -> Any: ...  # noqa: ANN401 - JSON that callers can index without casts
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
    ) -> Any:  # see the overloads
        """Call any endpoint of the API, with the client's key, retries, idempotency keys and errors.

        See the API pages "Authentication", "Idempotency" and "Errors", and the endpoint's own page for its parameters
        and its response.

        Args:
            method: `"GET"`, `"POST"`, `"PUT"`, `"PATCH"` or `"DELETE"`.
            path: The path below the base URL, such as `f"/teams/{team_id}/tickets"`.
            params: Query parameters, by the API's names. A list is sent as one parameter per item;
                `None` is omitted.
            json: The request body.
            cast_to: The type to validate the response's `data` as: a pydantic model, `list[Model]`, a dataclass, …
            idempotency_key: Identifies a write operation, as in `customers.create`. By default a new UUID.

        Returns:
            With `cast_to`, the response's `data`. Otherwise the whole JSON of the response; `None` for a response
            without a body, and for a deletion whose response was lost and whose retry returned 404.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            APIResponseValidationError: The response is not JSON, or its `data` is not a valid `cast_to`.
            APIStatusError: The server returned an error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            tickets = client.request("GET", f"/teams/{team_id}/tickets", params={"status": "open"})
            ```
        """
        call: Call[T] = _request_call(method, path, params, json, cast_to, idempotency_key)
        return self._send(call)

    def paginate(
        self,
        path: str,
        *,
        cast_to: type[RowT],
        params: Mapping[str, QueryValue] | None = None,
        page: int = 1,
        page_size: int = 100,
        prefetch: int = 0,
        gapless: bool = False,
        resume: str | None = None,
    ) -> Page[RowT]:
        """List any collection of the API in pages, like `customers.list` (API pages "Pagination" and "Errors").

        Args:
            path: The path of the list below the base URL, such as `f"/teams/{team_id}/tickets"`.
            cast_to: The type of a row: a pydantic model, a dataclass, … It must have an attribute `id`, which
                identifies the row.
            params: Query parameters, by the API's names. A list is sent as one parameter per item;
                `None` is omitted.
            page: The number of the first page. `ListOptions` describes this and the following parameters in detail.
            page_size: Rows per page, 1 to 100.
            prefetch: Number of pages to prefetch while iterating, 0 to 100.
            gapless: Whether to verify that iterating skips no row.
            resume: The checkpoint of an earlier iteration, to continue after it.

        Returns:
            The page, with `data`, `total` and `has_more`. Iterating over it yields its rows and those of all later
            pages, which are fetched lazily.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            APIResponseValidationError: The response is not a list, or a row is not a valid `cast_to` or has no id.
            APIStatusError: The server returned an error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            for ticket in client.paginate(f"/teams/{team_id}/tickets", cast_to=Ticket):
                print(ticket.id)
            ```
        """
        return self._list(
            _paginate_listing(
                path,
                cast_to,
                params,
                page=page,
                page_size=page_size,
                prefetch=prefetch,
                gapless=gapless,
                resume=resume,
            )
        )

    def whoami(self) -> models.Identity:
        """Get the team, kind and environment of the API key (API page "Authentication").

        Returns:
            The identity of the key. Other calls take its `team_id`.

        Raises:
            AuthenticationError: The key is unknown or expired.
            APIStatusError: The server returned another error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            team_id = client.whoami().team_id
            ```
        """
        return self._send(_whoami_call())

    def close(self) -> None:
        """Close the connections, except those of a custom `http_client`.

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

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class CstarWithRawResponse:
    """`client.with_raw_response`: `request` and `whoami` of `Cstar`, returning a `RawResponse`."""

    def __init__(self, client: Cstar) -> None:
        self.resource = client
        """The `Cstar` that sends the requests."""

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
    ) -> RawResponse[Any]: ...
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
    ) -> RawResponse[T]: ...
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: Json = None,
        cast_to: type[T] | None = None,
        idempotency_key: str | None = None,
    ) -> RawResponse[Any]:
        """Like `Cstar.request`, but return a `RawResponse`."""
        response = self.resource.request(
            method, path, params=params, json=json, cast_to=cast("type[T]", cast_to), idempotency_key=idempotency_key
        )
        return cast("RawResponse[T]", response)

    @raw_form(Cstar.whoami)
    def whoami(self) -> None:
        """Like `Cstar.whoami`, but return a `RawResponse`."""


class AsyncCstar(_Client[AsyncTransport], AsyncResource):
    """An async client of the cStar API, on asyncio or trio.

    Share it between tasks. It keeps connections open between calls. It can be pickled; the pickle contains the API key.
    Close it when it is no longer needed, or use it in an `async with` statement.

    Args:
        api_key: `sk_live_…` or `sk_test_…` to read and write, `pk_live_…` or `pk_test_…` only to read. By default the
            environment variable `CSTAR_API_KEY`. A live key is sent only over https or to a loopback address.
        base_url: The URL of the API. By default the environment variable `CSTAR_BASE_URL`, or else
            `https://www.cstar.help/api/v1`.
        timeout: Seconds for each attempt, from its start to the last byte of its response; or an `httpx.Timeout`, to
            limit connecting and each read and write separately. By default 30.
        deadline: Seconds for each call, including all attempts and retry delays. If a retry delay would exceed it, the
            call raises at once. By default no limit.
        max_retries: Maximum number of retries of a call. A call is retried if there is no response, after 408, 429 or
            5xx, and after a 409 that follows a lost response. By default 3.
        max_retry_wait: Maximum retry delay in seconds. If the server requests a longer delay, the call raises at once,
            with that delay as the error's `retry_after`. With 0, there is no backoff delay. By default 60.
        api_version: The version of the API, a date, sent as `CStar-Version`. By default `"2026-03-01"`.
        default_headers: Additional headers for every request.
        on_attempt: Called with an `Attempt` after each attempt, for metrics. Its exceptions are logged and ignored.
        http_client: A custom `httpx.AsyncClient`. Its headers, cookies, event hooks, auth, proxies and transport are
            used; its timeout and redirect settings are ignored. `close` leaves it open. A client with it cannot be
            pickled.

    Raises:
        ConfigurationError: An option is missing or invalid.

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
        timeout: float | httpx.Timeout = 30.0,
        deadline: float | None = None,
        max_retries: int = 3,
        max_retry_wait: float = 60.0,
        api_version: str = "2026-03-01",
        default_headers: Mapping[str, str] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        options = Options.resolve(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            deadline=deadline,
            max_retries=max_retries,
            max_retry_wait=max_retry_wait,
            api_version=api_version,
            default_headers=default_headers,
            on_attempt=on_attempt,
        )
        configure_from_environment()
        AsyncResource.__init__(self, AsyncTransport.build(options, http_client))

    @_resource
    def customers(self) -> AsyncCustomers:
        """The customers of a team."""
        return AsyncCustomers(self._transport)

    @property
    def with_raw_response(self) -> AsyncCstarWithRawResponse:
        """`request` and `whoami`, returning a `RawResponse` with status, headers and `parse()`."""
        return AsyncCstarWithRawResponse(self._over(self._transport, _raw=True))

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
    ) -> Any: ...  # noqa: ANN401 - JSON that callers can index without casts
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
    ) -> Any:  # see the overloads
        """Call any endpoint of the API, with the client's key, retries, idempotency keys and errors.

        See the API pages "Authentication", "Idempotency" and "Errors", and the endpoint's own page for its parameters
        and its response.

        Args:
            method: `"GET"`, `"POST"`, `"PUT"`, `"PATCH"` or `"DELETE"`.
            path: The path below the base URL, such as `f"/teams/{team_id}/tickets"`.
            params: Query parameters, by the API's names. A list is sent as one parameter per item;
                `None` is omitted.
            json: The request body.
            cast_to: The type to validate the response's `data` as: a pydantic model, `list[Model]`, a dataclass, …
            idempotency_key: Identifies a write operation, as in `customers.create`. By default a new UUID.

        Returns:
            With `cast_to`, the response's `data`. Otherwise the whole JSON of the response; `None` for a response
            without a body, and for a deletion whose response was lost and whose retry returned 404.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            APIResponseValidationError: The response is not JSON, or its `data` is not a valid `cast_to`.
            APIStatusError: The server returned an error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            tickets = await client.request("GET", f"/teams/{team_id}/tickets", params={"status": "open"})
            ```
        """
        call: Call[T] = _request_call(method, path, params, json, cast_to, idempotency_key)
        return await self._send(call)

    def paginate(
        self,
        path: str,
        *,
        cast_to: type[RowT],
        params: Mapping[str, QueryValue] | None = None,
        page: int = 1,
        page_size: int = 100,
        prefetch: int = 0,
        gapless: bool = False,
        resume: str | None = None,
    ) -> AsyncPaginator[RowT]:
        """List any collection of the API in pages, like `customers.list` (API pages "Pagination" and "Errors").

        Args:
            path: The path of the list below the base URL, such as `f"/teams/{team_id}/tickets"`.
            cast_to: The type of a row: a pydantic model, a dataclass, … It must have an attribute `id`, which
                identifies the row.
            params: Query parameters, by the API's names. A list is sent as one parameter per item;
                `None` is omitted.
            page: The number of the first page. `ListOptions` describes this and the following parameters in detail.
            page_size: Rows per page, 1 to 100.
            prefetch: Number of pages to prefetch while iterating, 0 to 100.
            gapless: Whether to verify that iterating skips no row.
            resume: The checkpoint of an earlier iteration, to continue after it.

        Returns:
            The page, with `data`, `total` and `has_more`. Iterating over it yields its rows and those of all later
            pages, which are fetched lazily.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            APIResponseValidationError: The response is not a list, or a row is not a valid `cast_to` or has no id.
            APIStatusError: The server returned an error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            async for ticket in client.paginate(f"/teams/{team_id}/tickets", cast_to=Ticket):
                print(ticket.id)
            ```
        """
        return self._list(
            _paginate_listing(
                path,
                cast_to,
                params,
                page=page,
                page_size=page_size,
                prefetch=prefetch,
                gapless=gapless,
                resume=resume,
            )
        )

    async def whoami(self) -> models.Identity:
        """Get the team, kind and environment of the API key (API page "Authentication").

        Returns:
            The identity of the key. Other calls take its `team_id`.

        Raises:
            AuthenticationError: The key is unknown or expired.
            APIStatusError: The server returned another error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            team_id = (await client.whoami()).team_id
            ```
        """
        return await self._send(_whoami_call())

    async def close(self) -> None:
        """Close the connections, except those of a custom `http_client`.

        Example:
            ```python
            client = AsyncCstar()
            team_id = (await client.whoami()).team_id
            await client.close()
            ```
        """
        await self._transport.close()

    async def aclose(self) -> None:
        """Close the connections, as `close` does, for `contextlib.aclosing`.

        Example:
            ```python
            async with contextlib.aclosing(AsyncCstar()) as client:
                team_id = (await client.whoami()).team_id
            ```
        """
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class AsyncCstarWithRawResponse:
    """`client.with_raw_response`: `request` and `whoami` of `AsyncCstar`, returning a `RawResponse`."""

    def __init__(self, client: AsyncCstar) -> None:
        self.resource = client
        """The `AsyncCstar` that sends the requests."""

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
    ) -> RawResponse[Any]: ...
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
    ) -> RawResponse[T]: ...
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: Json = None,
        cast_to: type[T] | None = None,
        idempotency_key: str | None = None,
    ) -> RawResponse[Any]:
        """Like `AsyncCstar.request`, but return a `RawResponse`."""
        response = await self.resource.request(
            method, path, params=params, json=json, cast_to=cast("type[T]", cast_to), idempotency_key=idempotency_key
        )
        return cast("RawResponse[T]", response)

    @async_raw_form(AsyncCstar.whoami)
    def whoami(self) -> None:
        """Like `AsyncCstar.whoami`, but return a `RawResponse`."""
