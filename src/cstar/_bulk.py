"""Bulk calls: any number of items, drawn one by one, checked, and sent in chunks. Pure.

A `BulkJob` is fed with items, and returns the call of each chunk when the chunk is complete. The same input makes the
same chunks, and their idempotency keys are `{key}-1`, `{key}-2`, …: a job that is repeated with its key receives the
first responses of the chunks that were sent, and goes on with the others.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

from cstar._call import Call, new_key
from cstar._check import reject
from cstar._decode import object_of
from cstar.errors import APIError, InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cstar.models.bulk import BulkError, BulkResult, ImportResult

MAX_BODY_SIZE = 1024 * 1024
MAX_BASE_KEY_LENGTH = 244  # of at most 255 characters, which leaves room for the number of a chunk


class Item(NamedTuple):
    """An item, checked and encoded, with what its errors may call it."""

    content: bytes
    id: str | None = None
    email: str | None = None


ResultT = TypeVar("ResultT", bound="BulkResult | ImportResult")


class BulkJob(Generic[ResultT]):
    """A bulk call under way.

    Args:
        param: The name of the parameter that has the items.
        path: The path of the requests.
        before: The body before the items.
        after: The body after the items.
        max_items: The number of items in a chunk.
        check: Checks and encodes an item. Its first argument is the name of the item, such as `ids[7]`.
        model: The model of the result, of a chunk as of the job.
        count: Returns the counts in the result of a chunk of a number of items.
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
        count: Callable[[ResultT, int], dict[str, int]],
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
        self._count = count
        self._room = MAX_BODY_SIZE - len(before) - len(after)
        if self._room < MAX_BODY_SIZE // 2:
            raise InvalidParameterError(
                f"the fields to change must have at most {MAX_BODY_SIZE // 2:,} bytes as JSON, not {len(after):,}"
            )
        # The chunk that is being filled, the index of its first item, and its size in bytes with commas.
        self._items: list[Item] = []
        self._first = 0
        self._size = 0
        # The chunk that was sent last.
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

    def feed(self, value: object) -> Call[ResultT] | None:
        """Add an item, and return the call to send now, if a chunk is complete.

        Raises:
            InvalidParameterError: The item is invalid. Nothing of its chunk was sent.
        """
        name = f"{self.param}[{self._first + len(self._items)}]"
        item = self._check(name, value)
        if len(item.content) > self._room:
            raise InvalidParameterError(
                f"{name} must have at most {self._room:,} bytes as JSON, not {len(item.content):,}", param=name
            )
        call = self.rest() if self._size + len(item.content) > self._room else None
        self._items.append(item)
        self._size += len(item.content) + 1
        return self.rest() if len(self._items) == self._max_items else call

    def rest(self) -> Call[ResultT] | None:
        """The call of the last chunk, if there is one to send."""
        if not self._items:
            return None
        self._sent, self._sent_first = self._items, self._first
        self._items, self._size, self._first = [], 0, self._first + len(self._items)
        self._chunk_count += 1
        body = self._before + b",".join(item.content for item in self._sent) + self._after
        key = f"{self.key}-{self._chunk_count}"
        return Call("POST", self._path, object_of(self._model), body=body, idempotency_key=key)

    def receive(self, result: ResultT) -> None:
        """Add the result of the call that was returned last."""
        self._counts.update(self._count(result, len(self._sent)))
        self._errors += [self._locate(error) for error in _errors_of(result)]

    def annotate(self, error: BaseException) -> None:
        """Tell an exception that ends the job the result so far, and the key to go on with."""
        if isinstance(error, APIError) or (isinstance(error, InvalidParameterError) and self._chunk_count):
            error.partial = self.result
            error.idempotency_key = self.key
        elif self._chunk_count:
            # Without the errors, which may be many.
            counts = ", ".join(f"{name}={count}" for name, count in self._counts.items())
            if sys.version_info >= (3, 11):
                error.add_note(
                    f"A bulk call had sent {self._chunk_count} requests: {counts}. The same call with "
                    f"idempotency_key={self.key!r} goes on."
                )

    def _locate(self, error: BulkError) -> BulkError:
        """An error of a chunk with its index in the input of the job, where it can be known."""
        place = error.index if isinstance(error.index, int) and 0 <= error.index < len(self._sent) else None
        if place is None or not _may_be_about(error, self._sent[place]):
            named = [place for place, item in enumerate(self._sent) if _names(error, item)]
            place = named[0] if len(named) == 1 else None
        if place is None:
            return error.model_copy(update={"index": None})
        item, index = self._sent[place], self._sent_first + place
        return error.model_copy(update={"index": index, "id": error.id or item.id, "email": error.email or item.email})


def _errors_of(result: BulkResult | ImportResult) -> list[BulkError]:
    """The errors of a chunk; one that makes no sense was kept as received, and becomes a message."""
    from cstar.models.bulk import BulkError

    errors = _as_list(result.errors)
    return [each if isinstance(each, BulkError) else BulkError(message=str(each)) for each in errors]


def _as_list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _names(error: BulkError, item: Item) -> bool:
    """Return whether an error names an item."""
    return any(named and _same(named, sent) for named, sent in ((error.id, item.id), (error.email, item.email)))


def _may_be_about(error: BulkError, item: Item) -> bool:
    """Return whether an error names no other item."""
    pairs = ((error.id, item.id), (error.email, item.email))
    return all(not named or not sent or _same(named, sent) for named, sent in pairs)


def _same(named: object, sent: str | None) -> bool:
    return sent is not None and str(named).strip().casefold() == sent.strip().casefold()


def iterate(param: str, items: object) -> Iterator[object]:
    """Draw the items of a bulk call.

    Raises:
        InvalidParameterError: It is not an iterable of items.
    """
    given = items
    if isinstance(items, (str, bytes, Mapping)):
        reject(param, "a list or another iterable (a single one goes in a list)", given)
    if not isinstance(items, Iterable):
        hint = " (AsyncCstar takes an async one, too)" if isinstance(items, AsyncIterable) else ""
        reject(param, f"a list or another iterable{hint}", given)
    yield from items


async def iterate_async(param: str, items: object) -> AsyncGenerator[object, None]:
    """Draw the items of a bulk call from an iterable or an async iterable.

    Raises:
        InvalidParameterError: It is neither.
    """
    if isinstance(items, AsyncIterable):
        iterator = aiter(cast("AsyncIterable[object]", items))
        try:
            async for item in iterator:
                yield item
        finally:  # a generator that is not drawn to its end would wait for the garbage collector
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()
        return
    for item in iterate(param, items):
        yield item
