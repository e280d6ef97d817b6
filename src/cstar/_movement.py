"""How a list moves while it is read, as far as its totals tell, and where to look for rows that have moved."""

from __future__ import annotations

from datetime import datetime
from itertools import chain, repeat
from typing import TYPE_CHECKING

from cstar._checkpoint import LAST_ROWS, Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cstar._decode import PageData
    from cstar._memory import HasId, T


class Movement:
    """The movement of a list during a walk.

    Attributes:
        is_ahead: Whether responses may overtake each other.
        drift: By how many places the rows will have moved at the next response, as far as can be foreseen.
    """

    def __init__(self, *, is_ahead: bool) -> None:
        self.drift = 0
        self.is_ahead = is_ahead
        self._newest: datetime | None = None  # when the first row of the first response was created
        self._total: int | None = None  # in the last response
        self._growth = 0  # of the total, from the response before it
        self._steady_growth = 0  # the least growth from each of the last three responses to the next

    def note(self, data: PageData[T]) -> None:
        """Take note of a response."""
        if self._total is None:
            self._total = data.total
            self._newest = _created(data.rows)
        growth = data.total - self._total
        self._total, self._growth, self._steady_growth = data.total, growth, max(0, min(growth, self._growth))

    def has_newer(self, data: PageData[T]) -> bool:
        """Whether a page begins with a row newer than all there were: where responses overtake, it hides what moved."""
        created = _created(data.rows)
        return self.is_ahead and created is not None and self._newest is not None and created > self._newest

    def predict(self, grown: int, largest: int, *, is_pushed: bool) -> None:
        """Foresee the next movement, from what a slice shows.

        Args:
            grown: How many rows the list has grown by since the slice before.
            largest: The most rows per page.
            is_pushed: Whether so many rows have come in front that a slice did not overlap, or held no new row.
        """
        # If rows leave, as a loop removes them, as many will leave again. If many come, a quarter of a page allows for
        # a few less.
        self.drift = max(0, self._steady_growth - largest // 4) if is_pushed else min(0, grown)

    def places(self, end: int, grown: int, largest: int) -> Iterator[int]:
        """Where the last row read may be now: as the totals say, then further back, and further each time.

        Args:
            end: The index after it, when it was read.
            grown: How many rows the list has grown by since.
            largest: The most rows per page.

        Yields:
            An index after it.
        """
        if grown:
            yield end + grown
        if self._steady_growth:  # as many will have come by the next response; half a page allows for a few less
            yield end + grown + 2 * self._steady_growth - largest // 2
        step = max(1, largest // 4)
        while True:
            yield end + grown - step
            step *= 4


class Resumption:
    """Where an earlier walk stood, until a slice is used. Few of the rows that it has read are known."""

    def __init__(self, point: Checkpoint) -> None:
        self._point = point
        self._landmarks = {each: index for each, index, _ in point.rows[:-LAST_ROWS]}
        self._detour: list[int] = []
        self._has_jumped = False

    def landmark(self, rows: Sequence[HasId], index: int) -> int | None:
        """The place of a landmark in a slice, unless the last rows may still be found."""
        place = next((place for place, row in enumerate(rows) if row.id in self._landmarks), None)
        if place is None or self._has_jumped:
            return place
        # What moved the landmark is likely to have moved the last row as far.
        expected = self._point.end + index + place - self._landmarks[rows[place].id]
        self._has_jumped, self._detour = True, [index + place + 1, expected]
        return None

    def places(self, end: int, grown: int, largest: int) -> Iterator[int]:
        """Where to look, as in `Movement.places`: for the last row, for landmarks, and at last where the walk began."""
        # What has gone or come stood in front of the last row, or is spread over the list.
        spread = grown * end // max(1, self._point.total)
        guesses = [end + grown] + ([end + spread] if abs(spread) > largest // 2 else [])
        for index in reversed(self._landmarks.values()):
            guesses += [index + 1, index + 1 + grown]
        guesses = [guess for guess in dict.fromkeys(guesses) if guess > self._point.origin and guess != end]
        for guess in chain(guesses, repeat(self._point.origin)):  # pragma: no branch - it has no end
            while self._detour:
                yield self._detour.pop()
            yield guess


def _created(rows: Sequence[HasId]) -> datetime | None:
    """When the first of some rows was created, if rows of this kind say."""
    created = getattr(rows[0], "created_at", None) if rows else None
    return created if isinstance(created, datetime) else None
