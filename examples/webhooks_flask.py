"""Receive webhooks with Flask: verify each delivery, respond at once, and ignore repeated deliveries.

    python -m cstar.sandbox --webhook-url http://127.0.0.1:8000/webhooks
    export CSTAR_WEBHOOK_SECRET=…                  # in a second shell: the secret that the sandbox prints
    flask --app examples/webhooks_flask.py run --port 8000

Then create a customer in the sandbox. While this server is down, the sandbox retries each delivery for a minute.
Events wait in the file webhooks.db until they are handled. Run a single process, without `--debug`: see
webhook_inbox.py.
"""

from __future__ import annotations

import atexit
import logging
import os

from flask import Flask, Response, request

from cstar import WebhookPayloadError, WebhookSignatureError
from cstar.webhooks import (
    CustomerCreatedEvent,
    CustomerDeletedEvent,
    CustomerUpdatedEvent,
    WebhookEvent,
    construct_event,
)
from webhook_inbox import Inbox

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


def receive() -> Response:
    body = request.get_data()  # the signature covers the raw bytes
    try:
        event = construct_event(body, request.headers, SECRET)
    except WebhookSignatureError as error:
        logger.warning("Rejected a delivery: %s", error)
        return Response(status=401)
    except WebhookPayloadError:
        logger.exception("Stored a delivery that cannot be parsed")
        inbox.put_unreadable(body)
        return Response(status=204)  # another delivery would have the same body
    inbox.put(event)
    return Response(status=204)


def create_app() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/webhooks", view_func=receive, methods=["POST"])
    inbox.start(handle)
    atexit.register(inbox.stop)
    return app
