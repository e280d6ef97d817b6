"""A list before any of it is read: what it asks for, how it is to be walked, and how a page of it is fetched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar

from cstar._call import Call, merge_query
from cstar._check import MAX_PAGE, MAX_PAGE_SIZE, MAX_PREFETCH, check_flag, check_whole_number
from cstar._walk import Ask, HasId, Walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from cstar._decode import PageData, Parser
    from cstar._types import QueryValue

T = TypeVar("T", bound=HasId)


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list, and how to ask for any page of it.

    Attributes:
        call: The call for the page to begin at.
        first: That page.
        prefetch: How many pages to fetch ahead while walking.
        gapless: Whether every slice of a walk must be connected with what was read before.
    """

    call: Call[PageData[T]]
    first: Ask
    prefetch: int
    gapless: bool

    def page(self, ask: Ask) -> Call[PageData[T]]:
        """The call for one page."""
        asked = {"page": str(ask.page), "pageSize": str(ask.size)}
        return replace(self.call, query=tuple((name, asked.get(name, value)) for name, value in self.call.query))

    def walk_from(self, ask: Ask) -> Walk[T]:
        """A walk that begins at a page."""
        return Walk(ask.page, page_size=ask.size, gapless=self.gapless, ahead=self.prefetch > 0)


class ListOptions(TypedDict):
    """What the list of any resource takes.

    Attributes:
        page: The number of the page to begin at.
        page_size: Rows a page.
        prefetch: How many pages to fetch ahead while walking.
        gapless: Whether to prove that no row is skipped.
        extra_query: Further query parameters.
    """

    page: int
    page_size: int
    prefetch: int
    gapless: bool
    extra_query: Mapping[str, QueryValue] | None


def listing(
    path: str,
    parse: Parser[PageData[T]],
    filters: Mapping[str, str | None],
    **options: Unpack[ListOptions],
) -> Listing[T]:
    """A checked list of any resource.

    Args:
        path: The list's path below the base URL.
        parse: Makes a slice of an answer, such as `list_of(Customer)`.
        filters: The resource's own query parameters, checked; those that are `None` are left out.
        options: What the caller passed.
    """
    first = Ask(
        check_whole_number("page", options["page"], low=1, high=MAX_PAGE),
        check_whole_number("page_size", options["page_size"], low=1, high=MAX_PAGE_SIZE),
    )
    ahead = check_whole_number("prefetch", options["prefetch"], low=0, high=MAX_PREFETCH)
    query = merge_query({"page": str(first.page), "pageSize": str(first.size), **filters}, options["extra_query"])
    return Listing(Call("GET", path, parse, query), first, ahead, check_flag("gapless", options["gapless"]))
