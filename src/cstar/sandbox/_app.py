"""The HTTP server around the API: routes, faults, the request log, and the check of the `Host` header."""

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
from cstar.sandbox._errors import ApiError, injected_error
from cstar.sandbox._faults import Fault
from cstar.sandbox._openapi import document
from cstar.sandbox._operations import OPERATIONS, Operation
from cstar.sandbox._page import page_routes
from cstar.sandbox._parsing import MAX_BODY_SIZE, ApiRequest
from cstar.sandbox._request_log import ReceivedRequest, redact, redact_headers
from cstar.sandbox._services import Services

_ERROR_PAGE = b"<html><head><title>Bad Gateway</title></head><body><h1>The server is not available</h1></body></html>\n"

_log = logging.getLogger("cstar.sandbox")


class _Endpoint:
    """A path of the API as an ASGI application: read a request, apply a fault, log it and send the response."""

    def __init__(self, services: Services, operations: Mapping[str, Operation]) -> None:
        self._services = services
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, transport = Request(scope, receive), scope["transport"]
        try:
            body, too_large = await _read_body(request)
        except ClientDisconnect:
            return  # the request is incomplete: do nothing
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
        if decision.delay and not await self._delay(decision.delay, transport):
            await _drop(transport, receive)
            return
        fault = decision.fault
        response = self._respond(api_request, fault)
        received = ReceivedRequest(
            method=api_request.method,
            path=redact(api_request.path),
            query=redact(request.url.query),
            headers=redact_headers(request.headers),
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
        transport.close()  # sends the buffered half first
        await receive()  # as in _drop()

    async def _delay(self, seconds: float, transport: asyncio.Transport) -> bool:
        """Delay a request; return False if the sandbox was reset meanwhile."""
        resets = self._services.request_log.resets
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            transport.abort()  # the sandbox stops, and uvicorn would respond with 500
            raise
        return self._services.request_log.resets == resets

    def _respond(self, request: ApiRequest, fault: Fault | None) -> ApiResponse | None:
        """Return the response to a request under a fault, or None to drop the connection."""
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
        error = injected_error(status, retry_after)
        return replace_with_error(response, error) if response else api.reject(request, error)

    def _operation(self, request: ApiRequest) -> Operation | ApiError:
        if not self._operations:
            return ApiError("resource_missing", f"There is no path {request.path}.")
        allowed = ", ".join(self._operations)
        message = f"{request.method} is not allowed at {request.path}, only {allowed}."
        error = ApiError("method_not_allowed", message, headers={"Allow": allowed})
        return self._operations.get(request.method, error)


class _HostCheck:
    """Middleware that rejects requests with an unknown `Host` header, to prevent DNS rebinding.

    The owner of a web page can make its host name resolve to this machine. The browser then treats the sandbox as the
    same origin and lets the page read everything, but it sends the page's host name in the `Host` header.
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
            f"The sandbox does not serve the host {host[:100]!r}. It serves localhost, 127.0.0.1, [::1] "
            "and the names given with --allow-host NAME or Sandbox(allow_hosts=[…])."
        )
        await JSONResponse({"error": {"message": message}}, 403)(scope, receive, send)

    def _is_allowed(self, host: str) -> bool:
        match = re.fullmatch(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]*)?", host.lower())
        name = match[1].strip("[]").rstrip(".") if match else ""
        return name in self._allowed or re.fullmatch(r"(.+\.)?localhost|127(\.[0-9]{1,3}){3}|::1", name) is not None


def build_app(services: Services, *, allow_hosts: Collection[str]) -> Starlette:
    """Build the ASGI application of a sandbox."""

    async def openapi(request: Request) -> Response:
        # Use the host of the request: in a container, it differs from the address that the server listens on.
        url = str(request.base_url).rstrip("/") + BASE_PATH
        return JSONResponse(document(services.store.credentials.team_id, url=url))

    by_path: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    app = Starlette(
        middleware=[Middleware(_HostCheck, allowed=allow_hosts)],
        exception_handlers={Exception: _failed},
        routes=[
            # Starlette checks methods only for functions. These objects respond with a 405 in the API's envelope.
            *(Route(BASE_PATH + path, _Endpoint(services, operations)) for path, operations in by_path.items()),
            Route("/openapi.json", openapi),
            *control_routes(services),
            *page_routes(services, BASE_PATH),
        ],
    )
    app.router.redirect_slashes = False
    app.router.default = _Endpoint(services, {})
    return app


def _failed(request: Request, failure: Exception) -> Response:
    """Respond to an exception in the control endpoints, the page or the OpenAPI document."""
    _log.error("%s %s failed in the sandbox itself", request.method, request.url.path, exc_info=failure)
    return JSONResponse({"error": {"message": "The sandbox failed to handle this request; see its log."}}, 500)


async def _read_body(request: Request) -> tuple[bytes, bool]:
    """Return a request's body, and whether it was too large.

    If the body is too large, read it to the end and discard it. A client that is still sending reads no response.
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
    await receive()  # until uvicorn notices the abort; otherwise, it would send a response


def _log_request(request: ReceivedRequest, note: str) -> None:
    notes = (f", {note}" if note else "") + (f" (fault: {request.fault})" if request.fault else "")
    _log.info(f"{request.status or '---'} {request.method:6} {request.path} {request.duration * 1000:.1f} ms{notes}")
    if request.query:  # may contain personal data from a search
        _log.debug(f"    the query of {request.request_id or 'this request'}: {request.query}")
