"""`python -m cstar.sandbox`: a sandbox in a terminal, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sqlite3
import sys
import time
from typing import TYPE_CHECKING

from cstar.sandbox import Sandbox
from cstar.sandbox._faults import read_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cstar.sandbox._models import Json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox until it is interrupted; returns the exit code."""
    options = _parser().parse_args(arguments)
    # Also where a shell has switched one of them off, as it does with SIGINT for what it runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _serve(options)
    except KeyboardInterrupt:
        return 0


def _serve(options: argparse.Namespace) -> int:
    try:
        box = _sandbox(options)
    except ValueError as error:
        return _failed(str(error))
    try:
        box.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return _failed(f"cannot listen on {options.host}:{options.port}: {reason}; --port 0 takes any free port")
    except (sqlite3.Error, ValueError) as error:
        return _failed(f"cannot use the database {options.database}: {error}")
    _log_requests()
    try:
        print(_as_json(box) if options.json else _as_exports(box, options.database), flush=True)
        while True:
            time.sleep(3600)  # unlike waiting for a lock, Ctrl-C ends this on every platform
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever presses Ctrl-C twice means no more by it
        box.stop()


def _sandbox(options: argparse.Namespace) -> Sandbox:
    box = Sandbox(
        port=options.port,
        host=options.host,
        database=options.database,
        customers=options.customers,
        rate_limit=options.rate_limit,
        webhook_url=options.webhook_url,
    )
    if options.latency:
        box.faults.add("latency", seconds=options.latency, probability=1)
    if options.fault_rate:
        box.faults.add("flaky", probability=options.fault_rate, seed=options.seed)
    for fault in options.fault:
        box.faults.add(**read_fault(fault))
    return box


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cstar.sandbox", description="A local cStar API to develop against, until Ctrl-C."
    )
    parser.add_argument("--port", type=_port, default=4010, help="TCP port, 0 for any free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--database", default=":memory:", metavar="FILE", help="where to keep everything (default: nowhere)"
    )
    parser.add_argument(
        "--customers", type=_count, default=0, metavar="N", help="demo customers to put in (default: %(default)s)"
    )
    parser.add_argument(
        "--rate-limit",
        type=_rate,
        metavar="REQUESTS/SECONDS",
        help="requests for each key in so many seconds, such as 1000/3600 (default: a million an hour)",
    )
    parser.add_argument(
        "--webhook-url", action="append", default=[], metavar="URL", help="where to deliver events; may be repeated"
    )
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="hold up every answer so long")
    parser.add_argument(
        "--fault-rate", type=float, default=0.0, metavar="RATE", help="how often to fail at random, from 0 to 1"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="make what --fault-rate picks the same each time")
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="JSON",
        help="""a certain fault, such as '{"kind": "status", "status": 503, "times": 2}'; may be repeated""",
    )
    parser.add_argument("--json", action="store_true", help="print the url and the keys as one line of JSON instead")
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError("must be a number from 0 to 65535")


def _count(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError("must be a number, 0 or more")


def _rate(text: str) -> tuple[int, float]:
    requests, _, seconds = text.partition("/")
    try:
        return int(requests), float(seconds)
    except ValueError:
        raise argparse.ArgumentTypeError("must be requests and seconds, such as 1000/3600") from None


def _fault(text: str) -> Json:
    try:
        fault: Json = json.loads(text)
    except (ValueError, RecursionError):
        example = '{"kind": "drop", "times": 2}'
        raise argparse.ArgumentTypeError(f"must be JSON, such as '{example}', in quotes") from None
    return fault


def _as_exports(box: Sandbox, database: str) -> str:
    return f"""\
# cStar sandbox, database {database}, until Ctrl-C. Watch it at {box.page_url}
# Paste this into another shell:
export CSTAR_BASE_URL={box.url}
export CSTAR_API_KEY={box.api_key}
export CSTAR_TEAM_ID={box.team_id}
# A key that can only read, and the secret that signs webhooks:
export CSTAR_PUBLISHABLE_KEY={box.publishable_key}
export CSTAR_WEBHOOK_SECRET={box.webhook_secret}
"""


def _as_json(box: Sandbox) -> str:
    return json.dumps(
        {
            "url": box.url,
            "api_key": box.api_key,
            "publishable_key": box.publishable_key,
            "team_id": box.team_id,
            "webhook_secret": box.webhook_secret,
        }
    )


def _log_requests() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("cstar.sandbox")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # one line each, also when CSTAR_LOG gives the client's logger a handler


def _failed(message: str) -> int:
    print(f"cstar.sandbox: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
