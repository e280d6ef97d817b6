"""Misbehaving on request: which requests are struck by which fault, decided before anything of HTTP is involved."""

from __future__ import annotations

import random
import threading
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, get_args

BASE_PATH = "/api/v1"

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cstar.sandbox._models import Json, JsonObject

FaultKind = Literal["latency", "status", "drop", "cut", "garbage", "html", "flaky"]
"""The ways to misbehave; `Faults.add` says what each one does."""

When = Literal["before", "after"]

_LONGEST = 3600.0
_METHODS = ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE")


@dataclass(frozen=True)
class Fault:
    """A way to misbehave, and the requests that it strikes, as `Faults.add` returns it.

    What was not given to `Faults.add` is `None`.

    Attributes:
        kind: What it does.
        status: The answer's status.
        retry_after: The answer's `Retry-After` header: seconds, or any text.
        seconds: How long a latency lasts, in seconds.
        when: Whether it strikes "before" or "after" the API does its work.
        method: The method of the requests that it strikes; `None` for any.
        path: The path of the requests that it strikes, with `*` and `?`; `None` for any.
        times: How many requests it strikes; `None` for one, or for no limit where there is a probability.
        probability: How likely each matching request is to be struck.
        seed: What makes it pick the same ones each time.
    """

    kind: FaultKind
    status: int | None = None
    retry_after: int | str | None = None
    seconds: float | None = None
    when: When | None = None
    method: str | None = None
    path: str | None = None
    times: int | None = None
    probability: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def acts(self) -> bool:
        """Whether the API does its work before the answer is spoilt."""
        return self.when == "after" if self.when else self.kind in {"cut", "garbage"}


def fault_json(fault: Fault) -> JsonObject:
    """What was given, in the control endpoint's spelling."""
    return {_json_name(name): value for name, value in asdict(fault).items() if value is not None}


def read_fault(document: Json) -> dict[str, Any]:
    """The arguments for `Faults.add` from a JSON object, in which `retry_after` is called `retryAfter`.

    Of whatever types, and without a kind an empty one: the fault checks its values itself.
    """
    if not isinstance(document, dict):
        raise ValueError('A fault is a JSON object such as {"kind": "drop", "times": 2}.')  # noqa: TRY004 - input
    names = {_json_name(each.name): each.name for each in fields(Fault)}
    for name in document:
        if name not in names:
            raise ValueError(f"'{name}' is not part of a fault; allowed are {', '.join(names)}.")
    return {"kind": "", **{names[name]: value for name, value in document.items()}}


@dataclass(frozen=True)
class Strike:
    """What happens to one request: it is held up for so many seconds, and then spoilt by a fault or not."""

    delay: float = 0.0
    fault: Fault | None = None


class Faults:
    """`box.faults`: the faults that lie in wait. Iterate over it for those that can still strike.

    Any thread may change them while requests are served.
    """

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()

    def add(
        self,
        kind: FaultKind,
        *,
        status: int | None = None,
        retry_after: int | str | None = None,
        seconds: float | None = None,
        when: When | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
        probability: float | None = None,
        seed: int | None = None,
    ) -> Fault:
        """Have the sandbox misbehave: at the next matching request, at the next `times`, or by chance.

        Of several faults that match a request, the one added first strikes. Latencies add up, and come before it.

        Args:
            kind: What to do. "latency": answer late. "status": answer with another status, from 400 on with the API's
                error envelope, below with no body. "drop": close the connection without an answer. "cut": close it in
                the middle of the answer's body. "garbage": a body that is not JSON. "html": an error page, as a proxy
                in front of the API would send. "flaky": one of the above at random, of those that a client should
                survive by sending the request again.
            status: For "status", 200 to 599 and required; for "html", 502 unless given.
            retry_after: The answer's `Retry-After` header, for "status" and "html": seconds, or any text.
            seconds: For "latency", how long, at most an hour.
            when: Whether it strikes "before" the API does its work, so that nothing is done, or "after", so that only
                the answer is lost. "cut" and "garbage" strike after the work, everything else before unless told.
            method: Only requests with this method.
            path: Only requests to this path, such as "*/customers" or "/auth/whoami": without the query, whole or from
                below `/api/v1`. `*` stands for anything, `?` for one character.
            times: How many requests to strike. Once, or without limit where a probability is given.
            probability: How likely each matching request is to be struck, above 0 up to 1.
            seed: Makes what `probability` and "flaky" pick the same each time.

        Returns:
            The fault, for `remove`.

        Raises:
            ValueError: These do not fit together; the message says what would.

        Example:
            ```python
            box.faults.add("status", status=503, times=2)
            box.faults.add("drop", when="after", method="POST", path="*/customers")
            ```
        """
        fault = Fault(kind, status, retry_after, seconds, when, method, path, times, probability, seed)
        with self._lock:
            self._armed.append(_Armed(fault))
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault back; do nothing if it has struck often enough already.

        Args:
            fault: What `add` returned.

        Example:
            ```python
            outage = box.faults.add("status", status=503, probability=1)
            box.faults.remove(outage)
            ```
        """
        with self._lock:
            self._armed = [armed for armed in self._armed if armed.fault is not fault]

    def clear(self) -> None:
        """Behave again: take every fault back.

        Example:
            ```python
            box.faults.clear()
            ```
        """
        with self._lock:
            self._armed.clear()

    def __iter__(self) -> Iterator[Fault]:
        """The faults that can still strike."""
        with self._lock:
            return iter([armed.fault for armed in self._armed])

    def decide(self, method: str, path: str) -> Strike:
        """Decide what happens to a request that has just arrived. The sandbox calls this; it uses faults up.

        Args:
            method: The HTTP method, in upper case.
            path: The path, without the query.

        Returns:
            How long to hold the request up, and the fault that spoils its answer, if one does.
        """
        delay, spoiling = 0.0, None
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if (spoiling and fault.kind != "latency") or not _matches(fault, method, path) or not armed.strikes():
                    continue
                if fault.kind == "latency":
                    delay += fault.seconds or 0.0
                else:
                    spoiling = armed.chance.choice(_FLAKY) if fault.kind == "flaky" else fault
            self._armed = [armed for armed in self._armed if armed.left != 0]
        return Strike(delay, spoiling)


class _Armed:
    """A fault, how often it may still strike, and its own sequence of chances."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times or (1 if fault.probability is None else None)
        self.chance = random.Random(fault.seed)  # noqa: S311 - not for secrets

    def strikes(self) -> bool:
        if self.fault.probability is not None and self.chance.random() >= self.fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


