"""Faults: failures that tests inject, and the requests that they apply to."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import asdict, fields
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass

from cstar.sandbox._api import BASE_PATH
from cstar.sandbox._models import Json, JsonObject, matching

FaultKind = Literal["latency", "status", "drop", "cut", "garbage", "html", "flaky"]
"""The kinds of fault; `Faults.add` describes each one."""

When = Literal["before", "after"]
Method = Literal["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE"]

_VISIBLE = matching(r"\A[!-~]([ -~]*[!-~])?\Z", "a number of seconds, or printable ASCII text")
_PATH = matching(r"\A[/*][!-~]*\Z", "a path such as '/auth/whoami' or '*/customers'")
_ONLY_FOR = {
    "status": ("status", "html"),
    "retry_after": ("status", "html"),
    "seconds": ("latency",),
    "when": ("status", "drop", "garbage", "html"),
}


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", alias_generator=to_camel, populate_by_name=True))
class Fault:
    """A fault and the requests that it applies to, as `Faults.add` returns it. An omitted argument is `None`."""

    kind: FaultKind
    """The kind of failure."""
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    """The status of the response."""
    retry_after: Annotated[int, Field(ge=0)] | Annotated[str, _VISIBLE] | None = None
    """The `Retry-After` header of the response: seconds, or any text."""
    seconds: Annotated[float, Field(ge=0, le=3600)] | None = None
    """The length of a latency, in seconds."""
    when: When | None = None
    """`"before"` or `"after"` the API handles the request."""
    method: Annotated[Method, BeforeValidator(lambda method: str(method).upper())] | None = None
    """The method of the requests that it applies to; `None` for any."""
    path: Annotated[str, _PATH] | None = None
    """The path of the requests that it applies to, with `*` and `?`; `None` for any."""
    times: Annotated[int, Field(ge=1)] | None = None
    """The number of requests that it applies to; `None` for one, or for no limit if there is a probability."""
    probability: Annotated[float, Field(gt=0, le=1)] | None = None
    """The probability that it applies to a matching request."""
    seed: int | None = None
    """The seed of the random choices."""

    def __post_init__(self) -> None:
        for name, kinds in _ONLY_FOR.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} has no meaning for the kind '{self.kind}', only for {', '.join(kinds)}.")
        if self.kind == "status" and self.status is None:
            raise ValueError("The kind 'status' needs a status, such as 503.")
        if self.kind == "html" and self.status in {204, 304}:
            raise ValueError("The kind 'html' has a body, which a response with the status 204 or 304 cannot have.")
        if self.kind == "latency" and self.seconds is None:
            raise ValueError("The kind 'latency' needs seconds, such as 0.5.")

    @property
    def acts(self) -> bool:
        """Whether the API handles the request before the fault replaces the response."""
        return self.when == "after" if self.when else self.kind in {"cut", "garbage"}


def fault_json(fault: Fault) -> JsonObject:
    """Convert a fault to JSON, without the fields that are None."""
    return {to_camel(name): value for name, value in asdict(fault).items() if value is not None}


def read_fault(document: Json) -> dict[str, Any]:
    """Convert JSON to arguments for `Faults.add`.

    Raises:
        ValueError: The JSON is not a valid fault; the message says why.
    """
    if not isinstance(document, dict):
        raise ValueError('A fault is a JSON object such as {"kind": "drop", "times": 2}.')  # noqa: TRY004 - input
    names = [field.name for field in fields(Fault)]
    for name in document:
        if name not in {*names, *map(to_camel, names)}:
            raise ValueError(f"'{name}' is not a field of a fault; allowed are {', '.join(map(to_camel, names))}.")
    return asdict(_new_fault(**{"kind": "", **document}))


def _new_fault(*values: Any, **options: Any) -> Fault:
    """Create a fault, or raise a ValueError of one line."""
    try:
        return Fault(*values, **options)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False)
        # A union has an error for each of its types. Ignore those of the types that the value does not have.
        error = next((each for each in errors if not each["type"].endswith("_type")), errors[0])
    if not error["loc"]:
        raise ValueError(error["msg"].removeprefix("Value error, "))
    names, name = [field.name for field in fields(Fault)], error["loc"][0]
    name = names[name] if isinstance(name, int) else name
    raise ValueError(f"{name} must {error['msg'].partition(' should ')[2]}, not {error['input']!r}.")


# Failures after which a client should retry.
_FLAKY = (
    Fault("status", status=500),
    Fault("status", status=503),
    Fault("html", status=502),
    Fault("html", status=504, when="after"),
    Fault("drop", when="before"),
    Fault("drop", when="after"),
    Fault("cut"),
)


class Decision(NamedTuple):
    """The faults of one request: a delay in seconds, then the fault that replaces its response, if any."""

    fault: Fault | None
    delay: float


class Faults:
    """The active faults of a sandbox, `box.faults`. Iterate over it to list them.

    It is thread-safe: faults may be added and removed while requests are served.
    """

    def __init__(self) -> None:
        self._active: list[_ActiveFault] = []
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
        """Make the next matching request fail, or the next `times` requests, or each with a probability.

        If several faults match a request, the one added first applies, after the sum of all matching latencies.

        Args:
            kind: The kind of failure. "latency": the response is delayed. "status": a response with this status; from
                400 on with the API's error envelope, below without a body. "drop": the connection is closed without a
                response. "cut": it is closed in the middle of the body. "garbage": a body that is not JSON.
                "html": an error page, as from a proxy in front of the API. "flaky": a random one of the failures above
                after which a client should retry.
            status: For "status", 200 to 599 and required; for "html", 502 by default.
            retry_after: The `Retry-After` header of the response, for "status" and "html": seconds, or any text.
            seconds: The length of a "latency", at most an hour.
            when: "before" the API handles the request, so that nothing changes; or "after", so that only the response
                is lost. The default is "after" for "cut" and "garbage", and "before" for the others.
            method: Only requests with this method.
            path: Only requests to this path, such as "*/customers" or "/auth/whoami": without the query, with or
                without `/api/v1`. `*` matches any text, `?` one character.
            times: The number of requests; by default one, or no limit if there is a probability.
            probability: The probability that it applies to a matching request: above 0, at most 1.
            seed: The seed of the random choices of `probability` and "flaky".

        Returns:
            The fault, for `remove`.

        Raises:
            ValueError: An argument is invalid; the message says what is allowed.

        Example:
            ```python
            box.faults.add("status", status=503, times=2)
            box.faults.add("drop", when="after", method="POST", path="*/customers")
            ```
        """
        fault = _new_fault(kind, status, retry_after, seconds, when, method, path, times, probability, seed)
        with self._lock:
            self._active.append(_ActiveFault(fault))
        return fault

    def remove(self, fault: Fault) -> None:
        """Remove a fault; do nothing if it no longer applies.

        Args:
            fault: The fault that `add` returned.

        Example:
            ```python
            outage = box.faults.add("status", status=503, probability=1)
            box.faults.remove(outage)
            ```
        """
        with self._lock:
            self._active = [active for active in self._active if active.fault is not fault]

    def clear(self) -> None:
        """Remove every fault.

        Example:
            ```python
            box.faults.clear()
            ```
        """
        with self._lock:
            self._active.clear()

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter([active.fault for active in self._active])

    def decide(self, method: str, path: str) -> Decision:
        """Choose the faults of a request, and count the request. The sandbox calls this once per request.

        Args:
            method: The HTTP method, in upper case.
            path: The path, without the query.

        Returns:
            The fault that replaces the response, if any, and the delay in seconds.
        """
        chosen, delay = None, 0.0
        with self._lock:
            for active in self._active:
                fault = active.fault
                if (chosen and fault.kind != "latency") or not active.applies(method, path):
                    continue
                if fault.kind == "latency":
                    delay += fault.seconds or 0.0
                else:
                    chosen = active.random.choice(_FLAKY) if fault.kind == "flaky" else fault
            self._active = [active for active in self._active if active.remaining != 0]
        return Decision(chosen, delay)


class _ActiveFault:
    """A fault, the number of requests that it still applies to, and its random numbers."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.remaining = fault.times or (1 if fault.probability is None else None)
        self.random = random.Random(fault.seed)  # noqa: S311 - not for secrets

    def applies(self, method: str, path: str) -> bool:
        """Return whether it applies to a request, and count the request if it does."""
        fault, pattern = self.fault, (self.fault.path or "*").replace("[", "[[]")  # brackets match themselves
        if (
            fault.method not in {None, method}
            or not (fnmatchcase(path, pattern) or fnmatchcase(path.removeprefix(BASE_PATH), pattern))
            or (fault.probability is not None and self.random.random() >= fault.probability)
        ):
            return False
        if self.remaining is not None:
            self.remaining -= 1
        return True
