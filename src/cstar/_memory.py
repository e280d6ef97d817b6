"""What a walk has read: the rows, and the holes between them."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, Protocol, TypeVar

from cstar._checkpoint import LAST_ROWS, ROWS_BESIDE_A_HOLE, Checkpoint, Hole, Id, PageRequest, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence


class HasId(Protocol):
    """A row that can be told from the others."""

    @property
    def id(self) -> Id: ...


T = TypeVar("T", bound=HasId)

# After so many empty pages in a row, the total is not to be believed.
MAX_EMPTY_PAGES = 10


class Memory:
    """The rows that a walk has read, and the holes between them.

    A hole is one empty page, or several in a row, although the total says that rows are there. Behind it, a new stretch
    of the walk begins. At its end, the walk returns to each hole, and reads on from the last row before it until it
    meets a row of a later stretch.

    Attributes:
        progress: The last new rows, and where the walk stood before them.
        holes: The holes to return to; if the walk is returning, it is in the first.
        is_behind_hole: Whether the last page was empty.
        is_returning: Whether the walk has come to its end, and is returning to the holes.
        lost: How many rows the holes still hide that the walk has returned to.
    """

    def __init__(self, point: Checkpoint) -> None:
        self.progress: Progress = Progress(point, point.total)
        self.holes: tuple[Hole, ...] = point.holes
        self.is_behind_hole: bool = False
        self.is_returning: bool = False
        self.lost: int = 0
        self._empty_requests = {request for hole in point.holes for request in hole.requests}
        self._seen: dict[Id, int] = {}  # the number of each row's stretch
        for hole in point.holes:
            self._seen |= dict.fromkeys(hole.before, hole.stretch - 1) | dict.fromkeys(hole.behind, hole.stretch)
        self._seen |= {each: stretch for each, _, stretch in point.rows[-LAST_ROWS:]}
        self._stretch = max(
            [stretch for _, _, stretch in point.rows] + [hole.stretch for hole in point.holes], default=0
        )
        self._read_earlier = point.end - point.origin - len(self._seen)

    @property
    def rows_read(self) -> int:
        """How many rows were read, those of an earlier walk included."""
        return len(self._seen) + self._read_earlier

    def rebase(self, row_id: Id, index: int) -> None:
        """Take note of how far a known row has moved since the checkpoint: the others have likely moved as far."""
        before = self.progress.before
        shift = next((index - position for each, position, _ in before.rows if each == row_id), 0)
        rows = tuple([(each, max(before.origin, place + shift), stretch) for each, place, stretch in before.rows])
        self.progress = replace(self.progress, before=replace(before, rows=rows))

    def first_known(self, rows: Sequence[HasId]) -> int | None:
        """The place of the first row that was read before; in a hole, of one that stands before the hole."""
        if self._seen.keys().isdisjoint([row.id for row in rows]):
            return None
        limit = self.holes[0].stretch if self.is_returning else self._stretch + 1
        return next((place for place, row in enumerate(rows) if self._seen.get(row.id, limit) < limit), None)

    def crossing(self, rows: Sequence[HasId]) -> int | None:
        """In a hole: the place of the first row that was read behind it."""
        if not self.is_returning:
            return None
        stretch = self.holes[0].stretch
        return next((place for place, row in enumerate(rows) if self._seen.get(row.id, 0) >= stretch), None)

    def read(self, rows: Sequence[T], index: int, last: int, point: Checkpoint) -> list[T]:
        """Take note of rows, and return the new ones.

        Args:
            rows: Rows of a slice.
            index: The index of the first of them.
            last: The index of the page's last row. A page that is longer than requested counts as one of its size.
            point: The origin, the largest page and the total.
        """
        # Rows that follow a row of an earlier stretch, or the origin, belong to that stretch.
        stretch = self.holes[0].stretch - 1 if self.is_returning else self._stretch
        if rows:
            stretch = 0 if index <= point.origin else self._seen.get(rows[0].id, stretch)
        ids = [row.id for row in rows]
        new_rows: Sequence[T] = rows
        positions: Sequence[int] = range(index, index + len(rows))
        if len(set(ids)) < len(ids) or not self._seen.keys().isdisjoint(ids):
            firsts = dict(zip(reversed(ids), reversed(positions), strict=True))
            places = [
                place
                for each, place in zip(ids, positions, strict=True)
                if each not in self._seen and firsts[each] == place
            ]
            new_rows = [rows[place - index] for place in places]
            ids, positions = [row.id for row in new_rows], places
        if positions and positions[-1] > last:
            positions = [min(place, last) for place in positions]
        self._seen.update(dict.fromkeys(ids, stretch))
        if new_rows:
            before = Checkpoint(
                point.origin, point.largest, self.progress.total, self.progress.checkpoint().rows, self.holes
            )
            read = tuple(zip(ids, positions, repeat(stretch)))
            self.progress = Progress(before, point.total, read, returns_to_hole=self.is_returning)
            if self.is_returning:
                self._set_hole(0, replace(self.holes[0], missing=max(0, self.holes[0].missing - len(new_rows))))
        return list(new_rows)

    def note_empty_page(self, request: PageRequest, end: int, total: int) -> bool:
        """Take note of an empty page.

        Args:
            request: Its request.
            end: The index after the last row that was read.
            total: The total when it was read.

        Returns:
            Whether to go on behind it.
        """
        if not self.is_behind_hole:
            last = self.progress.checkpoint().rows[-ROWS_BESIDE_A_HOLE:]
            before = tuple([each for each, _, stretch in last if stretch == self._stretch])
            self._stretch += 1
            self.holes = (*self.holes, Hole(self._stretch, end, total, 0, before, (), ()))
        self.is_behind_hole = True
        self._empty_requests.add(request)
        self._set_hole(-1, replace(self.holes[-1], requests=(*self.holes[-1].requests, request)))
        if len(self.holes[-1].requests) < MAX_EMPTY_PAGES:
            return True
        self._set_hole(-1, replace(self.holes[-1], requests=self.holes[-1].requests[:1]))
        return False

    def end_hole(self, index: int, rows: Sequence[HasId], *, is_filled: bool) -> None:
        """Take note of what follows a hole.

        Args:
            index: The index of the first row behind it, or the list's total.
            rows: The first rows behind it.
            is_filled: Whether they show that there is no gap.
        """
        if self.is_behind_hole:
            self.is_behind_hole = False
            missing = max(0, index - self.holes[-1].end)
            self._set_hole(
                -1,
                replace(self.holes[-1], missing=missing, behind=tuple([row.id for row in rows[:ROWS_BESIDE_A_HOLE]])),
            )
            self.holes = self.holes[:-1] if is_filled else self.holes

    def enter_hole(self) -> Hole:
        """Return to the first hole."""
        self.is_returning = True
        return self.holes[0]

    def leave_hole(self, *, is_read: bool) -> None:
        """Leave the first hole for good."""
        self.is_returning = False
        self.lost += 0 if is_read else self.holes[0].missing
        self.holes = self.holes[1:]

    def note_still_empty(self, request: PageRequest) -> bool:
        """Take note of a page that is empty while the walk is in a hole: is it empty for the first time?"""
        is_first = request not in self._empty_requests
        self._empty_requests.add(request)
        self._set_hole(0, replace(self.holes[0], missing=max(1, self.holes[0].missing)))
        return is_first

    def has_another_empty_page(self) -> bool:
        """Leave an empty page of the first hole for good. Is there another?"""
        self._set_hole(0, replace(self.holes[0], requests=self.holes[0].requests[1:]))
        return bool(self.holes[0].requests)

    def _set_hole(self, place: int, hole: Hole) -> None:
        holes = list(self.holes)
        holes[place] = hole
        self.holes = tuple(holes)
