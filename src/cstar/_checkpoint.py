"""The position of a walk, as a `Checkpoint` and as a token that users store."""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64encode
from bisect import bisect_left
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias, cast
from uuid import UUID

from cstar._check import MAX_PAGE, MAX_PAGE_SIZE, reject
from cstar.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The number of last rows that a checkpoint holds. A resumed walk finds its position by any of them.
LAST_ROWS = 100
# The number of rows that a checkpoint holds on either side of a hole.
ROWS_BESIDE_A_HOLE = 5
MAX_LANDMARKS = 40

_ALLOWED = "a checkpoint: the string that checkpoint() of an iterator returned"
_VERSION = 1
_MAX_LENGTH = 1_000_000  # characters
_MAX_NUMBER = MAX_PAGE * MAX_PAGE_SIZE

RowId: TypeAlias = str | int | UUID


class PageRequest(NamedTuple):
    """The number and the size of a page to request."""

    page: int
    size: int

    @classmethod
    def overlapping(cls, index: int, max_page_size: int) -> PageRequest:
        """Return the request whose page holds the row at an index, and as many rows after it as possible."""
        requests = [cls(index // size + 1, size) for size in range(max_page_size, 0, -1)]
        return max(requests, key=lambda request: request.page * request.size)


# A row that was read: its id, its index in the list when it was read, and its segment. It is a plain tuple for speed,
# because there is one for each row.
ReadRow: TypeAlias = tuple[RowId, int, int]


@dataclass(frozen=True, slots=True)
class Hole:
    """One or more consecutive empty pages below the total. The walk returns to it at the end.

    Attributes:
        segment: The number of the segment that begins behind it.
        end: The index after the last row before it.
        total: The list's total when that row was read.
        missing: How many rows are missing in it.
        before: The ids of the last rows before it.
        behind: The ids of the first rows behind it.
        requests: The requests for the empty pages.
    """

    segment: int
    end: int
    total: int
    missing: int
    before: tuple[RowId, ...]
    behind: tuple[RowId, ...]
    requests: tuple[PageRequest, ...]

    def without(self, ids: set[RowId]) -> Hole:
        """Return the hole without some of the rows behind it."""
        return replace(self, behind=tuple([row_id for row_id in self.behind if row_id not in ids]))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The position of a walk after a row.

    Attributes:
        origin: The index at which the walk began.
        max_page_size: The most rows per page that the server returns.
        total: The list's total when the row was read.
        rows: Landmarks and the last rows, in the order in which they were read; see `thin`.
        holes: The holes to return to.
    """

    origin: int
    max_page_size: int
    total: int
    rows: tuple[ReadRow, ...] = ()
    holes: tuple[Hole, ...] = ()

    @property
    def end(self) -> int:
        """The index after the last row."""
        return self.rows[-1][1] + 1 if self.rows else self.origin


@dataclass(frozen=True, slots=True)
class Progress:
    """The new rows of one page.

    Attributes:
        before: The checkpoint before them.
        total: The list's total in the response.
        rows: The new rows.
        is_in_hole: Whether they fill the first hole, to which the walk has returned.
    """

    before: Checkpoint
    total: int
    rows: tuple[ReadRow, ...] = ()
    is_in_hole: bool = False

    def checkpoint(self, *, pending: int = 0) -> Checkpoint:
        """Return the position before the last `pending` rows, which have not been yielded yet."""
        count = len(self.rows) - pending
        rows, unread = self.rows[:count], {row_id for row_id, _, _ in self.rows[count:]}
        holes = tuple([hole.without(unread) for hole in self.before.holes]) if unread else self.before.holes
        if not rows:
            return replace(self.before, holes=holes)
        if not self.is_in_hole:
            rows = thin((*self.before.rows, *rows))
            return Checkpoint(self.before.origin, self.before.max_page_size, self.total, rows, holes)
        hole, *others = holes
        before = (*hole.before, *(row_id for row_id, _, _ in rows))[-ROWS_BESIDE_A_HOLE:]
        hole = replace(hole, before=before, end=rows[-1][1] + 1, total=self.total)
        return replace(self.before, holes=(hole, *others))


def thin(rows: tuple[ReadRow, ...]) -> tuple[ReadRow, ...]:
    """Keep the last rows and a few landmarks: older rows, each about twice as far back as the next."""
    if len(rows) <= LAST_ROWS:
        return rows
    older, last = rows[:-LAST_ROWS], rows[-LAST_ROWS:]
    end, nearest, position = last[-1][1], last[0][1], len(older)
    landmarks: list[ReadRow] = []
    while position and len(landmarks) < MAX_LANDMARKS:
        # The furthest row that is at most twice as far back as the previous landmark.
        furthest = end - 2 * max(LAST_ROWS, end - nearest)
        position = min(position - 1, bisect_left(older, furthest, 0, position, key=itemgetter(1)))
        landmarks.append(older[position])
        nearest = older[position][1]
    return (*reversed(landmarks), *last)


def encode(checkpoint: Checkpoint, scope: str) -> str:
    """Encode a checkpoint as a token: a URL-safe string of ids and numbers.

    Args:
        checkpoint: The checkpoint.
        scope: A digest of the list's path, filters and first page.
    """
    content = {
        "version": _VERSION,
        "list": scope,
        "origin": checkpoint.origin,
        "largest": checkpoint.max_page_size,
        "total": checkpoint.total,
        "ids": [_id_to_json(row_id) for row_id, _, _ in checkpoint.rows],
        "places": _runs(checkpoint.rows),
        "holes": [
            [
                *(hole.segment, hole.end, hole.total, hole.missing),
                *(list(map(_id_to_json, hole.before)), list(map(_id_to_json, hole.behind)), hole.requests),
            ]
            for hole in checkpoint.holes
        ],
    }
    document = json.dumps(content, separators=(",", ":"))
    return urlsafe_b64encode(document.encode()).decode().rstrip("=")


def decode(token: object, scope: str) -> Checkpoint:
    """Decode a token.

    Raises:
        InvalidParameterError: It is not a token, or it belongs to another list.
    """
    if not isinstance(token, str):
        reject("resume", _ALLOWED, token)
    try:
        content = _parse_token(str.__str__(token).strip())  # a token read from a file may end with a line break
        checkpoint = _checkpoint_from_json(content)
        is_of_this_list = _as_str(content["list"]) == scope
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidParameterError(
            f"resume must be {_ALLOWED}, or None to start from the beginning; "
            f"this string of {len(token)} characters is not one",
            param="resume",
        ) from None
    if not is_of_this_list:
        raise InvalidParameterError(
            "resume must be a checkpoint of this list: it belongs to a list with another path, filters or page",
            param="resume",
        )
    return checkpoint


def _parse_token(token: str) -> dict[str, Any]:
    if not 0 < len(token) <= _MAX_LENGTH or not token.isascii():
        raise ValueError("not a token")
    # With `validate`, characters outside the alphabet are an error.
    standard = token.translate({ord("-"): "+", ord("_"): "/"}) + "=" * (-len(token) % 4)
    content: dict[str, Any] = json.loads(b64decode(standard, validate=True), parse_constant=_reject_constant)
    if not isinstance(cast("object", content), dict):
        raise TypeError("not an object")
    return content


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _checkpoint_from_json(content: dict[str, Any]) -> Checkpoint:
    if content["version"] != _VERSION:
        raise ValueError("unknown version")
    ids = [_id_from_json(each) for each in _as_list(content["ids"])]
    runs = [tuple(map(_as_int, _as_list(run))) for run in _as_list(content["places"])]
    if sum(count for _, _, count in runs) != len(ids):
        raise ValueError("ids and indexes differ in number")
    places = [(index + offset, segment) for index, segment, count in runs for offset in range(count)]
    origin, total = _as_int(content["origin"]), _as_int(content["total"])
    return Checkpoint(
        origin,
        _as_int(content["largest"], low=1, high=MAX_PAGE_SIZE),
        total,
        tuple((row_id, *place) for row_id, place in zip(ids, places, strict=True)),
        tuple(_hole_from_json(each) for each in _as_list(content["holes"])),
    )


def _runs(rows: Sequence[ReadRow]) -> list[list[int]]:
    """Return the runs of consecutive rows of a segment: the first index, the segment, and the number of rows."""
    runs: list[list[int]] = []
    for _, index, segment in rows:
        if runs and (index, segment) == (runs[-1][0] + runs[-1][2], runs[-1][1]):
            runs[-1][2] += 1
        else:
            runs.append([index, segment, 1])
    return runs


def _hole_from_json(hole: object) -> Hole:
    segment, end, total, missing, before, behind, requests = _as_list(hole)
    pages = [_as_list(each) for each in _as_list(requests)]
    if not pages:
        raise ValueError("a hole without a page")
    return Hole(
        _as_int(segment, low=1),
        _as_int(end),
        _as_int(total),
        _as_int(missing),
        tuple(map(_id_from_json, _as_list(before))),
        tuple(map(_id_from_json, _as_list(behind))),
        tuple(
            PageRequest(_as_int(page, low=1, high=MAX_PAGE), _as_int(size, low=1, high=MAX_PAGE_SIZE))
            for page, size in pages
        ),
    )


def _as_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return cast("list[object]", value)


def _as_int(value: object, *, low: int = 0, high: int = _MAX_NUMBER) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError("not an integer within its bounds")
    return value


def _as_str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _id_to_json(id: RowId) -> str | int | list[str]:
    """Convert an id to JSON. A UUID becomes a list of one string, so that it differs from a string."""
    return [str(id)] if isinstance(id, UUID) else id


def _id_from_json(value: object) -> RowId:
    if isinstance(value, list):
        (text,) = _as_list(cast("object", value))
        return UUID(_as_str(text))
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise TypeError("not an id")
    return value
