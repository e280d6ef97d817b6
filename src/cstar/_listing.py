"""The description of a list: the call for each of its pages, and the options for iterating over it."""

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
    """A list of the API and the options for iterating over it.

    Attributes:
        call: The call for the first page.
        begin: The first page, as given by `page` and `page_size`.
        prefetch: How many pages to prefetch while iterating.
        gapless: Whether every slice of a walk must overlap: see `cstar._walk`.
        resume: The checkpoint of an earlier walk, to continue from.
    """

    call: Call[PageData[T]]
    begin: PageRequest
    prefetch: int
    gapless: bool
    resume: Checkpoint | None = None

    @property
    def first(self) -> PageRequest:
        """The request for the first page: `begin` or, with `resume`, the page at the checkpoint."""
        return (self.resume and self.walk().next_request) or self.begin

    def page(self, request: PageRequest) -> Call[PageData[T]]:
        """Return the call for one page."""
        numbers = {"page": str(request.page), "pageSize": str(request.size)}
        return replace(self.call, query=tuple((name, numbers.get(name, value)) for name, value in self.call.query))

    def at(self, request: PageRequest) -> Listing[T]:
        """Return the list that begins at another page."""
        return replace(self, call=self.page(request), begin=request, resume=None)

    def walk(self) -> Walk[T]:
        """Return a new walk."""
        page, size = self.begin
        is_prefetching = self.prefetch > 0
        return Walk(page, page_size=size, gapless=self.gapless, is_prefetching=is_prefetching, resume=self.resume)

    def token(self, progress: Progress, pending: int) -> str:
        """Return a checkpoint as a token. The last `pending` rows have not been yielded yet."""
        return encode(progress.checkpoint(pending=pending), _scope(self.call, self.begin))


def _scope(call: Call[PageData[T]], begin: PageRequest) -> str:
    """Return a digest of a list's path, filters and first row, to reject checkpoints of other lists."""
    filters = sorted((name, value) for name, value in call.query if name not in {"page", "pageSize"})
    scope = json.dumps([call.path, filters, (begin.page - 1) * begin.size])
    return sha256(scope.encode()).hexdigest()[:16]


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
    """Check the options of a list; `ListOptions` describes them.

    `path` is below the base URL, and `parse` parses a page. `filters` are the resource's own query parameters, already
    checked; those that are `None` are omitted.
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
