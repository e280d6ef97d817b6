"""Create and import customers in Celery tasks. Each is created once, even if a task is retried or delivered twice.

    celery --workdir examples --app celery_tasks worker     # with CSTAR_API_KEY and Celery's settings
    python examples/celery_tasks.py --demo                  # a worker in this process, against a sandbox

Celery's settings are CELERY_BROKER_URL and CELERY_RESULT_BACKEND, such as redis://localhost.

The idempotency key is the id of the task. The id stays the same when Celery retries a task and when a broker delivers
it twice. So a request whose response was lost has no second effect. A task that gives up raises its error in the
caller. A new task has a new id: to continue safely, pass it `error.idempotency_key`. The server stores a key for 24
hours.

An import is one task for any number of records. If its worker is killed, the broker delivers the task again. With the
same key, it continues after the requests that were carried out.

The rate limit belongs to the API key, whatever the number of workers. At 1,000 requests an hour, they create at most
1,000 single customers an hour. An import creates 500 customers per request. A task that exceeds the rate limit returns
to the queue for `error.retry_after` seconds, and the worker takes other tasks. After 10 retries it gives up. Celery's
own `rate_limit` applies to each worker separately.

Results are pickled, so that errors reach the caller with their attributes. JSON would keep only the class and the
message. Anyone who can write pickles to the backend can run code in the programs that read them. Use a backend that
only your programs can access, or keep `result_serializer` at "json". Tasks are sent as JSON in both cases.
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
    # Created on first use, in the worker's process. The queue handles long delays, because it survives the process.
    return Cstar(max_retries=1, max_retry_wait=1)


# With late acknowledgement, the broker delivers a task again if its worker dies. `throws` lists expected errors, which
# are not logged as crashes.
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
        print(f"Ada was created after two lost responses: {ada.get()}")
        try:
            create_customer.delay(box.team_id, "Another Ada", "ada@example.com").get()
        except ConflictError as error:
            print(f"Another Ada was rejected: {error.code}, {error.param}")
        box.faults.add("drop", when="after", method="POST", times=4)
        try:
            create_customer.delay(box.team_id, "Grace", "grace@example.com").get()
        except APIConnectionError as error:
            print(f"Grace's task gave up: {error}")
            again = create_customer.delay(box.team_id, "Grace", "grace@example.com", error.idempotency_key)
            print(f"Sent again with its idempotency key, it returns the customer: {again.get()}")
        records = [CustomerRecord(name=f"Customer {n}", email=f"{n}@example.com") for n in range(1200)]
        box.faults.add("drop", when="after", path="*/import", times=3)
        print(f"1,200 records, three lost responses: {import_customers.delay(box.team_id, records).get()}")
        print(f"Customers: {client().customers.list(box.team_id).total}, POSTs: {len(box.requests) - 1}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Create customers from a Celery queue.")
    parser.add_argument("--demo", action="store_true", required=True, help="a worker in this process, and a sandbox")
    parser.parse_args()
    demo()


if __name__ == "__main__":
    main()
