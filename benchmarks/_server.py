"""A server in a process of its own that answers from memory, so that it is the clients that are measured.

It answers gets, creates and lists in the shape of each API, to whichever asks; every list has so many rows.
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

from benchmarks._shapes import SHAPES, asked_page, headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@contextmanager
def serve(*, rows: int, latency: float = 0.0) -> Iterator[str]:
    """Run a server, and tell its address.

    Args:
        rows: How many rows every list has: a multiple of 100.
        latency: Seconds before each answer.
    """
    command = [sys.executable, "-m", "benchmarks._server", str(rows), str(latency)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=ROOT) as process:  # noqa: S603 - our own
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


def _answers(total: int) -> Callable[[str, str], tuple[int, bytes]]:
    ones = {shape.path: shape.one(is_new=False) for shape in SHAPES}
    new = {shape.path: shape.one(is_new=True)(b"00000000") for shape in SHAPES}
    lists = {shape.path: (shape, shape.rows()) for shape in SHAPES}

    def answer(method: str, target: str) -> tuple[int, bytes]:
        path = target.partition("?")[0]
        if method == "POST":
            return 201, new[path]
        if path in lists:
            shape, rows = lists[path]
            return 200, shape.page(rows, asked_page(target), total)
        return 200, ones[path.rpartition("/")[0]](path[-8:].encode())

    return answer


class _Connection(asyncio.Protocol):
    """HTTP/1.1, as much of it as the clients use. A request that it does not know ends the connection."""

    def __init__(self, answer: Callable[[str, str], tuple[int, bytes]], latency: float) -> None:
        self._answer = answer
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
        status, body = self._answer(method, target)
        lines = [b"HTTP/1.1 %d OK" % status, *(name + b": " + value for name, value in headers())]
        answer = b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def _serve(total: int, latency: float) -> None:
    answer = _answers(total)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(answer, latency), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # which ends when who started it closes it, or is killed


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("total", type=int)
    parser.add_argument("latency", type=float)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.total, arguments.latency))
