"""Types that the signatures share."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NOT_GIVEN", "Json", "NotGiven", "QueryValue"]

# Covariant where pydantic's JsonValue is not: a `dict[str, list[str]]` is a `Json`, but no `JsonValue`.
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
"""What `custom_fields`, `extra_body` and `json` may hold: strings, numbers, booleans, `None`, lists and mappings."""

QueryScalar: TypeAlias = "str | int | float | bool"
QueryValue: TypeAlias = "QueryScalar | list[QueryScalar] | list[str] | list[int] | tuple[QueryScalar, ...] | None"
"""A value of `extra_query` and `params`. A list repeats its name; `None` is left out."""


class NotGiven(Enum):
    """The type of `NOT_GIVEN`, for annotations of your own wrappers."""

    NOT_GIVEN = "NOT_GIVEN"

    def __repr__(self) -> str:
        return "NOT_GIVEN"

    def __bool__(self) -> Literal[False]:
        return False


NOT_GIVEN = NotGiven.NOT_GIVEN
"""Stands for "leave this parameter out", where `None` already means something: in an update, null."""
