"""Pure checks of parameters: each returns the value to send, or raises an error that describes the allowed values.

Instances of subclasses, such as enum members, are first converted to plain strings and numbers, because their `str()`
may differ from their value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote
from uuid import UUID

from cstar.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import TypeGuard

    from pydantic import JsonValue

MAX_PAGE = 1_000_000_000
MAX_PAGE_SIZE = 100
MAX_PREFETCH = 100
MAX_METADATA_KEYS = 50
MAX_METADATA_KEY_LENGTH = 40
MAX_METADATA_VALUE_LENGTH = 500
MAX_JSON_DEPTH = 100
MAX_KEY_LENGTH = 255  # of an Idempotency-Key

_ID = re.compile(r"[A-Za-z0-9_-]+")
_API_KEY = re.compile(r"[sp]k_(?:live|test)_")
_IDEMPOTENCY_KEY = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_PATH = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@%]+)+/?")
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.{1,2}(?:$|[/\\;])")


def reject(param: str, allowed: str, value: object) -> NoReturn:
    """Raise the error for an invalid value: "`param` must be `allowed`, not `value`"."""
    shown = f"a value of type {type(value).__name__}"
    if value is None or isinstance(value, (bool, float)):
        shown = repr(value)
    elif (text := _plain_str(value)) is not None:
        shown = repr(text) if len(text) <= 80 else f"{text[:60]!r}… ({len(text)} characters)"
    elif isinstance(value, int) and abs(value) < 10**20:
        shown = repr(int(value))
    raise InvalidParameterError(f"{param} must be {allowed}, not {shown}", param=param)


def _plain_str(value: object) -> str | None:
    """Return a string as a plain `str`, even if its class overrides `__str__`; `None` for other types."""
    return str.__str__(value) if isinstance(value, str) else None


def check_text(param: str, value: object) -> str:
    text = _plain_str(value)
    if text is None:
        reject(param, "a string", value)
    try:
        text.encode()
    except UnicodeEncodeError:
        reject(param, "text that UTF-8 can encode (no lone surrogates)", text)
    return text


def check_non_blank(param: str, value: object) -> str:
    text = check_text(param, value)
    if not text.strip():
        reject(param, "a string that is not blank", text)
    return text


def check_id(param: str, value: object) -> str:
    """Check an id. It becomes a part of the path, so characters that could lead to another path are rejected."""
    if isinstance(value, UUID):
        return str(value)
    text = _plain_str(value)
    if text is None:
        allowed = "a string (an id made of A-Z a-z 0-9 _ -) or a uuid.UUID"
        if hasattr(value, "id"):
            raise InvalidParameterError(
                f"{param} must be {allowed}, not a {type(value).__name__}: pass its .id", param=param
            )
        reject(param, allowed, value)
    if _API_KEY.match(text.strip()):
        # In the path, the key would appear in URLs and logs.
        raise InvalidParameterError(f"{param} must be an id, not an API key", param=param)
    return _check_match(_ID, param, "an id made of A-Z a-z 0-9 _ -", text)


def check_idempotency_key(param: str, value: object, *, max_length: int = MAX_KEY_LENGTH) -> str:
    allowed = f"a string of 1 to {max_length} printable ASCII characters without a space at either end"
    key = _check_match(_IDEMPOTENCY_KEY, param, allowed, value)
    return key if len(key) <= max_length else reject(param, allowed, key)


def check_path(param: str, value: object) -> str:
    """Check a path below the base URL. A path that could lead to another host or outside the base is rejected."""
    path = _check_match(_PATH, param, "a path such as '/teams/{team_id}/tickets' (a query goes into params)", value)
    # Some proxies decode a path twice, or normalize it without its path parameters (";…").
    if any(_DOT_SEGMENT.search(form) for form in (path, unquote(path), unquote(unquote(path)))):
        reject(param, "a path without '.' and '..'", path)
    return path


def _check_match(pattern: re.Pattern[str], param: str, allowed: str, value: object) -> str:
    text = _plain_str(value)
    if text is None or not pattern.fullmatch(text):
        reject(param, allowed, value)
    return text


def check_choice(param: str, value: object, choices: Collection[str]) -> str:
    text = _plain_str(value)
    if text is None or text not in choices:
        reject(param, "one of " + ", ".join(map(repr, choices)), value)
    return text


def check_int(param: str, value: object, *, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        reject(param, f"a whole number from {low} to {high}", value)
    return int(value)


def check_bool(param: str, value: object) -> bool:
    if not isinstance(value, bool):
        reject(param, "True or False", value)
    return value


def check_tags(param: str, value: object) -> list[JsonValue]:
    if not _is_list(value):
        reject(param, "a list or tuple of strings", value)
    return [check_text(f"{param}[{index}]", tag) for index, tag in enumerate(value)]


def check_metadata(param: str, value: object, *, removable: bool = False) -> dict[str, JsonValue]:
    """Check metadata against the API's limits (API page "Customers", Metadata).

    Args:
        param: The parameter's name.
        value: The metadata, as passed by the caller.
        removable: Whether a value may be `None`, which removes the key in an update.
    """
    metadata: dict[str, JsonValue] = {}
    for key, text in _items(param, value):
        if len(key) > MAX_METADATA_KEY_LENGTH:
            reject(f"a key of {param}", f"at most {MAX_METADATA_KEY_LENGTH} characters", key)
        item = f"{param}[{key!r}]"
        if text is None and removable:
            metadata[key] = None
            continue
        if not isinstance(text, str):
            reject(item, "a string, or None to remove the key" if removable else "a string", text)
        if len(text) > MAX_METADATA_VALUE_LENGTH:
            reject(item, f"at most {MAX_METADATA_VALUE_LENGTH} characters", text)
        metadata[key] = check_text(item, text)
    key_count = sum(text is not None for text in metadata.values())
    if key_count > MAX_METADATA_KEYS:
        raise InvalidParameterError(f"{param} must have at most {MAX_METADATA_KEYS} keys, not {key_count}", param=param)
    return metadata


def check_json_object(param: str, value: object) -> dict[str, JsonValue]:
    return {name: check_json(f"{param}.{name}", item, depth=1) for name, item in _items(param, value)}


def check_json(param: str, value: object, *, depth: int = 0) -> JsonValue:
    """Convert a value to plain JSON. Values that JSON cannot represent exactly are rejected with their location."""
    if depth > MAX_JSON_DEPTH:
        root = re.split(r"[.\[]", param, maxsplit=1)[0]
        raise InvalidParameterError(
            f"{root} contains itself, or is nested more than {MAX_JSON_DEPTH} levels deep", param=root
        )
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text(param, value)
    if isinstance(value, (int, float)):
        return _number(param, value, "a number that JSON can represent: finite, and at most 1000 digits")
    if _is_mapping(value):
        return {name: check_json(f"{param}.{name}", item, depth=depth + 1) for name, item in _items(param, value)}
    if _is_list(value):
        return [check_json(f"{param}[{index}]", item, depth=depth + 1) for index, item in enumerate(value)]
    reject(param, "JSON (a string, number, boolean, None, list or mapping)", value)


def check_query(param: str, value: object) -> list[tuple[str, str]]:
    """Convert query parameters to pairs: one for each item of a list, none for `None`."""
    pairs: list[tuple[str, str]] = []
    for name, item in _items(param, value):
        values = item if _is_list(item) else [] if item is None else [item]
        pairs += [(name, _query_text(f"{param}[{name!r}]", each)) for each in values]
    return pairs


def _query_text(param: str, value: object) -> str:
    allowed = "a string, a finite number, a boolean, None, or a list of these"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(_number(param, value, allowed))
    if not isinstance(value, str):
        reject(param, allowed, value)
    return check_text(param, value)


def _number(param: str, value: int | float, allowed: str) -> int | float:  # noqa: PYI041 - handled differently
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else reject(param, allowed, value)
    return int(value) if abs(value) < 10**1000 else reject(param, allowed, value)


def _items(param: str, value: object) -> Iterator[tuple[str, object]]:
    if not _is_mapping(value):
        reject(param, "a mapping of names to values", value)
    # A JSON encoder would turn the key 1 into "1", which may be a key already.
    for key, item in value.items():
        yield check_text(f"a key of {param}", key), item


# With isinstance alone, type checkers do not know the types of the elements.
def _is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (list, tuple))
