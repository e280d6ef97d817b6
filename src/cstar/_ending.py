"""Decide when a walk ends, and log a warning if rows are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cstar._logging import logger

if TYPE_CHECKING:
    from cstar._decode import PageData
    from cstar._memory import Memory, T

# Every walk ends at these limits, whatever the server sends. The limit of consecutive slices without a new row grows by
# one for every ten rows read, up to 1,000 more, because rows inserted at the front have to be skipped.
MAX_STALE_SLICES = 10
MAX_EXTRA_STALE_SLICES = 1_000
MAX_SLICES_PAST_TOTAL = 1_000


class Ending:
    """The conditions for the end of a walk."""

    def __init__(self) -> None:
        self._stale_slices = 0  # consecutive slices without a new row
        self._slices_past_total = 0  # slices since the number of rows read reached the first total
        self._first_total: int | None = None
        self._total = 0
        self._reason = ""

    def is_reached(self, start: int, data: PageData[T], rows_read: int, *, has_new_rows: bool) -> bool:
        """Record a slice, and return whether the walk ends with it.

        Args:
            start: The index of its first row.
            data: The slice.
            rows_read: How many rows the walk has read.
            has_new_rows: Whether the slice has new rows.
        """
        self._total = data.total
        first_total = self._first_total = data.total if self._first_total is None else self._first_total
        if not data.has_more or not data.rows:
            self._reason = "the server reports no further page"
            return True
        self._stale_slices = 0 if has_new_rows else self._stale_slices + 1
        self._slices_past_total += rows_read >= first_total
        if self._slices_past_total >= MAX_SLICES_PAST_TOTAL:
            self._reason = f"{self._slices_past_total} pages past the total of {first_total}: hasMore is still true"
            return True
        self._reason = "the server repeats rows, and hasMore is still true"
        is_past_end = start >= data.total >= rows_read  # a total of fewer rows than were read is wrong
        max_stale = 1 if is_past_end else MAX_STALE_SLICES + min(rows_read // 10, MAX_EXTRA_STALE_SLICES)
        return self._stale_slices >= max_stale

    def on_empty_pages(self, total: int) -> None:
        """Record that the last pages of the list are empty."""
        self._reason, self._total = "the remaining pages are empty", total

    def on_return_to_hole(self) -> None:
        """Restart the count of slices without a new row."""
        self._stale_slices = 0

    def warn_if_incomplete(self, origin: int, memory: Memory, *, are_indexes_valid: bool) -> None:
        """Log a warning if rows are missing.

        If the indexes are valid, `memory.lost` is the number of missing rows. Otherwise it is the total minus the rows
        read.
        """
        expected, rows_read = self._total - origin, memory.rows_read
        found = expected - memory.lost if are_indexes_valid else rows_read
        if self._slices_past_total >= MAX_SLICES_PAST_TOTAL:
            logger.warning("iteration ended after %d rows, %s", rows_read, self._reason)
        elif found < expected:
            logger.warning("iteration ended after %d of %d rows: %s", found, expected, self._reason)
