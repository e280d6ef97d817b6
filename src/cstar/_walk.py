"""Where a walk stands and what it asks for next: a pure state machine, told what came, saying what to give and to ask.

Pages shift when rows come and go while a list is read. `docs/paging.md` has the rule that makes up for it, and why it
holds. In short: a slice is *connected* if it starts where the walk started or holds a row that was read before; if
every slice that is used is connected, no row that stayed throughout was skipped.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cstar._check import MAX_PAGE_SIZE
from cstar._logging import logger

if TYPE_CHECKING:
    from datetime import datetime

    from cstar._decode import PageData


class HasId(Protocol):
    """A row that can be told from the others."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=HasId)

# Slices that hold nothing new do not end a walk: it may have stepped back, or others may insert as fast as it reads.
# But so many in a row do, and one more for so many rows that were read, or a server that answers everything with the
# same rows would be read for ever.
MAX_SLICES_WITHOUT_FRESH_ROWS = 10
KNOWN_ROWS_FOR_ANOTHER_SLICE = 10
# Once as many rows were read as there were at first, more may still follow: new ones, or those beyond a total that the
# server caps. But not for ever.
MAX_SLICES_PAST_TOTAL = 1_000
# Of each id a hash is kept, because a million ids would take half as much memory again; and 60 bits of it, because more
# would, too. Two ids of a million share them in one of two million walks. The 32 bits that some machines have would be
# shared in nearly every walk: there, it is the ids.
_KEY_BITS = 2**60 - 1 if sys.hash_info.width >= 64 else None

