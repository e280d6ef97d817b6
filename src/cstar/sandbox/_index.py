"""Which customers a list is of, decided in memory; what they are like in full is the database's to say.

Most filters match most customers, and a search has to look at every one of them, so no index of SQLite's could save it
from reading them all. Going through 100,000 small entries takes a few milliseconds, and a page needs only its own rows
from the database.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cstar.sandbox._validation import ListQuery


@dataclass(slots=True)
class Entry:
    """What lists need to know of a customer; name and email are folded, for searching in any letter case."""

    created: int
    name: str
    email: str
    sentiment: str
    status: str
    tags: tuple[str, ...]


_created = attrgetter("created")


def entry(created: int, name: str, email: str, sentiment: str, status: str, tags: tuple[str, ...]) -> Entry:
    """The entry of a customer."""
    # Interned, the few values there are take no memory, and comparing equal ones is comparing addresses.
    return Entry(created, name.casefold(), email.casefold(), sys.intern(sentiment), sys.intern(status), tags)


class Index:
    """The entries of all customers, in the order of their creation."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Take over entries, which are in order already."""
        self._entries = list(entries)

    def put(self, entry: Entry) -> None:
        """Add an entry, or put it in the place of the one that has its `created`."""
        at = self._position(entry.created)
        self._entries[at : at + self._has(entry.created, at)] = [entry]

    def discard(self, created: int) -> None:
        """Remove the entry with this `created`, if there is one."""
        at = self._position(created)
        del self._entries[at : at + self._has(created, at)]

    def clear(self) -> None:
        """Remove every entry."""
        self._entries.clear()

    def select(self, query: ListQuery) -> tuple[list[int], int]:
        """One page of what a query describes, each by its `created`, newest first, and how many there are in all."""
        found = self._entries
        # What usually leaves the fewest goes first, what costs the most goes last.
        if query.tag is not None:
            found = [entry for entry in found if query.tag in entry.tags]
        if query.sentiment is not None:
            found = [entry for entry in found if entry.sentiment == query.sentiment]
        if query.status is not None:
            found = [entry for entry in found if entry.status == query.status]
        if query.search is not None:
            needle = query.search.casefold()
            found = [entry for entry in found if needle in entry.email or needle in entry.name]
        end = max(0, len(found) - (query.page - 1) * query.page_size)
        page = found[max(0, end - query.page_size) : end]
        return [entry.created for entry in reversed(page)], len(found)

    def free_instant(self, at: int) -> int:
        """The first instant, from `at` on, that is the `created` of no entry."""
        first = self._position(at)
        # While the instants follow each other without a gap, their difference to their positions stays the same, and
        # it never falls: so the gap is found by bisection, however many were created at one reading of the clock.
        rest = range(first, len(self._entries))
        gap = bisect_left(rest, at - first + 1, key=lambda position: self._entries[position].created - position)
        return at + gap

    def _position(self, created: int) -> int:
        return bisect_left(self._entries, created, key=_created)

    def _has(self, created: int, position: int) -> bool:
        return position < len(self._entries) and self._entries[position].created == created
