"""A server that responds from memory, in a separate process, so that its work does not affect the figures.

It responds to gets, creates and lists like each of the APIs.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._shapes import SHAPES, headers, requested_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@contextmanager
def serve(*, rows: int, latency: float = 0.0) -> Iterator[str]:
    """Run a server, and yield its address.

    Args:
        rows: The number of rows in each list, a multiple of 100.
        latency: The delay of each response, in seconds.
    """
    command = [sys.executable, "-m", "benchmarks._server", str(rows), str(latency)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=ROOT) as process:  # noqa: S603 - no input from outside
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


def _responses(total: int) -> Callable[[str, str], tuple[int, bytes]]:
    ones = {shape.path: shape.one(is_new=False) for shape in SHAPES}
    new = {shape.path: shape.one(is_new=True)(b"00000000") for shape in SHAPES}
    lists = {shape.path: (shape, shape.rows()) for shape in SHAPES}

    def respond(method: str, target: str) -> tuple[int, bytes]:
        path = target.partition("?")[0]
        if method == "POST":
            return 201, new[path]
        if path in lists:
            shape, rows = lists[path]
            return 200, shape.page(rows, requested_page(target), total)
        return 200, ones[path.rpartition("/")[0]](path[-8:].encode())

    return respond


class _Connection(asyncio.Protocol):
    """A connection with the part of HTTP/1.1 that the clients use. An unknown request closes it."""

    def __init__(self, respond: Callable[[str, str], tuple[int, bytes]], latency: float) -> None:
        self._respond = respond
        self._latency = latency
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end]
        length = _LENGTH.search(head)
        if len(self._received) < end + 4 + (int(length[1]) if length else 0):
            return
        self._received = b""
        method, target, _ = head.partition(b"\r\n")[0].decode().split(" ")
        status, body = self._respond(method, target)
        lines = [b"HTTP/1.1 %d OK" % status, *(name + b": " + value for name, value in headers())]
        response = b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, response)
        else:
            self._transport.write(response)


async def _serve(total: int, latency: float) -> None:
    respond = _responses(total)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(respond, latency), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the parent process closes it or ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("total", type=int)
    parser.add_argument("latency", type=float)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.total, arguments.latency))
