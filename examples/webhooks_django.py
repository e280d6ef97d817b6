"""Receive webhooks with Django: verify each delivery, respond at once, and ignore repeated deliveries.

    python -m cstar.sandbox --webhook-url http://127.0.0.1:8000/webhooks
    export CSTAR_WEBHOOK_SECRET=…                  # in a second shell: the secret that the sandbox prints
    python examples/webhooks_django.py runserver --noreload 8000

Then create a customer in the sandbox. While this server is down, the sandbox retries each delivery for a minute.
Events wait in the file webhooks.db until they are handled. Run a single process, with `--noreload`: see
webhook_inbox.py.

This file is a complete project. In your project, call `start_inbox` in wsgi.py, which only servers import, and not in
`AppConfig.ready`, which every management command runs.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

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
    from django.http import HttpRequest

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


@csrf_exempt  # the signature authenticates the sender
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    body = request.body  # the signature covers the raw bytes
    try:
        event = construct_event(body, request.headers, SECRET)
    except WebhookSignatureError as error:
        logger.warning("Rejected a delivery: %s", error)
        return HttpResponse(status=401)
    except WebhookPayloadError:
        logger.exception("Stored a delivery that cannot be parsed")
        inbox.put_unreadable(body)
        return HttpResponse(status=204)  # another delivery would have the same body
    inbox.put(event)
    return HttpResponse(status=204)


urlpatterns = [path("webhooks", receive)]
settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],  # as in every project
)


def start_inbox() -> None:
    inbox.start(handle)
    atexit.register(inbox.stop)


if __name__ == "__main__":
    start_inbox()
    execute_from_command_line(sys.argv)
