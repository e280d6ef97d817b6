"""The table of results: the figures of each side, cstar's ratio to them, and the goal, if any."""

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


def per_second(unit: str) -> Callable[[float], str]:
    """Make a function that converts seconds per unit to a rate, such as "1,200 rows/s"."""
    return lambda seconds: f"{1 / seconds:,.0f} {unit}/s"


@dataclass(frozen=True)
class Goal:
    """A goal for cstar's ratio to another side, or for its own figure.

    Attributes:
        target: The goal.
        minimum: The bound that must not be missed.
        is_speed: Whether both are lower bounds of cstar's speed divided by the other side's. Otherwise, they are upper
            bounds of cstar's time divided by the other side's, or of cstar's own figure.
    """

    target: float
    minimum: float
    is_speed: bool = False

    def __str__(self) -> str:
        sign, unit = ("≥", "x") if self.is_speed else ("≤", "")
        return f"{sign} {self.target:.4g}{unit} ({sign} {self.minimum:.4g}{unit})"

    def verdict(self, reached: float) -> str:
        """Compare a value with the goal: `met`, `minimum` or `missed`."""
        if self._holds(reached, self.target):
            return "met"
        return "minimum" if self._holds(reached, self.minimum) else "missed"

    def _holds(self, reached: float, bound: float) -> bool:
        return reached >= bound if self.is_speed else reached <= bound


@dataclass(frozen=True)
class Benchmark:
    """The figures of one benchmark.

    Attributes:
        name: The name of the benchmark.
        figures: The figures of each side, one for each round, in one unit; less is better. cstar is first.
        show: Formats a figure.
        goals: The goals by side. cstar's is for its own figure.
    """

    name: str
    figures: Mapping[str, Sequence[float]]
    show: Callable[[float], str]
    goals: Mapping[str, Goal] = field(default_factory=dict)

    def rows(self) -> Iterator[str]:
        """Format the rows of the table."""
        name, own = self.name, self.figures["cstar"]
        for side, figures in self.figures.items():
            goal = self.goals.get(side)
            # Use the median of the ratios, not the ratio of the medians: other load on the machine slows both sides of
            # a round, and hardly changes their ratio.
            ratio = median(mine / theirs for mine, theirs in zip(own, figures, strict=True))
            compared = "" if side == "cstar" else f"{ratio:.2f} ({1 / ratio:.2f}x)"
            wanted = verdict = ""
            if goal:
                wanted = str(goal)
                verdict = goal.verdict(median(own) if side == "cstar" else 1 / ratio if goal.is_speed else ratio)
            cells = (name, side, self.show(min(figures)), self.show(median(figures)), compared, wanted, verdict)
            yield f"| {' | '.join(cells)} |"
            name = ""
