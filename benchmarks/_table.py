"""A figure of each side, beside how cstar compares with it, and the goal where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HEAD = "| | | best | median | cstar / it (it / cstar) | goal (minimum) | |\n|---|---|--:|--:|--:|--:|---|"


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f} µs"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"


def megabytes(size: float) -> str:
    return f"{size:,.1f} MB"


def per_second(what: str) -> Callable[[float], str]:
    """Shows the seconds that one takes as how many there are in a second."""
    return lambda seconds: f"{1 / seconds:,.0f} {what}/s"


@dataclass(frozen=True)
class Goal:
    """What cstar is to reach against another side, and what it must.

    Attributes:
        target: The goal.
        minimum: The least that will do.
        is_speed: Whether these say how many times as fast cstar is, which is to be more; else they say its part of the
            other's time, or for itself its figure, which are to be less.
    """

    target: float
    minimum: float
    is_speed: bool = False

    def __str__(self) -> str:
        sign, unit = ("≥", "x") if self.is_speed else ("≤", "")
        return f"{sign} {self.target:.4g}{unit} ({sign} {self.minimum:.4g}{unit})"

    def verdict(self, reached: float) -> str:
        """Whether that is enough."""
        if self._holds(reached, self.target):
            return "met"
        return "minimum" if self._holds(reached, self.minimum) else "missed"

    def _holds(self, reached: float, bound: float) -> bool:
        return reached >= bound if self.is_speed else reached <= bound


@dataclass(frozen=True)
class Benchmark:
    """The figures of one benchmark.

    Attributes:
        name: What was done.
        figures: The figure of each side in each round, all of one unit, less being better; cstar's first.
        show: Shows a figure.
        goals: By the side that cstar is compared with; its own is about its figure alone.
    """

    name: str
    figures: Mapping[str, Sequence[float]]
    show: Callable[[float], str]
    goals: Mapping[str, Goal] = field(default_factory=dict)

    def rows(self) -> Iterator[str]:
        """The table's rows."""
        name, own = self.name, self.figures["cstar"]
        for side, figures in self.figures.items():
            goal = self.goals.get(side)
            # The median of the rounds' ratios, not the ratio of the medians: what slows the machine down for a while
            # slows down both sides of a round, and so leaves its ratio alone.
            ratio = median(mine / theirs for mine, theirs in zip(own, figures, strict=True))
            compared = "" if side == "cstar" else f"{ratio:.2f} ({1 / ratio:.2f}x)"
            wanted = verdict = ""
            if goal:
                wanted = str(goal)
                verdict = goal.verdict(median(own) if side == "cstar" else 1 / ratio if goal.is_speed else ratio)
            cells = (name, side, self.show(min(figures)), self.show(median(figures)), compared, wanted, verdict)
            yield f"| {' | '.join(cells)} |"
            name = ""
