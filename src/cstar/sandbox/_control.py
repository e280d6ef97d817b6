"""Control of a sandbox over HTTP, for other processes: what `box.faults`, `box.requests` and `box.reset` do.

It needs no key: whoever can reach it may use it, except web pages. A browser sends the `Origin` header with their
requests, which are then rejected.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cstar.sandbox._faults import fault_json, read_fault
from cstar.sandbox._models import Json
from cstar.sandbox._request_log import request_json
from cstar.sandbox._services import Services
from cstar.sandbox._webhooks import delivery_json

CONTROL_PATH = "/_sandbox"

Endpoint: TypeAlias = "Callable[[Request], Awaitable[Response]]"

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def control_routes(services: Services) -> list[Route]:
    """The routes below `/_sandbox`."""
    faults = services.faults

    async def list_faults(_request: Request) -> Response:
        return _list(fault_json(fault) for fault in faults)

    async def add_fault(request: Request) -> Response:
        try:
            document = json.loads(await request.body())
        except (ValueError, RecursionError):
            return _error(400, 'The body must be JSON, such as {"kind": "drop", "times": 2}.')
        try:
            fault = faults.add(**read_fault(document))
        except ValueError as error:
            return _error(400, str(error))
        return JSONResponse({"data": fault_json(fault)}, 201)

    async def clear_faults(_request: Request) -> Response:
        faults.clear()
        return Response(status_code=204)

    async def list_requests(_request: Request) -> Response:
        return _list(map(request_json, services.request_log.requests()))

    async def list_deliveries(_request: Request) -> Response:
        return _list(map(delivery_json, services.webhooks.deliveries))

    async def reset(_request: Request) -> Response:
        services.reset()
        return Response(status_code=204)

    endpoints: dict[tuple[str, str], Endpoint] = {
        ("GET", f"{CONTROL_PATH}/faults"): list_faults,
        ("POST", f"{CONTROL_PATH}/faults"): add_fault,
        ("DELETE", f"{CONTROL_PATH}/faults"): clear_faults,
        ("GET", f"{CONTROL_PATH}/requests"): list_requests,
        ("GET", f"{CONTROL_PATH}/deliveries"): list_deliveries,
        ("POST", f"{CONTROL_PATH}/reset"): reset,
    }

    async def control(request: Request) -> Response:
        endpoint = endpoints.get((request.method, request.url.path))
        if endpoint is None:
            known = ", ".join(f"{method} {path}" for method, path in endpoints)
            return _error(404, f"There is no {request.method} {request.url.path}; there are {known}.")
        if request.method != "GET" and "Origin" in request.headers:
            return _error(403, "Web pages may not control the sandbox.")
        return await endpoint(request)

    return [Route(CONTROL_PATH + rest, control, methods=_METHODS) for rest in ("", "/{rest:path}")]


def _list(items: Iterable[Json]) -> Response:
    return JSONResponse({"data": list(items)})


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message}}, status)
