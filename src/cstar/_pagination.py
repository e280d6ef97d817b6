"""Lists that page by themselves: `Page` and `AsyncPage` drive a `Walk`, and differ only in that one of them awaits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from cstar._decode import PageData
from cstar._listing import Listing
from cstar._transport import AsyncTransport, Transport
from cstar._walk import Ask, HasId
from cstar.errors import CstarError

if TYPE_CHECKING:
    from typing_extensions import Self

    from cstar._prefetch import Ahead, AsyncAhead

T = TypeVar("T", bound=HasId)


class _Page(Generic[T]):
    """What `Page` and `AsyncPage` have in common."""

    def __init__(self, listing: Listing[T], ask: Ask, part: PageData[T]) -> None:
        self.data: list[T] = part.rows
        self.total: int = part.total
        self.page: int = ask.page if part.page is None else part.page
        self.page_size: int = ask.size if part.page_size is None else part.page_size
        self.has_more: bool = part.has_more
        # The server may not repeat the number it was asked for, or repeat a wrong one: walks go by what they asked.
        self._listing = listing
        self._ask = ask
        self._part = part

    def __reduce__(self) -> NoReturn:
        raise TypeError("a page can be neither pickled nor copied, because it holds a client: take its data")

    def _next_ask(self) -> Ask:
        if not self.has_more:
            raise CstarError(f"page {self.page} is the last one: ask has_more first, or iterate over the page")
        return Ask(self._ask.page + 1, self._ask.size)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(page={self.page}, page_size={self.page_size}, total={self.total}, "
            f"has_more={self.has_more}, data=[{len(self.data)} rows])"
        )


class Page(_Page[T]):
    """One page of a list. Iterating it walks every row from this page to the end of the list, each row once.

    Attributes:
        data: The rows of this page.
        total: Rows in the whole list, as the server counted them for this page.
        page: The page's number; the first is 1.
        page_size: Rows a page.
        has_more: Whether the server says that another page follows.
    """

    def __init__(self, transport: Transport, listing: Listing[T], ask: Ask, part: PageData[T]) -> None:
        super().__init__(listing, ask, part)
        self._transport = transport

    def get_next_page(self) -> Page[T]:
        """Fetch the page after this one.

        Returns:
            The next page, as the server has it now.

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
        ask = self._next_ask()
        return Page(self._transport, self._listing, ask, self._transport.fetch(self._listing.page(ask)))

    def iter_pages(self) -> Iterator[Page[T]]:
        """Walk the pages from this one to the end; a later page holds only rows that no earlier one held.

        Returns:
            An iterator that fetches each page when it is asked for.

        Raises:
            APIError: A call failed.

        Example:
            ```python
            page = client.customers.list(team_id, page=2)
            for each in page.iter_pages():
                print(each.page, len(each.data))
            ```
        """
        return _Pages(self._transport, self._listing, self._ask, self._part)

    def __iter__(self) -> Iterator[T]:
        return _Rows(_Pages(self._transport, self._listing, self._ask, self._part))


