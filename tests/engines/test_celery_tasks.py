"""examples/celery_tasks.py, with a Celery worker in this process and serialized results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Task
from celery.contrib.testing.worker import start_worker

import celery_tasks
from celery_tasks import app, create_customer, import_customers
from cstar import APIConnectionError, ConflictError, CustomerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cstar import Cstar
    from cstar.sandbox import Sandbox


@pytest.fixture(scope="module")
def _worker() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CELERY_BROKER_URL", "memory://")
        environment.setenv("CELERY_RESULT_BACKEND", "cache+memory://")
        app.conf.update(broker_transport_options={"polling_interval": 0.01}, worker_timer_precision=0.01)
        app.conf.update(worker_hijack_root_logger=False, worker_redirect_stdouts=False)  # pytest captures both
        with start_worker(app, perform_ping_check=False):
            yield


@pytest.fixture(autouse=True)
def delays(_worker: None, client: Cstar, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the worker use the sandbox of the test and retry at once; return the retry delays in seconds."""
    delays: list[float] = []
    retry = Task.retry

    def retry_at_once(self: Task, *, countdown: float, **options):
        delays.append(countdown)
        return retry(self, countdown=0, **options)

    monkeypatch.setattr(Task, "retry", retry_at_once)
    fast_client = client.with_options(max_retries=0, max_retry_wait=1)
    monkeypatch.setattr(celery_tasks, "client", lambda: fast_client)
    return delays


def posts(box: Sandbox) -> list[tuple[str, int | None]]:
    """Return the idempotency keys and statuses of the received POSTs."""
    return [(each.headers["idempotency-key"], each.status) for each in box.requests if each.method == "POST"]


def test_a_task_whose_responses_are_lost_creates_one_customer(box: Sandbox, client: Cstar, delays: list[float]) -> None:
    box.faults.add("drop", when="after", method="POST", times=2)
    sent = create_customer.delay(box.team_id, "Ada", "ada@engines.test")
    created = sent.get(timeout=10, interval=0.01)
    key = f"celery-{sent.id}"
    assert posts(box) == [(key, None), (key, None), (key, 201)]
    assert [each.id for each in client.customers.list(box.team_id, search="@engines.test")] == [created]
    assert delays == [30, 60]


@pytest.mark.parametrize("fault", ["status", "garbage"])
def test_a_task_is_retried_after_an_error_or_an_invalid_response(box: Sandbox, delays: list[float], fault) -> None:
    box.faults.add(fault, status=500 if fault == "status" else None, method="POST")
    assert create_customer.delay(box.team_id, "Ada", "ada@engines.test").get(timeout=10, interval=0.01)
    assert delays == [30]


def test_a_task_that_is_delivered_twice_creates_one_customer(box: Sandbox, client: Cstar) -> None:
    created = []
    for _ in range(2):
        delivered = create_customer.apply_async((box.team_id, "Ada", "ada@engines.test"), task_id="job-7")
        created.append(delivered.get(timeout=10, interval=0.01))
        delivered.forget()
    assert created[0] == created[1]
    assert [request.replayed for request in box.requests if request.method == "POST"] == [False, True]
    assert client.customers.list(box.team_id, search="@engines.test").total == 1


def test_a_retried_import_does_not_repeat_completed_requests(box: Sandbox, client: Cstar, delays: list[float]) -> None:
    box.faults.add("drop", when="after", path="*/import", times=2)
    records = [CustomerRecord(name="Ada", email=f"{n}@engines.test") for n in range(600)]
    sent = import_customers.delay(box.team_id, records)
    assert sent.get(timeout=10, interval=0.01) == "600 created, 0 skipped, 0 rejected"
    key = f"celery-{sent.id}"
    assert posts(box) == [(f"{key}-1", None), (f"{key}-1", None), (f"{key}-1", 200), (f"{key}-2", 200)]
    assert client.customers.list(box.team_id, search="@engines.test").total == 600
    assert delays == [30, 60]


def test_an_import_that_is_delivered_twice_runs_once(box: Sandbox) -> None:
    records = [CustomerRecord(name="Ada", email="ada@engines.test")]
    results = []
    for _ in range(2):
        delivered = import_customers.apply_async((box.team_id, records), task_id="job-8")
        results.append(delivered.get(timeout=10, interval=0.01))
        delivered.forget()
    assert results == ["1 created, 0 skipped, 0 rejected"] * 2
    assert [request.replayed for request in box.requests if request.method == "POST"] == [False, True]


def test_a_task_waits_for_the_retry_after_of_the_server(box: Sandbox, delays: list[float]) -> None:
    box.faults.add("status", status=429, retry_after=1234, method="POST")
    assert create_customer.delay(box.team_id, "Ada", "ada@engines.test").get(timeout=10, interval=0.01)
    assert delays == [1234]


def test_retry_delays_are_at_most_an_hour(box: Sandbox, delays: list[float]) -> None:
    box.faults.add("drop", method="POST", times=9)
    assert create_customer.delay(box.team_id, "Ada", "ada@engines.test").get(timeout=10, interval=0.01)
    assert delays == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_an_error_reaches_the_caller_with_its_class_and_attributes(box: Sandbox) -> None:
    create_customer.delay(box.team_id, "Ada", "ada@engines.test").get(timeout=10, interval=0.01)
    again = create_customer.delay(box.team_id, "Another Ada", "ada@engines.test")
    with pytest.raises(ConflictError) as caught:
        again.get(timeout=10, interval=0.01)
    error = caught.value
    assert (error.status_code, error.code, error.param) == (409, "resource_already_exists", "email")
    assert (error.attempts, error.idempotency_key) == (1, f"celery-{again.id}")
    assert error.request_id == box.requests[-1].request_id
    stored = app.backend.get(app.backend.get_key_for_task(again.id))
    assert b"ConflictError" in stored
    assert box.api_key.encode() not in stored


def test_a_failed_job_can_be_repeated_with_the_key_of_its_error(
    box: Sandbox, client: Cstar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create_customer, "max_retries", 1)
    box.faults.add("drop", when="after", method="POST", times=2)
    with pytest.raises(APIConnectionError) as caught:
        create_customer.delay(box.team_id, "Ada", "ada@engines.test").get(timeout=10, interval=0.01)
    key = caught.value.idempotency_key
    again = create_customer.delay(box.team_id, "Ada", "ada@engines.test", idempotency_key=key)
    created = again.get(timeout=10, interval=0.01)
    assert posts(box) == [(key, None), (key, None), (key, 201)]
    assert [each.id for each in client.customers.list(box.team_id, search="@engines.test")] == [created]


def test_the_demo_creates_and_imports_each_customer_once(demo: Callable) -> None:
    done = demo("celery_tasks.py", "--demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1200 created, 0 skipped, 0 rejected\nCustomers: 1202, POSTs: 15\n")
    assert "Another Ada was rejected: resource_already_exists, email" in done.stdout
