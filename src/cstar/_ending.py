"""When a walk is at its end, and whether rows are missing then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cstar._logging import logger

if TYPE_CHECKING:
    from cstar._decode import PageData
    from cstar._memory import Memory, T

# Every walk ends: after so many slices in a row without a new row, and one more for every ten rows read, because rows
# that came in front have to be passed over; and after so many slices past the first total.
MAX_STALE_SLICES = 10
MAX_SLICES_PAST_TOTAL = 1_000


class Ending:
    """The end of a walk."""

    def __init__(self) -> None:
        self._stale = self._past_total = 0  # slices in a row without a new row; slices past the first total
        self._first_total: int | None = None
        self._reason, self._total = "", 0  # why it has come, and the list's total then

    def is_due(self, start: int, data: PageData[T], read: int, *, has_new_rows: bool) -> bool:
        """Whether a walk ends with a slice that starts at an index, when so many rows have been read."""
        self._total = data.total
        first_total = self._first_total = data.total if self._first_total is None else self._first_total
        if not data.has_more or not data.rows:
            self._reason = "the server says that no page follows"
            return True
        self._stale = 0 if has_new_rows else self._stale + 1
        self._past_total += read >= first_total
        if self._past_total >= MAX_SLICES_PAST_TOTAL:
            self._reason = f"{self._past_total} pages past the total of {first_total}: the server still says hasMore"
            return True
        self._reason = "the server repeats rows and still says hasMore"
        # A total that the rows exceed is not believed.
        patience = 1 if start >= data.total >= read else MAX_STALE_SLICES + min(read // 10, MAX_SLICES_PAST_TOTAL)
        return self._stale >= patience

    def come_to_empty_pages(self, total: int) -> None:
        """Note that the last pages of the list are empty."""
        self._reason, self._total = "pages are empty", total

    def begin_hole(self) -> None:
        """The walk returns to a hole, whose slices are counted anew."""
        self._stale = 0

    def warn_if_short(self, origin: int, memory: Memory, *, are_indexes_true: bool) -> None:
        """Warn if rows are missing: at known places, or, if the indexes of rows mean nothing, by their number."""
        due, read = self._total - origin, memory.rows_read
        if self._past_total >= MAX_SLICES_PAST_TOTAL:
            logger.warning("a walk ended after %d rows, %s", read, self._reason)
        elif (read := due - memory.lost if are_indexes_true else read) < due:
            logger.warning("a walk ended after %d of %d rows: %s", read, due, self._reason)
