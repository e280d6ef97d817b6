"""Receive webhooks with Django: proven to come from cStar, answered at once, repeats dropped.

    python -m cstar.sandbox --webhook-url http://127.0.0.1:8000/webhooks
    export CSTAR_WEBHOOK_SECRET=…                  # in a second shell: what the sandbox has printed
    python examples/webhooks_django.py runserver --noreload 8000

Then create a customer in the sandbox, and see it here. What happens while this is down is delivered once it is up
again. Events wait in the file webhooks.db until they are handled. Run it as one process and with
`--noreload`: webhook_inbox.py says why.

This is a whole project in one file. In yours, call `start_inbox` in wsgi.py, which is loaded only to serve: unlike
`AppConfig.ready`, which every management command runs too.
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
    """Do the work. It may take its time, for the delivery was answered already."""
    match event:
        case CustomerCreatedEvent() | CustomerUpdatedEvent():
            logger.info("%s: %s <%s>", event.type, event.data.customer.name, event.data.customer.email)
        case CustomerDeletedEvent():
            logger.info("%s: %s", event.type, event.data.customer.id)
        case _:
            logger.info("%s: of no interest here", event.type)


@csrf_exempt  # the signature says who sent it, which is what a form's token is for
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    body = request.body  # the bytes as they came, which are what is signed
    try:
        event = construct_event(body, request.headers, SECRET)
    except WebhookSignatureError as error:
        logger.warning("Refused a delivery: %s", error)
        return HttpResponse(status=401)
    except WebhookPayloadError:
        logger.exception("Kept a delivery that cannot be read")
        inbox.put_unreadable(body)
        return HttpResponse(status=204)  # another attempt would bring the same
    inbox.put(event)
    return HttpResponse(status=204)


urlpatterns = [path("webhooks", receive)]
settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],  # as in every project, so the view has to be exempt
)


def start_inbox() -> None:
    inbox.start(handle)
    atexit.register(inbox.stop)


if __name__ == "__main__":
    start_inbox()
    execute_from_command_line(sys.argv)
