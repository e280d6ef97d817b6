"""Receive webhooks with Flask: proven to come from cStar, answered at once, repeats dropped.

    python -m cstar.sandbox --webhook-url http://127.0.0.1:8000/webhooks
    export CSTAR_WEBHOOK_SECRET=…                  # in a second shell: what the sandbox has printed
    flask --app examples/webhooks_flask.py run --port 8000

Then create a customer in the sandbox, and see it here. What happens while this is down is delivered once it is up
again. Events wait in the file webhooks.db until they are handled. Run it as one process and without
`--debug`: webhook_inbox.py says why.
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
    """Do the work. It may take its time, for the delivery was answered already."""
    match event:
        case CustomerCreatedEvent() | CustomerUpdatedEvent():
            logger.info("%s: %s <%s>", event.type, event.data.customer.name, event.data.customer.email)
        case CustomerDeletedEvent():
            logger.info("%s: %s", event.type, event.data.customer.id)
        case _:
            logger.info("%s: of no interest here", event.type)


def receive() -> Response:
    body = request.get_data()  # the bytes as they came, which are what is signed
    try:
        event = construct_event(body, request.headers, SECRET)
    except WebhookSignatureError as error:
        logger.warning("Refused a delivery: %s", error)
        return Response(status=401)
    except WebhookPayloadError:
        logger.exception("Kept a delivery that cannot be read")
        inbox.put_unreadable(body)
        return Response(status=204)  # another attempt would bring the same
    inbox.put(event)
    return Response(status=204)


def create_app() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/webhooks", view_func=receive, methods=["POST"])
    inbox.start(handle)
    atexit.register(inbox.stop)
    return app
