"""The base classes of resources. They send calls and return the value or, if they are raw, the `RawResponse`."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, cast

from cstar._bulk import close_source, iterate, iterate_async
from cstar._memory import HasId
from cstar._pagination import AsyncPage, AsyncPaginator, Page
from cstar._response import RawResponse, interpret, raise_for_status
from cstar._transport import AsyncTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from cstar._bulk import BulkJob, ResultT
    from cstar._call import Call
    from cstar._listing import Listing
    from cstar._response import ReceivedResponse

P = ParamSpec("P")
T = TypeVar("T")
ResourceT = TypeVar("ResourceT")
ResourceT_co = TypeVar("ResourceT_co", covariant=True)
RowT = TypeVar("RowT", bound=HasId)


class Resource:
    """The base class of the resources of `Cstar`, and of `Cstar` itself.

    The methods of a raw resource return a `RawResponse` instead of the declared value. `raw_form` declares this to type
    checkers.
    """

    def __init__(self, transport: Transport, *, raw: bool = False) -> None:
        self._transport = transport
        self._raw = raw

    def _send(self, call: Call[T]) -> T:
        return _finish(call, self._transport.send(call), partial(interpret, call), raw=self._raw)

    def _run(self, job: BulkJob[ResultT], items: object) -> ResultT:
        transport = self._transport.with_shared_deadline()
        try:
            for item in iterate(job.param, items):
                if call := job.feed(item):
                    job.receive(transport.fetch(call))
            if call := job.flush():
                job.receive(transport.fetch(call))
        except BaseException as error:
            job.annotate(error, transport.options.api_key)
            raise
        return job.result

    def _list(self, listing: Listing[RowT]) -> Page[RowT]:
        first_page = partial(_first_page, self._transport, listing)
        return _finish(listing.call, self._transport.send(listing.call), first_page, raw=self._raw)


class AsyncResource:
    """The base class of the resources of `AsyncCstar`; see `Resource`."""

    def __init__(self, transport: AsyncTransport, *, raw: bool = False) -> None:
        self._transport = transport
        self._raw = raw

    async def _send(self, call: Call[T]) -> T:
        return _finish(call, await self._transport.send(call), partial(interpret, call), raw=self._raw)

    async def _run(self, job: BulkJob[ResultT], items: object) -> ResultT:
        transport = self._transport.with_shared_deadline()
        source = iterate_async(job.param, items)
        try:
            async for item in source:
                if call := job.feed(item):
                    job.receive(await transport.fetch(call))
            if call := job.flush():
                job.receive(await transport.fetch(call))
        except BaseException as error:
            job.annotate(error, transport.options.api_key)
            await close_source(source, error)
            raise
        return job.result

    def _list(self, listing: Listing[RowT]) -> AsyncPaginator[RowT]:
        async def first() -> AsyncPage[RowT]:
            first_page = partial(_first_async_page, self._transport, listing)
            return _finish(listing.call, await self._transport.send(listing.call), first_page, raw=self._raw)

        return AsyncPaginator(first, self._transport, listing)


def _first_page(transport: Transport, listing: Listing[RowT], response: ReceivedResponse) -> Page[RowT]:
    return Page(transport, listing, interpret(listing.call, response))


def _first_async_page(transport: AsyncTransport, listing: Listing[RowT], response: ReceivedResponse) -> AsyncPage[RowT]:
    return AsyncPage(transport, listing, interpret(listing.call, response))


def _finish(call: Call[Any], response: ReceivedResponse, parse: Callable[[ReceivedResponse], T], *, raw: bool) -> T:
    if not raw:
        return parse(response)
    raise_for_status(call, response)
    # `raw_form` declares the actual type.
    return cast("T", RawResponse(response, parse))


class _Raw(Protocol[ResourceT_co]):
    """An object whose methods are those of a raw resource, with the actual return types."""

    @property
    def resource(self) -> ResourceT_co: ...


def raw_form(
    method: Callable[Concatenate[ResourceT, P], T],
) -> Callable[[Callable[..., None]], Callable[Concatenate[_Raw[ResourceT], P], RawResponse[T]]]:
    """Declare a method of a raw resource: with the same parameters, but returning a `RawResponse`."""

    def decorate(_: Callable[..., None]) -> Callable[Concatenate[_Raw[ResourceT], P], RawResponse[T]]:
        @wraps(method)
        def call(self: _Raw[ResourceT], /, *args: P.args, **kwargs: P.kwargs) -> RawResponse[T]:
            return cast("RawResponse[T]", method(self.resource, *args, **kwargs))

        return call

    return decorate


def async_raw_form(
    method: Callable[Concatenate[ResourceT, P], Awaitable[T]],
) -> Callable[[Callable[..., None]], Callable[Concatenate[_Raw[ResourceT], P], Awaitable[RawResponse[T]]]]:
    """Declare an async method of a raw resource; see `raw_form`."""

    def decorate(_: Callable[..., None]) -> Callable[Concatenate[_Raw[ResourceT], P], Awaitable[RawResponse[T]]]:
        @wraps(method)
        def call(self: _Raw[ResourceT], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[RawResponse[T]]:
            return cast("Awaitable[RawResponse[T]]", method(self.resource, *args, **kwargs))

        return call

    return decorate
