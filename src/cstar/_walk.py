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
from cstar._ending import Ending
from cstar._logging import logger
from cstar._memory import Memory, T
from cstar._movement import Movement, Resumption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cstar._decode import PageData


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
        memory: What it has read.
    """

    def __init__(
        self, page: int, *, page_size: int, gapless: bool = False, ahead: bool = False, resume: Checkpoint | None = None
    ) -> None:
        point = resume if resume and resume.rows else Checkpoint((page - 1) * page_size, MAX_PAGE_SIZE, 0)
        self._page_size, self._is_gapless = page_size, gapless
        self._origin, self._largest = point.origin, point.largest  # the largest page that the server gives
        self._total, self._end = point.total if point.rows else None, point.end  # of the last slice that was used
        self.memory: Memory = Memory(point)
        self._movement = Movement(is_ahead=ahead)
        self._resumption = Resumption(point) if point.rows else None  # until a slice is used
        self._search: Iterator[int] | None = None  # where to look, while slices do not overlap
        self._ending = Ending()
        is_quiet = not gapless and not (self._resumption and (ahead or point.holes))
        self._mode = _Mode.BY_NUMBER if is_quiet else _Mode.OVERLAPPING
        self.plan_changed: bool = False
        self.next: PageRequest | None = self._overlap(self._end) if self._resumption else PageRequest(page, page_size)
        if self._resumption and is_quiet:  # if nothing has moved, the conventional page holds the last row
            self.next = self._page_of(self._end - 1)

    def after(self, request: PageRequest) -> PageRequest | None:
        """What follows a request that is not answered yet, if nothing moves; `None` at the end or if unknown."""
        end = request.page * min(request.size, self._largest)
        is_known = self._total is not None and end < self._total and not self.memory.is_returning
        return self._following(request, end + min(0, self._movement.drift)) if is_known else None

    def take(self, request: PageRequest, data: PageData[T]) -> list[T]:
        """The new rows of a response; none if it cannot be used, and `next` makes up for it."""
        size, mode, self.plan_changed = self._size(request, data), self._mode, False
        start, end = (request.page - 1) * size, (request.page - 1) * size + len(data.rows)
        self._movement.note(data)
        if self._total is None:
            self._origin, self._end, self._total = start, start, data.total
        if not data.rows and start < data.total:
            return self._pass_over(request, start + size, data.total)
        index, grown = max(start, self._origin), data.total - self._total
        rows = data.rows[index - start :]
        known = self.memory.first_known(rows)
        known = self._resumption.landmark(rows, index) if known is None and self._resumption else known
        overlaps = known is not None or start <= self._origin
        has_moved = bool(grown) or known is not None or self._movement.has_newer(data)
        self._adapt(request, data, size, has_moved=not overlaps if self._resumption else has_moved)
        self.plan_changed = self._mode is not mode
        must_overlap = self._resumption or _Mode.OVERLAPPING in (mode, self._mode)
        if must_overlap and not overlaps and not self.memory.is_behind_hole:
            return self._look_elsewhere(grown)
        # What stands before a row that was read was read as well, or came later.
        begin = known or 0 if self._mode is not _Mode.UNVERIFIED else 0
        crossing = self.memory.crossing(rows) if self._mode is _Mode.OVERLAPPING else None
        is_pushed = grown > 0 and self.memory.first_known(data.rows[max(0, self._end - start) :]) is not None
        if self._resumption and known is not None:
            self.memory.rebase(rows[known].id, index + known)
        self.memory.end_hole(index + begin, rows[begin:], is_filled=overlaps)
        point = Checkpoint(self._origin, self._largest, data.total)
        new_rows = self.memory.read(rows[begin:crossing], index + begin, start + size - 1, point)
        self._movement.predict(grown, self._largest, is_pushed=is_pushed and bool(self._search or not new_rows))
        # Without a new row, the rows that came in front are passed over at once.
        frontier = max(end, self._end + grown) if is_pushed and not new_rows else end
        self._total, self._end, self._resumption, self._search = data.total, end, None, None
        is_over = self._ending.is_due(start, data, self.memory.rows_read, has_new_rows=bool(new_rows))
        is_by_number = self._mode is not _Mode.OVERLAPPING
        if self.memory.is_returning and (is_over or is_by_number or crossing is not None):
            self.next = self._return(is_read=not is_by_number)
        elif is_over:
            self.memory.lost += max(0, data.total - end)
            self.next = self._return()
        else:
            self.next = self._following(request, frontier + self._movement.drift)
            if self._mode is _Mode.OVERLAPPING and not self._movement.drift and self.next.page * self.next.size <= end:
                self._distrust()  # tiny pages cannot be made to overlap at every index
                self.next, self.plan_changed = self._page_of(end), True
        return new_rows

    def _size(self, request: PageRequest, data: PageData[T]) -> int:
        """The rows per page by which the server counted."""
        size = data.page_size if data.page_size and data.page_size > 0 else request.size
        # Fewer than requested are the most that the server gives, unless it gives the same whatever is requested.
        if size < request.size and (self._total is None or self._resumption or size >= self._page_size):
            self._largest = min(self._largest, size)
        return min(request.size, self._largest)

    def _adapt(self, request: PageRequest, data: PageData[T], size: int, *, has_moved: bool) -> None:
        """Trust page numbers no longer if something has moved, and nothing if the page is not what was requested."""
        length, end = len(data.rows), (request.page - 1) * size + len(data.rows)
        is_as_requested = length == size and end < data.total if data.has_more else length <= size
        is_as_requested &= self._largest > 1 and data.page_size in {None, request.size, size}
        if not is_as_requested:
            self._distrust()
        elif self._mode is _Mode.BY_NUMBER and has_moved:
            self._mode = _Mode.OVERLAPPING

    def _distrust(self) -> None:
        if self._is_gapless and self._mode is not _Mode.UNVERIFIED:
            logger.warning("gaps cannot be ruled out: the server's pages are not what was requested")
        self._mode = _Mode.UNVERIFIED

    def _look_elsewhere(self, grown: int) -> list[T]:
        """Request a slice that overlaps."""
        self.plan_changed = True
        if self._mode is _Mode.UNVERIFIED:
            self.next = self._page_of(self._origin if self._resumption else self._end)
        else:
            self._search = self._search or (self._resumption or self._movement).places(self._end, grown, self._largest)
            self.next = self._overlap(next(self._search))
        return []

    def _overlap(self, end: int) -> PageRequest:
        return PageRequest.overlapping(max(self._origin, end - 1), self._largest)

    def _following(self, request: PageRequest, end: int) -> PageRequest:
        if self._mode is _Mode.OVERLAPPING:
            return self._overlap(end)
        return self._page_of(self._end) if request.size != self._page_size else request._replace(page=request.page + 1)

    def _page_of(self, index: int) -> PageRequest:
        return PageRequest(index // min(self._page_size, self._largest) + 1, self._page_size)

    def _pass_over(self, request: PageRequest, end: int, total: int) -> list[T]:
        """Go on behind an empty page, and return to it at the end."""
        if self.memory.is_returning:
            is_first = self.memory.note_still_empty(request)  # another page may be empty for the first time
            self.next = request if is_first else self._return(is_read=False)
        elif self.memory.note_empty_page(request, self._end, self._total or 0) and end < total:
            if self._movement.is_ahead and self._mode is _Mode.BY_NUMBER:  # it takes all pages to see what has moved
                self._mode, self.plan_changed = _Mode.OVERLAPPING, True
            self.next = self._following(request, end + min(0, self._movement.drift))
        else:
            self.memory.end_hole(total, (), is_filled=False)
            self._ending.come_to_empty_pages(total)
            self.next = self._return()
        return []

    def _return(self, *, is_read: bool = False) -> PageRequest | None:
        """The next request for a hole; `None` if there is no other."""
        self.plan_changed, memory = True, self.memory
        if memory.is_returning and (self._mode is _Mode.OVERLAPPING or not memory.has_another_empty_page()):
            memory.leave_hole(is_read=is_read)
        if not memory.is_returning:
            if not memory.holes:
                self._ending.warn_if_short(self._origin, memory, are_indexes_true=self._mode is not _Mode.UNVERIFIED)
                return None
            hole = memory.enter_hole()
            if self._mode is _Mode.BY_NUMBER and not hole.before:  # no row above could show what came in front
                self._mode = _Mode.OVERLAPPING
            self._end, self._total, self._resumption, self._search = hole.end, hole.total, None, None
            self._ending.begin_hole()
        return self._overlap(self._end) if self._mode is _Mode.OVERLAPPING else memory.holes[0].requests[0]
