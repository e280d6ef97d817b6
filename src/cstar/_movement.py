"""Estimate how far the rows of a list move during a walk, and where to search for rows that have moved."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import chain, repeat
from typing import TYPE_CHECKING

from cstar._checkpoint import LAST_ROWS, Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cstar._decode import PageData
    from cstar._memory import HasId, T


class Movement:
    """The movement of rows during a walk, estimated from the totals.

    Attributes:
        is_prefetching: Whether later pages may be fetched before earlier ones.
        drift: By how many indexes the rows are expected to move before the next response; negative if they move up.
    """

    def __init__(self, *, is_prefetching: bool) -> None:
        self.drift = 0
        self.is_prefetching = is_prefetching
        self._newest: datetime | None = None  # when the first row of the first response was created
        self._total: int | None = None  # in the last response
        self._growth = 0  # of the total, between the last two responses
        self._steady_growth = 0  # the lesser of the last two growths

    def record(self, data: PageData[T]) -> None:
        """Record the total of a response."""
        if self._total is None:
            self._total = data.total
            self._newest = _created_at(data.rows)
        growth = data.total - self._total
        self._total, self._growth, self._steady_growth = data.total, growth, max(0, min(growth, self._growth))

    def has_newer(self, data: PageData[T]) -> bool:
        """Return whether rows have moved: a prefetched page begins with a row newer than the first page."""
        created_at = _created_at(data.rows)
        return self.is_prefetching and created_at is not None and self._newest is not None and created_at > self._newest

    def predict(self, growth: int, max_page_size: int, *, keeps_growing: bool) -> None:
        """Estimate `drift`.

        Args:
            growth: By how many rows the list has grown since the previous slice.
            max_page_size: The most rows per page.
            keeps_growing: Whether inserts in front have made a slice useless, so that more inserts are expected.
        """
        # A loop that deletes rows probably deletes as many again. Expect as many inserts again, less a quarter of a
        # page, so that the next slice probably overlaps.
        self.drift = max(0, self._steady_growth - max_page_size // 4) if keeps_growing else min(0, growth)

    def search(self, end: int, growth: int, max_page_size: int) -> Iterator[int]:
        """Estimate where the last row read is now: first by the totals, then further and further back.

        Args:
            end: The index after that row when it was read.
            growth: By how many rows the list has grown since.
            max_page_size: The most rows per page.

        Yields:
            The estimated index after that row.
        """
        if growth:
            yield end + growth
        if self._steady_growth:  # as many inserts before each of two more responses, less half a page
            yield end + growth + 2 * self._steady_growth - max_page_size // 2
        step = max(1, max_page_size // 4)
        while True:
            yield end + growth - step
            step *= 4


class Resumption:
    """The search for the position of an earlier walk, of which only the rows in the checkpoint are known."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._landmarks = {row_id: index for row_id, index, _ in checkpoint.rows[:-LAST_ROWS]}
        self._next_ends: list[int] = []
        self._has_found_landmark = False

    def landmark(self, rows: Sequence[HasId], index: int) -> int | None:
        """Return the position of the first landmark in a slice.

        The first time, return `None`, and let `search` try the last rows once more: they probably moved as far as the
        landmark.
        """
        position = next((position for position, row in enumerate(rows) if row.id in self._landmarks), None)
        if position is None or self._has_found_landmark:
            return position
        expected = self._checkpoint.end + index + position - self._landmarks[rows[position].id]
        self._has_found_landmark, self._next_ends = True, [index + position + 1, expected]
        return None

    def search(self, end: int, growth: int, max_page_size: int) -> Iterator[int]:
        """Estimate where the last row is, then the landmarks, then the origin; see `Movement.search`."""
        # Rows were inserted or deleted in front of the last row, or evenly over the whole list.
        share = growth * end // max(1, self._checkpoint.total)
        ends = [end + growth] + ([end + share] if abs(share) > max_page_size // 2 else [])
        for index in reversed(self._landmarks.values()):
            ends += [index + 1, index + 1 + growth]
        ends = [each for each in dict.fromkeys(ends) if each > self._checkpoint.origin and each != end]
        for each in chain(ends, repeat(self._checkpoint.origin)):  # pragma: no branch - it is infinite
            while self._next_ends:
                yield self._next_ends.pop()
            yield each


def _created_at(rows: Sequence[HasId]) -> datetime | None:
    """Return when the first row was created; `None` if rows have no creation time."""
    created_at = getattr(rows[0], "created_at", None) if rows else None
    if not isinstance(created_at, datetime):
        return None
    # A time without a zone can only be compared with another one, and some rows may have a zone.
    return created_at if created_at.tzinfo else created_at.replace(tzinfo=timezone.utc)
