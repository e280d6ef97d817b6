"""The pages of a list and the iterators over its rows, as returned by `list` methods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, closing
from dataclasses import replace
from itertools import islice
from operator import length_hint
from threading import Lock
from typing import TYPE_CHECKING, Generic, NoReturn, Protocol

from typing_extensions import Self

from cstar._check import check_int
from cstar._checkpoint import PageRequest, Progress
from cstar._decode import PageData
from cstar._listing import Listing
from cstar._memory import T
from cstar._transport import AsyncTransport, Transport
from cstar._walk import Walk
from cstar.errors import CstarError

_MAX_LIMIT = 2**63 - 1


class _Page(Generic[T]):
    """The base class of `Page` and `AsyncPage`."""

    def __init__(self, listing: Listing[T], data: PageData[T]) -> None:
        # Iterating uses the requested page number, because the server may return none, or a wrong one.
        self._listing = listing
        self._request = request = listing.first
        self._data = data
        self.data: list[T] = data.rows
        """The rows of this page as received. With `resume`, an earlier iteration may have yielded some of them."""
        self.total: int = data.total
        """The number of rows in the whole list when the server sent this page."""
        self.page: int = request.page if data.page is None else data.page
        """The number of this page, from 1."""
        self.page_size: int = request.size if data.page_size is None else data.page_size
        """Rows per page."""
        self.has_more: bool = data.has_more
        """Whether another page follows, according to the server."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("a page cannot be pickled or copied, because it holds a client: use its data")

    def __bool__(self) -> bool:
        return bool(self.data)

    def _next_request(self) -> PageRequest:
        if not self.has_more:
            raise CstarError(f"page {self.page} is the last one: check has_more first, or iterate over the page")
        return PageRequest(self._request.page + 1, self._request.size)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(page={self.page}, page_size={self.page_size}, total={self.total}, "
            f"has_more={self.has_more}, data=[{len(self.data)} rows])"
        )


class Page(_Page[T]):
    """One page of a list. Iterating it yields every row from this page to the end of the list, each row once.

    A page is true if it has rows.
    """

    def __init__(self, transport: Transport, listing: Listing[T], data: PageData[T]) -> None:
        super().__init__(listing, data)
        self._transport = transport

    def get_next_page(self) -> Page[T]:
        """Fetch the page after this one.

        Returns:
            The next page, in its current state on the server.

        Raises:
            CstarError: This is the last page.
            APIError: The call failed.

        Example:
            ```python
            page = client.customers.list(team_id)
            if page.has_more:
                page = page.get_next_page()
            ```
        """
        listing = self._listing.at(self._next_request())
        return Page(self._transport, listing, self._transport.fetch(listing.call))

    def iter_pages(self) -> Iterator[Page[T]]:
        """Iterate over the pages from this one to the end of the list; each row is on one page only.

        Returns:
            An iterator that fetches the pages lazily.

        Raises:
            APIError: A call failed.

        Example:
            ```python
            page = client.customers.list(team_id, page=2)
            for each in page.iter_pages():
                print(each.page, len(each.data))
            ```
        """
        return _Pages(self._transport, self._listing, (self._request, self._data))

    def to_list(self, limit: int | None = None) -> list[T]:
        """Return the rows from this page to the end of the list.

        Args:
            limit: The most rows to return; by default all.

        Returns:
            The rows.

        Raises:
            InvalidParameterError: The limit is not a whole number of 0 or more.
            APIError: A call failed.

        Example:
            ```python
            newest = client.customers.list(team_id).to_list(limit=500)
            ```
        """
        pages = _Pages(self._transport, _limited(self._listing, limit), (self._request, self._data))
        with closing(RowIterator(pages)) as rows:
            return list(islice(rows, limit))

    def first(self) -> T | None:
        """Return the first row.

        Returns:
            The first row that iterating yields; `None` if there are no rows.

        Raises:
            APIError: A call failed.

        Example:
            ```python
            newest = client.customers.list(team_id, page_size=1).first()
            ```
        """
        return next(iter(self.to_list(limit=1)), None)

    def __iter__(self) -> RowIterator[T]:
        return RowIterator(_Pages(self._transport, self._listing, (self._request, self._data)))


