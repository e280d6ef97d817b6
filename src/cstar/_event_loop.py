"""The running event loop, and a timeout in it, on asyncio and trio.

This module is imported by the first async call, because importing asyncio and anyio takes time.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def running_loop() -> object:
    """Return the asyncio event loop, or the token of the trio run, of the current task."""
    # If the program has not imported trio, trio is not running, and need not be imported here.
    if "trio" in sys.modules:
        import trio

        with suppress(RuntimeError):
            return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


def cancel_after(seconds: float) -> AbstractAsyncContextManager[object]:
    """Cancel the block after a number of seconds, and raise `TimeoutError`."""
    # `asyncio.timeout` has half the overhead of anyio's `fail_after`.
    if sys.version_info >= (3, 11) and isinstance(running_loop(), asyncio.AbstractEventLoop):
        return asyncio.timeout(seconds)
    return _fail_after(seconds)


@asynccontextmanager
async def _fail_after(seconds: float) -> AsyncGenerator[None]:
    with anyio.fail_after(seconds):
        yield
