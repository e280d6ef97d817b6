"""Types that the signatures share."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar, get_origin
from uuid import UUID

import httpx
from typing_extensions import TypeAliasType, TypedDict

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["NOT_GIVEN", "Json", "ListOptions", "NotGiven", "QueryValue"]

# Covariant where pydantic's JsonValue is not: a `dict[str, list[str]]` is a `Json`, but no `JsonValue`.
Json = TypeAliasType("Json", "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None")
"""What `custom_fields`, `extra_body` and `json` may hold: strings, numbers, booleans, `None`, lists and mappings."""

Id: TypeAlias = str | UUID
"""An id of the API."""

QueryScalar: TypeAlias = str | int | float | bool
QueryValue: TypeAlias = QueryScalar | list[QueryScalar] | list[str] | list[int] | tuple[QueryScalar, ...] | None
"""A value of `extra_query` and `params`. A list repeats its name; `None` is left out."""


T = TypeVar("T")


class _InstanceSchema:
    """Lets pydantic validate an instance of a class that it does not know, for `pydantic.validate_call`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: object) -> CoreSchema:  # noqa: ANN401 - any class
        from pydantic_core.core_schema import is_instance_schema

        return is_instance_schema(get_origin(source) or source)


Timeout: TypeAlias = float | Annotated[httpx.Timeout, _InstanceSchema()]
"""Seconds, or an `httpx.Timeout`."""


class ListOptions(TypedDict, total=False):
    """The parameters of every list, for `**options: Unpack[ListOptions]`.

    Attributes:
        page: The number of the page to begin at; by default 1, the first.
        page_size: Rows per page, 1 to 100; by default 100. Each page is a request, so larger ones spare the rate limit.
        prefetch: How many pages to fetch ahead while iterating, 0 to 100; by default 0.
        gapless: Whether to prove that iterating skips no row, whatever others write meanwhile; by default `False`. It
            then sends about 15% more requests, of up to 100 rows each. Without it, iterating makes up for rows that are
            deleted or inserted in front meanwhile, and for what the loop itself does to the rows that it was given.
        resume: A checkpoint of an earlier iteration over the same list, to go on after the last row that it yielded.
            The `checkpoint()` of the iterator returns it. `None`, the default, begins anew.
        extra_query: Further query parameters, in the API's spelling. A list repeats its name; `None` is left out.
    """

    page: int
    page_size: int
    prefetch: int
    gapless: bool
    resume: str | None
    extra_query: Mapping[str, QueryValue] | None


Items: TypeAlias = Iterable[T]
"""The items of a bulk call of `Cstar`: any iterable."""

AsyncItems: TypeAlias = Annotated[AsyncIterable[T], _InstanceSchema()] | Iterable[T]
"""The items of a bulk call of `AsyncCstar`: any iterable or async iterable."""


class NotGiven(Enum):
    """The type of `NOT_GIVEN`, for annotations of your own wrappers."""

    NOT_GIVEN = "NOT_GIVEN"

    def __repr__(self) -> str:
        return "NOT_GIVEN"

    def __bool__(self) -> Literal[False]:
        return False


NOT_GIVEN = NotGiven.NOT_GIVEN
"""Stands for "leave this parameter out", where `None` already means something: in an update, null."""