def _matches(fault: Fault, method: str, path: str) -> bool:
    if fault.method is not None and fault.method.upper() != method:
        return False
    if fault.path is None:
        return True
    pattern = fault.path.replace("[", "[[]")  # which means nothing special here
    return fnmatchcase(path, pattern) or fnmatchcase(path.removeprefix(BASE_PATH), pattern)


def _json_name(name: str) -> str:
    return "retryAfter" if name == "retry_after" else name


def _check(fault: Fault) -> None:
    """Check a fault's values, whatever their types: they may have come as JSON."""
    kinds: tuple[str, ...] = get_args(FaultKind)
    if fault.kind not in kinds:
        raise ValueError(f"kind must be one of {', '.join(kinds)}, not {fault.kind!r}.")
    for name, kinds in _ONLY_FOR.items():
        if getattr(fault, name) is not None and fault.kind not in kinds:
            raise ValueError(f"{name} has no meaning for the kind '{fault.kind}', only for {', '.join(kinds)}.")
    if fault.kind == "status" and fault.status is None:
        raise ValueError("The kind 'status' needs a status, such as status=503.")
    if fault.kind == "latency" and fault.seconds is None:
        raise ValueError("The kind 'latency' needs seconds, such as seconds=0.5.")
    for name, allowed, holds in (
        (
            "status",
            "a whole number from 200 to 599",
            is_whole(fault.status) and 200 <= (fault.status or 0) <= 599,
        ),
        ("retry_after", "seconds from 0 on, or a text", _is_retry_after(fault.retry_after)),
        ("seconds", f"a number from 0 to {_LONGEST:g}", _is_number(fault.seconds, 0, _LONGEST)),
        ("when", "'before' or 'after'", fault.when in get_args(When)),
        ("method", f"one of {', '.join(_METHODS)}", isinstance(fault.method, str) and fault.method.upper() in _METHODS),
        ("path", "a path such as '*/customers', without a query", _is_path(fault.path)),
        ("times", "a whole number from 1 on", is_whole(fault.times) and (fault.times or 0) >= 1),
        ("probability", "above 0 and at most 1", _is_number(fault.probability, 0, 1) and fault.probability != 0),
        ("seed", "a whole number", is_whole(fault.seed)),
    ):
        value = getattr(fault, name)
        if value is not None and not holds:
            raise ValueError(f"{name} must be {allowed}, not {value!r}.")


_ONLY_FOR = {
    "status": ("status", "html"),
    "retry_after": ("status", "html"),
    "seconds": ("latency",),
    "when": ("status", "drop", "garbage", "html"),
}


def _is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most


def _is_retry_after(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isprintable() and value == value.strip()  # else it is no header
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("/", "*")) and value.isascii()


def is_whole(value: object) -> bool:
    """Whether a value is an int, which a bool is only in name."""
    return isinstance(value, int) and not isinstance(value, bool)


# What a client should survive by sending the same request again.
_FLAKY = (
    Fault("status", status=500),
    Fault("status", status=503),
    Fault("html", status=502),
    Fault("html", status=504, when="after"),
    Fault("drop", when="before"),
    Fault("drop", when="after"),
    Fault("cut"),
)
