"""Types shared by the public signatures."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias, TypeVar, get_origin
from uuid import UUID

import httpx
from typing_extensions import TypeAliasType, TypedDict

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["NOT_GIVEN", "Json", "ListOptions", "NotGiven", "QueryValue"]

# Covariant, unlike pydantic's JsonValue: a `dict[str, list[str]]` is a `Json`, but not a `JsonValue`.
Json = TypeAliasType("Json", "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None")
"""A JSON value in `custom_fields`, `extra_body` and `json`: a string, number, boolean, `None`, list or mapping."""

Id: TypeAlias = str | UUID
"""An id of the API."""

QueryScalar: TypeAlias = str | int | float | bool
QueryValue: TypeAlias = QueryScalar | list[QueryScalar] | list[str] | list[int] | tuple[QueryScalar, ...] | None
"""A value in `extra_query` and `params`. A list is sent as one parameter per item; `None` is omitted."""

T = TypeVar("T")


class _InstanceSchema:
    """An annotation that makes `pydantic.validate_call` accept any instance of the annotated class."""

    def __get_pydantic_core_schema__(self, source: Any, handler: object) -> CoreSchema:  # noqa: ANN401 - any class
        from pydantic_core.core_schema import is_instance_schema

        return is_instance_schema(get_origin(source) or source)


Timeout: TypeAlias = float | Annotated[httpx.Timeout, _InstanceSchema()]
"""Seconds, or an `httpx.Timeout`."""


class ListOptions(TypedDict, total=False):
    """The parameters of every list, for `**options: Unpack[ListOptions]`."""

    page: int
    """The number of the first page to fetch; by default 1."""

    page_size: int
    """Rows per page, from 1 to 100; by default 100. Each page is a request, so large pages save rate limit."""

    prefetch: int
    """The number of pages to prefetch while iterating, from 0 to 100; by default 0."""

    gapless: bool
    """Whether to verify that iterating skips no row, even if other clients write at the same time; by default `False`.

    This sends about 15% more requests, of up to 100 rows each. Without it, iterating still handles inserts and deletes
    in front of its position, and any changes that the loop makes to the rows that it received.
    """

    resume: str | None
    """A checkpoint of an earlier iteration over the same list, to continue after the last row that it yielded.

    The iterator's `checkpoint()` returns it. By default `None`: start at `page`.
    """

    extra_query: Mapping[str, QueryValue] | None
    """Additional query parameters, by the API's names. A list is sent as one parameter per item; `None` is omitted."""


Items: TypeAlias = Iterable[T]
"""The items of a bulk call of `Cstar`: any iterable."""

AsyncItems: TypeAlias = Annotated[AsyncIterable[T], _InstanceSchema()] | Iterable[T]
"""The items of a bulk call of `AsyncCstar`: any iterable or async iterable."""


class SupportsItems(Protocol):
    """An object with `items()`: a mapping, or the headers of a web framework."""

    def items(self) -> Iterable[tuple[object, object]]: ...


class NotGiven(Enum):
    """The type of `NOT_GIVEN`, for annotations in wrappers."""

    NOT_GIVEN = "NOT_GIVEN"

    def __repr__(self) -> str:
        return "NOT_GIVEN"

    def __bool__(self) -> Literal[False]:
        return False


NOT_GIVEN = NotGiven.NOT_GIVEN
"""The default of an optional parameter for which `None` is a value: in an update, `None` is sent as null."""