# How far to step back when the totals do not tell, as a part of a page, and how much further each time that it was not
# enough.
FIRST_STEP_BACK = 1 / 4
STEP_BACK_FACTOR = 4


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a walk: a page number, and the rows a page by which it counts."""

    page: int
    size: int


class _Trust(Enum):
    """What it takes for a slice to be used."""

    # Nothing looks moved: a page simply follows the one before.
    WHILE_QUIET = auto()
    # Something has moved, or no chances are to be taken: the slice must be connected.
    IF_CONNECTED = auto()
    # The server's pages are not what was asked for, so nothing can be told from them but that one follows the other.
    BLINDLY = auto()


@dataclass(frozen=True, slots=True)
class _View(Generic[T]):
    """A slice as the walk sees it.

    Attributes:
        rows: Its rows, without those before the page at which the walk began.
        keys: Their keys.
        first_known: The place of the first of them that was read before, if any was.
        start: The index of the first of them in the whole list.
        is_connected: Whether it starts where the walk started or holds a row that was read before.
        is_exact: Whether it is of the size that was asked for, and `hasMore` not stuck on true.
        adds_up: Whether, besides, its length and `hasMore` are what its total says.
    """

    rows: list[T]
    keys: list[object]
    first_known: int | None
    start: int
    is_connected: bool
    is_exact: bool
    adds_up: bool


class Walk(Generic[T]):
    """A walk from the page it begins at to the end of the list.

    Args:
        page: The number of the page it begins at.
        page_size: Rows a page that are asked for while nothing moves.
        gapless: Whether every slice must be connected from the start.
        ahead: Whether requests are answered while earlier ones are not, so in any order.

    Attributes:
        next: What to ask for next; `None` at the end.
        was_upset: Whether the answer just taken came out other than planned, so that what was asked for ahead is of no
            use.
    """

    def __init__(self, page: int, *, page_size: int, gapless: bool = False, ahead: bool = False) -> None:
        self.next: Ask | None = Ask(page, page_size)
        self.was_upset: bool = False
        self._page_size = page_size
        self._largest = MAX_PAGE_SIZE  # rows a page that the server gives at most
        self._trust = _Trust.IF_CONNECTED if gapless else _Trust.WHILE_QUIET
        self._is_gapless = gapless
        self._seen: set[object] = set()
        self._is_ahead = ahead
        self._first_total = 0
        self._newest: datetime | None = None
        self._slices_without_fresh_rows = 0
        self._slices_past_total = 0
        # The last slice that was used: its total, the index of its first row, the rows' keys, and the index after them.
        self._total: int | None = None
        self._origin = self._end = (page - 1) * page_size
        self._start = self._origin
        self._keys: list[object] = []
        # By how many places the rows had moved from the slice before it, how many requests missed them meanwhile, and
        # whether any had before.
        self._drift = 0
        self._misses = 0
        self._was_lost = False
        # How far the last request stepped back because the one before was not connected; 0 if that one was.
        self._step = 0

    def after(self, ask: Ask) -> Ask | None:
        """What follows a request that is not answered yet, if nothing moves; `None` at the end or if unknown."""
        end = ask.page * min(ask.size, self._largest)
        if self._total is None or end >= self._total:
            return None
        if self._trust is _Trust.IF_CONNECTED:
            return self._reach(end - 1 + min(0, self._drift))
        return Ask(ask.page + 1, ask.size)

    def take(self, ask: Ask, part: PageData[T]) -> list[T]:
        """The rows of an answer that were not given before; none if it cannot be used, and `next` makes up for it."""
        self.was_upset = False
        was_quiet = self._trust is _Trust.WHILE_QUIET
        view = self._view(ask, part)
        if self._is_usable(view, part.total):
            return self._use(ask, part, view)
        self.was_upset = True
        if self._trust is _Trust.BLINDLY:
            self.next = self._page_at_end()
        else:
            self._look_elsewhere(part.total, was_quiet=was_quiet)
        return []

    def _view(self, ask: Ask, part: PageData[T]) -> _View[T]:
        told = part.page_size or ask.size
        is_first = self._total is None
        # Fewer rows than were asked for are the most that the server gives, unless it gives the same whatever is asked.
        is_capped = told < ask.size and (is_first or told == self._largest or told > self._page_size)
        if is_capped:
            self._largest = min(self._largest, told)
        size = min(ask.size, self._largest)
        start, length = (ask.page - 1) * size, len(part.rows)
        if is_first:
            self._origin = start
        skipped = max(0, self._origin - start)
        rows = part.rows[skipped:]
        keys: list[object] = [row.id if _KEY_BITS is None else hash(row.id) & _KEY_BITS for row in rows]
        # In most slices there is none, which is told at once.
        is_new = self._seen.isdisjoint(keys)
        first_known = None if is_new else next(place for place, key in enumerate(keys) if key in self._seen)
        is_of_that_size = (told == ask.size or is_capped) and (length == size if part.has_more else length <= size)
        is_exact = is_of_that_size and not (part.has_more and start + length >= part.total)
        return _View(
            rows,
            keys,
            first_known,
            start + skipped,
            is_connected=start <= self._origin or not is_new,
            is_exact=is_exact,
            adds_up=is_exact
            and length == min(size, max(0, part.total - start))
            and part.has_more == (start + length < part.total),
        )

    def _is_usable(self, view: _View[T], total: int) -> bool:
        """Whether a slice can be used; what it shows may be a reason to trust the next ones less."""
        if self._trust is _Trust.WHILE_QUIET:
            # A server's answer always adds up; a mock's need not, and then its totals are no evidence of anything.
            if not view.adds_up:
                self._trust = _Trust.BLINDLY
                return True
            if self._total is None or (total == self._total and view.first_known is None and not self._is_newer(view)):
                return True
            self._trust = _Trust.IF_CONNECTED
            self.was_upset = True
        elif self._trust is _Trust.IF_CONNECTED and not view.is_exact:
            self._distrust()
        elif self._trust is _Trust.BLINDLY:
            return True
        return view.is_connected

    def _is_newer(self, view: _View[T]) -> bool:
        """Whether a slice begins with a row that is newer than all there were at first.

        Where answers overtake each other, a page of nothing but such rows can hide that the others have moved.
        """
        created = _created(view)
        return self._is_ahead and created is not None and self._newest is not None and created > self._newest

    def _distrust(self) -> None:
        self._trust = _Trust.BLINDLY
        self.was_upset = True
        if self._is_gapless:
            logger.warning(
                "gaps cannot be ruled out: the server's pages are not of the size that was asked for; the walk goes on "
                "page by page"
            )

    def _use(self, ask: Ask, part: PageData[T], view: _View[T]) -> list[T]:
        # What stands before a row that was read was read as well, or came later and is nobody's loss.
        begin = view.first_known or 0 if self._trust is _Trust.IF_CONNECTED else 0
        fresh: list[T] = view.rows
        if view.first_known is None and len(set(view.keys)) == len(view.keys):
            self._seen.update(view.keys)
        else:
            fresh = []
            for row, key in zip(view.rows[begin:], view.keys[begin:], strict=True):
                if key not in self._seen:
                    self._seen.add(key)
                    fresh.append(row)
        if self._total is None:
            self._first_total, self._newest = part.total, _created(view)
        drift = self._drift_to(view, part.total)
        # Rows that a loop takes out go once for each slice that it is given; those that come in front, at any time.
        self._drift = drift if drift < 0 else drift // (1 + self._misses)
        self._was_lost, self._misses = self._misses > 0, 0
        self._start, self._keys = view.start, view.keys
        self._total, self._end, self._step = part.total, view.start + len(view.rows), 0
        self.next = None if self._is_end(part, view, fresh) else self._following(ask, fresh)
        return fresh

    def _drift_to(self, view: _View[T], total: int) -> int:
        """By how many places rows have moved since the slice before; a guess where none of its rows is left."""
        if self._trust is not _Trust.IF_CONNECTED or self._total is None:
            return 0
        before = dict(zip(self._keys, count(self._start)))
        shared = [place for place, key in enumerate(view.keys) if key in before]
        return view.start + shared[-1] - before[view.keys[shared[-1]]] if shared else total - self._total

    def _is_end(self, part: PageData[T], view: _View[T], fresh: list[T]) -> bool:
        if not part.has_more or not part.rows:
            return True
        # From here on hasMore says true, and may be stuck on it.
        self._slices_without_fresh_rows = 0 if fresh else self._slices_without_fresh_rows + 1
        if len(self._seen) >= self._first_total:
            self._slices_past_total += 1
        if self._slices_past_total >= MAX_SLICES_PAST_TOTAL:
            logger.warning(
                "a walk ended after %d rows, %d pages past the total of %d: the server still says hasMore",
                len(self._seen),
                self._slices_past_total,
                self._first_total,
            )
            return True
        patience = MAX_SLICES_WITHOUT_FRESH_ROWS + min(
            len(self._seen) // KNOWN_ROWS_FOR_ANOTHER_SLICE, MAX_SLICES_PAST_TOTAL
        )
        if not fresh and (view.start >= part.total or self._slices_without_fresh_rows >= patience):
            if len(self._seen) < part.total:
                logger.warning(
                    "a walk ended after %d of %d rows: the server repeats rows and still says hasMore",
                    len(self._seen),
                    part.total,
                )
            return True
        return False

    def _following(self, ask: Ask, fresh: list[T]) -> Ask:
        if self._trust is _Trust.IF_CONNECTED:
            # Rows that leave as they are read will go on leaving. That others come matters only where so many come that
            # the walk gets nowhere; a quarter of a page allows for a few less.
            drift = min(0, self._drift)
            if self._drift > 0 and (self._was_lost or not fresh):
                drift = max(0, self._drift - self._largest // 4)
            return self._reach(self._end - 1 + drift) or self._page_at_end()
        return Ask(ask.page + 1, self._page_size) if ask.size == self._page_size else self._page_at_end()

    def _look_elsewhere(self, total: int, *, was_quiet: bool) -> None:
        """Ask for a slice with rows that were read: at last for one at the origin, where every slice is connected."""
        assert self._total is not None  # the first slice is always used
        self._misses += 1
        grown = total - self._total
        if grown > 0 and self._misses == 1:
            # Rows came in front, and as many will have come by the next answer. Half a page allows for a few less.
            target = self._end - 1 + 2 * grown - self._largest // 2
        else:
            # A page that only followed the one before is stepped back from by overlapping with that one.
            least = self._step * STEP_BACK_FACTOR or math.ceil(self._largest * FIRST_STEP_BACK)
            self._step = max(-grown, 0 if was_quiet else least)
            target = self._end - 1 - self._step
        self.next = self._reach(target) or self._page_at_end()

    def _reach(self, index: int) -> Ask | None:
        """The request for a slice that begins at or before an index and reaches furthest beyond it."""
        index = max(self._origin, index)
        asks = [Ask(index // size + 1, size) for size in range(self._largest, 0, -1)]
        best = max(asks, key=lambda ask: ask.page * ask.size)
        return best if best.page * best.size > index + 1 else None

    def _page_at_end(self) -> Ask:
        """The conventional page after the last slice: all that is left where slices cannot be made to overlap."""
        if self._trust is _Trust.IF_CONNECTED:
            self._distrust()
        return Ask(self._end // min(self._page_size, self._largest) + 1, self._page_size)


def _created(view: _View[T]) -> datetime | None:
    """When the first row of a slice was created, if rows of this kind tell."""
    return getattr(view.rows[0], "created_at", None) if view.rows else None
