"""HTTP around the API: which path and method is which operation, what is spoilt on request, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cstar.sandbox._api import BASE_PATH, WRITES, Answer, Api, Call, Operation, method_not_allowed
from cstar.sandbox._control import control_routes
from cstar.sandbox._errors import injected
from cstar.sandbox._journal import ReceivedRequest, headers_without_key
from cstar.sandbox._openapi import document
from cstar.sandbox._page import page_routes
from cstar.sandbox._server import Connections
from cstar.sandbox._validation import MAX_BODY_SIZE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.types import Receive, Scope, Send

    from cstar.sandbox._faults import Fault, Faults, Strike
    from cstar.sandbox._journal import Journal
    from cstar.sandbox._store import Store
    from cstar.sandbox._webhooks import Webhooks

_OPERATIONS: dict[str, dict[str, Operation]] = {
    "/auth/whoami": {"GET": Api.whoami},
    "/teams/{team_id}/customers": {"GET": Api.list_customers, "POST": Api.create_customer},
    "/teams/{team_id}/customers/{customer_id}": {
        "GET": Api.get_customer,
        "PATCH": Api.update_customer,
        "DELETE": Api.delete_customer,
    },
}

# How long a write waits for another process at the same database, in seconds.
_PATIENCE = 10.0

_JSON = {"Content-Type": "application/json"}
_HTML = {"Content-Type": "text/html"}
_GARBAGE = b'\x89{"succ\x00ss": tru\xff, <<<'
_ERROR_PAGE = b"""\
<html>
<head><title>Bad Gateway</title></head>
<body><center><h1>The server is not available</h1></center><hr><center>proxy</center></body>
</html>
"""

_log = logging.getLogger("cstar.sandbox")


@dataclass(frozen=True)
class Services:
    """What a running sandbox is made of."""

    store: Store
    api: Api
    faults: Faults
    journal: Journal
    webhooks: Webhooks
    reset: Callable[[], None]
    connections: Connections = field(default_factory=Connections)


class _Endpoint:
    """One path of the API as an ASGI application: reads the request, has it answered, sends what faults leave of it."""

    def __init__(self, services: Services, operations: dict[str, Operation]) -> None:
        self._services = services
        self._operations = operations
        self._otherwise = method_not_allowed(", ".join(operations)) if operations else Api.unknown_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, resets = Request(scope, receive), self._services.journal.resets
        try:
            body, too_large = await _read(request)
        except ClientDisconnect:
            return  # half a request: nothing was done, and nobody is left to tell
        arrived, started = datetime.now(timezone.utc), time.perf_counter()
        call = _call(request, body, too_large=too_large)
        operation = self._operations.get(call.method, self._otherwise)
        strike = self._services.faults.strike(call.method, call.path)
        try:
            await self._hold(operation, strike)
        except asyncio.CancelledError:
            self._services.connections.abort(scope["client"])  # or the server would say 500 for its being stopped
            raise
        if self._services.journal.resets != resets:
            await self._drop(scope, receive)  # it belongs to a test that is over
            return
        answer = self._answer(call, operation, strike.fault)
        received = ReceivedRequest(
            method=call.method,
            path=call.path,
            query=request.url.query,
            headers=headers_without_key(request.headers),
            body=body,
            status=answer.status if answer else None,
            request_id=(answer.request_id or None) if answer else None,
            replayed=answer.replayed if answer else False,
            fault=strike.fault.kind if strike.fault else "latency" if strike.delay else None,
            at=arrived,
            duration=time.perf_counter() - started,
        )
        # Before the answer goes out: who has it can count on finding its request in the journal.
        self._services.journal.add(received)
        _log_line(received, answer.remark if answer else "connection dropped")
        if answer is None:
            await self._drop(scope, receive)
        elif strike.fault is not None and strike.fault.kind == "cut":
            await self._send_half(answer, scope, receive, send)
        else:
            await Response(answer.body, answer.status, dict(answer.headers))(scope, receive, send)

    async def _hold(self, operation: Operation, strike: Strike) -> None:
        """Let a request wait for its latency, and a write for another process that is writing to the same file."""
        if strike.delay:
            await asyncio.sleep(strike.delay)
        if operation in WRITES:
            give_up = time.monotonic() + _PATIENCE
            # Here, and not in SQLite, whose waiting would hold up every other request too.
            while not self._services.store.can_write() and time.monotonic() < give_up:  # noqa: ASYNC110 - not our event
                await asyncio.sleep(0.005)

    def _answer(self, call: Call, operation: Operation, fault: Fault | None) -> Answer | None:
        """The answer to a call as a fault leaves it; None if there is to be none."""
        api = self._services.api
        answer = api.answer(call, operation) if fault is None or fault.acts else None
        if fault is None or fault.kind == "cut":
            return answer
        if fault.kind == "drop":
            return None
        if fault.kind == "garbage":
            return replace(answer or Answer(200, b"", "", _JSON), body=_GARBAGE)
        retry_after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        if fault.kind == "html":
            return Answer(fault.status or 502, _ERROR_PAGE, "", {**_HTML, **retry_after})
        status = fault.status or 500
        if status < 400:
            return Answer(status, b"", "", retry_after)
        error = injected(status, retry_after)
        return api.spoil(answer, error) if answer else api.refuse(call, error)

    async def _drop(self, scope: Scope, receive: Receive) -> None:
        self._services.connections.abort(scope["client"])
        await receive()  # until the server has noticed, or it would answer in our place

    async def _send_half(self, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Response(answer.body, answer.status, dict(answer.headers)).raw_headers
        half = answer.body[: len(answer.body) // 2]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        self._services.connections.close(scope["client"])
        await receive()


def build_app(services: Services) -> Starlette:
    """The sandbox as an ASGI application."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        async with services.webhooks:
            yield

    async def contract(request: Request) -> Response:
        # Under the name that the caller knows this server by, which in a container is not the one it listens on.
        url = str(request.base_url).rstrip("/") + BASE_PATH
        return JSONResponse(document(services.store.identity.team_id, url=url))

    app = Starlette(
        lifespan=lifespan,
        exception_handlers={Exception: _failed},
        routes=[
            # Classes, so that Starlette leaves the methods to them: a wrong one must be answered in the envelope too.
            *(Route(BASE_PATH + path, _Endpoint(services, operations)) for path, operations in _OPERATIONS.items()),
            Route("/openapi.json", contract),
            *control_routes(services.faults, services.journal, services.webhooks, services.reset),
            *page_routes(services, BASE_PATH),
        ],
    )
    app.router.redirect_slashes = False
    app.router.default = _Endpoint(services, {})
    return app


