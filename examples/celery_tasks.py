"""Create customers from a Celery queue: each once, however often its task is retried or delivered.

    celery --workdir examples --app celery_tasks worker     # with CSTAR_API_KEY and Celery's settings
    python examples/celery_tasks.py --demo                  # a worker in this process, against a sandbox

Celery's settings are CELERY_BROKER_URL and CELERY_RESULT_BACKEND, such as redis://localhost.

The idempotency key is the task's id, which Celery keeps when it retries a task and when a broker delivers it twice. So
what an earlier try did, though its answer was lost, is not done again. A task that gives up raises its error at the
caller. A task sent in its place has another id, so give it `error.idempotency_key`. The server knows a key for 24
hours.

The hourly limit is the API key's, whatever the number of workers: 1,000 customers an hour at best, as each try is a
request. A task that is refused leaves its worker to others and returns when the server says so (`error.retry_after`).
After 10 such hours it gives up. Celery's own `rate_limit` counts for each worker apart.

Errors reach the caller with their attributes because results are pickled: as JSON they would keep the class and the
message alone. But whoever can write to a backend of pickles can run code where they are read. Use one that only your
own programs reach, or leave `result_serializer` at "json". Tasks travel as JSON either way.
"""

from __future__ import annotations

import argparse
import os
from functools import cache

from celery import Celery, Task

from cstar import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    ConflictError,
    Cstar,
    InternalServerError,
    RateLimitError,
)

app = Celery("cstar")
app.conf.update(result_serializer="pickle", result_accept_content=["pickle"])


@cache
def client() -> Cstar:
    # Built by the worker's process, on first use. It hardly waits: the queue does, which survives the process.
    return Cstar(max_retries=1, max_retry_wait=1)


# With late acknowledgement, the broker delivers a task again whose worker died. What the task throws is no crash: it is
# the caller's to read.
@app.task(
    bind=True,
    acks_late=True,
    reject_on_worker_lost=True,
    max_retries=10,
    default_retry_delay=30,
    throws=(APIError,),
)
def create_customer(
    self: Task[..., str], team_id: str, name: str, email: str, idempotency_key: str | None = None
) -> str:
    key = idempotency_key or f"celery-{self.request.id}"
    try:
        return client().customers.create(team_id, name=name, email=email, idempotency_key=key).id
    except (APIConnectionError, APIResponseValidationError, InternalServerError, RateLimitError) as error:
        backoff = self.default_retry_delay * 2 ** (self.request.retries or 0)
        raise self.retry(exc=error, countdown=retry_after(error) or min(backoff, 3600)) from error


def retry_after(error: APIError) -> float | None:
    return error.retry_after if isinstance(error, (InternalServerError, RateLimitError)) else None


def demo() -> None:
    from celery.contrib.testing.worker import start_worker

    from cstar.sandbox import Sandbox

    os.environ.update(CELERY_BROKER_URL="memory://", CELERY_RESULT_BACKEND="cache+memory://")
    app.conf.update(broker_transport_options={"polling_interval": 0.1}, worker_timer_precision=0.1)
    create_customer.max_retries, create_customer.default_retry_delay = 1, 0
    with Sandbox() as box, start_worker(app, perform_ping_check=False):
        os.environ.update(CSTAR_API_KEY=box.api_key, CSTAR_BASE_URL=box.url)
        box.faults.add("drop", when="after", method="POST", times=2)
        ada = create_customer.delay(box.team_id, "Ada", "ada@example.com")
        print(f"Ada was created after two lost answers: {ada.get()}")
        try:
            create_customer.delay(box.team_id, "Another Ada", "ada@example.com").get()
        except ConflictError as error:
            print(f"Another Ada was refused: {error.code}, {error.param}")
        box.faults.add("drop", when="after", method="POST", times=4)
        try:
            create_customer.delay(box.team_id, "Grace", "grace@example.com").get()
        except APIConnectionError as error:
            print(f"Grace's task gave up: {error}")
            again = create_customer.delay(box.team_id, "Grace", "grace@example.com", error.idempotency_key)
            print(f"Sent again with its idempotency key, it found her created: {again.get()}")
        print(f"Customers: {client().customers.list(box.team_id).total}, POSTs: {len(box.requests) - 1}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Create customers from a Celery queue.")
    parser.add_argument("--demo", action="store_true", required=True, help="a worker in this process, and a sandbox")
    parser.parse_args()
    demo()


if __name__ == "__main__":
    main()
