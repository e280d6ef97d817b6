"""HTTP around the API: routes, faults, the request log, and who may ask."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timezone

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cstar.sandbox import _clock
from cstar.sandbox._api import BASE_PATH, JSON, ApiResponse, replace_with_error
from cstar.sandbox._control import control_routes
from cstar.sandbox._errors import ApiError, injected
from cstar.sandbox._faults import Fault
from cstar.sandbox._openapi import document
from cstar.sandbox._operations import OPERATIONS, Operation
from cstar.sandbox._page import page_routes
from cstar.sandbox._parsing import MAX_BODY_SIZE, ApiRequest
from cstar.sandbox._request_log import ReceivedRequest, headers_without_key, redact
from cstar.sandbox._services import Services

_ERROR_PAGE = b"<html><head><title>Bad Gateway</title></head><body><h1>The server is not available</h1></body></html>\n"

_log = logging.getLogger("cstar.sandbox")


class _Endpoint:
    """A path of the API as an ASGI application: reads a request, and sends the response that faults leave of it."""

    def __init__(self, services: Services, operations: Mapping[str, Operation]) -> None:
        self._services = services
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, transport = Request(scope, receive), scope["transport"]
        try:
            body, too_large = await _read(request)
        except ClientDisconnect:
            return  # half a request: nothing was done, and nobody waits for a response
        arrived, started = datetime.now(timezone.utc), _clock.real_time()
        api_request = ApiRequest(
            method=request.method,
            path=scope["raw_path"].decode("ascii", "backslashreplace"),
            query=request.query_params.multi_items(),
            headers=request.headers,
            body=body,
            too_large=too_large,
            path_parameters=request.path_params,
        )
        decision = self._services.faults.decide(api_request.method, api_request.path)
        if decision.delay and not await self._is_still_wanted_after(decision.delay, transport):
            await _drop(transport, receive)
            return
        fault = decision.fault
        response = self._respond(api_request, fault)
        received = ReceivedRequest(
            method=api_request.method,
            path=redact(api_request.path),
            query=redact(request.url.query),
            headers=headers_without_key(request.headers),
            body=body,
            status=response.status if response else None,
            request_id=(response.request_id or None) if response else None,
            replayed=response.replayed if response else False,
            fault=fault.kind if fault else "latency" if decision.delay else None,
            at=arrived,
            duration=_clock.real_time() - started,
        )
        # Before the response is sent, so that a client with a response finds its request in the log.
        self._services.request_log.add(received)
        _log_request(received, response.log_note if response else "connection dropped")
        if response is None:
            await _drop(transport, receive)
            return
        whole = Response(response.body, response.status, dict(response.headers))
        if fault is None or fault.kind != "cut":
            await whole(scope, receive, send)
            return
        half = response.body[: len(response.body) // 2]
        await send({"type": "http.response.start", "status": response.status, "headers": whole.raw_headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        transport.close()
        await receive()

    async def _is_still_wanted_after(self, delay: float, transport: asyncio.Transport) -> bool:
        """Delay a request, and return whether there was no reset meanwhile."""
        resets = self._services.request_log.resets
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            transport.abort()  # or uvicorn would respond with 500 because the sandbox stops
            raise
        return self._services.request_log.resets == resets

    def _respond(self, request: ApiRequest, fault: Fault | None) -> ApiResponse | None:
        """The response to a request, as a fault leaves it; None if there is to be none."""
        api = self._services.api
        response = api.respond(request, self._operation(request)) if fault is None or fault.acts else None
        if fault is None or fault.kind == "cut":
            return response
        if fault.kind == "drop":
            return None
        if fault.kind == "garbage":
            return replace(response or ApiResponse(200, b"", headers=JSON), body=b'\x89{"succ\x00ss": tru\xff, <<<')
        retry_after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        if fault.kind == "html":
            return ApiResponse(fault.status or 502, _ERROR_PAGE, headers={"Content-Type": "text/html", **retry_after})
        status = fault.status or 500
        if status < 400:
            return ApiResponse(status, b"", headers=retry_after)
        error = injected(status, retry_after)
        return replace_with_error(response, error) if response else api.reject(request, error)

    def _operation(self, request: ApiRequest) -> Operation | ApiError:
        if not self._operations:
            return ApiError("resource_missing", f"There is nothing at {request.path}.")
        allowed = ", ".join(self._operations)
        message = f"{request.method} is not possible at {request.path}, only {allowed}."
        error = ApiError("method_not_allowed", message, headers={"Allow": allowed})
        return self._operations.get(request.method, error)


class _HostCheck:
    """Middleware that rejects other hosts than the sandbox's own.

    A web page can have its own name resolve to this machine. For the browser, the sandbox is then of the same origin as
    the page, which may read everything; but the `Host` header still says the name.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = {name.lower().rstrip(".") for name in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Request(scope).headers.get("Host", "")
        if self._is_allowed(host):
            await self._app(scope, receive, send)
            return
        message = (
            f"The sandbox does not serve the host {host[:100]!r}. It serves localhost, 127.0.0.1 and [::1], "
            "and further names that it was started with: --allow-host NAME, or Sandbox(allow_hosts=[…])."
        )
        await JSONResponse({"error": {"message": message}}, 403)(scope, receive, send)

    def _is_allowed(self, host: str) -> bool:
        match = re.fullmatch(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]*)?", host.lower())
        name = match[1].strip("[]").rstrip(".") if match else ""
        return name in self._allowed or re.fullmatch(r"(.+\.)?localhost|127(\.[0-9]{1,3}){3}|::1", name) is not None


