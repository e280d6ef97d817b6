"""Measure the client beside others, print one table, and write it to `benchmarks/RESULTS.md`.

    pip install -e '.[bench]'
    python -m benchmarks                # all of it, about a quarter of an hour
    python -m benchmarks --quick        # a few rounds, nothing written
    python -m benchmarks --only calls --only walks

How to read the table:

- All sides of a row take turns in one run: each does a block of work, then the next one, round after round, and each
  round begins with another side. The garbage collector runs between the blocks and not inside them; in a walk, which
  has a process to itself, it runs as always. `best` and `median` are those of the rounds.
- `cstar / it` is the median, over the rounds, of cstar's time through the other's time in the same round: 0.80 is a
  fifth less time, or 1.25 times as fast, which stands behind it. For memory it is the megabytes through the other's.
- A goal is about the one or, with an x, about the other; cstar's own is about its figure. Behind it is the least that
  will do. The last column says `met`, `minimum` (only that) or `missed`.

What each side does:

- **cstar**: `Cstar(…)`, all else by default: checked parameters, retries, validated models, the rate limit kept.
- **bare httpx**: one shared `httpx.Client` with a `base_url` and the same `Authorization` and `CStar-Version`. A get is
  `client.get(path).json()`; a create is `client.post(path, json=…, headers={"Idempotency-Key": str(uuid4())}).json()`;
  a walk is a loop of `client.get(path, params={"page": n, "pageSize": 100}).json()` until `hasMore` is false. It gives
  dicts, looks at no status and tries nothing twice.
- **httpx + pydantic**: the same, each dict made a model of cstar's with `model_validate`.
- **openai**, **anthropic**, **stripe**: their clients, all else by default. They get, create and walk fine-tuning jobs,
  message batches and customers, as models of theirs.
- **cstar over httpx-aiohttp**: `AsyncCstar(http_client=httpx.AsyncClient(transport=AiohttpTransport(…), timeout=None))`
  with up to 200 connections. It has a table of its own beside the others, from the same rounds.
- **httpx2**: the same as bare httpx, with `httpx2.AsyncClient`.
- **aiohttp**: one shared `aiohttp.ClientSession` with up to 200 connections; a get is `await response.json()`. It
  returns dicts, checks no status and retries nothing.
- The concurrent gets have these sides, cstar, bare httpx and openai. The other sides would double their time.
- Each get asks for another id than the one before. The response has that id.
- Every walk has 100 rows a page, and every row is a resource of about 430 bytes and a dozen fields in the shape of its
  API.
- The null transport is an `httpx.MockTransport` (httpx2's for a library that sends with that one) under a client of
  httpx that each side is given. It answers each request at once with a new `httpx.Response`, among headers like a
  real server's. stripe has no place for an `httpx.Client`; it gets an `HTTPClient` that does line by
  line what its own `HTTPXClient` does.
- Loopback is one server in a process of its own, which answers from memory in each API's shape. Each side opens its own
  connections, as it does by default; stripe's sync client sends with requests, its async client with httpx.
- A walk has a new process in each round. The first page is read once before, and is in no figure. Memory added is the
  peak (`VmHWM`) at the end of the walk less what the process had at its start.
- A turn of single calls is 300 of them. With turns of 50, among six sides, what is measured is partly how cold the
  caches are after another library's turn, and cstar takes up to a tenth longer beside bare httpx.
- A cold start is the time from the start of a new Python to a client. Python's own is in every figure, and in a row by
  itself.
- Many customers at a time are sent to a sandbox in this process, with its default rate limit. The side cstar is
  `bulk_import` and `bulk_delete`. The single calls are `create`, `upsert` (of new addresses) and `delete`: 500 are
  sent, and their requests and seconds are multiplied by 20, or by 10 for the deletions. Loopback has no latency. Over a
  network each request takes a round trip more, so the ratio of the times comes closer to that of the requests.
- Every answer is looked at: a call that gave another row, or a walk with other than all rows, stops the run.
"""

from __future__ import annotations

import argparse
import os
import platform
from datetime import datetime, timezone
from importlib import import_module, metadata
from pathlib import Path

from benchmarks._clients import MISSING
from benchmarks._table import HEAD

BENCHMARKS = ("calls", "walks", "start", "concurrency", "latency", "webhooks", "bulk")
RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = (
    "cstar",
    "httpx",
    "pydantic",
    "tenacity",
    "openai",
    "anthropic",
    "httpx2",
    "stripe",
    "requests",
    "aiohttp",
    "httpx-aiohttp",
)


def main() -> None:
    """Measure, print, and write the results where everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="a few rounds, and no RESULTS.md")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="this alone, and no RESULTS.md")
    arguments = parser.parse_args()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # some of the libraries would use it even for this machine
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a cold start would compile every module
    conditions = _conditions()
    print(f"{conditions}\n\n{HEAD}", flush=True)
    lines = []
    for module in arguments.only or BENCHMARKS:
        for benchmark in import_module(f"benchmarks.{module}").run(quick=arguments.quick):
            for line in benchmark.rows():
                print(line, flush=True)
                lines.append(line)
    if not arguments.quick and not arguments.only:
        about = (__doc__ or "").partition("\n\n")[2]
        table = "\n".join([HEAD, *lines])
        RESULTS.write_text(
            f"# Results\n\n{conditions}\n\n{table}\n\n## How it was measured\n\n{about}", encoding="utf-8"
        )


def _conditions() -> str:
    """When, where and with what this is measured."""
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES if _is_installed(name)]
    facts = [
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        f"{_processor()}, {os.cpu_count()} cores, {platform.platform()}",
        f"{platform.python_implementation()} {platform.python_version()}, {', '.join(versions)}",
    ]
    if hasattr(os, "getloadavg"):
        facts.append(f"load of the machine at the start: {os.getloadavg()[0]:.1f}")
    if MISSING:
        facts.append(f"not installed, so not measured: {', '.join(MISSING)}")
    return "\n".join(f"- {fact}" for fact in facts)


def _is_installed(name: str) -> bool:
    return any(metadata.distributions(name=name))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
