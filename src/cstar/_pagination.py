"""Lists that page by themselves.

`Walk` is the pure part: where a walk stands, which rows of a page are new and which page comes next. `Page` and
`AsyncPage` drive it and differ only in that one of them awaits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cstar._call import Call, merge_query
from cstar._check import MAX_PAGE, MAX_PAGE_SIZE, check_whole_number
from cstar._logging import logger
from cstar.errors import CstarError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping

    from typing_extensions import Self

    from cstar._codec import Slice


class HasId(Protocol):
    """A row that can be told from the others."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=HasId)

# Rows that were given already fill a page when others insert as we read, so one such page does not end a walk; this
# many in a row do, or a server that answers every page number with the same rows would be read for ever.
MAX_PAGES_WITHOUT_FRESH_ROWS = 10
# Some servers cap the total they report, so new rows past it are believed; but not for ever.
MAX_PAGES_PAST_TOTAL = 1_000


class Walk(Generic[T]):
    """Where a walk stands, from the page it begins at to the list's end. Pure: it is told what came and says what next.

    Args:
        page: The number of the page it begins at.
        page_size: Rows a page that are asked for.

    Attributes:
        next_page: The number of the page to ask for next; `None` at the end.
    """

    def __init__(self, page: int, *, page_size: int) -> None:
        self.next_page: int | None = page
        self._page_size = page_size
        self._seen: set[str] = set()
        self._pages_without_fresh_rows = 0
        self._pages_past_total = 0

    def take(self, part: Slice[T]) -> list[T]:
        """The rows of the page asked for that were not given before."""
        assert self.next_page is not None
        fresh: list[T] = []
        for row in part.rows:
            if row.id not in self._seen:
                self._seen.add(row.id)
                fresh.append(row)
        self._pages_without_fresh_rows = 0 if fresh else self._pages_without_fresh_rows + 1
        self.next_page = None if self._is_end(part, self.next_page) else self.next_page + 1
        return fresh

    def _is_end(self, part: Slice[T], page: int) -> bool:
        if not part.has_more or not part.rows:
            return True
        # From here on hasMore says true, and may be stuck on it.
        is_past_total = page * (part.page_size or self._page_size) >= part.total
        self._pages_past_total = self._pages_past_total + 1 if is_past_total else 0
        if self._pages_past_total >= MAX_PAGES_PAST_TOTAL:
            logger.warning(
                "a walk ended after %d rows, %d pages past the total of %d: the server still says hasMore",
                len(self._seen),
                self._pages_past_total,
                part.total,
            )
            return True
        if self._pages_without_fresh_rows >= (1 if is_past_total else MAX_PAGES_WITHOUT_FRESH_ROWS):
            if len(self._seen) < part.total:
                logger.warning(
                    "a walk ended after %d of %d rows: the server repeats rows and still says hasMore",
                    len(self._seen),
                    part.total,
                )
            return True
        return False


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list, and how to ask for any page of it.

    Attributes:
        call: The call for the page to begin at.
        first: That page's number.
        page_size: Rows a page that it asks for.
    """

    call: Call[Slice[T]]
    first: int
    page_size: int

    def page(self, number: int) -> Call[Slice[T]]:
        """The call for one page."""
        query = tuple((name, str(number) if name == "page" else value) for name, value in self.call.query)
        return replace(self.call, query=query)


def listing(
    path: str,
    parse: Callable[[bytes], Slice[T]],
    filters: Mapping[str, str | None],
    *,
    page: int,
    page_size: int,
    extra_query: Mapping[str, object] | None,
) -> Listing[T]:
    """A checked list of any resource.

    Args:
        path: The list's path below the base URL.
        parse: Makes a slice of an answer, such as `list_of(Customer)`.
        filters: The resource's own query parameters, checked; those that are `None` are left out.
        page: The number of the page to begin at.
        page_size: Rows a page.
        extra_query: Further query parameters.
    """
    number = check_whole_number("page", page, low=1, high=MAX_PAGE)
    size = check_whole_number("page_size", page_size, low=1, high=MAX_PAGE_SIZE)
    query = merge_query({"page": str(number), "pageSize": str(size), **filters}, extra_query)
    return Listing(Call("GET", path, parse, query), number, size)


class _Page(Generic[T]):
    """What `Page` and `AsyncPage` have in common."""

    def __init__(self, listing: Listing[T], number: int, part: Slice[T]) -> None:
        self.data: list[T] = part.rows
        self.total: int = part.total
        self.page: int = number if part.page is None else part.page
        self.page_size: int = listing.page_size if part.page_size is None else part.page_size
        self.has_more: bool = part.has_more
        # The server may not repeat the number it was asked for, or repeat a wrong one: walks go by what they asked.
        self._listing = listing
        self._number = number
        self._part = part

    def _next_number(self) -> int:
        if not self.has_more:
            raise CstarError(f"page {self.page} is the last one: ask has_more first, or iterate over the page")
        return self._number + 1

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

    def __init__(
        self, fetch: Callable[[Call[Slice[T]]], Slice[T]], listing: Listing[T], number: int, part: Slice[T]
    ) -> None:
        super().__init__(listing, number, part)
        self._fetch = fetch

    def get_next_page(self) -> Page[T]:
        """Fetch the page after this one.

        Returns:
            The next page, as the server has it now.

        Raises:
            CstarError: This is the last page.
            APIError: The call failed.
        """
        number = self._next_number()
        return Page(self._fetch, self._listing, number, self._fetch(self._listing.page(number)))

    def iter_pages(self) -> Iterator[Page[T]]:
        """Walk the pages from this one to the end; a later page holds only rows that no earlier one held.

        Returns:
            An iterator that fetches each page when it is asked for.

        Raises:
            APIError: A call failed.
        """
        return _Pages(self._fetch, self._listing, self._number, self._part)

    def __iter__(self) -> Iterator[T]:
        return _Rows(self.iter_pages())


class AsyncPage(_Page[T]):
    """One page of a list. `async for` walks every row from this page to the end of the list, each row once.

    Attributes:
        data: The rows of this page.
        total: Rows in the whole list, as the server counted them for this page.
        page: The page's number; the first is 1.
        page_size: Rows a page.
        has_more: Whether the server says that another page follows.
    """

    def __init__(
        self, fetch: Callable[[Call[Slice[T]]], Awaitable[Slice[T]]], listing: Listing[T], number: int, part: Slice[T]
    ) -> None:
        super().__init__(listing, number, part)
        self._fetch = fetch

    async def get_next_page(self) -> AsyncPage[T]:
        """Fetch the page after this one.

        Returns:
            The next page, as the server has it now.

        Raises:
            CstarError: This is the last page.
            APIError: The call failed.
        """
        number = self._next_number()
        return AsyncPage(self._fetch, self._listing, number, await self._fetch(self._listing.page(number)))

    def iter_pages(self) -> AsyncIterator[AsyncPage[T]]:
        """Walk the pages from this one to the end; a later page holds only rows that no earlier one held.

        Returns:
            An iterator that fetches each page when it is asked for.

        Raises:
            APIError: A call failed.
        """
        return _AsyncPages(self._fetch, self._listing, self._number, self._part)

    def __aiter__(self) -> AsyncIterator[T]:
        return _AsyncRows(self.iter_pages())


class AsyncPaginator(Generic[T]):
    """What `AsyncCstar`'s lists return: `await` it for the first page, or walk it with `async for`.

    Nothing is sent until one of the two happens.
    """

    def __init__(
        self,
        first: Callable[[], Awaitable[AsyncPage[T]]],
        fetch: Callable[[Call[Slice[T]]], Awaitable[Slice[T]]],
        listing: Listing[T],
    ) -> None:
        self._first = first
        self._fetch = fetch
        self._listing = listing

    def __await__(self) -> Generator[object, object, AsyncPage[T]]:
        return self._first().__await__()

    def iter_pages(self) -> AsyncIterator[AsyncPage[T]]:
        """Walk the pages from the first one asked for; a later page holds only rows that no earlier one held.

        Returns:
            An iterator that fetches each page when it is asked for.

        Raises:
            APIError: A call failed.
        """
        return _AsyncPages(self._fetch, self._listing, self._listing.first, None)

    def __aiter__(self) -> AsyncIterator[T]:
        return _AsyncRows(self.iter_pages())


# Classes, not generators: a generator is finished by the first error, and would then look like a list that was read
# to its end; and an async one that is left before its end must be closed by somebody, which a `break` does not do.
class _Pages(Generic[T]):
    """The pages of a walk, from one that is there already."""

    def __init__(
        self, fetch: Callable[[Call[Slice[T]]], Slice[T]], listing: Listing[T], number: int, part: Slice[T]
    ) -> None:
        self._fetch = fetch
        self._listing = listing
        self._part: Slice[T] | None = part
        self._walk: Walk[T] = Walk(number, page_size=listing.page_size)
        self._is_first = True
        self._lock = Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Page[T]:
        # Threads may take their work from one iterator.
        with self._lock:
            while (number := self._walk.next_page) is not None:
                part, self._part = self._part or self._fetch(self._listing.page(number)), None
                is_first, self._is_first = self._is_first, False
                if (fresh := self._walk.take(part)) or is_first:
                    return Page(self._fetch, self._listing, number, replace(part, rows=fresh))
        raise StopIteration


class _Rows(Generic[T]):
    """The rows of pages."""

    def __init__(self, pages: Iterator[Page[T]]) -> None:
        self._pages = pages
        self._rows: Iterator[T] = iter(())
        self._lock = Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with self._lock:
            while True:
                for row in self._rows:
                    return row
                self._rows = iter(next(self._pages).data)


class _AsyncPages(Generic[T]):
    """The pages of a walk, from one that is there already or is still to be fetched."""

    def __init__(
        self,
        fetch: Callable[[Call[Slice[T]]], Awaitable[Slice[T]]],
        listing: Listing[T],
        number: int,
        part: Slice[T] | None,
    ) -> None:
        self._fetch = fetch
        self._listing = listing
        self._part = part
        self._walk: Walk[T] = Walk(number, page_size=listing.page_size)
        self._is_first = True
        self._is_busy = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AsyncPage[T]:
        if self._is_busy:
            raise CstarError("a walk serves one task at a time: give each task pages of its own, or share a queue")
        self._is_busy = True
        try:
            while (number := self._walk.next_page) is not None:
                part, self._part = self._part or await self._fetch(self._listing.page(number)), None
                is_first, self._is_first = self._is_first, False
                if (fresh := self._walk.take(part)) or is_first:
                    return AsyncPage(self._fetch, self._listing, number, replace(part, rows=fresh))
        finally:
            self._is_busy = False
        raise StopAsyncIteration


class _AsyncRows(Generic[T]):
    """The rows of pages."""

    def __init__(self, pages: AsyncIterator[AsyncPage[T]]) -> None:
        self._pages = pages
        self._rows: Iterator[T] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            for row in self._rows:
                return row
            self._rows = iter((await anext(self._pages)).data)
