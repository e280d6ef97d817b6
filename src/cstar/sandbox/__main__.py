"""The command line, `python -m cstar.sandbox`: run a sandbox until Ctrl-C."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from cstar.sandbox import Sandbox
from cstar.sandbox._faults import read_fault
from cstar.sandbox._models import Json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox until it is interrupted, and return the exit code."""
    options = _parser().parse_args(arguments)
    # Exit at once during the start: pydantic would turn a KeyboardInterrupt into another error.
    _on_signals(lambda _number, _frame: os._exit(0))
    try:
        return _serve(options)
    except KeyboardInterrupt:
        return 0


def _serve(options: argparse.Namespace) -> int:
    try:
        box = Sandbox(
            port=options.port,
            host=options.host,
            database=options.database,
            customers=options.customers,
            rate_limit=options.rate_limit,
            webhook_url=options.webhook_url,
            allow_hosts=options.allow_host,
        )
        for option, fault in _faults(options):
            try:
                box.faults.add(**read_fault(fault))
            except ValueError as error:  # noqa: PERF203 - the error names the option
                return _fail(f"{option}: {error}")
        box.start()
        _on_signals(signal.default_int_handler)
    except (ValueError, sqlite3.Error) as error:
        return _fail(str(error))
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]  # create_server() appends the address
        hint = "; --port 0 picks a free port" if error.errno == errno.EADDRINUSE else ""
        return _fail(f"cannot listen on {options.host}:{options.port}: {reason}{hint}")
    _log_requests()
    try:
        print(_as_json(box) if options.json else _as_exports(box, options.database), flush=True)
        while True:
            time.sleep(3600)  # on every platform, Ctrl-C interrupts a sleep, but not a wait for a lock
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C does not interrupt the stop
        box.stop()


def _faults(options: argparse.Namespace) -> Iterator[tuple[str, Json]]:
    """Yield each fault, with the option that asks for it."""
    if options.latency:
        yield "--latency", {"kind": "latency", "seconds": options.latency, "probability": 1}
    if options.fault_rate:
        yield "--fault-rate", {"kind": "flaky", "probability": options.fault_rate, "seed": options.seed}
    for fault in options.fault:
        yield "--fault", fault


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cstar.sandbox", description="Run a local cStar API to develop against, until Ctrl-C."
    )
    add = parser.add_argument
    add("--port", type=int, default=4010, help="TCP port; 0 picks a free one (default: %(default)s)")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--allow-host", action="append", default=[], metavar="NAME", help="further host name to serve; repeatable")
    add("--database", default=":memory:", metavar="FILE", help="file to store the data in (default: memory only)")
    add("--customers", type=int, default=0, metavar="N", help="number of demo customers (default: %(default)s)")
    add("--rate-limit", type=_rate, metavar="REQUESTS/SECONDS", help="limit of each key (default: 1000000/3600)")
    add("--webhook-url", action="append", default=[], metavar="URL", help="URL that receives events; repeatable")
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="delay of every response")
    add("--fault-rate", type=float, default=0.0, metavar="RATE", help="share of requests that fail, from 0 to 1")
    add("--seed", type=int, metavar="N", help="seed of the random choices of --fault-rate")
    fault_help = """fault to inject, such as '{"kind": "status", "status": 503, "times": 2}'; repeatable"""
    add("--fault", type=_fault, action="append", default=[], metavar="JSON", help=fault_help)
    add("--json", action="store_true", help="print the URL and the keys as one line of JSON")
    return parser


def _rate(text: str) -> tuple[int, float]:
    requests, _, seconds = text.partition("/")
    with suppress(ValueError):
        if min(rate := (int(requests), float(seconds))) > 0:
            return rate
    raise argparse.ArgumentTypeError("must be requests and seconds, such as 1000/3600")


def _fault(text: str) -> Json:
    try:
        fault: Json = json.loads(text)
    except (ValueError, RecursionError):
        raise argparse.ArgumentTypeError("""must be JSON, such as '{"kind": "drop"}', in quotes""") from None
    return fault


def _as_exports(box: Sandbox, database: str) -> str:
    return f"""\
# cStar sandbox, database {database}, until Ctrl-C. Watch it at {box.page_url}
# Paste this into another shell:
export CSTAR_BASE_URL={box.url}
export CSTAR_API_KEY={box.api_key}
export CSTAR_TEAM_ID={box.team_id}
# A read-only key, and the secret that signs webhooks:
export CSTAR_PUBLISHABLE_KEY={box.publishable_key}
export CSTAR_WEBHOOK_SECRET={box.webhook_secret}
"""


def _as_json(box: Sandbox) -> str:
    names = ("url", "api_key", "publishable_key", "team_id", "webhook_secret")
    return json.dumps({name: getattr(box, name) for name in names})


def _log_requests() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("cstar.sandbox")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # otherwise, the handler that CSTAR_LOG adds would log each line again


def _on_signals(handler: Callable[[int, FrameType | None], Any]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell ignores SIGINT for background jobs
        signal.signal(number, handler)


def _fail(message: str) -> int:
    print(f"cstar.sandbox: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
