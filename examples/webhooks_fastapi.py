"""Receive webhooks with FastAPI: proven to come from cStar, answered at once, repeats dropped.

    python -m cstar.sandbox --webhook-url http://127.0.0.1:8000/webhooks
    export CSTAR_WEBHOOK_SECRET=…                  # in a second shell: what the sandbox has printed
    uvicorn --app-dir examples webhooks_fastapi:app --port 8000

Then create a customer in the sandbox, and see it here. What happens while this is down is delivered once it is up
again. Events wait in the file webhooks.db until they are handled. Run it as one process: webhook_inbox.py says why.
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
    """Do the work. It may take its time, for the delivery was answered already."""
    match event:
        case CustomerCreatedEvent() | CustomerUpdatedEvent():
            logger.info("%s: %s <%s>", event.type, event.data.customer.name, event.data.customer.email)
        case CustomerDeletedEvent():
            logger.info("%s: %s", event.type, event.data.customer.id)
        case _:
            logger.info("%s: of no interest here", event.type)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    inbox.start(handle)
    yield
    inbox.stop()


app = FastAPI(lifespan=lifespan)


@app.post("/webhooks")
async def receive(request: Request) -> Response:
    body = await request.body()  # the bytes as they came, which are what is signed
    try:
        event = construct_event(body, request.headers, SECRET)
    except WebhookSignatureError as error:
        logger.warning("Refused a delivery: %s", error)
        return Response(status_code=401)
    except WebhookPayloadError:
        logger.exception("Kept a delivery that cannot be read")
        await run_in_threadpool(inbox.put_unreadable, body)
        return Response(status_code=204)  # another attempt would bring the same
    await run_in_threadpool(inbox.put, event)  # it waits for the disk, and other requests should not
    return Response(status_code=204)
