"""An async web app that looks up customers, with one `AsyncCstar` for the lifetime of the app.

    export CSTAR_API_KEY=… CSTAR_TEAM_ID=…         # or the values that `python -m cstar.sandbox` prints
    uvicorn --app-dir examples async_app:app
    curl 'http://127.0.0.1:8000/customers?search=jane'
    curl http://127.0.0.1:8000/customers/cus_…        # an id from that list

The client keeps its connections open between requests. A client for each request would open new connections each time.
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cstar import APIError, AsyncCstar, InvalidParameterError, NotFoundError, RateLimitError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request


logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    # A user is waiting: retry once at most, and do not wait for the rate limit to reset.
    async with AsyncCstar(timeout=5, max_retries=1, max_retry_wait=1) as client:
        app.state.cstar = client
        app.state.team_id = os.environ.get("CSTAR_TEAM_ID") or (await client.whoami()).team_id
        yield


async def show_customer(request: Request) -> Response:
    client: AsyncCstar = request.app.state.cstar
    customer = await client.customers.get(request.app.state.team_id, request.path_params["customer_id"])
    return JSONResponse(customer.model_dump(mode="json", by_alias=True))


async def find_customers(request: Request) -> Response:
    client: AsyncCstar = request.app.state.cstar
    page = await client.customers.list(
        request.app.state.team_id, search=request.query_params.get("search"), page_size=20
    )
    return JSONResponse({"total": page.total, "names": [customer.name for customer in page.data]})


async def not_found(request: Request, error: Exception) -> Response:
    if isinstance(error, NotFoundError) and error.code != "resource_missing":
        return await unavailable(request, error)  # the endpoint is missing, not a customer: base_url may be wrong
    return JSONResponse({"error": "There is no such customer."}, status_code=404)


async def unavailable(request: Request, error: Exception) -> Response:
    logger.warning("%s", error)  # for the operator, not for the user
    wait = error.retry_after if isinstance(error, RateLimitError) else None
    headers = {} if wait is None else {"Retry-After": str(round(wait))}
    return JSONResponse({"error": "Customers cannot be looked up right now."}, status_code=503, headers=headers)


app = Starlette(
    routes=[Route("/customers", find_customers), Route("/customers/{customer_id}", show_customer)],
    # An invalid id raises an InvalidParameterError. To the user, such a customer does not exist.
    exception_handlers={NotFoundError: not_found, InvalidParameterError: not_found, APIError: unavailable},
    lifespan=lifespan,
)
