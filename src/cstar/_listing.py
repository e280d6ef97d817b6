"""A list before any of it is read: what it requests, how it is iterated, and how a page of it is fetched."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Generic

from cstar._call import Call, merge_query
from cstar._check import MAX_PAGE, MAX_PAGE_SIZE, MAX_PREFETCH, check_bool, check_int
from cstar._checkpoint import Checkpoint, PageRequest, decode, encode
from cstar._memory import T
from cstar._walk import Walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cstar._checkpoint import Progress
    from cstar._decode import PageData, Parser
    from cstar._types import QueryValue


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list, and how to request any page of it.

    Attributes:
        call: The call for the first page.
        begin: The page that the caller begins at.
        prefetch: How many pages to fetch ahead while iterating.
        gapless: Whether every slice of a walk must overlap with what was read before.
        resume: Where an earlier walk stood, to go on from there.
    """

    call: Call[PageData[T]]
    begin: PageRequest
    prefetch: int
    gapless: bool
    resume: Checkpoint | None = None

    @property
    def first(self) -> PageRequest:
        """The first request."""
        return (self.resume and self.walk().next) or self.begin

    def page(self, request: PageRequest) -> Call[PageData[T]]:
        """The call for one page."""
        numbers = {"page": str(request.page), "pageSize": str(request.size)}
        return replace(self.call, query=tuple((name, numbers.get(name, value)) for name, value in self.call.query))

    def at(self, request: PageRequest) -> Listing[T]:
        """The list from another page on."""
        return replace(self, call=self.page(request), begin=request, resume=None)

    def walk(self) -> Walk[T]:
        """A walk from the first page on."""
        page, size = self.begin
        return Walk(page, page_size=size, gapless=self.gapless, ahead=self.prefetch > 0, resume=self.resume)

    def token(self, progress: Progress, pending: int) -> str:
        """The checkpoint of a walk as text, if so many of its last new rows have not been yielded yet."""
        return encode(progress.checkpoint(pending=pending), _scope(self.call, self.begin))


def _scope(call: Call[PageData[T]], begin: PageRequest) -> str:
    """A digest of what a list holds: its path, its filters, and where it begins."""
    filters = sorted((name, value) for name, value in call.query if name not in {"page", "pageSize"})
    what = json.dumps([call.path, filters, (begin.page - 1) * begin.size])
    return sha256(what.encode()).hexdigest()[:16]


def listing(
    path: str,
    parse: Parser[PageData[T]],
    filters: Mapping[str, str | None],
    *,
    page: int = 1,
    page_size: int = 100,
    prefetch: int = 0,
    gapless: bool = False,
    resume: str | None = None,
    extra_query: Mapping[str, QueryValue] | None = None,
) -> Listing[T]:
    """A checked list of any resource: its path below the base URL, the parser of a page, and its `ListOptions`.

    `filters` are the resource's own query parameters, checked; those that are `None` are left out.
    """
    begin = PageRequest(
        check_int("page", page, low=1, high=MAX_PAGE),
        check_int("page_size", page_size, low=1, high=MAX_PAGE_SIZE),
    )
    prefetch = check_int("prefetch", prefetch, low=0, high=MAX_PREFETCH)
    gapless = check_bool("gapless", gapless)
    query = merge_query({"page": str(begin.page), "pageSize": str(begin.size), **filters}, extra_query)
    call = Call("GET", path, parse, query)
    if resume is None:
        return Listing(call, begin, prefetch, gapless)
    resumed = Listing(call, begin, prefetch, gapless, decode(resume, _scope(call, begin)))
    return replace(resumed, call=resumed.page(resumed.first))
