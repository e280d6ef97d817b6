"""Pure checks of what a caller passes in: each returns the value as it will be sent, or says what is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote

from cstar.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import TypeGuard

    from pydantic import JsonValue

MAX_PAGE_SIZE = 100
MAX_METADATA_KEYS = 50
MAX_METADATA_KEY_LENGTH = 40
MAX_METADATA_VALUE_LENGTH = 500

_ID = re.compile(r"[A-Za-z0-9_-]+")
_IDEMPOTENCY_KEY = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_PATH = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@%]+)+/?")


def refuse(param: str, allowed: str, value: object) -> NoReturn:
    """Raise the one error for a refused value: "`param` must be `allowed`, not `value`"."""
    shown = (
        repr(value) if isinstance(value, (str, int, float, type(None))) else f"a value of type {type(value).__name__}"
    )
    if len(shown) > 80:
        shown = f"{shown[:60]}… ({len(shown)} characters)"
    raise InvalidParameterError(f"{param} must be {allowed}, not {shown}", param=param)


def check_id(param: str, value: object) -> str:
    """An id becomes a part of the path, so nothing that could lead to another path may pass."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        refuse(param, "an id made of A-Z a-z 0-9 _ -", value)
    return value


def check_text(param: str, value: object) -> str:
    if not isinstance(value, str):
        refuse(param, "a string", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(param, "text that UTF-8 can carry (no lone surrogates)", value)
    return value


def check_filled_text(param: str, value: object) -> str:
    if not check_text(param, value).strip():
        refuse(param, "a string that is not blank", value)
    return str(value)


def check_choice(param: str, value: object, choices: Collection[str]) -> str:
    if value not in choices or not isinstance(value, str):
        refuse(param, "one of " + ", ".join(map(repr, choices)), value)
    return value


def check_whole_number(param: str, value: object, *, low: int, high: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        refuse(param, f"a whole number from {low}" + (f" to {high}" if high is not None else " up"), value)
    return value


def check_tags(param: str, value: object) -> list[JsonValue]:
    if not _is_list(value):
        refuse(param, "a list or tuple of strings", value)
    return [check_text(f"{param}[{place}]", tag) for place, tag in enumerate(value)]


def check_metadata(param: str, value: object, *, removable: bool = False) -> dict[str, JsonValue]:
    """Check metadata against the API's limits.

    Args:
        param: The parameter's name.
        value: What the caller passed.
        removable: Whether a value may be `None`, which in an update removes the key.
    """
    if not _is_mapping(value):
        refuse(param, "a mapping of strings to strings", value)
    metadata: dict[str, JsonValue] = {}
    for key, text in value.items():
        name = check_text(f"a key of {param}", key)
        if len(name) > MAX_METADATA_KEY_LENGTH:
            refuse(f"a key of {param}", f"at most {MAX_METADATA_KEY_LENGTH} characters", name)
        place = f"{param}[{name!r}]"
        if text is None and removable:
            metadata[name] = None
        elif not isinstance(text, str):
            refuse(place, "a string, or None to remove the key" if removable else "a string", text)
        elif len(check_text(place, text)) > MAX_METADATA_VALUE_LENGTH:
            refuse(place, f"at most {MAX_METADATA_VALUE_LENGTH} characters", text)
        else:
            metadata[name] = text
    kept = sum(text is not None for text in metadata.values())
    if kept > MAX_METADATA_KEYS:
        raise InvalidParameterError(f"{param} must have at most {MAX_METADATA_KEYS} keys, not {kept}", param=param)
    return metadata


def check_json(param: str, value: object) -> JsonValue:
    """The value as plain JSON; whatever JSON would lose or change in silence is refused with its place."""
    try:
        return _json(param, value)
    except RecursionError:
        raise InvalidParameterError(f"{param} contains itself, or is nested too deeply for JSON", param=param) from None


def check_json_object(param: str, value: object) -> dict[str, JsonValue]:
    if not _is_mapping(value):
        refuse(param, "a mapping", value)
    return {name: check_json(f"{param}.{name}", item) for name, item in _named(param, value)}


def _json(param: str, value: object) -> JsonValue:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return check_text(param, value)
    if isinstance(value, float):
        if not math.isfinite(value):
            refuse(param, "a finite number (JSON has no NaN or Infinity)", value)
        return value
    if _is_mapping(value):
        return {name: _json(f"{param}.{name}", item) for name, item in _named(param, value)}
    if _is_list(value):
        return [_json(f"{param}[{place}]", item) for place, item in enumerate(value)]
    refuse(param, "JSON (a string, number, boolean, None, list or mapping)", value)


def _named(param: str, value: Mapping[object, object]) -> Iterator[tuple[str, object]]:
    # A JSON encoder would turn the keys 1 and True into "1" and "true", and so let two keys fall together.
    for key, item in value.items():
        yield check_text(f"a key of {param}", key), item


def check_query(param: str, value: object) -> list[tuple[str, str]]:
    """Query parameters as pairs: a list repeats its name, `None` is left out."""
    if not _is_mapping(value):
        refuse(param, "a mapping", value)
    pairs: list[tuple[str, str]] = []
    for name, item in _named(param, value):
        values = item if _is_list(item) else [] if item is None else [item]
        pairs += [(name, _query_text(f"{param}[{name!r}]", each)) for each in values]
    return pairs


def _query_text(param: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return check_text(param, value)


def check_path(param: str, value: object) -> str:
    """A path below the base URL: whatever could change the host or climb out of the base is refused."""
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        refuse(param, "a path such as '/teams/{team_id}/tickets' (the query goes into params)", value)
    if not {".", ".."}.isdisjoint(re.split(r"[/\\]", unquote(value))):
        refuse(param, "a path without '.' and '..'", value)
    return value


def check_idempotency_key(param: str, value: object) -> str:
    if not isinstance(value, str) or not _IDEMPOTENCY_KEY.fullmatch(value):
        refuse(param, "1 to 255 printable ASCII characters without a space at either end", value)
    return value


# isinstance alone leaves the types of the elements unknown to the type checkers.
def _is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (list, tuple))
