"""Bulk calls: items of an iterable, checked and sent in chunks. Without I/O.

A `BulkJob` accepts items, and returns the call of each chunk when the chunk is complete. The same input always gives
the same chunks, with the idempotency keys `{key}-1`, `{key}-2`, …. If a job is repeated with its key, the server
replays the responses to the chunks that it has received, and processes the others.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from pydantic_core import from_json

from cstar._call import Call, new_key
from cstar._check import reject
from cstar._decode import converted, object_of
from cstar._logging import logger
from cstar._response import REDACTED
from cstar.errors import APIError, InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from cstar._envelopes import BulkData
    from cstar.models.bulk import BulkError, BulkResult, ImportResult

MAX_BODY_SIZE = 1024 * 1024
MAX_BASE_KEY_LENGTH = 244  # characters; an Idempotency-Key has at most 255, with the number of the chunk


class Item(NamedTuple):
    """An item, checked and encoded, with its id or email address to match errors."""

    content: bytes
    id: str | None = None
    email: str | None = None


ResultT = TypeVar("ResultT", bound="BulkResult | ImportResult")


class BulkJob(Generic[ResultT]):
    """The state of a bulk call.

    Args:
        param: The name of the parameter with the items.
        path: The path of the requests.
        before: The body before the items.
        after: The body after the items.
        max_items: The number of items in a chunk.
        check: Checks and encodes an item. Its first argument is the name of the item, such as `ids[7]`.
        model: The model of the result.
        expected: The values that fields of a response must have if they are present, such as `{"action": "delete"}`.
        count: Returns the counts of a response. Its second argument is the number of items sent.
        key: The idempotency key; by default a new UUID.

    Raises:
        InvalidParameterError: The key is invalid or too long.
    """

    def __init__(
        self,
        *,
        param: str,
        path: str,
        before: bytes,
        after: bytes,
        max_items: int,
        check: Callable[[str, object], Item],
        model: type[ResultT],
        expected: Mapping[str, str],
        count: Callable[[BulkData, int], dict[str, int]],
        key: str | None,
    ) -> None:
        self.param = param
        self.key = new_key(key, max_length=MAX_BASE_KEY_LENGTH)
        self._path = path
        self._before = before
        self._after = after
        self._max_items = max_items
        self._check = check
        self._model = model
        self._expected = expected
        self._count = count
        self._room = MAX_BODY_SIZE - len(before) - len(after)
        if self._room < MAX_BODY_SIZE // 2:
            raise InvalidParameterError(
                f"the request without its items must have at most {MAX_BODY_SIZE // 2:,} bytes as JSON, "
                f"not {MAX_BODY_SIZE - self._room:,}"
            )
        # The incomplete chunk, the index of its first item, and its size in bytes, with the commas.
        self._items: list[Item] = []
        self._first = 0
        self._size = 0
        # The last chunk that was returned to be sent.
        self._sent: list[Item] = []
        self._sent_first = 0
        self._chunk_count = 0
        # The sum of the results.
        self._counts = Counter[str]()
        self._errors: list[BulkError] = []

    @property
    def result(self) -> ResultT:
        """The sum of the results so far."""
        return self._model(**self._counts, errors=[*self._errors])

    def feed(self, value: object) -> Call[BulkData] | None:
        """Add an item. Return the call of a chunk if it is complete.

        Raises:
            InvalidParameterError: The item is invalid. Its chunk was not sent.
        """
        index = self._first + len(self._items)
        try:
            item = self._check_item(f"{self.param}[{index}]", value)
        except InvalidParameterError as error:
            error.index = index
            raise
        call = self.flush() if self._size + len(item.content) > self._room else None
        self._items.append(item)
        self._size += len(item.content) + 1
        return self.flush() if len(self._items) == self._max_items else call

    def _check_item(self, name: str, value: object) -> Item:
        item = self._check(name, value)
        if len(item.content) > self._room:
            raise InvalidParameterError(
                f"{name} must have at most {self._room:,} bytes as JSON, not {len(item.content):,}", param=name
            )
        return item

    def flush(self) -> Call[BulkData] | None:
        """Return the call of the incomplete chunk; `None` if it is empty."""
        from cstar._envelopes import BulkData

        if not self._items:
            return None
        self._sent, self._sent_first = self._items, self._first
        self._items, self._size, self._first = [], 0, self._first + len(self._items)
        self._chunk_count += 1
        body = self._before + b",".join(item.content for item in self._sent) + self._after
        parse = converted(object_of(BulkData), partial(_check_expected, self._expected))
        return Call("POST", self._path, parse, body=body, idempotency_key=self._chunk_key)

    @property
    def _chunk_key(self) -> str:
        """The idempotency key of the last chunk that was returned."""
        return f"{self.key}-{self._chunk_count}"

    def receive(self, data: BulkData) -> None:
        """Add the response to the last chunk."""
        self._counts.update(self._count(data, len(self._sent)))
        if errors := errors_of(data):
            self._errors += _locate(errors, self._sent, self._sent_first)

    def annotate(self, error: BaseException, api_key: str) -> None:
        """Add the result so far and the idempotency key to an exception that ends the job."""
        if isinstance(error, APIError) or (isinstance(error, InvalidParameterError) and self._chunk_count):
            error.partial = self._redacted_result(api_key)
            # Another key belongs to a call that the caller's iterable has made.
            if error.idempotency_key in {None, self._chunk_key}:
                error.idempotency_key = self.key
        elif self._chunk_count:
            # Without the errors, because there may be many.
            counts = ", ".join(f"{name}={count}" for name, count in self._counts.items()) or "none"
            note = f"Requests sent by this bulk call: {self._chunk_count}. Results: {counts}. "
            with suppress(Exception):  # Python 3.10 has no notes, and an exception may reject them
                cast("Any", error).add_note(f"{note}To continue, repeat it with idempotency_key={self.key!r}.")

    def _redacted_result(self, api_key: str) -> ResultT:
        from cstar._lenient import Reader

        text = self.result.model_dump_json().replace(api_key, REDACTED)
        # Read leniently, because the errors may have invalid values, which were kept as received.
        result: ResultT = Reader().read(self._model, from_json(text))
        return result


def _check_expected(expected: Mapping[str, str], data: BulkData) -> BulkData:
    """Return the data if its fields have the expected values.

    Raises:
        ValueError: A field has another value: the response belongs to another call.
    """
    extra = data.model_extra or {}
    for name, value in expected.items():
        if extra.get(name, value) != value:
            raise ValueError(f"data.{name}: Input should be {value!r}")
    if not data.model_fields_set & type(data).model_fields.keys() and "object" not in extra:
        raise ValueError("data: neither counts nor errors")
    return data


def errors_of(data: BulkData) -> list[BulkError]:
    """Return the errors of a response. An invalid one becomes a message."""
    from cstar.models.bulk import BulkError

    # The lenient parser puts a single error into a list, and keeps invalid items of a list as received.
    errors = cast("list[object]", data.errors or [])
    return [each if isinstance(each, BulkError) else BulkError(message=str(each)) for each in errors]


def _locate(errors: Sequence[BulkError], items: Sequence[Item], first: int) -> Iterator[BulkError]:
    """Yield the errors of a chunk, each with its index in the input of the job, if it can be determined."""
    positions: dict[str, int | None] = {}  # by id and email address; None if several items share it
    for index, item in enumerate(items):
        for identifier in map(normalized, filter(None, (item.id, item.email))):
            positions[identifier] = None if identifier in positions else index
    for error in errors:
        found = {positions.get(normalized(identifier)) for identifier in (error.id, error.email) if identifier}
        found -= {None}
        position = found.pop() if len(found) == 1 else error.index
        if isinstance(position, int) and 0 <= position < len(items):
            item = items[position]
            fields = {"index": first + position, "id": error.id or item.id, "email": error.email or item.email}
            yield error.model_copy(update=fields)
        else:
            yield error.model_copy(update={"index": None})


def normalized(identifier: object) -> str:
    """Return the form of an id or email address in which it is compared with others."""
    # A server may change the case, and store an accented letter as one character or two.
    return unicodedata.normalize("NFC", str(identifier).strip().casefold())


def iterate(param: str, items: object) -> Iterator[object]:
    """Iterate over the items of a bulk call.

    Raises:
        InvalidParameterError: The parameter is not an iterable of items.
    """
    given = items  # not narrowed by the checks below
    if isinstance(items, (str, bytes, Mapping)):
        reject(param, "a list or another iterable (put a single item in a list)", given)
    if not isinstance(items, Iterable):
        hint = " (only AsyncCstar accepts async iterables)" if isinstance(items, AsyncIterable) else ""
        reject(param, f"a list or another iterable{hint}", given)
    yield from items


async def iterate_async(param: str, items: object) -> AsyncGenerator[object, None]:
    """Iterate over the items of a bulk call, which may be an async iterable.

    Raises:
        InvalidParameterError: The parameter is not an iterable of items.
    """
    if isinstance(items, AsyncIterable):
        iterator = aiter(cast("AsyncIterable[object]", items))
        try:
            async for item in iterator:
                yield item
        finally:  # do not leave an unfinished iterator to the garbage collector
            if hasattr(iterator, "aclose"):
                await cast("Any", iterator).aclose()
        return
    for item in iterate(param, items):
        yield item


async def close_source(source: AsyncGenerator[object], error: BaseException) -> None:
    """Close the items of a bulk call after an error. Log a failure to close, so that the first error is raised."""
    try:
        await source.aclose()
    except BaseException as failure:
        # Raise an interrupt or a cancellation during the close, unless the first error is of the same kind.
        if not all(isinstance(each, (Exception, GeneratorExit, type(error))) for each in _leaves(failure)):
            raise
        logger.warning("the iterable of a bulk call could not be closed: %r", failure)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of an exception group, or the exception itself."""
    # Python 3.10 has no BaseExceptionGroup.
    members: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    if not members:
        yield error
    for member in members:
        yield from _leaves(member)
