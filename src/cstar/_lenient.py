"""The lenient parser, for responses and webhooks that deviate from the documentation. Imported on demand.

Text: a byte order mark is skipped; lone surrogates and invalid bytes become U+FFFD.
Fields: a missing or null field gets its default or `None`. A value of another type is converted if its meaning is
unambiguous; otherwise it is kept as received, and its field is reported.
Rejected: text that is not JSON, an envelope or row that is not an object, and a row whose id is not a string.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, cast, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined, from_json, to_json

from cstar._envelopes import Paging
from cstar.models._base import Model, format_validation_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue
    from pydantic.fields import FieldInfo
    from typing_extensions import Self

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# An ISO 8601 date, optionally with a time and a zone.
_TIME = re.compile(
    r"\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)\s*(?:(Z|UTC|GMT)|([+-]\d\d):?(\d\d)?)?)?\s*",
    re.IGNORECASE,
)
_MAX_CONVERTED = 10_000  # items of a list or object; converting millions takes half a minute
_MAX_TIME_LENGTH = 64  # characters; matching many spaces takes quadratic time


# ── Text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Number(float):
    """A float with its JSON text, so that 1.10 in metadata becomes "1.10"."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


def _integer(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # too many digits: sys.get_int_max_str_digits()
        return text


def parse_json(content: bytes) -> Any:
    """Parse JSON in any Unicode encoding.

    Raises:
        ValueError: It is not JSON, or is nested too deeply.
    """
    try:
        text = content.decode(json.detect_encoding(content), "replace")
        value = json.loads(text, strict=False, parse_float=_Number, parse_int=_integer)
        return _without_lone_surrogates(value) if _ESCAPED_SURROGATE.search(text) else value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _without_lone_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if (items := _array(value)) is not None:
        return [_without_lone_surrogates(each) for each in items]
    if (found := _object(value)) is not None:
        return {_without_lone_surrogates(name): _without_lone_surrogates(each) for name, each in found.items()}
    return value


def plain(value: Any) -> JsonValue:
    """Convert a value to plain JSON, without `_Number`."""
    result: JsonValue = from_json(to_json(value))
    return result


def _object(value: Any) -> dict[str, Any] | None:
    return {**value} if isinstance(value, dict) else None


def _array(value: Any) -> list[Any] | None:
    return [*value] if isinstance(value, list) else None


# ── Values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _interpretations(value: Any) -> Iterator[Any]:
    """Yield the value and its possible conversions, most likely first."""
    yield value
    if isinstance(value, (list, dict)) and len(cast("list[Any]", value)) > _MAX_CONVERTED:
        return
    if (items := _array(value)) is not None:
        yield [_as_text(each) for each in items if each is not None]
        if not items:
            yield {}  # PHP encodes an empty object as an empty list
    elif (found := _object(value)) is not None:
        yield {name: _as_text(each) for name, each in found.items() if each is not None}
        if not found:
            yield []
    else:
        if isinstance(value, str) and len(value) <= _MAX_TIME_LENGTH and (match := _TIME.fullmatch(value)):
            date, time, utc, hours, minutes = match.groups()
            zone = "Z" if utc or not hours else f"{hours}:{minutes or '00'}"
            yield f"{date}T{time or '00:00'}{zone}"
        yield _as_text(value)
        yield [_as_text(value)]


def _as_text(value: Any) -> Any:
    if isinstance(value, _Number):
        return value.text
    return to_json(value).decode() if isinstance(value, (bool, int, float)) else value


@lru_cache(maxsize=256)
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


@lru_cache(maxsize=64)
def _fields(model: type[Model]) -> list[tuple[str, FieldInfo, TypeAdapter[Any], list[str]]]:
    """Return the fields of a model: name, `FieldInfo`, validator, and names in JSON."""
    return [
        (name, field, TypeAdapter(field.rebuild_annotation()), _names_in_json(model, name, field))
        for name, field in model.model_fields.items()
    ]


def _names_in_json(model: type[Model], name: str, field: FieldInfo) -> list[str]:
    """Return the names that a field may have in JSON, the documented name first."""
    alias = field.validation_alias
    choices: list[Any] = getattr(alias, "choices", [alias])
    aliases = [each for each in (*choices, field.alias) if isinstance(each, str)]
    return [*aliases, name] if model.model_config.get("loc_by_alias", True) else [name, *aliases]


def _model_of(type_: Any) -> type[Model] | None:
    type_ = _without_none(type_)
    # On Python 3.10, list[str] is an instance of type.
    if get_origin(type_) is not None or not (isinstance(type_, type) and issubclass(type_, Model)):
        return None
    return type_ if type_.__module__.startswith("cstar.") else None  # a caller's subclass is validated strictly


def _row_model_of(type_: Any) -> type[Model] | None:
    type_ = _without_none(type_)
    return _model_of(get_args(type_)[0]) if get_origin(type_) is list else None


def _without_none(type_: Any) -> Any:
    if get_origin(type_) is Annotated:
        return _without_none(get_args(type_)[0])
    if get_origin(type_) in {Union, UnionType}:
        others = [each for each in get_args(type_) if each is not type(None)]
        return _without_none(others[0]) if len(others) == 1 else type_
    return type_


def reports_success(envelope: dict[str, Any]) -> bool:
    """Return whether the `success` of an envelope is true or missing."""
    return str(envelope.get("success", True)).lower() not in {"false", "0"}


@dataclass(frozen=True, slots=True)
class Deviations:
    """The invalid values of a response, which are kept as received.

    Attributes:
        fields: The names of their fields, unique and sorted.
        rows: The number of rows with invalid values.
        row_count: The number of all rows; `None` if the response is not a list.
    """

    fields: tuple[str, ...] = ()
    rows: int = 0
    row_count: int | None = None


class Reader:
    """The lenient reader of one response, which collects the fields with invalid values."""

    def __init__(self) -> None:
        self._invalid_fields: list[str] = []
        self._invalid_row_count = 0
        self._row_count: int | None = None

    @property
    def deviations(self) -> Deviations:
        """The invalid values so far."""
        return Deviations(tuple(sorted(set(self._invalid_fields))), self._invalid_row_count, self._row_count)

    def data(self, envelope: Any) -> Any:
        """Return the `data` of an envelope.

        Raises:
            ValueError: The envelope is invalid, or reports a failure.
        """
        envelope = _object(envelope)
        if envelope is None:
            raise ValueError("Input should be an object")
        if not reports_success(envelope):
            raise ValueError("success: Input should be True")
        if "data" not in envelope:
            raise ValueError("data: Field required")
        return envelope["data"]

    def read(self, type_: Any, value: Any, location: str = "data", name: str = "") -> Any:
        """Convert JSON to a type. Only models of this library, and lists of them, are read leniently.

        Args:
            type_: The type.
            value: The JSON.
            location: The location of the value, for error messages.
            name: The field of the value, for `deviations`.

        Raises:
            ValueError: The value is invalid.
        """
        if (model := _model_of(type_)) is not None:
            return self._read_model(model, value, location, name)
        if (model := _row_model_of(type_)) is not None:
            items = _array(value)
            if items is None:
                raise ValueError(f"{location}: Input should be a list")
            return [self._read_model(model, each, f"{location}.{index}", name) for index, each in enumerate(items)]
        try:
            return _adapter(type_).validate_json(to_json(value))
        except ValidationError as invalid:
            raise ValueError(format_validation_error(invalid, location)) from None

    def read_rows(self, model: Any, value: Any) -> list[Any]:
        """Return the rows of a list. Null is an empty list.

        Raises:
            ValueError: A row is invalid.
        """
        items = _array([] if value is None else value)
        if items is None:
            raise ValueError("data: Input should be a list")
        rows: list[Any] = []
        for index, each in enumerate(items):
            before = len(self._invalid_fields)
            rows.append(self.read(model, each, f"data.{index}"))
            self._invalid_row_count += len(self._invalid_fields) > before
        self._row_count = len(rows)
        return rows

    def read_paging(self, envelope: dict[str, Any], row_count: int) -> Paging:
        """Return the paging of a list. A missing `total` or `has_more` is derived from the other fields.

        Raises:
            ValueError: The paging is missing, or does not show whether this is the last page.
        """
        found = _object(envelope.get("pagination")) or _object((_object(envelope.get("meta")) or {}).get("pagination"))
        if found is None:
            raise ValueError("pagination: Field required")
        paging: Paging = self._read_model(Paging, found, "pagination", "pagination")
        total, page, size, pages = (
            each if isinstance(each, int) and each >= 0 else None
            for each in (paging.total, paging.page, paging.page_size, paging.total_pages)
        )
        has_more: bool | None = paging.has_more if isinstance(paging.has_more, bool) else None
        if has_more is None:
            if page is not None and pages is not None:
                has_more = page < pages
            elif total is None:
                raise ValueError("pagination: one of hasMore, totalPages and total is required")
            elif page is not None and size is not None:
                has_more = page * size < total
            else:
                has_more = 0 < row_count < total
        if total is None:  # the rows up to this page, and one of the next page if there is one
            total = max(0, (page or 1) - 1) * (size or row_count) + row_count + has_more
        return Paging(total=total, page=page, page_size=size, has_more=has_more)

    def _read_model(self, model: type[Model], value: Any, location: str, name: str) -> Any:
        with suppress(ValidationError):
            return _adapter(model).validate_json(to_json(value))
        return self.read_fields(model, value, location, name)

    def read_fields(self, model: type[Model], value: Any, location: str = "data", name: str = "") -> Any:
        """Convert a value to a model field by field, without validating it as a whole first.

        Raises:
            ValueError: The value is not an object, or its id is invalid.
        """
        rest = _object(value)
        if rest is None:
            raise ValueError(f"{location}: Input should be an object")
        values: dict[str, Any] = {}
        given: set[str] = set()
        for field_name, field, adapter, names in _fields(model):
            found = [rest.pop(each) for each in names if each in rest]
            item = next((each for each in found if each is not None), None)
            if field_name == "id" and field.is_required() and not isinstance(item, str):
                raise ValueError(
                    f"{location}.id: " + ("Field required" if item is None else "Input should be a valid string")
                )
            if found:
                given.add(field_name)
            if item is None:
                default = field.get_default(call_default_factory=True)
                values[field_name] = None if default is PydanticUndefined else default
            else:
                values[field_name] = self._read_field(field, adapter, item, f"{name}.{names[0]}" if name else names[0])
        # `model_construct` does not support every field name, nor, in old versions of pydantic, `AliasChoices`.
        instance = model.__new__(model)
        object.__setattr__(instance, "__dict__", values)
        object.__setattr__(instance, "__pydantic_fields_set__", given)
        object.__setattr__(instance, "__pydantic_extra__", {key: plain(each) for key, each in rest.items()})
        object.__setattr__(instance, "__pydantic_private__", None)
        return instance

    def _read_field(self, field: FieldInfo, adapter: TypeAdapter[Any], value: Any, name: str) -> Any:
        model = _model_of(field.annotation)
        if model is None:
            for each in _interpretations(value):
                with suppress(ValidationError):
                    return adapter.validate_json(to_json(each))
        with suppress(ValueError):
            if model is not None:
                return self.read_fields(model, value, name=name)
        items = _array([value] if isinstance(value, dict) else value)
        if (row_model := _row_model_of(field.annotation)) is not None and items is not None:
            return [self._read_item(row_model, each, name) for each in items]
        self._invalid_fields.append(name)
        return plain(value)

    def _read_item(self, model: type[Model], value: Any, name: str) -> Any:
        try:
            return self._read_model(model, value, name, name)
        except ValueError:
            self._invalid_fields.append(name)
            return plain(value)
