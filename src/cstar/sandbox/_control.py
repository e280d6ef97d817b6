"""Driving a sandbox from another process: what `box.faults`, `box.requests` and the rest do, over HTTP.

It asks for no key: whoever can reach it may use it. Web pages may not: a browser says in the `Origin` header on whose
behalf it writes, and such a request is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import Request

    from cstar.sandbox._faults import Faults
    from cstar.sandbox._journal import Journal
    from cstar.sandbox._validation import Json
    from cstar.sandbox._webhooks import Webhooks

CONTROL_PATH = "/_sandbox"


def control_routes(faults: Faults, journal: Journal, webhooks: Webhooks, reset: Callable[[], None]) -> list[Route]:
    """The control endpoint."""

    async def list_faults(_request: Request) -> Response:
        return _listed(fault.to_json() for fault in faults)

    async def add_fault(request: Request) -> Response:
        try:
            fault = faults.add_json(json.loads(await request.body()))
        except ValueError as error:
            return _error(400, str(error))
        return JSONResponse({"data": fault.to_json()}, 201)

    async def clear_faults(_request: Request) -> Response:
        faults.clear()
        return Response(status_code=204)

    async def list_requests(_request: Request) -> Response:
        return _listed(received.to_json() for received in journal.requests())

    async def list_deliveries(_request: Request) -> Response:
        return _listed(delivery.to_json() for delivery in webhooks.deliveries)

    async def start_over(_request: Request) -> Response:
        reset()
        return Response(status_code=204)

    return [
        Route(f"{CONTROL_PATH}/faults", list_faults),
        Route(f"{CONTROL_PATH}/faults", _not_from_a_page(add_fault), methods=["POST"]),
        Route(f"{CONTROL_PATH}/faults", _not_from_a_page(clear_faults), methods=["DELETE"]),
        Route(f"{CONTROL_PATH}/requests", list_requests),
        Route(f"{CONTROL_PATH}/deliveries", list_deliveries),
        Route(f"{CONTROL_PATH}/reset", _not_from_a_page(start_over), methods=["POST"]),
    ]


def _not_from_a_page(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        if "Origin" in request.headers:
            return _error(403, "Web pages may not drive the sandbox.")
        return await endpoint(request)

    return guarded


def _listed(items: Iterable[Json]) -> Response:
    return JSONResponse({"data": list(items)})


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message}}, status)
