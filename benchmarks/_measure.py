"""Measure several sides in turns, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import gc
import os
import platform
import time
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")


def take_turns(sides: Mapping[str, Callable[[], T]], rounds: int, *, warm_up: bool = True) -> dict[str, list[T]]:
    """Call each function once per round, and return the results. Each round begins with another function.

    Args:
        sides: The functions by name, such as one for each library.
        rounds: The number of rounds.
        warm_up: Whether to run one more round first, and discard its results. It opens connections and writes bytecode.
    """
    results: dict[str, list[T]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(-1 if warm_up else 0, rounds):
        for place in range(len(names)):
            name = names[(number + place) % len(names)]
            result = sides[name]()
            if number >= 0:
                results[name].append(result)
    return results


def timed(action: Callable[[], object], count: int = 1) -> Callable[[], float]:
    """Return a function that measures the seconds of an action, divided by `count`.

    The garbage collector runs before the action and not during it.
    """

    def measure() -> float:
        gc.collect()
        gc.freeze()  # otherwise each collection would traverse the objects of all libraries
        gc.disable()
        try:
            began = time.perf_counter()
            action()
            return (time.perf_counter() - began) / count
        finally:
            gc.enable()

    return measure


def conditions(packages: Sequence[str]) -> str:
    """Return the time, the machine and the versions of a run, as a list in Markdown."""
    versions = [f"{name} {metadata.version(name)}" for name in packages if any(metadata.distributions(name=name))]
    facts = [
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        f"{_processor()}, {os.cpu_count()} cores, {platform.platform()}",
        f"{platform.python_implementation()} {platform.python_version()}, {', '.join(versions)}",
    ]
    if hasattr(os, "getloadavg"):
        facts.append(f"load average at the start: {os.getloadavg()[0]:.1f}")
    return "\n".join(f"- {fact}" for fact in facts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