def build_app(services: Services, *, allow_hosts: Collection[str]) -> Starlette:
    """The sandbox as an ASGI application."""

    async def contract(request: Request) -> Response:
        # Under the name by which the caller knows this server; in a container, it does not listen on that.
        url = str(request.base_url).rstrip("/") + BASE_PATH
        return JSONResponse(document(services.store.credentials.team_id, url=url))

    by_path: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    app = Starlette(
        middleware=[Middleware(_HostCheck, allowed=allow_hosts)],
        exception_handlers={Exception: _failed},
        routes=[
            # Objects, so that Starlette leaves the methods to them: for a wrong one the response has an envelope, too.
            *(Route(BASE_PATH + path, _Endpoint(services, operations)) for path, operations in by_path.items()),
            Route("/openapi.json", contract),
            *control_routes(services),
            *page_routes(services, BASE_PATH),
        ],
    )
    app.router.redirect_slashes = False
    app.router.default = _Endpoint(services, {})
    return app


def _failed(request: Request, failure: Exception) -> Response:
    """The response where the control endpoint, the page or the contract fails."""
    _log.error("%s %s failed in the sandbox itself", request.method, request.url.path, exc_info=failure)
    return JSONResponse({"error": {"message": "The sandbox failed to do this; its log says why."}}, 500)


async def _read(request: Request) -> tuple[bytes, bool]:
    """A request's body, or that it was too large.

    A body that is too large is read to its end, but not kept: a client still sending would not read a response.
    """
    chunks, size = list[bytes](), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_SIZE:
            chunks.clear()
        else:
            chunks.append(chunk)
    return b"".join(chunks), size > MAX_BODY_SIZE


async def _drop(transport: asyncio.Transport, receive: Receive) -> None:
    transport.abort()
    await receive()  # until uvicorn has noticed, or it would respond itself


def _log_request(request: ReceivedRequest, note: str) -> None:
    notes = (f", {note}" if note else "") + (f" (fault: {request.fault})" if request.fault else "")
    _log.info(f"{request.status or '---'} {request.method:6} {request.path} {request.duration * 1000:.1f} ms{notes}")
    if request.query:  # which has what is searched for
        _log.debug(f"    the query of {request.request_id or 'this request'}: {request.query}")
