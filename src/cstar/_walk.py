"""The state machine of a walk: it decides which page to request next, and which rows of a page are new.

A *walk* is an iteration over all pages of a list. The state machine does no I/O: it returns requests and receives
pages.

Theory of operation
===================

The API numbers pages from the top of the list. Inserts and deletes during a walk move the rows behind them to other
pages, so a row may be on two of the pages read, or on none.

A page holds a *slice* of the list: consecutive rows at one moment. A slice *overlaps* if it contains a row that was
read before, or if it starts where the walk started.

1. If every slice used overlaps, no row that stayed in the list is skipped: all rows above a row that was read have been
   read, too.
2. While the total stays the same, pages 1, 2, 3, … need not overlap: as many rows were inserted as deleted. Rows are
   inserted at the top, so the unread rows can only have moved down. Some may be read twice, but none is skipped.
3. An empty page below the total is a *hole*. The walk continues behind it with a slice that need not overlap, and a
   new *segment* begins there. After the last page, the walk returns to the hole.
4. Rows that were read before are dropped, so each row is returned once.

Which rule applies depends on the mode:

    BY_NUMBER      pages 1, 2, 3, … (rule 2).
    OVERLAPPING    only slices that overlap (rule 1).
    UNVERIFIED     pages 1, 2, 3, … without a guarantee.

    BY_NUMBER → OVERLAPPING    if the total changes or a row repeats; with prefetching, also if a page is empty, or
                               begins with a row newer than the first one. `gapless` walks begin in OVERLAPPING.
    any       → UNVERIFIED     if the server does not return the page that was requested, as many mocks do.

`docs/paging-proof.md` has the proofs.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Generic

from cstar._check import MAX_PAGE_SIZE
from cstar._checkpoint import Checkpoint, PageRequest
from cstar._ending import Ending
from cstar._logging import logger
from cstar._memory import Memory, T
from cstar._movement import Movement, Resumption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cstar._decode import PageData


class _Mode(Enum):
    BY_NUMBER = auto()
    OVERLAPPING = auto()
    UNVERIFIED = auto()


class Walk(Generic[T]):
    """An iteration over all pages of a list, from one page to the end.

    Args:
        page: The number of the first page.
        page_size: Rows per page, requested while no rows move.
        gapless: Whether every slice must overlap from the start.
        is_prefetching: Whether later pages may be fetched before earlier ones.
        resume: The checkpoint of an earlier walk, to continue from.

    Attributes:
        next_request: The next request; `None` at the end.
        plan_changed: Whether the last page changed the plan, so that prefetched pages must be discarded.
        memory: The rows read.
    """

    def __init__(
        self,
        page: int,
        *,
        page_size: int,
        gapless: bool = False,
        is_prefetching: bool = False,
        resume: Checkpoint | None = None,
    ) -> None:
        checkpoint = resume if resume and resume.rows else Checkpoint((page - 1) * page_size, MAX_PAGE_SIZE, 0)
        self._page_size, self._is_gapless = page_size, gapless
        self._origin, self._max_page_size = checkpoint.origin, checkpoint.max_page_size
        # The total in the last slice used, and the index after its last row.
        self._total, self._end = checkpoint.total if checkpoint.rows else None, checkpoint.end
        self.memory: Memory = Memory(checkpoint)
        self._movement = Movement(is_prefetching=is_prefetching)
        self._resumption = Resumption(checkpoint) if checkpoint.rows else None  # until the first slice is used
        self._search: Iterator[int] | None = None  # indexes to try while slices do not overlap
        self._ending = Ending()
        is_by_number = not gapless and not (self._resumption and (is_prefetching or checkpoint.holes))
        self._mode = _Mode.BY_NUMBER if is_by_number else _Mode.OVERLAPPING
        self.plan_changed: bool = False
        self.next_request: PageRequest | None = PageRequest(page, page_size)
        if self._resumption:  # by number: the page that holds the last row, if nothing has moved
            self.next_request = self._page_at(self._end - 1) if is_by_number else self._overlapping_page(self._end)

    def request_after(self, request: PageRequest) -> PageRequest | None:
        """Return the request that follows a pending one if no rows move; `None` at the end or if it is unknown."""
        end = request.page * min(request.size, self._max_page_size)
        is_known = self._total is not None and end < self._total and not self.memory.is_returning
        return self._page_after(request, end + min(0, self._movement.drift)) if is_known else None

    def receive(self, request: PageRequest, data: PageData[T]) -> list[T]:
        """Receive a page, return its new rows, and set `next_request`.

        If the page cannot be used, return no rows; `next_request` is then another way to reach them.
        """
        size, mode, self.plan_changed = self._actual_size(request, data), self._mode, False
        start, end = (request.page - 1) * size, (request.page - 1) * size + len(data.rows)
        self._movement.record(data)
        if self._total is None:
            self._origin, self._end, self._total = start, start, data.total
        if not data.rows and start < data.total:
            return self._skip_empty_page(request, start + size, data.total)
        index, growth = max(start, self._origin), data.total - self._total
        rows = data.rows[index - start :]
        first_known = self.memory.first_known(rows)
        if first_known is None and self._resumption:
            first_known = self._resumption.landmark(rows, index)
        overlaps = first_known is not None or start <= self._origin
        has_moved = bool(growth) or first_known is not None or self._movement.has_newer(data)
        self._update_mode(request, data, size, has_moved=not overlaps if self._resumption else has_moved)
        self.plan_changed = self._mode is not mode
        must_overlap = self._resumption or _Mode.OVERLAPPING in (mode, self._mode)
        if must_overlap and not overlaps and not self.memory.is_behind_hole:
            return self._search_overlap(growth)
        # Rows in front of a known row have been read, too, or were inserted since.
        begin = (first_known or 0) if self._mode is not _Mode.UNVERIFIED else 0
        hole_end = self.memory.first_behind_hole(rows) if self._mode is _Mode.OVERLAPPING else None
        # Whether inserts in front have moved known rows to indexes behind the last one read.
        is_pushed_down = growth > 0 and self.memory.first_known(data.rows[max(0, self._end - start) :]) is not None
        if self._resumption and first_known is not None:
            self.memory.shift(rows[first_known].id, index + first_known)
        self.memory.end_hole(index + begin, rows[begin:], is_filled=overlaps)
        checkpoint = Checkpoint(self._origin, self._max_page_size, data.total)
        new_rows = self.memory.add(rows[begin:hole_end], index + begin, start + size - 1, checkpoint)
        keeps_growing = is_pushed_down and bool(self._search or not new_rows)
        self._movement.predict(growth, self._max_page_size, keeps_growing=keeps_growing)
        # Without a new row, skip the rows inserted in front at once.
        next_index = max(end, self._end + growth) if is_pushed_down and not new_rows else end
        self._total, self._end, self._resumption, self._search = data.total, end, None, None
        is_over = self._ending.is_reached(start, data, self.memory.rows_read, has_new_rows=bool(new_rows))
        is_by_number = self._mode is not _Mode.OVERLAPPING
        if self.memory.is_returning and (is_over or is_by_number or hole_end is not None):
            self.next_request = self._return_to_hole(is_read=not is_by_number)
        elif is_over:
            self.memory.lost += max(0, data.total - end)
            self.next_request = self._return_to_hole()
        else:
            next_request = self._page_after(request, next_index + self._movement.drift)
            if not is_by_number and not self._movement.drift and next_request.page * next_request.size <= end:
                self._stop_verifying()  # with few rows per page, possibly no page holds both the last row and the next
                next_request, self.plan_changed = self._page_at(end), True
            self.next_request = next_request
        return new_rows

    def _actual_size(self, request: PageRequest, data: PageData[T]) -> int:
        """Return the rows per page by which the server numbered this page."""
        size = data.page_size if data.page_size and data.page_size > 0 else request.size
        # A smaller size than requested is the server's maximum, unless the server ignores the requested size.
        if size < request.size and (self._total is None or self._resumption or size >= self._page_size):
            self._max_page_size = min(self._max_page_size, size)
        return min(request.size, self._max_page_size)

    def _update_mode(self, request: PageRequest, data: PageData[T], size: int, *, has_moved: bool) -> None:
        length, end = len(data.rows), (request.page - 1) * size + len(data.rows)
        is_as_requested = length == size and end < data.total if data.has_more else length <= size
        is_as_requested &= data.page_size in {None, request.size, size}
        if not is_as_requested:
            self._stop_verifying()
        elif self._mode is _Mode.BY_NUMBER and has_moved:
            self._mode = _Mode.OVERLAPPING

    def _stop_verifying(self) -> None:
        if self._is_gapless and self._mode is not _Mode.UNVERIFIED:
            logger.warning("gaps cannot be ruled out: the server did not return the page that was requested")
        self._mode = _Mode.UNVERIFIED

    def _search_overlap(self, growth: int) -> list[T]:
        """Set `next_request` to search for a slice that overlaps."""
        self.plan_changed = True
        if self._mode is _Mode.UNVERIFIED:
            self.next_request = self._page_at(self._origin if self._resumption else self._end)
        else:
            source = self._resumption or self._movement
            self._search = self._search or source.search(self._end, growth, self._max_page_size)
            self.next_request = self._overlapping_page(next(self._search))
        return []

    def _overlapping_page(self, end: int) -> PageRequest:
        return PageRequest.overlapping(max(self._origin, end - 1), self._max_page_size)

    def _page_after(self, request: PageRequest, end: int) -> PageRequest:
        if self._mode is _Mode.OVERLAPPING:
            return self._overlapping_page(end)
        return self._page_at(self._end) if request.size != self._page_size else request._replace(page=request.page + 1)

    def _page_at(self, index: int) -> PageRequest:
        return PageRequest(index // min(self._page_size, self._max_page_size) + 1, self._page_size)

    def _skip_empty_page(self, request: PageRequest, end: int, total: int) -> list[T]:
        """Continue behind an empty page; the walk returns to it at the end."""
        if self.memory.is_returning:
            # If the page is empty for the first time, request it once more.
            is_first = self.memory.add_empty_page_in_hole(request)
            self.next_request = request if is_first else self._return_to_hole(is_read=False)
        elif self.memory.add_empty_page(request, self._end, self._total or 0) and end < total:
            if self._movement.is_prefetching and self._mode is _Mode.BY_NUMBER:  # a hole may hide a move of rows
                self._mode, self.plan_changed = _Mode.OVERLAPPING, True
            self.next_request = self._page_after(request, end + min(0, self._movement.drift))
        else:
            self.memory.end_hole(total, (), is_filled=False)
            self._ending.on_empty_pages(total)
            self.next_request = self._return_to_hole()
        return []

    def _return_to_hole(self, *, is_read: bool = False) -> PageRequest | None:
        """Return the next request for a hole; `None` after the last hole."""
        self.plan_changed, memory = True, self.memory
        if memory.is_returning and (self._mode is _Mode.OVERLAPPING or not memory.drop_empty_page()):
            memory.leave_hole(is_read=is_read)
        if not memory.is_returning:
            if not memory.holes:
                self._ending.warn_if_incomplete(
                    self._origin, memory, are_indexes_valid=self._mode is not _Mode.UNVERIFIED
                )
                return None
            hole = memory.enter_hole()
            if self._mode is _Mode.BY_NUMBER and not hole.before:  # no known row before the hole would reveal inserts
                self._mode = _Mode.OVERLAPPING
            self._end, self._total, self._resumption, self._search = hole.end, hole.total, None, None
            self._ending.on_return_to_hole()
        return self._overlapping_page(self._end) if self._mode is _Mode.OVERLAPPING else memory.holes[0].requests[0]