class AsyncPage(_Page[T]):
    """One page of a list. `async for` yields every row from this page to the end of the list, each row once.

    A page is true if it has rows.
    """

    def __init__(self, transport: AsyncTransport, listing: Listing[T], data: PageData[T]) -> None:
        super().__init__(listing, data)
        self._transport = transport

    async def get_next_page(self) -> AsyncPage[T]:
        """Fetch the page after this one.

        Returns:
            The next page, in its current state on the server.

        Raises:
            CstarError: This is the last page.
            APIError: The call failed.

        Example:
            ```python
            page = await client.customers.list(team_id)
            if page.has_more:
                page = await page.get_next_page()
            ```
        """
        listing = self._listing.at(self._next_request())
        return AsyncPage(self._transport, listing, await self._transport.fetch(listing.call))

    def iter_pages(self) -> AsyncIterator[AsyncPage[T]]:
        """Iterate over the pages from this one to the end of the list; each row is on one page only.

        Returns:
            An iterator that fetches the pages lazily.

        Raises:
            APIError: A call failed.

        Example:
            ```python
            page = await client.customers.list(team_id, page=2)
            async for each in page.iter_pages():
                print(each.page, len(each.data))
            ```
        """
        return _AsyncPages(self._transport, self._listing, (self._request, self._data))

    async def to_list(self, limit: int | None = None) -> list[T]:
        """Return the rows from this page to the end of the list.

        Args:
            limit: The most rows to return; by default all.

        Returns:
            The rows.

        Raises:
            InvalidParameterError: The limit is not a whole number of 0 or more.
            APIError: A call failed.

        Example:
            ```python
            newest = await client.customers.list(team_id).to_list(limit=500)
            ```
        """
        return await _to_list(self._transport, self._listing, (self._request, self._data), limit)

    async def first(self) -> T | None:
        """Return the first row.

        Returns:
            The first row that iterating yields; `None` if there are no rows.

        Raises:
            APIError: A call failed.

        Example:
            ```python
            newest = await client.customers.list(team_id, page_size=1).first()
            ```
        """
        return next(iter(await self.to_list(limit=1)), None)

    def __aiter__(self) -> AsyncRowIterator[T]:
        return AsyncRowIterator(_AsyncPages(self._transport, self._listing, (self._request, self._data)))


class _NotAwaitedError(CstarError, AttributeError, TypeError):
    """A list of `AsyncCstar` was used like its first page.

    It is an `AttributeError` for `hasattr`, and a `TypeError` for operators.
    """


