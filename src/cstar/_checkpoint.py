"""Where a walk stands: the rows read last, and the empty pages to return to; as a value and as text."""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64encode
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias, cast
from uuid import UUID

from cstar._check import MAX_PAGE, MAX_PAGE_SIZE, reject
from cstar.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

# How many of the rows that were read last a checkpoint knows: any of them leads a resumed walk to where it was.
LAST_ROWS = 100
# How many rows on either side of an empty page are known.
ROWS_BESIDE_A_HOLE = 5

MAX_LANDMARKS = 40

_ALLOWED = "a checkpoint: the text that checkpoint() of an iterator returned"
_VERSION = 1
_MAX_LENGTH = 1_000_000  # characters
_MAX_NUMBER = MAX_PAGE * MAX_PAGE_SIZE

Id: TypeAlias = str | int | UUID


class PageRequest(NamedTuple):
    """One request of a walk: a page number, and the rows per page by which it counts."""

    page: int
    size: int

    @classmethod
    def overlapping(cls, index: int, largest: int) -> PageRequest:
        """The request whose slice holds the row at an index and reaches furthest beyond it."""
        requests = [cls(index // size + 1, size) for size in range(largest, 0, -1)]
        return max(requests, key=lambda request: request.page * request.size)


# A row that was read: its id, its index in the list then, and how many holes the walk had met before it. It is a plain
# tuple, because there is one for each row.
ReadRow: TypeAlias = tuple[Id, int, int]


@dataclass(frozen=True, slots=True)
class Hole:
    """One empty page or several in a row, although the total says that rows are there. The walk returns to it.

    Attributes:
        stretch: The stretch that begins behind it.
        end: The index after the last row before it.
        total: The list's total when that row was read.
        missing: How many rows it hides.
        before: The ids of the last rows before it.
        behind: The ids of the first rows behind it.
        requests: The requests that came back empty.
    """

    stretch: int
    end: int
    total: int
    missing: int
    before: tuple[Id, ...]
    behind: tuple[Id, ...]
    requests: tuple[PageRequest, ...]

    def without(self, ids: set[Id]) -> Hole:
        """The hole if some rows behind it had not been read."""
        return replace(self, behind=tuple([each for each in self.behind if each not in ids]))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a walk stands after a row.

    Attributes:
        origin: The index at which the walk began.
        largest: The most rows per page that the server gives.
        total: The list's total when the row was read.
        rows: The last rows that were read, and single ones further back, in the order in which they were read.
        holes: The holes to return to.
    """

    origin: int
    largest: int
    total: int
    rows: tuple[ReadRow, ...] = ()
    holes: tuple[Hole, ...] = ()

    @property
    def end(self) -> int:
        """The index after the last row."""
        return self.rows[-1][1] + 1 if self.rows else self.origin


@dataclass(frozen=True, slots=True)
class Progress:
    """The rows that one response added to a walk.

    Attributes:
        before: Where the walk stood before them.
        total: The list's total in that response.
        rows: The new rows.
        returns_to_hole: Whether they belong to the first hole, to which the walk has returned.
    """

    before: Checkpoint
    total: int
    rows: tuple[ReadRow, ...] = ()
    returns_to_hole: bool = False

    def checkpoint(self, *, pending: int = 0) -> Checkpoint:
        """Where the walk stands if so many of the rows have not been yielded yet."""
        count = len(self.rows) - pending
        rows, unread = self.rows[:count], {each for each, _, _ in self.rows[count:]}
        holes = tuple([hole.without(unread) for hole in self.before.holes]) if unread else self.before.holes
        if not rows:
            return replace(self.before, holes=holes)
        if not self.returns_to_hole:
            rows = thinned((*self.before.rows, *rows))
            return Checkpoint(self.before.origin, self.before.largest, self.total, rows, holes)
        hole, *others = holes
        before = (*hole.before, *(each for each, _, _ in rows))[-ROWS_BESIDE_A_HOLE:]
        hole = replace(hole, before=before, end=rows[-1][1] + 1, total=self.total)
        return replace(self.before, holes=(hole, *others))


def thinned(rows: tuple[ReadRow, ...]) -> tuple[ReadRow, ...]:
    """The last rows, and landmarks: single rows further back, each about twice as far as the one behind it."""
    if len(rows) <= LAST_ROWS:
        return rows
    older, last = rows[:-LAST_ROWS], rows[-LAST_ROWS:]
    here, near, place = last[-1][1], last[0][1], len(older)
    landmarks: list[ReadRow] = []
    while place and len(landmarks) < MAX_LANDMARKS:
        # The furthest row that is at most twice as far back as the one before.
        furthest = here - 2 * max(LAST_ROWS, here - near)
        place = min(place - 1, bisect_left(older, furthest, 0, place, key=_index))
        landmarks.append(older[place])
        near = older[place][1]
    return (*reversed(landmarks), *last)


def _index(row: ReadRow) -> int:
    return row[1]


def encode(checkpoint: Checkpoint, scope: str) -> str:
    """A checkpoint as a token: URL-safe text that holds ids and numbers only.

    Args:
        checkpoint: The checkpoint.
        scope: What the list is, as a digest.
    """
    content = {
        "version": _VERSION,
        "list": scope,
        "origin": checkpoint.origin,
        "largest": checkpoint.largest,
        "total": checkpoint.total,
        "ids": [_plain(each) for each, _, _ in checkpoint.rows],
        "places": _runs(checkpoint.rows),
        "holes": [
            [
                *(hole.stretch, hole.end, hole.total, hole.missing),
                *(list(map(_plain, hole.before)), list(map(_plain, hole.behind)), hole.requests),
            ]
            for hole in checkpoint.holes
        ],
    }
    text = json.dumps(content, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(token: object, scope: str) -> Checkpoint:
    """The checkpoint that a token holds.

    Raises:
        InvalidParameterError: It is not a token, or belongs to another list.
    """
    if not isinstance(token, str):
        reject("resume", _ALLOWED, token)
    try:
        content = _content(str.__str__(token).strip())  # a file ends with a line break
        checkpoint = _checkpoint(content)
        is_of_this_list = _text(content["list"]) == scope
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidParameterError(
            f"resume must be {_ALLOWED}; this text of {len(token)} characters is not one", param="resume"
        ) from None
    if not is_of_this_list:
        raise InvalidParameterError(
            "resume must be a checkpoint of this list: it belongs to another one, with another path, filters or page",
            param="resume",
        )
    return checkpoint


def _content(token: str) -> dict[str, Any]:
    if not 0 < len(token) <= _MAX_LENGTH or not token.isascii():
        raise ValueError("not a token")
    # With `validate`, characters outside the alphabet are an error.
    standard = token.translate({ord("-"): "+", ord("_"): "/"}) + "=" * (-len(token) % 4)
    content: dict[str, Any] = json.loads(b64decode(standard, validate=True), parse_constant=_refuse_constant)
    if not isinstance(cast("object", content), dict):
        raise TypeError("not an object")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _checkpoint(content: dict[str, Any]) -> Checkpoint:
    if content["version"] != _VERSION:
        raise ValueError("another version")
    ids = [_id(each) for each in _list(content["ids"])]
    runs = [tuple(map(_number, _list(run))) for run in _list(content["places"])]
    if sum(count for _, _, count in runs) != len(ids):
        raise ValueError("not a place for each id")
    places = [(index + step, stretch) for index, stretch, count in runs for step in range(count)]
    origin, total = _number(content["origin"]), _number(content["total"])
    return Checkpoint(
        origin,
        _number(content["largest"], low=1, high=MAX_PAGE_SIZE),
        total,
        tuple((each, *place) for each, place in zip(ids, places, strict=True)),
        tuple(_hole(each) for each in _list(content["holes"])),
    )


def _runs(rows: Sequence[ReadRow]) -> list[list[int]]:
    """The rows' places as runs of neighbours: the index of the first, the stretch, and how many."""
    runs: list[list[int]] = []
    for _, index, stretch in rows:
        if runs and (index, stretch) == (runs[-1][0] + runs[-1][2], runs[-1][1]):
            runs[-1][2] += 1
        else:
            runs.append([index, stretch, 1])
    return runs


def _hole(hole: object) -> Hole:
    stretch, end, total, missing, before, behind, requests = _list(hole)
    pages = [_list(each) for each in _list(requests)]
    if not pages:
        raise ValueError("a hole without a page")
    return Hole(
        _number(stretch, low=1),
        _number(end),
        _number(total),
        _number(missing),
        tuple(map(_id, _list(before))),
        tuple(map(_id, _list(behind))),
        tuple(
            PageRequest(_number(page, low=1, high=MAX_PAGE), _number(size, low=1, high=MAX_PAGE_SIZE))
            for page, size in pages
        ),
    )


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return cast("list[object]", value)


def _number(value: object, *, low: int = 0, high: int = _MAX_NUMBER) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError("not a number in its bounds")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _plain(id: Id) -> str | int | list[str]:
    """An id as JSON: a UUID, as the only element of a list, can be told from a string."""
    return [str(id)] if isinstance(id, UUID) else id


def _id(value: object) -> Id:
    if isinstance(value, list):
        (text,) = _list(cast("object", value))
        return UUID(_text(text))
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise TypeError("not an id")
    return value
