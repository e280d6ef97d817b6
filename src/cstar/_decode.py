"""Bytes to values: parsers for the envelopes of the API."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue, TypeAdapter

    from cstar._envelopes import ListEnvelope, ObjectEnvelope

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageData(Generic[T]):
    """One page as the server sent it."""

    rows: list[T]
    total: int
    page: int | None
    page_size: int | None
    has_more: bool


class _ObjectParser(Generic[T]):
    def __init__(self, model: type[T], adapter: TypeAdapter[ObjectEnvelope[T]]) -> None:
        self._model = model
        self._adapter = adapter

    def __call__(self, content: bytes) -> T:
        return self._adapter.validate_json(content).data

    def __reduce__(self) -> tuple[object, ...]:
        return object_of, (self._model,)


class _ListParser(Generic[T]):
    def __init__(self, model: type[T], adapter: TypeAdapter[ListEnvelope[T]]) -> None:
        self._model = model
        self._adapter = adapter

    def __call__(self, content: bytes) -> PageData[T]:
        envelope = self._adapter.validate_json(content)
        paging = envelope.paging
        return PageData(envelope.data, paging.total, paging.page, paging.page_size, paging.is_followed)

    def __reduce__(self) -> tuple[object, ...]:
        return list_of, (self._model,)


# The envelopes are imported with the first parser, because pydantic loads most of itself with its first model.
@lru_cache(maxsize=256)
def _object_parser(model: Any) -> _ObjectParser[Any]:  # noqa: ANN401 - a cached function has no type variables
    from cstar._envelopes import object_adapter

    return _ObjectParser(model, object_adapter(model))


@lru_cache(maxsize=256)
def _list_parser(model: Any) -> _ListParser[Any]:  # noqa: ANN401 - likewise
    from cstar._envelopes import list_adapter

    return _ListParser(model, list_adapter(model))


def object_of(model: type[T]) -> Callable[[bytes], T]:
    """A parser of `{"success": true, "data": <model>}`."""
    parse: Callable[[bytes], T] = _object_parser(cast("object", model))
    return parse


def list_of(model: type[T]) -> Callable[[bytes], PageData[T]]:
    """A parser of a list in either shape: with `pagination` beside the data, or in `meta` and without `hasMore`."""
    parse: Callable[[bytes], PageData[T]] = _list_parser(cast("object", model))
    return parse


def json_or_none(content: bytes) -> JsonValue:
    """Parse any JSON; no content (204) is `None`."""
    body: JsonValue = from_json(content) if content else None
    return body
