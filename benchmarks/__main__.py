"""Measure the client and others, print one table, and write it to `benchmarks/RESULTS.md`.

    pip install -e '.[bench]'
    python -m benchmarks                # all, in about six minutes
    python -m benchmarks --quick        # fewer rounds; does not write RESULTS.md
    python -m benchmarks --only calls --only walks

There are three other programs: `python -m benchmarks.compare` counts the failures of each way to call the API,
`python -m benchmarks.storms` counts lost connections, and `python benchmarks/sandbox_lists.py` measures the sandbox.

How to read the table:

- In each round, all sides take turns, and each round begins with another side. The garbage collector runs between the
  turns and not during them, except for lists, which run in separate processes. `best` and `median` are those of all
  rounds.
- `cstar / it` is the median, over the rounds, of cstar's time divided by the other side's time in the same round. At
  0.80, cstar takes a fifth less time. The number in brackets is the inverse: 1.25 times as fast. For memory it is a
  ratio of MB.
- A goal with an x is a lower bound of the number in brackets; without an x, it is an upper bound of the ratio. The goal
  in cstar's own row is an upper bound of its figure. The minimum is in brackets. The last column is `met`, `minimum`
  (the minimum only) or `missed`.

The sides:

- **cstar**: `Cstar(…)` with the defaults. It checks parameters, retries, validates models and tracks the rate limit.
- **bare httpx**: one shared `httpx.Client` with a `base_url` and the same `Authorization` and `CStar-Version`. A get is
  `client.get(path).json()`; a create is `client.post(path, json=…, headers={"Idempotency-Key": str(uuid4())}).json()`;
  a list is a loop of `client.get(path, params={"page": n, "pageSize": 100}).json()` until `hasMore` is false.
  It returns dicts, ignores the status and retries nothing.
- **httpx + pydantic**: the same, with `model_validate` of cstar's models for each dict.
- **openai**, **stripe**: their clients with the defaults. openai gets, creates and lists fine-tuning jobs, and stripe
  customers. Both return models.
- **cstar over httpx-aiohttp**: `AsyncCstar(http_client=httpx.AsyncClient(transport=AiohttpTransport(…), timeout=None))`
  with up to 200 connections. Separate rows compare its figures with those of openai, from the same rounds.
- **httpx2**: the same as bare httpx, with `httpx2.AsyncClient`.
- **aiohttp**: one shared `aiohttp.ClientSession` with up to 200 connections; a get is `await response.json()`. It
  returns dicts, ignores the status and retries nothing.

The conditions:

- Each get requests a different id, and the response has that id.
- Every list has 100 rows a page. Every row is a resource of about 430 bytes and 13 fields in the shape of its API.
- Gets and creates use a null transport: an `httpx.MockTransport` in the `httpx.Client` of each side, or those of httpx2
  for a library that uses httpx2. It responds immediately with a new `httpx.Response` and realistic headers. stripe
  takes no `httpx.Client`; it gets an `HTTPClient` that is a copy of stripe's `HTTPXClient`.
- Lists and concurrent gets go over loopback to one server in another process, which responds from memory. Each side
  opens its own connections, as it does by default. stripe's sync client sends with requests.
- Each round reads a list in a new process. Before the measurement, the first page is read once. "Memory added" is the
  peak memory (`VmHWM`) after the list minus the memory before it.
- A turn of gets or creates has 300 calls. In shorter turns, cold caches would distort the figures.
- A cold start is the time from starting Python to a client. It includes Python's own start, which is also a row.
- Bulk calls go to a sandbox in this process, with its default rate limit. The side cstar is `bulk_import` and
  `bulk_delete`. The others are 500 single calls, whose figures are multiplied by 20, or by 10 for deletions. Loopback
  has hardly any latency; over a network, the ratio of the times approaches that of the requests.
- Every response is checked. A wrong row, or a list with a wrong number of rows, stops the run.
"""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from pathlib import Path

from benchmarks._clients import MISSING
from benchmarks._measure import conditions
from benchmarks._table import HEAD

BENCHMARKS = ("calls", "walks", "start", "concurrency", "latency", "webhooks", "bulk")
RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = (
    "cstar",
    "httpx",
    "pydantic",
    "tenacity",
    "openai",
    "httpx2",
    "stripe",
    "requests",
    "aiohttp",
    "httpx-aiohttp",
)


def main() -> None:
    """Measure and print; write the results if all benchmarks ran in full."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="run fewer rounds; do not write RESULTS.md")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run only this; do not write RESULTS.md")
    arguments = parser.parse_args()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # some libraries use a proxy for loopback, too
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # cold starts need bytecode
    facts = conditions(PACKAGES)
    if MISSING:
        facts += f"\n- not installed, so not measured: {', '.join(MISSING)}"
    print(f"{facts}\n\n{HEAD}", flush=True)
    lines = []
    for module in arguments.only or BENCHMARKS:
        for benchmark in import_module(f"benchmarks.{module}").run(quick=arguments.quick):
            for line in benchmark.rows():
                print(line, flush=True)
                lines.append(line)
    if not arguments.quick and not arguments.only:
        about = (__doc__ or "").partition("\n\n")[2]
        table = "\n".join([HEAD, *lines])
        RESULTS.write_text(f"# Results\n\n{facts}\n\n{table}\n\n## How it was measured\n\n{about}", encoding="utf-8")


if __name__ == "__main__":
    main()
