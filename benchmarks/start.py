"""Cold starts: the time from starting Python to a client."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks._clients import API_KEY, MISSING
from benchmarks._measure import take_turns
from benchmarks._table import Benchmark, Goal, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 20
LIBRARIES = "httpx, pydantic, tenacity"
PROGRAMS = {
    "cstar": f"from cstar import Cstar; Cstar({API_KEY!r})",
    LIBRARIES: f"import {LIBRARIES}; httpx.Client()",
    "openai": f"from openai import OpenAI; OpenAI(api_key={API_KEY!r})",
    "stripe": f"from stripe import StripeClient; StripeClient({API_KEY!r})",
    "Python alone": "",
}


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure the seconds, including those of Python itself."""
    sides = {name: partial(_start, code) for name, code in PROGRAMS.items() if name not in MISSING}
    figures = take_turns(sides, 3 if quick else ROUNDS)
    yield Benchmark("cold start", figures, milliseconds, {LIBRARIES: Goal(0.75, 0.85)})


def _start(code: str) -> float:
    # Both processes read the same system clock.
    command = [sys.executable, "-c", f"{code}\nimport time; print(time.perf_counter())"]
    began = time.perf_counter()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - no input from outside
    return float(output) - began
