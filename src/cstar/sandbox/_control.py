"""Driving a sandbox from another process: what `box.faults`, `box.requests` and the rest do, over HTTP.

It asks for no key: whoever can reach it may use it. Web pages may not: a browser says in the `Origin` header on whose
behalf it writes, and such a request is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cstar.sandbox._faults import fault_json, read_fault
from cstar.sandbox._request_log import request_json
from cstar.sandbox._webhooks import delivery_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import Request

    from cstar.sandbox._models import Json
    from cstar.sandbox._services import Services

CONTROL_PATH = "/_sandbox"

Endpoint: TypeAlias = "Callable[[Request], Awaitable[Response]]"

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def control_routes(services: Services) -> list[Route]:
    """The control endpoint."""
    faults = services.faults

    async def list_faults(_request: Request) -> Response:
        return _listed(fault_json(fault) for fault in faults)

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
        return _listed(request_json(received) for received in services.request_log.requests())

    async def list_deliveries(_request: Request) -> Response:
        return _listed(delivery_json(delivery) for delivery in services.webhooks.deliveries)

    async def start_over(_request: Request) -> Response:
        services.reset()
        return Response(status_code=204)

    async def unknown(request: Request) -> Response:
        known = ", ".join(f"{method} {CONTROL_PATH}/{name}" for method, name in endpoints)
        return _error(404, f"There is no {request.method} {request.url.path}; there are {known}.")

    endpoints: dict[tuple[str, str], Endpoint] = {
        ("GET", "faults"): list_faults,
        ("POST", "faults"): _not_from_a_page(add_fault),
        ("DELETE", "faults"): _not_from_a_page(clear_faults),
        ("GET", "requests"): list_requests,
        ("GET", "deliveries"): list_deliveries,
        ("POST", "reset"): _not_from_a_page(start_over),
    }
    return [
        *(
            Route(f"{CONTROL_PATH}/{name}", endpoint, methods=[method])
            for (method, name), endpoint in endpoints.items()
        ),
        *(Route(CONTROL_PATH + rest, unknown, methods=_METHODS) for rest in ("", "/{rest:path}")),
    ]


def _not_from_a_page(endpoint: Endpoint) -> Endpoint:
    async def guarded(request: Request) -> Response:
        if "Origin" in request.headers:
            return _error(403, "Web pages may not drive the sandbox.")
        return await endpoint(request)

    return guarded


def _listed(items: Iterable[Json]) -> Response:
    return JSONResponse({"data": list(items)})


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message}}, status)
