"""What every resource stands on: a call goes in, its value comes out, or with `raw` the answer as a `RawResponse`."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, cast

from cstar._codec import decode
from cstar._pagination import AsyncPage, AsyncPaginator, Page
from cstar._response import RawResponse
from cstar._walk import HasId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cstar._call import Call
    from cstar._codec import Answer
    from cstar._listing import Listing
    from cstar._transport import AsyncTransport, Transport

P = ParamSpec("P")
T = TypeVar("T")
ResourceT = TypeVar("ResourceT")
ResourceT_co = TypeVar("ResourceT_co", covariant=True)
RowT = TypeVar("RowT", bound=HasId)


class Resource:
    """The base of a resource of `Cstar`.

    A raw resource has the same methods, and each of them returns the `RawResponse` of what it is declared to return.
    `raw_form` tells that to the type checkers.
    """

    def __init__(self, transport: Transport, *, raw: bool = False) -> None:
        self._transport = transport
        self._raw = raw

    def _send(self, call: Call[T]) -> T:
        return _finish(self._transport.send(call), partial(decode, call), raw=self._raw)

    def _list(self, listing: Listing[RowT]) -> Page[RowT]:
        def parse(answer: Answer) -> Page[RowT]:
            return Page(self._transport, listing, listing.first, decode(listing.call, answer))

        return _finish(self._transport.send(listing.call), parse, raw=self._raw)


class AsyncResource:
    """The base of a resource of `AsyncCstar`; see `Resource`."""

    def __init__(self, transport: AsyncTransport, *, raw: bool = False) -> None:
        self._transport = transport
        self._raw = raw

    async def _send(self, call: Call[T]) -> T:
        return _finish(await self._transport.send(call), partial(decode, call), raw=self._raw)

    def _list(self, listing: Listing[RowT]) -> AsyncPaginator[RowT]:
        def parse(answer: Answer) -> AsyncPage[RowT]:
            return AsyncPage(self._transport, listing, listing.first, decode(listing.call, answer))

        async def first() -> AsyncPage[RowT]:
            return _finish(await self._transport.send(listing.call), parse, raw=self._raw)

        return AsyncPaginator(first, self._transport, listing)


def _finish(answer: Answer, parse: Callable[[Answer], T], *, raw: bool) -> T:
    # The one untruth, taken back by `raw_form`: the methods of a raw resource are not declared a second time.
    return cast("T", RawResponse(answer, parse)) if raw else parse(answer)


class _Raw(Protocol[ResourceT_co]):
    """A class of raw forms: it has the raw resource whose methods it gives their true type."""

    @property
    def resource(self) -> ResourceT_co: ...


def raw_form(
    method: Callable[Concatenate[ResourceT, P], T],
) -> Callable[[Callable[..., None]], Callable[Concatenate[_Raw[ResourceT], P], RawResponse[T]]]:
    """The raw form of a method: the same call, with the type of what a raw resource returns."""

    def decorate(_: Callable[..., None]) -> Callable[Concatenate[_Raw[ResourceT], P], RawResponse[T]]:
        @wraps(method)
        def call(self: _Raw[ResourceT], /, *args: P.args, **kwargs: P.kwargs) -> RawResponse[T]:
            return cast("RawResponse[T]", method(self.resource, *args, **kwargs))

        return call

    return decorate


def async_raw_form(
    method: Callable[Concatenate[ResourceT, P], Awaitable[T]],
) -> Callable[[Callable[..., None]], Callable[Concatenate[_Raw[ResourceT], P], Awaitable[RawResponse[T]]]]:
    """The raw form of an async method; see `raw_form`."""

    def decorate(_: Callable[..., None]) -> Callable[Concatenate[_Raw[ResourceT], P], Awaitable[RawResponse[T]]]:
        @wraps(method)
        def call(self: _Raw[ResourceT], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[RawResponse[T]]:
            return cast("Awaitable[RawResponse[T]]", method(self.resource, *args, **kwargs))

        return call

    return decorate
