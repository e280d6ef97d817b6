"""What a request may say: pure functions from what arrived to what it means, or an `ApiError` naming the parameter.

Stricter than a client is polite: an unknown field or query parameter is refused, because it is nearly always a typing
mistake that a lenient server would hide.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from cstar.sandbox._errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = "dict[str, Json]"

SENTIMENTS = ("happy", "neutral", "frustrated", "angry")
STATUSES = ("active", "inactive")

MAX_METADATA_KEYS = 50
MAX_METADATA_KEY_LENGTH = 40
MAX_METADATA_VALUE_LENGTH = 500
MAX_PAGE = 1_000_000_000
MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20
MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_EMAIL_LENGTH = 254
MAX_BODY_SIZE = 1024 * 1024
MAX_NESTING = 100  # what parses may still be too deep to write, inside the envelope of an answer

_WRITABLE = ("name", "email", "sentiment", "status", "tags", "notes", "customFields", "metadata")
_LIST_PARAMETERS = ("page", "pageSize", "status", "sentiment", "search", "tag")

# The patterns below stand in the OpenAPI document too, so they are spelt in a way that means the same in Python and in
# ECMAScript, where \s, \w and \d differ. One describes a character that a value must have, the others a whole value.
_SPACES_AND_CONTROLS = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_ATOM = rf"""[^{_SPACES_AND_CONTROLS}@.()<>\[\],;:"\\]+"""
_NOT_IN_LABELS = rf"{_SPACES_AND_CONTROLS}!-,./:-@\[-`{{-~"
_LABEL = rf"[^\-{_NOT_IN_LABELS}](?:[^{_NOT_IN_LABELS}]*[^\-{_NOT_IN_LABELS}])?"
VISIBLE_CHARACTER_PATTERN = rf"[^{_SPACES_AND_CONTROLS}]"
# Deliberately plain: dotted atoms, an @, and a domain of at least two labels. Quoted local parts are legal mail but,
# in an API call, nearly always a mistake.
EMAIL_PATTERN = rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}"
PUBLIC_ID_PATTERN = "cus_[0-9a-f]{32}"
UUID_PATTERN = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
IDEMPOTENCY_KEY_PATTERN = "[!-~](?:[ -~]*[!-~])?"


class CustomerFields(TypedDict, total=False):
    """The fields of a customer that a body named, all but `metadata`, each checked."""

    name: str
    email: str
    sentiment: str
    status: str
    tags: list[str]
    notes: str | None
    custom_fields: JsonObject


@dataclass(frozen=True)
class ListQuery:
    """Which page of which customers a list asks for."""

    page: int = 1
    page_size: int = DEFAULT_PAGE_SIZE
    status: str | None = None
    sentiment: str | None = None
    search: str | None = None
    tag: str | None = None


def json_object(body: bytes, content_type: str | None) -> JsonObject:
    """Read a request body as the JSON object that every write needs."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise _invalid("Content-Type", "The request body must be sent with 'Content-Type: application/json'.")
    try:
        document: Json = json.loads(body.decode(), object_pairs_hook=_unambiguous)
        # Python's parser also takes NaN, 1e999 and lone surrogates, none of which could be written into an answer.
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise _invalid(None, "The request body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid(None, "The request body must be a JSON object.")
    if _nests_deeper(document, MAX_NESTING):
        raise _invalid(None, f"The JSON of the request body is nested more than {MAX_NESTING} levels deep.")
    return document


def new_customer(body: JsonObject) -> tuple[str, str, CustomerFields]:
    """Check the body of a create; its name and email, which are required, and all the fields it named."""
    fields = customer_fields(body)
    if "name" not in fields:
        raise _missing("name")
    if "email" not in fields:
        raise _missing("email")
    return fields["name"], fields["email"], fields


def customer_fields(body: JsonObject) -> CustomerFields:
    """Check whatever fields of a customer a body names, and that it names nothing else."""
    _refuse_unknown(body, _WRITABLE, "field")
    fields = CustomerFields()
    if "name" in body:
        fields["name"] = _name(body["name"])
    if "email" in body:
        fields["email"] = _email(body["email"])
    if "sentiment" in body:
        fields["sentiment"] = _one_of(SENTIMENTS, "sentiment", body["sentiment"])
    if "status" in body:
        fields["status"] = _one_of(STATUSES, "status", body["status"])
    if "tags" in body:
        fields["tags"] = _tags(body["tags"])
    if "notes" in body:
        fields["notes"] = _notes(body["notes"])
    if "customFields" in body:
        fields["custom_fields"] = _object("customFields", body["customFields"])
    return fields


def merged_metadata(current: Mapping[str, str], body: JsonObject, *, null_removes: bool) -> dict[str, str]:
    """The metadata after a body's change; the limit on the number of keys is one on the result."""
    merged = dict(current)
    for key, value in _object("metadata", body.get("metadata", {})).items():
        if len(key) > MAX_METADATA_KEY_LENGTH:
            raise _invalid("metadata", f"A 'metadata' key has at most {MAX_METADATA_KEY_LENGTH} characters.")
        if value is None and null_removes:
            merged.pop(key, None)
        elif not isinstance(value, str):
            raise _invalid("metadata", "Every 'metadata' value must be a string.")
        elif len(value) > MAX_METADATA_VALUE_LENGTH:
            raise _invalid("metadata", f"A 'metadata' value has at most {MAX_METADATA_VALUE_LENGTH} characters.")
        else:
            merged[key] = value
    if len(merged) > MAX_METADATA_KEYS:
        raise _invalid("metadata", f"A customer has at most {MAX_METADATA_KEYS} 'metadata' keys.")
    return merged


