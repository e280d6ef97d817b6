"""Taking turns, so that whatever else the machine does hits all sides alike."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


def take_turns(sides: Mapping[str, Callable[[], T]], rounds: int, *, warm_up: bool = True) -> dict[str, list[T]]:
    """What each side returns in each of so many rounds; another side begins every round.

    Args:
        sides: The sides by name.
        rounds: How often each side has its turn.
        warm_up: Whether a round goes before that does not count: connections are opened, and bytecode is written.
    """
    results: dict[str, list[T]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(-warm_up, rounds):
        for place in range(len(names)):
            name = names[(number + place) % len(names)]
            result = sides[name]()
            if number >= 0:
                results[name].append(result)
    return results


def timed(action: Callable[[], object], count: int = 1) -> Callable[[], float]:
    """A side that tells its seconds for each of the `count` times that its action does something.

    The garbage collector runs before the action and not meanwhile.
    """

    def measure() -> float:
        gc.collect()
        gc.freeze()  # or each turn's collection would go through all the libraries again
        gc.disable()
        try:
            began = time.perf_counter()
            action()
            return (time.perf_counter() - began) / count
        finally:
            gc.enable()

    return measure
