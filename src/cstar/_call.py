"""An API call as a value: checked and encoded, before any I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlencode
from uuid import uuid4

from cstar._check import MAX_KEY_LENGTH, check_idempotency_key, check_json_object, check_query
from cstar.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

    from cstar._decode import Parser

T = TypeVar("T")

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Subject:
    """The resource of a call, to reject a response about another resource.

    Attributes:
        id: The id, if it is in the path.
        email: The email address, if the call sets it.
    """

    id: str | None = None
    email: str | None = field(default=None, repr=False)

    def mismatch(self, value: object) -> str | None:
        """Describe the mismatch, if a value is about another resource; otherwise return `None`."""
        received_id, received_email = getattr(value, "id", None), getattr(value, "email", None)
        if self.id and isinstance(received_id, str) and are_different_ids(self.id, received_id):
            return f"it is about {received_id!r}, not {self.id!r}"
        if self.email and isinstance(received_email, str) and are_different_emails(self.email, received_email):
            return "its email address is not the one that was sent"
        return None


def are_different_ids(sent: str, received: str) -> bool:
    # A customer has a UUID and a prefixed id. Only ids of the same form can be compared.
    return sent.casefold() != received.casefold() and _id_form(sent) == _id_form(received)


def are_different_emails(sent: str, received: str) -> bool:
    # The server may store an address in lower case, and an internationalized address in another form.
    return (sent + received).isascii() and sent.strip().casefold() != received.strip().casefold()


def _id_form(id: str) -> str:
    """Return the form of an id: `"uuid"`, its prefix, such as `"cus"`, or `""` if it has none."""
    lower = id.lower()
    if _UUID.fullmatch(lower):
        return "uuid"
    prefix, underscore, _ = lower.partition("_")
    return prefix if underscore else ""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call. Every attempt sends the same request.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL.
        parse: Parses the body of a successful response.
        query: The query parameters, in order.
        body: The JSON body.
        idempotency_key: The Idempotency-Key: the server performs the call once, even if several attempts arrive.
        subject: The resource that the response must describe.
        deleted_value: For a delete: creates the value if the response does not contain it.
    """

    method: str
    path: str
    parse: Parser[T]
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    idempotency_key: str | None = None
    subject: Subject | None = None
    deleted_value: Callable[[], T] | None = None

    @property
    def target(self) -> str:
        """The path with the query, percent-encoded (RFC 3986, section 3.4)."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def __str__(self) -> str:
        # Without the query: search terms must not appear in logs and tracebacks.
        return f"{self.method} {self.path}"


def new_key(given: str | None, *, max_length: int = MAX_KEY_LENGTH) -> str:
    """Return the caller's Idempotency-Key, checked, or a new version 4 UUID (RFC 9562, section 5.4).

    A key from which the keys of several requests are derived has a smaller `max_length`.
    """
    if given is not None:
        return check_idempotency_key("idempotency_key", given, max_length=max_length)
    return str(uuid4())


def merge_body(fields: Mapping[str, JsonValue], extra: Mapping[str, object] | None) -> dict[str, JsonValue]:
    """Merge the named fields with `extra_body`."""
    added = {} if extra is None else check_json_object("extra_body", extra)
    _reject_repeated("extra_body", added, fields)
    return {**fields, **added}


def merge_query(named: Mapping[str, str | None], extra: Mapping[str, object] | None) -> tuple[tuple[str, str], ...]:
    """Merge the named query parameters that are not `None` with `extra_query`."""
    given = tuple([(name, value) for name, value in named.items() if value is not None])
    if extra is None:
        return given
    added = check_query("extra_query", extra)
    _reject_repeated("extra_query", dict(added), dict(given))
    return (*given, *added)


def _reject_repeated(param: str, added: Mapping[str, object], named: Mapping[str, object]) -> None:
    if repeated := sorted(added.keys() & named.keys()):
        raise InvalidParameterError(
            f"{param} may not repeat {', '.join(map(repr, repeated))}: the call has a parameter of that name",
            param=param,
        )
