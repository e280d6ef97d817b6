"""Create and import customers from a Celery queue: each once, however often its task is retried or delivered.

    celery --workdir examples --app celery_tasks worker     # with CSTAR_API_KEY and Celery's settings
    python examples/celery_tasks.py --demo                  # a worker in this process, against a sandbox

Celery's settings are CELERY_BROKER_URL and CELERY_RESULT_BACKEND, such as redis://localhost.

The idempotency key is the task's id, which Celery keeps when it retries a task and when a broker delivers it twice. So
what an earlier try did, though its answer was lost, is not done again. A task that gives up raises its error at the
caller. A task sent in its place has another id, so give it `error.idempotency_key`. The server knows a key for 24
hours.

An import is one task for any number of records. If its worker is killed, the task that the broker delivers next has the
same key: it goes on with the first request that had no effect yet.

The hourly limit is the API key's, whatever the number of workers: 1,000 single customers an hour at best, as each try
is a request; an import creates 500 with each request. A task that is refused leaves its worker to others and returns
when the server says so (`error.retry_after`). After 10 such hours it gives up. Celery's own `rate_limit` counts for
each worker apart.

Errors reach the caller with their attributes because results are pickled: as JSON they would keep the class and the
message alone. But whoever can write to a backend of pickles can run code where they are read. Use one that only your
own programs reach, or leave `result_serializer` at "json". Tasks travel as JSON either way.
"""

from __future__ import annotations

import argparse
import os
from functools import cache, partial

from celery import Celery, Task

from cstar import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    ConflictError,
    Cstar,
    CustomerRecord,
    InternalServerError,
    RateLimitError,
)

RETRYABLE = (APIConnectionError, APIResponseValidationError, InternalServerError, RateLimitError)

app = Celery("cstar")
app.conf.update(result_serializer="pickle", result_accept_content=["pickle"])


@cache
def client() -> Cstar:
    # Built by the worker's process, on first use. It hardly waits: the queue does, which survives the process.
    return Cstar(max_retries=1, max_retry_wait=1)


# With late acknowledgement, the broker delivers a task again whose worker died. What the task throws is no crash: it is
# the caller's to read.
task = partial(
    app.task,
    bind=True,
    acks_late=True,
    reject_on_worker_lost=True,
    max_retries=10,
    default_retry_delay=30,
    throws=(APIError,),
)


@task()
def create_customer(
    self: Task[..., str], team_id: str, name: str, email: str, idempotency_key: str | None = None
) -> str:
    key = idempotency_key or f"celery-{self.request.id}"
    try:
        return client().customers.create(team_id, name=name, email=email, idempotency_key=key).id
    except RETRYABLE as error:
        raise retry(self, error) from error


@task()
def import_customers(
    self: Task[..., str], team_id: str, records: list[CustomerRecord], idempotency_key: str | None = None
) -> str:
    key = idempotency_key or f"celery-{self.request.id}"
    try:
        result = client().customers.bulk_import(team_id, records, idempotency_key=key)
    except RETRYABLE as error:
        raise retry(self, error) from error
    return f"{result.created} created, {result.skipped} skipped, {len(result.errors)} rejected"


def retry(task: Task[..., str], error: APIError) -> Exception:
    backoff = task.default_retry_delay * 2 ** (task.request.retries or 0)
    return task.retry(exc=error, countdown=retry_after(error) or min(backoff, 3600))


def retry_after(error: APIError) -> float | None:
    return error.retry_after if isinstance(error, (InternalServerError, RateLimitError)) else None


def demo() -> None:
    from celery.contrib.testing.worker import start_worker

    from cstar.sandbox import Sandbox

    os.environ.update(CELERY_BROKER_URL="memory://", CELERY_RESULT_BACKEND="cache+memory://")
    app.conf.update(broker_transport_options={"polling_interval": 0.1}, worker_timer_precision=0.1)
    for each in (create_customer, import_customers):
        each.max_retries, each.default_retry_delay = 1, 0
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
        records = [CustomerRecord(name=f"Customer {n}", email=f"{n}@example.com") for n in range(1200)]
        box.faults.add("drop", when="after", path="*/import", times=3)
        print(f"1,200 records, three lost answers: {import_customers.delay(box.team_id, records).get()}")
        print(f"Customers: {client().customers.list(box.team_id).total}, POSTs: {len(box.requests) - 1}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Create customers from a Celery queue.")
    parser.add_argument("--demo", action="store_true", required=True, help="a worker in this process, and a sandbox")
    parser.parse_args()
    demo()


if __name__ == "__main__":
    main()
