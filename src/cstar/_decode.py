"""Parsers for response bodies, each with a fast and a lenient mode."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue, TypeAdapter

    from cstar._envelopes import ListEnvelope, ObjectEnvelope
    from cstar._lenient import Deviations

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class PageData(Generic[T]):
    """The decoded page of a list."""

    rows: list[T]
    total: int
    page: int | None
    page_size: int | None
    has_more: bool


class Parser(Protocol[T_co]):
    """A parser for the body of a successful response, with a fast and a lenient mode."""

    def __call__(self, content: bytes) -> T_co:
        """Parse a body that conforms to the API's documentation.

        Raises:
            ValueError: It does not conform.
        """
        ...

    def leniently(self, content: bytes) -> tuple[T_co, Deviations]:
        """Parse a body that deviates from the API's documentation. Also return its invalid fields.

        Raises:
            ValueError: It cannot be parsed.
        """
        ...


class _JsonParser:
    """A parser for any JSON. An empty body is `None`."""

    def __call__(self, content: bytes) -> JsonValue:
        body: JsonValue = from_json(content) if content else None
        return body

    def leniently(self, content: bytes) -> tuple[JsonValue, Deviations]:
        from cstar._lenient import Deviations, parse_json, plain

        return None if is_blank(content) else plain(parse_json(content)), Deviations()

    def __reduce__(self) -> str:
        return "json_or_none"


json_or_none: Parser[JsonValue] = _JsonParser()


def is_blank(content: bytes) -> bool:
    """Return whether a body is empty, except for whitespace and a byte order mark."""
    return not content.removeprefix(BOM_UTF8).strip()


class _ObjectParser(Generic[T]):
    def __init__(self, model: type[T], adapter: TypeAdapter[ObjectEnvelope[T]]) -> None:
        self._model = model
        self._adapter = adapter

    def __call__(self, content: bytes) -> T:
        return self._adapter.validate_json(content).data

    def leniently(self, content: bytes) -> tuple[T, Deviations]:
        from cstar._lenient import Reader, parse_json

        reader = Reader()
        value: T = reader.read(self._model, reader.data(parse_json(content)))
        return value, reader.deviations

    def __reduce__(self) -> tuple[object, ...]:
        return object_of, (self._model,)


class _ListParser(Generic[T]):
    def __init__(self, model: type[T], adapter: TypeAdapter[ListEnvelope[T]]) -> None:
        self._model = model
        self._adapter = adapter

    def __call__(self, content: bytes) -> PageData[T]:
        envelope = self._adapter.validate_json(content)
        paging = envelope.paging
        return PageData(envelope.data, paging.total, paging.page, paging.page_size, paging.has_next)

    def leniently(self, content: bytes) -> tuple[PageData[T], Deviations]:
        from cstar._lenient import Reader, parse_json

        reader = Reader()
        envelope = parse_json(content)
        rows: list[T] = reader.read_rows(self._model, reader.data(envelope))
        paging = reader.read_paging(envelope, len(rows))
        page = PageData(rows, paging.total, paging.page, paging.page_size, paging.has_next)
        return page, reader.deviations

    def __reduce__(self) -> tuple[object, ...]:
        return list_of, (self._model,)


class _ConvertingParser(Generic[T, U]):
    def __init__(self, parser: Parser[T], convert: Callable[[T], U]) -> None:
        self._parser = parser
        self._convert = convert

    def __call__(self, content: bytes) -> U:
        return self._convert(self._parser(content))

    def leniently(self, content: bytes) -> tuple[U, Deviations]:
        value, deviations = self._parser.leniently(content)
        return self._convert(value), deviations

    def __reduce__(self) -> tuple[object, ...]:
        return converted, (self._parser, self._convert)


def converted(parser: Parser[T], convert: Callable[[T], U]) -> Parser[U]:
    """Return a parser that passes the value of another parser to a function. The function must be picklable."""
    return _ConvertingParser(parser, convert)


# `_envelopes` is imported with the first parser, because defining a model imports most of pydantic.
@lru_cache(maxsize=256)
def _object_parser(model: Any) -> _ObjectParser[Any]:  # noqa: ANN401 - lru_cache loses type variables
    from cstar._envelopes import object_adapter

    return _ObjectParser(model, object_adapter(model))


@lru_cache(maxsize=256)
def _list_parser(model: Any) -> _ListParser[Any]:  # noqa: ANN401 - see above
    from cstar._envelopes import list_adapter

    return _ListParser(model, list_adapter(model))


def object_of(model: type[T]) -> Parser[T]:
    """Return the parser for `{"success": true, "data": <model>}`."""
    parse: Parser[T] = _object_parser(cast("object", model))
    return parse


def list_of(model: type[T]) -> Parser[PageData[T]]:
    """Return the parser for a list, with `pagination` at the top level or in `meta`."""
    parse: Parser[PageData[T]] = _list_parser(cast("object", model))
    return parse
