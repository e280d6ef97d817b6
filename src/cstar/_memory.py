"""Record the rows that a walk has read, and the holes between them."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, Protocol, TypeVar

from cstar._checkpoint import LAST_ROWS, ROWS_BESIDE_A_HOLE, Checkpoint, Hole, PageRequest, Progress, RowId

if TYPE_CHECKING:
    from collections.abc import Sequence


class HasId(Protocol):
    """A row with an id."""

    @property
    def id(self) -> RowId: ...


T = TypeVar("T", bound=HasId)

# After this many consecutive empty pages, the total is considered wrong.
MAX_EMPTY_PAGES = 10


class Memory:
    """The rows that a walk has read, and the holes between them.

    A hole is one or more consecutive empty pages below the total. A new segment of the walk begins behind it. After the
    last page, the walk returns to each hole, and reads from the last row before it to the first row behind it.

    Attributes:
        progress: The last new rows, and the checkpoint before them.
        holes: The holes to return to. A walk that is returning is in the first one.
        is_behind_hole: Whether the last page was empty.
        is_returning: Whether the walk has reached its end and is returning to the holes.
        lost: How many rows are missing: in the holes that the walk has left, and behind the last page.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.progress: Progress = Progress(checkpoint, checkpoint.total)
        self.holes: tuple[Hole, ...] = checkpoint.holes
        self.is_behind_hole: bool = False
        self.is_returning: bool = False
        self.lost: int = 0
        self._empty_requests = {request for hole in checkpoint.holes for request in hole.requests}
        self._segments: dict[RowId, int] = {}  # the segment of each row
        for hole in checkpoint.holes:
            self._segments |= dict.fromkeys(hole.before, hole.segment - 1) | dict.fromkeys(hole.behind, hole.segment)
        self._segments |= {row_id: segment for row_id, _, segment in checkpoint.rows[-LAST_ROWS:]}
        self._segment = max(
            [segment for _, _, segment in checkpoint.rows] + [hole.segment for hole in checkpoint.holes], default=0
        )
        self._rows_read_before = checkpoint.end - checkpoint.origin - len(self._segments)

    @property
    def rows_read(self) -> int:
        """The number of rows read, including those of an earlier walk."""
        return len(self._segments) + self._rows_read_before

    def shift(self, row_id: RowId, index: int) -> None:
        """Shift the rows of the checkpoint by the distance that one of them has moved; probably all moved as far."""
        before = self.progress.before
        distance = next((index - old_index for each, old_index, _ in before.rows if each == row_id), 0)
        rows = tuple([(each, max(before.origin, old + distance), segment) for each, old, segment in before.rows])
        self.progress = replace(self.progress, before=replace(before, rows=rows))

    def first_known(self, rows: Sequence[HasId]) -> int | None:
        """Return the position of the first row that was read before.

        In a hole, only rows before the hole count.
        """
        if self._segments.keys().isdisjoint([row.id for row in rows]):
            return None
        limit = self.holes[0].segment if self.is_returning else self._segment + 1
        return next((position for position, row in enumerate(rows) if self._segments.get(row.id, limit) < limit), None)

    def first_behind_hole(self, rows: Sequence[HasId]) -> int | None:
        """Return the position of the first row that was read behind the hole; `None` outside a hole."""
        if not self.is_returning:
            return None
        limit = self.holes[0].segment
        return next((position for position, row in enumerate(rows) if self._segments.get(row.id, 0) >= limit), None)

    def add(self, rows: Sequence[T], index: int, last_index: int, checkpoint: Checkpoint) -> list[T]:
        """Add rows, and return the new ones.

        Args:
            rows: Consecutive rows of a page.
            index: The index of the first of them.
            last_index: The highest index of the page, by its size. Surplus rows get this index, too.
            checkpoint: The origin, the maximum page size and the total.
        """
        # Rows that follow a known row, or the origin, belong to its segment.
        segment = self.holes[0].segment - 1 if self.is_returning else self._segment
        if rows:
            segment = 0 if index <= checkpoint.origin else self._segments.get(rows[0].id, segment)
        ids = [row.id for row in rows]
        new_rows: Sequence[T] = rows
        indexes: Sequence[int] = range(index, index + len(rows))
        if len(set(ids)) < len(ids) or not self._segments.keys().isdisjoint(ids):
            first_indexes = dict(zip(reversed(ids), reversed(indexes), strict=True))
            indexes = [
                each
                for row_id, each in zip(ids, indexes, strict=True)
                if row_id not in self._segments and first_indexes[row_id] == each
            ]
            new_rows = [rows[each - index] for each in indexes]
            ids = [row.id for row in new_rows]
        if indexes and indexes[-1] > last_index:
            indexes = [min(each, last_index) for each in indexes]
        self._segments.update(dict.fromkeys(ids, segment))
        if new_rows:
            before = Checkpoint(
                checkpoint.origin,
                checkpoint.max_page_size,
                self.progress.total,
                self.progress.checkpoint().rows,
                self.holes,
            )
            read = tuple(zip(ids, indexes, repeat(segment)))
            self.progress = Progress(before, checkpoint.total, read, is_in_hole=self.is_returning)
            if self.is_returning:
                self._set_hole(0, replace(self.holes[0], missing=max(0, self.holes[0].missing - len(new_rows))))
        return list(new_rows)

    def add_empty_page(self, request: PageRequest, end: int, total: int) -> bool:
        """Add an empty page to the hole behind the last row.

        Args:
            request: The request for the page.
            end: The index after the last row.
            total: The total when the last row was read.

        Returns:
            Whether to continue behind the page.
        """
        if not self.is_behind_hole:
            last = self.progress.checkpoint().rows[-ROWS_BESIDE_A_HOLE:]
            before = tuple([row_id for row_id, _, segment in last if segment == self._segment])
            self._segment += 1
            self.holes = (*self.holes, Hole(self._segment, end, total, 0, before, (), ()))
        self.is_behind_hole = True
        self._empty_requests.add(request)
        self._set_hole(-1, replace(self.holes[-1], requests=(*self.holes[-1].requests, request)))
        if len(self.holes[-1].requests) < MAX_EMPTY_PAGES:
            return True
        self._set_hole(-1, replace(self.holes[-1], requests=self.holes[-1].requests[:1]))
        return False

    def end_hole(self, index: int, rows: Sequence[HasId], *, is_filled: bool) -> None:
        """End the hole, if the last page was empty.

        Args:
            index: The index of the first row behind it, or the total.
            rows: The first rows behind it.
            is_filled: Whether these rows overlap with those before the hole, so that nothing is missing.
        """
        if self.is_behind_hole:
            self.is_behind_hole = False
            missing = max(0, index - self.holes[-1].end)
            behind = tuple([row.id for row in rows[:ROWS_BESIDE_A_HOLE]])
            self._set_hole(-1, replace(self.holes[-1], missing=missing, behind=behind))
            self.holes = self.holes[:-1] if is_filled else self.holes

    def enter_hole(self) -> Hole:
        """Return to the first hole."""
        self.is_returning = True
        return self.holes[0]

    def leave_hole(self, *, is_read: bool) -> None:
        """Remove the first hole, and count its missing rows unless it was read."""
        self.is_returning = False
        self.lost += 0 if is_read else self.holes[0].missing
        self.holes = self.holes[1:]

    def add_empty_page_in_hole(self, request: PageRequest) -> bool:
        """Record an empty page in the first hole, and return whether it is empty for the first time."""
        is_first = request not in self._empty_requests
        self._empty_requests.add(request)
        self._set_hole(0, replace(self.holes[0], missing=max(1, self.holes[0].missing)))
        return is_first

    def drop_empty_page(self) -> bool:
        """Remove an empty page from the first hole, and return whether another one remains."""
        self._set_hole(0, replace(self.holes[0], requests=self.holes[0].requests[1:]))
        return bool(self.holes[0].requests)

    def _set_hole(self, position: int, hole: Hole) -> None:
        holes = list(self.holes)
        holes[position] = hole
        self.holes = tuple(holes)
