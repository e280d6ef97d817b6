"""Which page a walk requests next: a pure state machine. It takes responses, and says which of their rows are new.

The API numbers pages from the top of the list, so rows that come and go meanwhile move all rows behind them to other
pages. A response holds a slice: rows that stood next to each other in the list at one moment.

The rule: a slice *overlaps* if it holds a row that was read before, or starts where the walk started. If every slice
that is used overlaps, no row that stayed was skipped, because all rows above a row that was read have been read.

While nothing moves, pages 1, 2, 3, … need not overlap: as long as the total stays the same, rows that come in front can
push others down, to be read again, but never up. An empty page below the total is a hole: a new stretch of the walk
begins behind it with any slice, and the walk returns to the hole at its end. `docs/paging-proof.md` has the proofs.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Generic

from cstar._check import MAX_PAGE_SIZE
from cstar._checkpoint import Checkpoint, PageRequest
from cstar._logging import logger
from cstar._memory import Memory, Resumption, T

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cstar._checkpoint import Progress
    from cstar._decode import PageData

# Every walk ends: after so many slices in a row without a new row, and one more for every ten rows read, since rows that
# came in front have to be passed over; and after so many slices past the first total.
MAX_STALE_SLICES = 10
MAX_SLICES_PAST_TOTAL = 1_000


class _Mode(Enum):
    BY_NUMBER = auto()  # nothing has moved yet: pages 1, 2, 3, …
    OVERLAPPING = auto()  # something has moved, or gaps must be ruled out: only slices that overlap are used
    UNVERIFIED = auto()  # the server's pages are not what was requested, as those of mocks: by number, without proof


class Walk(Generic[T]):
    """A walk from the page it begins at to the end of the list.

    Args:
        page: The number of the page it begins at.
        page_size: Rows per page that are requested while nothing moves.
        gapless: Whether every slice must overlap from the start.
        ahead: Whether responses may overtake each other.
        resume: Where an earlier walk of the list stood, to go on from there.

    Attributes:
        next: The next request; `None` at the end.
        plan_changed: Whether the last response changed the plan, so that what was requested ahead is of no use.
    """

    def __init__(
        self, page: int, *, page_size: int, gapless: bool = False, ahead: bool = False, resume: Checkpoint | None = None
    ) -> None:
        point = resume if resume and resume.rows else Checkpoint((page - 1) * page_size, MAX_PAGE_SIZE, 0)
        self.next: PageRequest | None = PageRequest(page, page_size)
        self.plan_changed: bool = False
        self._page_size, self._is_gapless, self._is_ahead = page_size, gapless, ahead
        self._mode = _Mode.OVERLAPPING if gapless or point.rows else _Mode.BY_NUMBER
        self._memory = Memory(point)
        self._origin = point.origin
        self._largest = point.largest  # rows per page that the server gives at most
        self._first_total: int | None = None
        self._newest: datetime | None = None  # when the first row of the first page was created
        # Of the last slice that was used: the list's total, and the index after its last row.
        self._total: int | None = point.total if point.rows else None
        self._end = point.end
        self._drift = 0  # by how many places the rows will have moved at the next response, as far as is known
        self._latest: tuple[int, int] | None = None  # the total in the last response, used or not, and its growth
        self._growth = 0  # rows by which the list grew both before the last response and before the one before
        self._search: Iterator[int] | None = None  # where to look while slices do not overlap
        self._stale = self._past_total = 0  # slices in a row without a new row; slices past the first total
        self._resumption: Resumption | None = None  # of an earlier walk, until a slice is used
        if point.rows:
            self._resumption = Resumption(point)
            size = min(page_size, self._largest)
            # If nothing has moved, this page holds the last row, and the conventional pages follow it.
            is_quiet = not (gapless or ahead or point.holes)
            self.next = PageRequest((self._end - 1) // size + 1, page_size) if is_quiet else self._overlap(self._end)
            self._quiet_start = self.next if is_quiet else None

    @property
    def progress(self) -> Progress:
        """The last new rows, and where the walk stood before them."""
        return self._memory.progress

    def after(self, request: PageRequest) -> PageRequest | None:
        """What follows a request that is not answered yet, if nothing moves; `None` at the end or if unknown."""
        end = request.page * min(request.size, self._largest)
        if self._total is None or end >= self._total or self._memory.is_returning:
            return None
        return self._following(request, end + min(0, self._drift))

    def take(self, request: PageRequest, data: PageData[T]) -> list[T]:
        """The new rows of a response; none if it cannot be used, and `next` makes up for it."""
        size, mode, memory, self.plan_changed = self._size(request, data), self._mode, self._memory, False
        start, end = (request.page - 1) * size, (request.page - 1) * size + len(data.rows)
        if self._total is None:
            self._origin, self._end, self._total, self._newest = start, start, data.total, _created(data.rows)
        self._first_total = data.total if self._first_total is None else self._first_total
        total, growth = self._latest or (data.total, 0)
        self._latest = data.total, data.total - total
        self._growth = max(0, min(growth, data.total - total))
        if not data.rows and start < data.total:
            self._pass_over(request, start + size, data.total)
            return []
        index = max(start, self._origin)
        rows, grown = data.rows[index - start :], data.total - self._total
        known = memory.first_known(rows)
        if known is None and self._resumption:
            known = self._resumption.landmark(rows, index)
        self._adapt(request, data, size, has_moved=bool(grown) or known is not None or self._is_newer(rows))
        self.plan_changed = self._mode is not mode
        overlaps = known is not None or start <= self._origin
        if not overlaps and not memory.is_behind_hole and _Mode.OVERLAPPING in (mode, self._mode):
            self._look_elsewhere(grown)
            return []
        # What stands before a row that was read was read as well, or came later.
        begin = known or 0 if self._mode is _Mode.OVERLAPPING else 0
        crossing = memory.crossing(rows) if self._mode is _Mode.OVERLAPPING else None
        rows = rows[begin:crossing]
        memory.end_hole(index + begin, rows, is_filled=overlaps)
        is_pushed = grown > 0 and memory.first_known(data.rows[max(0, self._end - start) :]) is not None
        new_rows = memory.read(
            rows, index + begin, start + size - 1, data.total, origin=self._origin, largest=self._largest
        )
        if self._resumption and request == self._quiet_start and self._mode is _Mode.OVERLAPPING:
            self._mode = _Mode.BY_NUMBER
        # Without a new row, the rows that came in front are passed over at once; as many will have come again by the next
        # response, and a quarter of a page allows for a few less. If rows leave, as a loop removes them, as many will
        # leave again.
        frontier, self._drift = end, min(0, grown)
        if is_pushed and (self._search or not new_rows):
            frontier = end if new_rows else max(end, self._end + grown)
            self._drift = max(0, self._growth - self._largest // 4)
        self._resumption = self._search = None
        self._total, self._end = data.total, end
        is_by_number, reason = self._mode is not _Mode.OVERLAPPING, self._reason_to_end(start, data, new_rows)
        if memory.is_returning and (reason or is_by_number or crossing is not None):
            self.next = self._return(is_read=not is_by_number)
        elif reason:
            self._finish(end, data.total, reason)
        else:
            self.next = self._following(request, frontier + self._drift)
            if not self._drift and self.next.page * self.next.size <= end:  # pages of a few rows cannot overlap there
                self._distrust()
                self.next = self._page_at_end()
        return new_rows

    def _size(self, request: PageRequest, data: PageData[T]) -> int:
        """The rows per page by which the server counted."""
        size = data.page_size or request.size
        # Fewer than requested are the most that the server gives, unless it gives the same whatever is requested.
        if size < request.size and (self._first_total is None or size > self._page_size):
            self._largest = min(self._largest, size)
        return min(request.size, self._largest)

    def _adapt(self, request: PageRequest, data: PageData[T], size: int, *, has_moved: bool) -> None:
        """Trust page numbers no longer if something has moved, and nothing if the page is not what was requested."""
        length, end = len(data.rows), (request.page - 1) * size + len(data.rows)
        is_as_requested = length == size and end < data.total if data.has_more else length <= size
        # A server that gives one row per page, whatever is requested, cannot be made to give slices that overlap.
        if not is_as_requested or data.page_size not in {None, request.size, size} or self._largest == 1:
            self._distrust()
        elif self._mode is _Mode.BY_NUMBER and has_moved:
            self._mode = _Mode.OVERLAPPING

    def _distrust(self) -> None:
        if self._is_gapless and self._mode is not _Mode.UNVERIFIED:
            logger.warning("gaps cannot be ruled out: the server's pages are not what was requested")
        self._mode = _Mode.UNVERIFIED

    def _is_newer(self, rows: list[T]) -> bool:
        """Whether a page begins with a row newer than all there were: where responses overtake, it hides what moved."""
        created = _created(rows)
        return self._is_ahead and created is not None and self._newest is not None and created > self._newest

    def _reason_to_end(self, start: int, data: PageData[T], new_rows: list[T]) -> str | None:
        if not data.has_more or not data.rows:
            return "the server says that no page follows"
        self._stale = 0 if new_rows else self._stale + 1
        self._past_total += self._memory.rows_read >= (self._first_total or 0)
        if self._past_total >= MAX_SLICES_PAST_TOTAL:
            return f"{self._past_total} pages past the total of {self._first_total}: the server still says hasMore"
        patience = MAX_STALE_SLICES + min(self._memory.rows_read // 10, MAX_SLICES_PAST_TOTAL)
        is_over = self._stale >= (1 if start >= data.total else patience)
        return "the server repeats rows and still says hasMore" if is_over else None

    def _look_elsewhere(self, grown: int) -> None:
        """Request a slice that overlaps."""
        self.plan_changed = True
        self._grown = grown
        if self._mode is _Mode.UNVERIFIED:
            self._end = self._origin if self._resumption else self._end
            self.next = self._page_at_end()
            return
        if self._search is None:
            self._search = self._resumption.places(self._end, grown, self._largest) if self._resumption else self._places()
        self.next = self._overlap(next(self._search))

    def _places(self) -> Iterator[int]:
        """Where the last row read may be: as the totals say, then further back, and further each time."""
        if self._grown:
            yield self._end + self._grown
        if self._growth:  # as many rows will have come by the next response; half a page allows for a few less
            yield self._end + self._grown + self._growth - self._largest // 2
        step = max(1, self._largest // 4)
        while True:
            yield self._end + self._grown - step
            step *= 4

    def _overlap(self, end: int) -> PageRequest:
        return PageRequest.overlapping(max(self._origin, end - 1), self._largest)

    def _following(self, request: PageRequest, end: int) -> PageRequest:
        if self._mode is _Mode.OVERLAPPING:
            return self._overlap(end)
        return PageRequest(request.page + 1, request.size) if request.size == self._page_size else self._page_at_end()

    def _page_at_end(self) -> PageRequest:
        return PageRequest(self._end // min(self._page_size, self._largest) + 1, self._page_size)

    def _pass_over(self, request: PageRequest, end: int, total: int) -> None:
        """Go on behind an empty page, and return to it at the end."""
        if self._memory.is_returning:
            self.next = self._return(is_read=False)
        elif self._memory.note_empty_page(request, self._end, self._total or 0) and end < total:
            self.next = self._following(request, end + min(0, self._drift))
        else:
            self._memory.end_hole(total, (), is_filled=False)
            self._finish(total, total, "pages are empty")

    def _finish(self, end: int, total: int, reason: str) -> None:
        """Return to the holes from the end of the list."""
        self._memory.lost += max(0, total - end)
        self._list_total, self._reason = total, reason
        self.next = self._return()

    def _return(self, *, is_read: bool = False) -> PageRequest | None:
        """The next request for a hole; `None` if there is no other."""
        memory, is_by_number, self.plan_changed = self._memory, self._mode is not _Mode.OVERLAPPING, True
        if memory.is_returning and not (is_by_number and memory.has_another_empty_page()):
            memory.leave_hole(is_read=is_read)
        if not memory.is_returning:
            if not memory.holes:
                self._warn_if_short()
                return None
            hole = memory.enter_hole()
            self._end, self._total, self._stale, self._search = hole.end, hole.total, 0, None
        return memory.holes[0].requests[0] if is_by_number else self._overlap(self._end)

    def _warn_if_short(self) -> None:
        read, due = self._memory.rows_read, self._list_total - self._origin
        if self._past_total >= MAX_SLICES_PAST_TOTAL:
            logger.warning("a walk ended after %d rows, %s", read, self._reason)
            return
        # If pages are what was requested, rows are missing at known places. If not, only their number means anything.
        read = read if self._mode is _Mode.UNVERIFIED else due - self._memory.lost
        if read < due:
            logger.warning("a walk ended after %d of %d rows: %s", read, due, self._reason)


def _created(rows: list[T]) -> datetime | None:
    """When the first of some rows was created, if rows of this kind say."""
    return getattr(rows[0], "created_at", None) if rows else None
