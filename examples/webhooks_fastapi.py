"""Receive webhooks with FastAPI: verify each delivery, respond at once, and ignore repeated deliveries.

    python -m cstar.sandbox --webhook-url http://127.0.0.1:8000/webhooks
    export CSTAR_WEBHOOK_SECRET=…                  # in a second shell: the secret that the sandbox prints
    uvicorn --app-dir examples webhooks_fastapi:app --port 8000

Then create a customer in the sandbox. While this server is down, the sandbox retries each delivery for a minute.
Events wait in the file webhooks.db until they are handled. Run a single process: see webhook_inbox.py.
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from cstar import WebhookPayloadError, WebhookSignatureError
from cstar.webhooks import (
    CustomerCreatedEvent,
    CustomerDeletedEvent,
    CustomerUpdatedEvent,
    WebhookEvent,
    construct_event,
)
from webhook_inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SECRET = os.environ["CSTAR_WEBHOOK_SECRET"]
logging.basicConfig(level=logging.INFO)
logger = logging.getLogger(__name__)
inbox = Inbox("webhooks.db")


def handle(event: WebhookEvent) -> None:
    """Handle an event in the inbox's thread. This may take long, because the response does not wait for it."""
    match event:
        case CustomerCreatedEvent() | CustomerUpdatedEvent():
            logger.info("%s: %s <%s>", event.type, event.data.customer.name, event.data.customer.email)
        case CustomerDeletedEvent():
            logger.info("%s: %s", event.type, event.data.customer.id)
        case _:
            logger.info("%s: ignored", event.type)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    inbox.start(handle)
    yield
    inbox.stop()


app = FastAPI(lifespan=lifespan)


@app.post("/webhooks")
async def receive(request: Request) -> Response:
    body = await request.body()  # the signature covers the raw bytes
    try:
        event = construct_event(body, request.headers, SECRET)
    except WebhookSignatureError as error:
        logger.warning("Rejected a delivery: %s", error)
        return Response(status_code=401)
    except WebhookPayloadError:
        logger.exception("Stored a delivery that cannot be parsed")
        await run_in_threadpool(inbox.put_unreadable, body)
        return Response(status_code=204)  # another delivery would have the same body
    await run_in_threadpool(inbox.put, event)  # writing to disk must not block other requests
    return Response(status_code=204)
