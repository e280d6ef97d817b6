"""HTTP around the API: which path and method is which operation, and one line of log for each request."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cstar.sandbox._api import Api, Call, Operation, method_not_allowed

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

BASE_PATH = "/api/v1"

_OPERATIONS: dict[str, dict[str, Operation]] = {
    "/auth/whoami": {"GET": Api.whoami},
    "/teams/{team_id}/customers": {"GET": Api.list_customers, "POST": Api.create_customer},
    "/teams/{team_id}/customers/{customer_id}": {
        "GET": Api.get_customer,
        "PATCH": Api.update_customer,
        "DELETE": Api.delete_customer,
    },
}

_log = logging.getLogger("cstar.sandbox")


class _Endpoint:
    """One path of the API as an ASGI application: reads the request, has it answered, sends the answer."""

    def __init__(self, api: Api, operations: dict[str, Operation]) -> None:
        self._api = api
        self._operations = operations
        self._otherwise = method_not_allowed(", ".join(operations)) if operations else Api.unknown_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return  # half a request: nothing was done, and nobody is left to tell
        started = time.perf_counter()
        target: bytes = scope["raw_path"]
        call = Call(
            method=request.method,
            path=target.decode("ascii", "backslashreplace"),
            query=request.query_params.multi_items(),
            headers=request.headers,
            body=body,
            team_id=request.path_params.get("team_id"),
            customer_id=request.path_params.get("customer_id"),
        )
        answer = self._api.answer(call, self._operations.get(call.method, self._otherwise))
        _log.info(
            "%d %-6s %s%s %.1f ms%s",
            answer.status,
            call.method,
            call.path,
            f"?{request.url.query}" if request.url.query else "",
            (time.perf_counter() - started) * 1000,
            f", {answer.remark}" if answer.remark else "",
        )
        response = Response(answer.body, answer.status, dict(answer.headers), media_type="application/json")
        await response(scope, receive, send)


def build_app(api: Api) -> Starlette:
    """The API as an ASGI application."""
    app = Starlette(
        routes=[
            # A class, so that Starlette leaves the methods to it: a wrong one must be answered in the envelope too.
            Route(BASE_PATH + path, _Endpoint(api, operations))
            for path, operations in _OPERATIONS.items()
        ]
    )
    app.router.redirect_slashes = False
    app.router.default = _Endpoint(api, {})
    return app
