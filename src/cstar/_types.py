"""Types that the signatures share."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NOT_GIVEN", "Json", "NotGiven", "QueryValue"]

# Covariant where pydantic's JsonValue is not: a `dict[str, list[str]]` is a `Json`, but no `JsonValue`.
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

QueryScalar: TypeAlias = "str | int | float | bool"
QueryValue: TypeAlias = "QueryScalar | list[QueryScalar] | list[str] | list[int] | tuple[QueryScalar, ...] | None"


class NotGiven(Enum):
    """The type of `NOT_GIVEN`, for annotations of your own wrappers."""

    NOT_GIVEN = "NOT_GIVEN"

    def __repr__(self) -> str:
        return "NOT_GIVEN"

    def __bool__(self) -> Literal[False]:
        return False


# Stands for "leave this parameter out", where `None` already means something: in an update, null.
NOT_GIVEN = NotGiven.NOT_GIVEN