class AsyncPage(_Page[T]):
    """One page of a list. `async for` walks every row from this page to the end of the list, each row once.

    Attributes:
        data: The rows of this page.
        total: Rows in the whole list, as the server counted them for this page.
        page: The page's number; the first is 1.
        page_size: Rows a page.
        has_more: Whether the server says that another page follows.
    """

    def __init__(self, transport: AsyncTransport, listing: Listing[T], ask: Ask, part: PageData[T]) -> None:
        super().__init__(listing, ask, part)
        self._transport = transport

    async def get_next_page(self) -> AsyncPage[T]:
        """Fetch the page after this one.

        Returns:
            The next page, as the server has it now.

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
        ask = self._next_ask()
        part = await self._transport.fetch(self._listing.page(ask))
        return AsyncPage(self._transport, self._listing, ask, part)

    def iter_pages(self) -> AsyncIterator[AsyncPage[T]]:
        """Walk the pages from this one to the end; a later page holds only rows that no earlier one held.

        Returns:
            An iterator that fetches each page when it is asked for.

        Raises:
            APIError: A call failed.

        Example:
            ```python
            page = await client.customers.list(team_id, page=2)
            async for each in page.iter_pages():
                print(each.page, len(each.data))
            ```
        """
        return _AsyncPages(self._transport, self._listing, self._ask, self._part)

    def __aiter__(self) -> AsyncIterator[T]:
        return _AsyncRows(_AsyncPages(self._transport, self._listing, self._ask, self._part))


class AsyncPaginator(Generic[T]):
    """What `AsyncCstar`'s lists return: `await` it for the first page, or walk it with `async for`.

    Nothing is sent until one of the two happens.
    """

    def __init__(
        self,
        first: Callable[[], Awaitable[AsyncPage[T]]],
        transport: AsyncTransport,
        listing: Listing[T],
    ) -> None:
        self._first = first
        self._transport = transport
        self._listing = listing

    def __await__(self) -> Generator[object, object, AsyncPage[T]]:
        return self._first().__await__()

    def iter_pages(self) -> AsyncIterator[AsyncPage[T]]:
        """Walk the pages from the first one asked for; a later page holds only rows that no earlier one held.

        Returns:
            An iterator that fetches each page when it is asked for.

        Raises:
            APIError: A call failed.
            CstarError: Two tasks take from it at the same time.

        Example:
            ```python
            async for page in client.customers.list(team_id).iter_pages():
                print(page.page, len(page.data))
            ```
        """
        return _AsyncPages(self._transport, self._listing, self._listing.first, None)

    def __aiter__(self) -> AsyncIterator[T]:
        return _AsyncRows(_AsyncPages(self._transport, self._listing, self._listing.first, None))


# Classes, not generators: a generator is finished by the first error, and would then look like a list that was read
# to its end; and an async one that is left before its end must be closed by somebody, which a `break` does not do.
class _Pages(Generic[T]):
    """The pages of a walk, from one that is there already."""

    def __init__(self, transport: Transport, listing: Listing[T], ask: Ask, part: PageData[T]) -> None:
        self._transport = transport
        self._listing = listing
        self._walk = listing.walk_from(ask)
        self._part: PageData[T] | None = part
        self._is_first = True
        self._is_closed = False
        self._ahead: Ahead[T] | None = None
        self._lock = Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Page[T]:
        # Threads may take their work from one iterator.
        with self._lock:
            while self._walk.next is not None and not self._is_closed:
                ask, part = self._answer(self._walk.next)
                fresh = self._walk.take(ask, part)
                # From here on nothing may fail: these rows will not be given again.
                if self._ahead is not None and not self._is_closed:
                    self._ahead.follow(self._walk, was_fruitful=bool(fresh))
                is_first, self._is_first = self._is_first, False
                if fresh or is_first:
                    return Page(self._transport, self._listing, ask, replace(part, rows=fresh))
            if self._ahead is not None:
                self._ahead.close()
        raise StopIteration

    def _answer(self, ask: Ask) -> tuple[Ask, PageData[T]]:
        if (part := self._part) is not None:
            self._part = None
            if self._listing.prefetch:
                from cstar._prefetch import Ahead

                self._ahead = Ahead(self._transport, self._listing)
            return ask, part
        if self._ahead is not None:
            return self._ahead.answer(self._walk)
        self._transport.wait_for_budget()
        return ask, self._transport.fetch(self._listing.page(ask))

    def close(self) -> None:
        """End the walk here; what was fetched ahead is thrown away."""
        self._is_closed = True
        if self._ahead is not None:
            self._ahead.close()


class _Rows(Generic[T]):
    """The rows of pages."""

    def __init__(self, pages: _Pages[T]) -> None:
        self._pages = pages
        self._rows: Iterator[T] = iter(())
        self._lock = Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        # Threads that share a list's iterator get each row once; only for the next page do they wait for each other.
        for row in self._rows:
            return row
        with self._lock:
            while True:
                for row in self._rows:
                    return row
                self._rows = iter(next(self._pages).data)

    def close(self) -> None:
        """End the walk here; what was fetched ahead is thrown away."""
        self._rows = iter(())
        self._pages.close()


class _AsyncPages(Generic[T]):
    """The pages of a walk, from one that is there already or is still to be fetched."""

    def __init__(self, transport: AsyncTransport, listing: Listing[T], ask: Ask, part: PageData[T] | None) -> None:
        self._transport = transport
        self._listing = listing
        self._walk = listing.walk_from(ask)
        self._part = part
        self._is_first = True
        self._is_closed = False
        self._ahead: AsyncAhead[T] | None = None
        self._is_busy = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AsyncPage[T]:
        if self._is_busy:
            raise CstarError("a walk serves one task at a time: give each task pages of its own, or share a queue")
        self._is_busy = True
        try:
            while self._walk.next is not None and not self._is_closed:
                ask, part = await self._answer(self._walk.next)
                fresh = self._walk.take(ask, part)
                # From here on nothing may fail or wait: these rows will not be given again.
                if self._ahead is not None:
                    self._ahead.follow(self._walk, was_fruitful=bool(fresh))
                is_first, self._is_first = self._is_first, False
                if fresh or is_first:
                    return AsyncPage(self._transport, self._listing, ask, replace(part, rows=fresh))
            if self._ahead is not None:
                await self._ahead.close()
        finally:
            self._is_busy = False
        raise StopAsyncIteration

    async def _answer(self, ask: Ask) -> tuple[Ask, PageData[T]]:
        if self._ahead is None and self._listing.prefetch:
            from cstar._prefetch import AsyncAhead

            self._ahead = AsyncAhead(self._transport, self._listing)
        if (part := self._part) is not None:
            self._part = None
            return ask, part
        if self._ahead is not None:
            return await self._ahead.answer(self._walk)
        await self._transport.wait_for_budget()
        return ask, await self._transport.fetch(self._listing.page(ask))

    async def aclose(self) -> None:
        """End the walk here; what was fetched ahead is thrown away."""
        self._is_closed = True
        if self._ahead is not None:
            await self._ahead.close()


class _AsyncRows(Generic[T]):
    """The rows of pages."""

    def __init__(self, pages: _AsyncPages[T]) -> None:
        self._pages = pages
        self._rows: Iterator[T] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            for row in self._rows:
                return row
            self._rows = iter((await anext(self._pages)).data)

    async def aclose(self) -> None:
        """End the walk here; what was fetched ahead is thrown away."""
        self._rows = iter(())
        await self._pages.aclose()
