"""One API call before any I/O, checked and encoded. Pure: building one needs no server and no client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlencode

from pydantic_core import to_json

from cstar._check import check_idempotency_key, check_json_object, check_query
from cstar.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One logical call: every attempt sends exactly this.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL.
        parse: Makes a value of the bytes of a success; any `ValueError` means that they are not what was documented.
        query: The query parameters, in order.
        body: The JSON body.
        idempotency_key: Names the logical operation, so that however many attempts arrive, one acts.
        if_gone: For a delete: what to return when an earlier attempt's answer was lost and this one's says 404,
            because then the deletion did happen.
    """

    method: str
    path: str
    parse: Callable[[bytes], T]
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    idempotency_key: str | None = None
    if_gone: Callable[[], T] | None = None

    @property
    def target(self) -> str:
        """The path with the query, percent-encoded (RFC 3986, section 3.4)."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def __str__(self) -> str:
        # Without the query: what people search for does not belong in logs and tracebacks.
        return f"{self.method} {self.path}"


def encode(body: JsonValue) -> bytes:
    """The body's bytes, encoded once for all attempts."""
    return to_json(body)


def new_key(given: str | None) -> str:
    """The caller's Idempotency-Key, or a fresh one: a version 4 UUID (RFC 9562, section 5.4)."""
    if given is not None:
        return check_idempotency_key("idempotency_key", given)
    from uuid import uuid4  # which who only reads need not load

    return str(uuid4())


def merge_body(fields: dict[str, JsonValue], extra: Mapping[str, object] | None) -> dict[str, JsonValue]:
    """The named fields with those of `extra_body`, in the API's spelling."""
    added = {} if extra is None else check_json_object("extra_body", extra)
    _refuse_repeated("extra_body", added, fields)
    return {**fields, **added}


def merge_query(named: Mapping[str, str | None], extra: Mapping[str, object] | None) -> tuple[tuple[str, str], ...]:
    """The named query parameters that were given, with those of `extra_query`, in the API's spelling."""
    given = tuple([(name, value) for name, value in named.items() if value is not None])
    if extra is None:
        return given
    added = check_query("extra_query", extra)
    _refuse_repeated("extra_query", dict(added), dict(given))
    return (*given, *added)


def _refuse_repeated(param: str, added: Mapping[str, object], named: Mapping[str, object]) -> None:
    if repeated := sorted(added.keys() & named.keys()):
        raise InvalidParameterError(
            f"{param} may not repeat {', '.join(map(repr, repeated))}: the parameter of that name is sent already",
            param=param,
        )
