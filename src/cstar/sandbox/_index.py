"""Which customers a list is of, decided in memory; what they are like in full is the database's to say.

Most filters match most customers, and a search has to look at every one of them, so no index of SQLite's could save it
from reading them all. Going through 100,000 small entries takes a few milliseconds, and a page needs only its own rows
from the database. The pages of one list are usually asked for one after another, so the last few selections are kept,
and kept up to date.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cstar.sandbox._validation import ListQuery


# Folding turns every capital ASCII letter into a small one, so none is in what is searched for, and nothing that is
# searched for can match across this.
_SEPARATOR = "A"

# How many selections are kept.
_SELECTIONS = 8


@dataclass(slots=True)
class Entry:
    """What lists need to know of a customer; `text` is email and name, folded for searching in any letter case."""

    created: int
    text: str
    sentiment: str
    status: str
    tags: tuple[str, ...]


_created = attrgetter("created")


class _Filters(NamedTuple):
    status: str | None = None
    sentiment: str | None = None
    tag: str | None = None
    search: str | None = None


_NO_FILTERS = _Filters()


def entry(created: int, name: str, email: str, sentiment: str, status: str, tags: tuple[str, ...]) -> Entry:
    """The entry of a customer."""
    # In one string, because a search looks at every one of them, and one search costs half of what two do.
    text = email.casefold() + _SEPARATOR + name.casefold()
    # Interned, the few values there are take no memory, and comparing equal ones is comparing addresses.
    return Entry(created, text, sys.intern(sentiment), sys.intern(status), tags)


class Index:
    """The entries of all customers, in the order of their creation."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Take over entries, which are in order already."""
        self._entries = list(entries)
        self._selections: dict[_Filters, list[Entry]] = {}  # what was found for them, the most recently used last

    def put(self, entry: Entry) -> None:
        """Add an entry, or put it in the place of the one that has its `created`."""
        _replace(self._entries, entry.created, [entry])
        for filters, found in self._selections.items():
            _replace(found, entry.created, _find([entry], filters))

    def discard(self, created: int) -> None:
        """Remove the entry with this `created`, if there is one."""
        for entries in (self._entries, *self._selections.values()):
            _replace(entries, created, [])

    def select(self, query: ListQuery) -> tuple[list[int], int]:
        """One page of what a query describes, each by its `created`, newest first, and how many there are in all."""
        found = self._selection(_Filters(query.status, query.sentiment, query.tag, query.search))
        end = max(0, len(found) - (query.page - 1) * query.page_size)
        page = found[max(0, end - query.page_size) : end]
        return [entry.created for entry in reversed(page)], len(found)

    def _selection(self, filters: _Filters) -> list[Entry]:
        if filters == _NO_FILTERS:
            return self._entries
        found = self._selections.pop(filters, None)
        if found is None:
            found = _find(self._entries, filters)
        self._selections[filters] = found
        if len(self._selections) > _SELECTIONS:
            del self._selections[next(iter(self._selections))]
        return found


def _find(entries: list[Entry], filters: _Filters) -> list[Entry]:
    status, sentiment, tag, search = filters
    # The quickest to check goes first, the slowest last.
    if sentiment is not None:
        entries = [entry for entry in entries if entry.sentiment == sentiment]
    if status is not None:
        entries = [entry for entry in entries if entry.status == status]
    if tag is not None:
        entries = [entry for entry in entries if tag in entry.tags]
    if search is not None:
        needle = search.casefold()
        entries = [entry for entry in entries if needle in entry.text]
    return entries


def _replace(entries: list[Entry], created: int, replacement: list[Entry]) -> None:
    """Put a replacement, or nothing, in the place of the entry with this `created`, or where it would be."""
    at = bisect_left(entries, created, key=_created)
    there = at < len(entries) and entries[at].created == created
    entries[at : at + there] = replacement
