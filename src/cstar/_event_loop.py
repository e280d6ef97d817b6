"""The event loop of a task, on asyncio and trio. Loaded with the first async call, because asyncio and anyio are."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def running_loop() -> object:
    """The asyncio event loop or the trio run that runs this task."""
    # Do not import trio to find out: if it is not loaded, it is not running.
    if "trio" in sys.modules:
        import trio

        with suppress(RuntimeError):
            return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


def cancel_after(seconds: float) -> AbstractAsyncContextManager[object]:
    """Cancel the block after so many seconds, and raise a `TimeoutError` in its place."""
    # asyncio's own way takes half as long as anyio's, in each call.
    if sys.version_info >= (3, 11) and isinstance(running_loop(), asyncio.AbstractEventLoop):
        return asyncio.timeout(seconds)
    return _fail_after(seconds)


@asynccontextmanager
async def _fail_after(seconds: float) -> AsyncGenerator[None]:
    with anyio.fail_after(seconds):
        yield