def list_query(query: Sequence[tuple[str, str]]) -> ListQuery:
    """Check the query of a list."""
    given = _parameters(query, _LIST_PARAMETERS)
    return ListQuery(
        page=_whole_number("page", given.get("page", "1"), MAX_PAGE),
        page_size=_whole_number("pageSize", given.get("pageSize", str(DEFAULT_PAGE_SIZE)), MAX_PAGE_SIZE),
        status=_one_of(STATUSES, "status", given["status"]) if "status" in given else None,
        sentiment=_one_of(SENTIMENTS, "sentiment", given["sentiment"]) if "sentiment" in given else None,
        search=given.get("search"),
        tag=given.get("tag"),
    )


def wants_tickets(query: Sequence[tuple[str, str]]) -> bool:
    """Whether a read embeds the tickets: yes, unless `expand` names something else."""
    return _parameters(query, ("expand",)).get("expand", "tickets") == "tickets"


def no_parameters(query: Sequence[tuple[str, str]]) -> None:
    """Check that a call without query parameters has none."""
    _parameters(query, ())


def idempotency_key(value: str | None) -> str | None:
    """Check the `Idempotency-Key` header, if there is one."""
    if value is None or (len(value) <= MAX_IDEMPOTENCY_KEY_LENGTH and re.fullmatch(IDEMPOTENCY_KEY_PATTERN, value)):
        return value
    message = f"'Idempotency-Key' must have from 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable ASCII characters."
    raise _invalid("Idempotency-Key", message)


def api_version(value: str | None, latest: str) -> str:
    """The API version that a call is answered in: the one it names, or the latest."""
    if value is None:
        return latest
    if not _is_date(value):
        raise _invalid("CStar-Version", f"'CStar-Version' must be a date such as {latest}.")
    return value


def _unambiguous(members: list[tuple[str, Json]]) -> JsonObject:
    found = dict(members)
    if len(found) < len(members):
        raise _invalid(None, "A JSON object in the request body has the same key twice.")
    return found


def _is_date(text: str) -> bool:
    # The form first: from Python 3.11 on, fromisoformat() also takes 20260301 and 2026-W09-7.
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _nests_deeper(value: Json, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_nests_deeper(item, levels - 1) for item in inside)


def _parameters(query: Sequence[tuple[str, str]], known: Collection[str]) -> dict[str, str]:
    given = dict(query)
    _refuse_unknown(given, known, "query parameter")
    names = [name for name, _ in query]
    for name in given:
        if names.count(name) > 1:
            raise _invalid(name, f"The '{name}' query parameter was given more than once.")
    return given


def _refuse_unknown(given: Collection[str], known: Collection[str], kind: str) -> None:
    for name in given:
        if name not in known:
            allowed = f"; allowed are {', '.join(known)}" if known else " here"
            raise _invalid(name, f"'{name}' is not a {kind}{allowed}.")


def _whole_number(name: str, text: str, most: int) -> int:
    # The length is checked before int() sees it: it refuses numbers of thousands of digits with an error of its own.
    if re.fullmatch(r"[0-9]{1,18}", text) and 1 <= int(text) <= most:
        return int(text)
    raise _invalid(name, f"'{name}' must be a whole number from 1 to {most}.")


def _one_of(allowed: Sequence[str], name: str, value: Json) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    raise _invalid(name, f"'{name}' must be one of {', '.join(allowed)}.")


def _name(value: Json) -> str:
    if isinstance(value, str) and re.search(VISIBLE_CHARACTER_PATTERN, value):
        return value
    raise _invalid("name", "'name' must be a string that is not blank.")


def _email(value: Json) -> str:
    if isinstance(value, str) and len(value) <= MAX_EMAIL_LENGTH and re.fullmatch(EMAIL_PATTERN, value):
        return value
    raise _invalid("email", "'email' must be an email address.")


def _tags(value: Json) -> list[str]:
    if isinstance(value, list):
        tags = [tag for tag in value if isinstance(tag, str)]
        if len(tags) == len(value):
            return tags
    raise _invalid("tags", "'tags' must be a list of strings.")


def _notes(value: Json) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _invalid("notes", "'notes' must be a string or null.")


def _object(name: str, value: Json) -> JsonObject:
    if isinstance(value, dict):
        return value
    raise _invalid(name, f"'{name}' must be an object.")


def _missing(name: str) -> ApiError:
    return ApiError("parameter_missing", f"The '{name}' field is required.", param=name)


def _invalid(param: str | None, message: str) -> ApiError:
    return ApiError("parameter_invalid", message, param=param)


def is_whole(value: object) -> bool:
    """Whether a value is an int, which a bool is only in name."""
    return isinstance(value, int) and not isinstance(value, bool)