class AsyncPaginator(Generic[T]):
    """A list of `AsyncCstar`: `await` it for the first page, or iterate over all rows with `async for`.

    Creating it sends no request.
    """

    def __init__(
        self,
        first_page: Callable[[], Awaitable[AsyncPage[T]]],
        transport: AsyncTransport,
        listing: Listing[T],
    ) -> None:
        self._first_page = first_page
        self._transport = transport
        self._listing = listing

    def __await__(self) -> Generator[object, object, AsyncPage[T]]:
        return self._first_page().__await__()

    def iter_pages(self) -> AsyncIterator[AsyncPage[T]]:
        """Iterate over the pages of the list; each row is on one page only.

        Returns:
            An iterator that fetches the pages lazily.

        Raises:
            APIError: A call failed.
            CstarError: Two tasks use the iterator at the same time.

        Example:
            ```python
            async for page in client.customers.list(team_id).iter_pages():
                print(page.page, len(page.data))
            ```
        """
        return _AsyncPages(self._transport, self._listing, None)

    async def to_list(self, limit: int | None = None) -> list[T]:
        """Return the rows of the list.

        Args:
            limit: The most rows to return; by default all.

        Returns:
            The rows.

        Raises:
            InvalidParameterError: The limit is not a whole number of 0 or more.
            APIError: A call failed.

        Example:
            ```python
            newest = await client.customers.list(team_id).to_list(limit=500)
            ```
        """
        return await _to_list(self._transport, self._listing, None, limit)

    async def first(self) -> T | None:
        """Return the first row.

        Returns:
            The first row that iterating yields; `None` if there are no rows.

        Raises:
            APIError: A call failed.

        Example:
            ```python
            newest = await client.customers.list(team_id, page_size=1).first()
            ```
        """
        return next(iter(await self.to_list(limit=1)), None)

    def __aiter__(self) -> AsyncRowIterator[T]:
        return AsyncRowIterator(_AsyncPages(self._transport, self._listing, None))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a list cannot be pickled or copied, because it holds a client: use its rows")

    if not TYPE_CHECKING:  # type checkers would allow these uses

        def __getattr__(self, name: str) -> NoReturn:
            if name in {"data", "total", "page", "page_size", "has_more", "get_next_page"}:
                raise _NotAwaitedError(
                    f"this list is not a page yet: await it first, as in (await client.….list(…)).{name}"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def __bool__(self) -> NoReturn:
            raise _NotAwaitedError("this list is not a page yet: await it first; the page is true if it has rows")

        def __len__(self) -> NoReturn:
            raise _NotAwaitedError("this list is not a page yet: await it first, and use page.total or len(page.data)")

        def __iter__(self) -> NoReturn:
            raise _NotAwaitedError(
                "iterate over a list of AsyncCstar with `async for`, or use `await ….to_list()`. "
                "For one page, await the list first and use page.data"
            )

        def __contains__(self, row: object) -> NoReturn:
            raise _NotAwaitedError("this list is not a page yet: await it first, and use page.data")

        def __getitem__(self, index: object) -> NoReturn:
            raise _NotAwaitedError("this list is not a page yet: await it first, and use page.data")


class RowIterator(Generic[T]):
    """An iterator over the rows of a list, from one page to the end, each row once. Threads may share it.

    After an error, iterating may be continued.
    """

    def __init__(self, pages: _Pages[T]) -> None:
        self._pages = pages
        self._rows: Iterator[T] = iter(())
        # One value, so that `checkpoint` needs no lock and a signal handler can call it.
        self._batch = self._rows, pages.progress
        self._lock = Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        # Threads that share the iterator need the lock only for the next page.
        for row in self._rows:
            return row
        with self._lock:
            while True:
                for row in self._rows:
                    return row
                rows = iter(self._pages.next_data()[1].rows)
                self._batch = rows, self._pages.progress
                self._rows = rows

    def checkpoint(self) -> str:
        """Return the position after the last row yielded, as a token.

        It sends no request. Call it after the last row has been stored: resuming does not yield that row again.

        Returns:
            A string to store, and to pass as `resume` to the same list later, even in another process. It holds ids and
            numbers: no API key, and no other data of a row.

        Example:
            ```python
            rows = iter(client.customers.list(team_id))
            first = next(rows)
            token = rows.checkpoint()
            for customer in client.customers.list(team_id, resume=token):
                print(customer.name)
            ```
        """
        rows, progress = self._batch
        return self._pages.listing.token(progress, length_hint(rows))

    def close(self) -> None:
        """Stop iterating, and discard prefetched pages.

        Example:
            ```python
            rows = iter(client.customers.list(team_id, prefetch=4))
            first = next(rows)
            rows.close()
            ```
        """
        self._rows, self._batch = _stopped(*self._batch)
        self._pages.close()


class AsyncRowIterator(Generic[T]):
    """An iterator over the rows of a list, from one page to the end, each row once. It serves one task at a time.

    After an error, iterating may be continued.
    """

    def __init__(self, pages: _AsyncPages[T]) -> None:
        self._pages = pages
        self._rows: Iterator[T] = iter(())
        self._batch = self._rows, pages.progress

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            for row in self._rows:
                return row
            rows = iter((await self._pages.next_data())[1].rows)
            self._batch = rows, self._pages.progress
            self._rows = rows

    def checkpoint(self) -> str:
        """Return the position after the last row yielded, as a token.

        It sends no request. Call it after the last row has been stored: resuming does not yield that row again.

        Returns:
            A string to store, and to pass as `resume` to the same list later, even in another process. It holds ids and
            numbers: no API key, and no other data of a row.

        Example:
            ```python
            rows = aiter(client.customers.list(team_id))
            first = await anext(rows)
            token = rows.checkpoint()
            async for customer in client.customers.list(team_id, resume=token):
                print(customer.name)
            ```
        """
        rows, progress = self._batch
        return self._pages.listing.token(progress, length_hint(rows))

    async def aclose(self) -> None:
        """Stop iterating, and discard prefetched pages.

        Example:
            ```python
            rows = aiter(client.customers.list(team_id, prefetch=4))
            first = await anext(rows)
            await rows.aclose()
            ```
        """
        self._rows, self._batch = _stopped(*self._batch)
        await self._pages.aclose()


def _stopped(rows: Iterator[T], progress: Progress) -> tuple[Iterator[T], tuple[Iterator[T], Progress]]:
    """Return an empty batch at the position of another one."""
    checkpoint = progress.checkpoint(pending=length_hint(rows))
    no_rows: Iterator[T] = iter(())
    return no_rows, (no_rows, Progress(checkpoint, checkpoint.total))


class _Source(Protocol[T]):
    """A source of the pages of a walk: fetched when they are needed, or prefetched."""

    def next_page(self, walk: Walk[T]) -> tuple[PageRequest, PageData[T]]:
        """Return the next page of the walk, and its request."""
        ...

    def on_received(self, walk: Walk[T], *, was_useful: bool) -> None:
        """Act on the new plan after the walk has received a page. Never raises.

        A page was useful if it had new rows, or no rows at all.
        """
        ...

    def close(self) -> None: ...


class _LazySource(Generic[T]):
    """A source that fetches each page when it is needed."""

    def __init__(self, transport: Transport, listing: Listing[T]) -> None:
        self._transport = transport
        self._listing = listing

    def next_page(self, walk: Walk[T]) -> tuple[PageRequest, PageData[T]]:
        assert walk.next_request is not None
        self._transport.wait_for_budget()
        return walk.next_request, self._transport.fetch(self._listing.page(walk.next_request))

    def on_received(self, walk: Walk[T], *, was_useful: bool) -> None:
        pass

    def close(self) -> None:
        pass


class _AsyncSource(Protocol[T]):
    """A source of the pages of an async walk; see `_Source`."""

    async def next_page(self, walk: Walk[T]) -> tuple[PageRequest, PageData[T]]: ...

    def on_received(self, walk: Walk[T], *, was_useful: bool) -> None: ...

    async def close(self) -> None: ...


class _AsyncLazySource(Generic[T]):
    """A source that fetches each page when it is needed."""

    def __init__(self, transport: AsyncTransport, listing: Listing[T]) -> None:
        self._transport = transport
        self._listing = listing

    async def next_page(self, walk: Walk[T]) -> tuple[PageRequest, PageData[T]]:
        assert walk.next_request is not None
        await self._transport.wait_for_budget()
        return walk.next_request, await self._transport.fetch(self._listing.page(walk.next_request))

    def on_received(self, walk: Walk[T], *, was_useful: bool) -> None:
        pass

    async def close(self) -> None:
        pass


# Classes, not generators: a generator ends at the first error, as if the list had been read to the end; and an async
# generator has to be closed by the caller after a `break`.
class _Pages(Generic[T]):
    """An iterator over the pages of a walk whose first page has been fetched."""

    def __init__(self, transport: Transport, listing: Listing[T], first: tuple[PageRequest, PageData[T]]) -> None:
        self.listing = listing
        self._transport = transport
        self._walk = listing.walk()
        self._first: tuple[PageRequest, PageData[T]] | None = first
        self._is_first = True
        self._is_closed = False
        self._source = _source(transport, listing)
        self._lock = Lock()

    @property
    def progress(self) -> Progress:
        return self._walk.memory.progress

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Page[T]:
        request, data = self.next_data()
        return Page(self._transport, self.listing.at(request), data)

    def next_data(self) -> tuple[PageRequest, PageData[T]]:
        """Return the next page with its new rows only, and its request. Skip pages without any, except the first."""
        with self._lock:  # threads may share the iterator
            while self._walk.next_request is not None and not self._is_closed:
                request, data = self._first or self._source.next_page(self._walk)
                self._first = None
                rows = self._walk.receive(request, data)
                # Nothing below may raise, because the walk will not return these rows again.
                if not self._is_closed:
                    self._source.on_received(self._walk, was_useful=bool(rows) or not data.rows)
                is_first, self._is_first = self._is_first, False
                if rows or is_first:
                    return request, replace(data, rows=rows)
            self._source.close()
        raise StopIteration

    def close(self) -> None:
        """Stop iterating, and discard prefetched pages."""
        self._is_closed = True
        self._source.close()


class _AsyncPages(Generic[T]):
    """An iterator over the pages of a walk. `first` is its first page, if it has been fetched."""

    def __init__(
        self, transport: AsyncTransport, listing: Listing[T], first: tuple[PageRequest, PageData[T]] | None
    ) -> None:
        self.listing = listing
        self._transport = transport
        self._walk = listing.walk()
        self._first = first
        self._is_first = True
        self._is_closed = False
        self._source = _async_source(transport, listing)
        self._is_busy = False

    @property
    def progress(self) -> Progress:
        return self._walk.memory.progress

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AsyncPage[T]:
        request, data = await self.next_data()
        return AsyncPage(self._transport, self.listing.at(request), data)

    async def next_data(self) -> tuple[PageRequest, PageData[T]]:
        """Return the next page with its new rows only, and its request. Skip pages without any, except the first."""
        if self._is_busy:
            raise CstarError("an iterator serves one task at a time: use one iterator per task, or a queue")
        self._is_busy = True
        try:
            while self._walk.next_request is not None and not self._is_closed:
                request, data = self._first or await self._source.next_page(self._walk)
                self._first = None
                rows = self._walk.receive(request, data)
                # Nothing below may raise or wait, because the walk will not return these rows again.
                if not self._is_closed:
                    self._source.on_received(self._walk, was_useful=bool(rows) or not data.rows)
                is_first, self._is_first = self._is_first, False
                if rows or is_first:
                    return request, replace(data, rows=rows)
            await self._source.close()
        finally:
            self._is_busy = False
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop iterating, and discard prefetched pages."""
        self._is_closed = True
        await self._source.close()


def _source(transport: Transport, listing: Listing[T]) -> _Source[T]:
    if not listing.prefetch:
        return _LazySource(transport, listing)
    from cstar._prefetch import Prefetcher

    return Prefetcher(transport, listing)


def _async_source(transport: AsyncTransport, listing: Listing[T]) -> _AsyncSource[T]:
    if not listing.prefetch:
        return _AsyncLazySource(transport, listing)
    from cstar._prefetch import AsyncPrefetcher

    return AsyncPrefetcher(transport, listing)


async def _to_list(
    transport: AsyncTransport, listing: Listing[T], first: tuple[PageRequest, PageData[T]] | None, limit: int | None
) -> list[T]:
    rows: list[T] = []
    listing = _limited(listing, limit)
    if limit == 0:
        return rows
    async with aclosing(AsyncRowIterator(_AsyncPages(transport, listing, first))) as iterator:
        async for row in iterator:
            rows.append(row)
            if len(rows) == limit:
                break
    return rows


def _limited(listing: Listing[T], limit: int | None) -> Listing[T]:
    """Return the list with no more prefetched pages than `limit` rows need."""
    if limit is None:
        return listing
    pages = -(-check_int("limit", limit, low=0, high=_MAX_LIMIT) // listing.begin.size)
    return replace(listing, prefetch=min(listing.prefetch, max(0, pages - 1)))
