"""The control endpoints, for other processes: set faults, list requests and deliveries, and reset the sandbox.

They need no API key, but web pages may not use them: changes with the `Origin` header, which browsers send, are
rejected, and a browser hides the response to a GET from the pages of other sites.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cstar.sandbox._faults import Faults, fault_json, read_fault
from cstar.sandbox._models import Json
from cstar.sandbox._request_log import request_json
from cstar.sandbox._services import Services
from cstar.sandbox._webhooks import delivery_json

CONTROL_PATH = "/_sandbox"

_ENDPOINTS = (
    "GET /_sandbox/faults, POST /_sandbox/faults, DELETE /_sandbox/faults, GET /_sandbox/requests, "
    "GET /_sandbox/deliveries and POST /_sandbox/reset"
)


def control_routes(services: Services) -> list[Route]:
    """Return the routes below `/_sandbox`."""

    async def control(request: Request) -> Response:
        if request.method != "GET" and "Origin" in request.headers:
            return _error(403, "Web pages may not control the sandbox.")
        match request.method, request.url.path.removeprefix(CONTROL_PATH):
            case "GET", "/faults":
                return _list(map(fault_json, services.faults))
            case "POST", "/faults":
                return _add_fault(services.faults, await request.body())
            case "DELETE", "/faults":
                services.faults.clear()
            case "GET", "/requests":
                return _list(map(request_json, services.request_log.requests()))
            case "GET", "/deliveries":
                return _list(map(delivery_json, services.webhooks.deliveries))
            case "POST", "/reset":
                await services.reset()
            case _:
                return _error(404, f"There is no {request.method} {request.url.path}; the endpoints are {_ENDPOINTS}.")
        return Response(status_code=204)

    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    return [Route(CONTROL_PATH + rest, control, methods=methods) for rest in ("", "/{rest:path}")]


def _add_fault(faults: Faults, body: bytes) -> Response:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _error(400, 'The body must be JSON, such as {"kind": "drop", "times": 2}.')
    try:
        fault = faults.add(**read_fault(document))
    except ValueError as error:
        return _error(400, str(error))
    return JSONResponse({"data": fault_json(fault)}, 201)


def _list(items: Iterable[Json]) -> Response:
    return JSONResponse({"data": list(items)})


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message}}, status)