def _failed(request: Request, failure: Exception) -> Response:
    """What is beside the API has failed: the control endpoint, the page, the contract."""
    _log.error("%s %s failed in the sandbox itself", request.method, request.url.path, exc_info=failure)
    return JSONResponse({"error": {"message": "The sandbox failed to do this; its log says why."}}, 500)


def _call(request: Request, body: bytes, *, too_large: bool) -> Call:
    target: bytes = request.scope["raw_path"]
    return Call(
        method=request.method,
        path=target.decode("ascii", "backslashreplace"),
        query=request.query_params.multi_items(),
        headers=request.headers,
        body=body,
        too_large=too_large,
        team_id=request.path_params.get("team_id"),
        customer_id=request.path_params.get("customer_id"),
    )


async def _read(request: Request) -> tuple[bytes, bool]:
    """A request's body, or that it was too large.

    A body that is too large is read to its end, but not kept: a client still sending would not look for an answer.
    """
    chunks, size = list[bytes](), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_SIZE:
            chunks.clear()
        else:
            chunks.append(chunk)
    return b"".join(chunks), size > MAX_BODY_SIZE


def _log_line(request: ReceivedRequest, remark: str) -> None:
    _log.info(
        "%s %-6s %s%s %.1f ms%s%s",
        request.status or "---",
        request.method,
        request.path,
        f"?{request.query}" if request.query else "",
        request.duration * 1000,
        f", {remark}" if remark else "",
        f" (fault: {request.fault})" if request.fault else "",
    )
