"""Tests of the webhook receivers in examples/, each listening on a socket for deliveries of a sandbox."""

from __future__ import annotations

import ast
import atexit
import contextlib
import functools
import importlib
import json
import os
import re
import runpy
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn
from werkzeug.serving import make_server

from cstar import Cstar, WebhookPayloadError
from cstar.sandbox import Sandbox, _webhooks
from cstar.webhooks import (
    CustomerCreatedEvent,
    CustomerDeletedEvent,
    CustomerUpdatedEvent,
    UnknownEvent,
    WebhookEvent,
    construct_event,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from wsgiref.types import WSGIApplication

    from cstar import Customer
    from webhook_inbox import Inbox

EXAMPLES = Path(__file__).parent.parent / "examples"
FRAMEWORKS = ["fastapi", "flask", "django"]
SECRET = "whsec_a-secret-of-the-tests"
DEADLINE = 30  # seconds


def body(event_id: str, type: str = "ticket.created") -> bytes:
    """Return the body of a delivery as cStar sends it; by default, of an event of an unknown type."""
    event = {
        "id": event_id,
        "type": type,
        "created_at": "2026-11-22T12:00:00Z",
        "team_id": "3f2b8c1e-5d4a-4e6f-9a7b-1c2d3e4f5a6b",
        "data": {"ticket": {"id": "tkt_1", "title": "Grüße"}},
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def event(event_id: str) -> WebhookEvent:
    return construct_event(body(event_id), sign(body(event_id), SECRET), SECRET)


class Handler:
    """Records events, then calls a function of the test."""

    def __init__(self) -> None:
        self.act: Callable[[WebhookEvent], object] = lambda event: None
        self._events: list[WebhookEvent] = []
        self._received = threading.Condition()

    def __call__(self, event: WebhookEvent) -> None:
        with self._received:
            self._events.append(event)
            self._received.notify_all()
        self.act(event)

    def wait_for(self, count: int) -> list[WebhookEvent]:
        """Wait for a number of events, and return all."""
        with self._received:
            assert self._received.wait_for(lambda: len(self._events) >= count, DEADLINE), f"got {self._events}"
            return list(self._events)

    def ids(self, count: int) -> list[str]:
        return [event.id for event in self.wait_for(count)]


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def new_inbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Inbox]]:
    """Return a function that makes an inbox in the test's directory. All are stopped after the test."""
    monkeypatch.syspath_prepend(EXAMPLES)
    inbox_class: type[Inbox] = importlib.import_module("webhook_inbox").Inbox
    with contextlib.ExitStack() as stack:

        def new(**options: float) -> Inbox:
            inbox = inbox_class(tmp_path / "webhooks.db", **options)
            stack.callback(inbox.stop)
            return inbox

        yield new


# ── The receivers ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Reserve a port for the receivers. Until they listen, connections are refused."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture(scope="module")
def shared_box(port: int) -> Iterator[Sandbox]:
    with Sandbox(webhook_url=f"http://127.0.0.1:{port}/webhooks") as box:
        yield box


@pytest.fixture
def box(shared_box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Reset the sandbox. It sends deliveries to the receivers' port, and soon repeats failed ones."""
    monkeypatch.setattr(_webhooks, "RETRY_DELAYS", (0.02, 0.05, *[0.1] * 100))
    shared_box.reset()
    return shared_box


@pytest.fixture
def client(box: Sandbox) -> Iterator[Cstar]:
    with Cstar(api_key=box.api_key, base_url=box.url) as client:
        yield client


class Receiver:
    """An example that is served inside `up()`, with the test's handler and an inbox in the test's directory."""

    def __init__(self, framework: str, port: int, secret: str) -> None:
        self.example = importlib.import_module(f"webhooks_{framework}")
        self._serving = {"fastapi": self._fastapi, "flask": self._flask, "django": self._django}[framework]
        self._port = port
        self._secret = secret

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        with contextlib.ExitStack() as at_exit, pytest.MonkeyPatch.context() as patch:
            patch.setattr(atexit, "register", at_exit.callback)
            serve, stop = self._serving()
            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield
            finally:
                stop()
                thread.join()

    def post(self, body: bytes, signature: str | None = None) -> int:
        """Send a delivery, by default with a valid signature, and return the status of the response."""
        headers = {"X-Signature": sign(body, self._secret) if signature is None else signature}
        with httpx.Client(trust_env=False, timeout=DEADLINE) as client:
            return client.post(f"http://127.0.0.1:{self._port}/webhooks", content=body, headers=headers).status_code

    def _fastapi(self) -> tuple[Callable[[], None], Callable[[], None]]:
        listener = socket.create_server(("127.0.0.1", self._port))
        server = uvicorn.Server(uvicorn.Config(self.example.app, lifespan="on", log_config=None))
        return functools.partial(server.run, [listener]), functools.partial(setattr, server, "should_exit", True)

    def _flask(self) -> tuple[Callable[[], None], Callable[[], None]]:
        return self._wsgi(self.example.create_app())

    def _django(self) -> tuple[Callable[[], None], Callable[[], None]]:
        from django.core.wsgi import get_wsgi_application

        self.example.start_inbox()
        return self._wsgi(get_wsgi_application())

    def _wsgi(self, app: WSGIApplication) -> tuple[Callable[[], None], Callable[[], None]]:
        server = make_server("127.0.0.1", self._port, app, threaded=True)
        return functools.partial(server.serve_forever, 0.01), server.shutdown


@pytest.fixture(params=FRAMEWORKS)
def receiver(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    box: Sandbox,
    port: int,
    new_inbox: Callable[..., Inbox],
    handler: Handler,
) -> Receiver:
    monkeypatch.setenv("CSTAR_WEBHOOK_SECRET", box.webhook_secret)
    receiver = Receiver(request.param, port, box.webhook_secret)
    # The module sets these when it is imported, which Django allows only once.
    monkeypatch.setattr(receiver.example, "SECRET", box.webhook_secret)
    monkeypatch.setattr(receiver.example, "inbox", new_inbox(retry_wait=0.01))
    monkeypatch.setattr(receiver.example, "handle", handler)
    return receiver


def create_customer(client: Cstar, box: Sandbox, name: str = "Jane") -> Customer:
    return client.customers.create(box.team_id, name=name, email=f"{name.lower()}@example.com")


def test_a_receiver_handles_each_write_in_order_as_a_typed_event(
    receiver: Receiver, box: Sandbox, client: Cstar, handler: Handler
) -> None:
    with receiver.up():
        jane = create_customer(client, box)
        client.customers.update(box.team_id, jane.id, name="Janet")
        client.customers.delete(box.team_id, jane.id)
        deliveries = box.wait_for_deliveries(DEADLINE)
        created, updated, deleted = handler.wait_for(3)
    assert isinstance(created, CustomerCreatedEvent)
    assert isinstance(updated, CustomerUpdatedEvent)
    assert isinstance(deleted, CustomerDeletedEvent)
    assert [event.data.customer.name for event in (created, updated, deleted)] == ["Jane", "Janet", "Janet"]
    assert [event.id for event in (created, updated, deleted)] == [delivery.event_id for delivery in deliveries]
    assert [[attempt.status for attempt in delivery.attempts] for delivery in deliveries] == [[204]] * 3


def test_a_delivery_without_a_valid_signature_gets_a_401_and_is_not_stored(
    receiver: Receiver, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    with receiver.up():
        assert receiver.post(body("evt_forged"), "") == 401
        assert receiver.post(body("evt_forged"), sign(body("evt_forged"), SECRET)) == 401
        assert receiver.post(body("evt_good")) == 204
        assert handler.ids(1) == ["evt_good"]
    warnings = [record.getMessage() for record in caplog.records if record.name == receiver.example.__name__]
    assert [warning[:24] for warning in warnings] == ["Rejected a delivery: The"] * 2


def test_an_event_of_an_unknown_type_is_handled(receiver: Receiver, handler: Handler) -> None:
    with receiver.up():
        assert receiver.post(body("evt_1", "ticket.created")) == 204
        [event] = handler.wait_for(1)
    assert isinstance(event, UnknownEvent)
    assert (event.type, event.data) == ("ticket.created", {"ticket": {"id": "tkt_1", "title": "Grüße"}})


def test_a_signed_body_that_cannot_be_parsed_gets_a_204_and_is_stored(
    receiver: Receiver, handler: Handler, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    unreadable = [b"<html>", b"[1]", b"\xff\x00", b""]
    with receiver.up():
        assert [receiver.post(sent) for sent in unreadable * 2] == [204] * 8
        assert receiver.post(body("evt_good")) == 204
        assert handler.ids(1) == ["evt_good"]
    with contextlib.closing(sqlite3.connect(tmp_path / "webhooks.db")) as database:
        assert [row[0] for row in database.execute("SELECT body FROM unreadable ORDER BY number")] == unreadable
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [error.getMessage() for error in errors] == ["Stored a delivery that cannot be parsed"] * 8
    assert errors[0].exc_info
    assert isinstance(errors[0].exc_info[1], WebhookPayloadError)


DEVIATING = [
    b"{}",
    body("evt_invalid_time", "customer.created").replace(b"2026-11-22T12:00:00Z", b"soon"),
    body("evt_without_customer", "customer.created"),
    b'{"id":"evt_invalid_tags","type":"customer.deleted","data":{"customer":{"id":"cus_1","tags":[[7]]}}}',
    b"\xef\xbb\xbf" + body("evt_byte_order_mark"),
    b'{"id":"evt_lone_surrogate","type":"x","data":"\\ud800"}',
]


def test_a_deviating_event_is_handled_once(
    receiver: Receiver, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    with receiver.up():
        assert [receiver.post(sent) for sent in [*DEVIATING, *DEVIATING, body("evt_good")]] == [204] * 13
        *deviating, good = handler.wait_for(7)
    assert deviating == [construct_event(sent, sign(sent, SECRET), SECRET) for sent in DEVIATING]
    assert good.id == "evt_good"
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_repeated_delivery_is_handled_once(
    receiver: Receiver, box: Sandbox, client: Cstar, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = receiver.example.inbox.put
    outcomes: list[bool] = []

    def put_and_fail_at_first(event: WebhookEvent) -> None:
        outcomes.append(put(event))
        if len(outcomes) == 1:
            raise ConnectionError("the response is lost")

    monkeypatch.setattr(receiver.example.inbox, "put", put_and_fail_at_first)
    with receiver.up():
        create_customer(client, box, "Jane")
        [repeated] = box.wait_for_deliveries(DEADLINE)
        create_customer(client, box, "Bob")
        _, other = box.wait_for_deliveries(DEADLINE)
        assert handler.ids(2) == [repeated.event_id, other.event_id]
    assert [attempt.status for attempt in repeated.attempts] == [500, 204]
    assert outcomes == [True, False, True]


def test_events_during_a_downtime_are_delivered_after_the_restart(
    receiver: Receiver, box: Sandbox, client: Cstar, handler: Handler
) -> None:
    with receiver.up():
        jane = create_customer(client, box)
        box.wait_for_deliveries(DEADLINE)
    client.customers.update(box.team_id, jane.id, name="Janet")
    deadline = time.monotonic() + DEADLINE
    while not box.deliveries[1].attempts:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with receiver.up():
        created, updated = box.wait_for_deliveries(DEADLINE)
        assert handler.ids(2) == [created.event_id, updated.event_id]
    assert updated.attempts[0].error == "connection refused"
    assert updated.attempts[-1].status == 204


def test_a_delivery_gets_its_response_before_the_handler_returns(
    receiver: Receiver, box: Sandbox, client: Cstar, handler: Handler
) -> None:
    released = threading.Event()
    handler.act = lambda event: released.wait(DEADLINE)
    with receiver.up():
        create_customer(client, box, "Jane")
        handler.wait_for(1)
        create_customer(client, box, "Bob")
        deliveries = box.wait_for_deliveries(DEADLINE / 2)
        assert len(handler.wait_for(1)) == 1
        released.set()
        assert handler.ids(2) == [delivery.event_id for delivery in deliveries]
    assert [delivery.outcome for delivery in deliveries] == ["delivered"] * 2


def test_other_requests_get_responses_while_the_disk_is_slow(
    receiver: Receiver, box: Sandbox, client: Cstar, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = receiver.example.inbox.put
    entered, released = threading.Event(), threading.Event()

    def put_slowly(event: WebhookEvent) -> None:
        entered.set()
        released.wait(DEADLINE)
        put(event)

    monkeypatch.setattr(receiver.example.inbox, "put", put_slowly)
    with receiver.up():
        create_customer(client, box)
        assert entered.wait(DEADLINE)
        started = time.monotonic()
        assert receiver.post(body("evt_forged"), "") == 401
        assert time.monotonic() - started < DEADLINE / 2
        released.set()
        [delivery] = box.wait_for_deliveries(DEADLINE)
    assert len(delivery.attempts) == 1


def test_an_event_is_handled_again_after_the_handler_failed(
    receiver: Receiver, box: Sandbox, client: Cstar, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([OSError("the mail server is down")])

    def fail_once(event: WebhookEvent) -> None:
        for failure in failures:
            raise failure

    handler.act = fail_once
    with receiver.up():
        create_customer(client, box)
        [delivery] = box.wait_for_deliveries(DEADLINE)
        assert handler.ids(2) == [delivery.event_id] * 2
    assert len(delivery.attempts) == 1
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.getMessage() == f"Event {delivery.event_id} was not handled; it is handled again in 0.01 s."


# ── The documented commands ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_documented_commands_receive_and_print_an_event(
    framework: str, box: Sandbox, client: Cstar, port: int, tmp_path: Path
) -> None:
    code = (EXAMPLES / f"webhooks_{framework}.py").read_text(encoding="utf-8")
    documentation = ast.get_docstring(ast.parse(code)) or ""
    sandbox, secret, receiver = [
        line.partition("#")[0].split() for line in documentation.splitlines() if line.startswith("    ")
    ]
    assert sandbox == ["python", "-m", "cstar.sandbox", "--webhook-url", "http://127.0.0.1:8000/webhooks"]
    assert secret == ["export", "CSTAR_WEBHOOK_SECRET=…"]
    command = [word.replace("examples", str(EXAMPLES)).replace("8000", str(port)) for word in receiver]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "CSTAR_WEBHOOK_SECRET": box.webhook_secret,
    }
    create_customer(client, box)
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as process:
        watchdog = threading.Timer(DEADLINE, process.kill)
        watchdog.start()
        assert process.stdout
        try:
            [delivery] = box.wait_for_deliveries(DEADLINE)
            assert any("customer.created: Jane <jane@example.com>" in line for line in process.stdout)
        finally:
            watchdog.cancel()
            process.terminate()
    assert delivery.attempts[-1].status == 204


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_receiver_does_not_start_without_its_secret(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    with pytest.raises(KeyError, match="CSTAR_WEBHOOK_SECRET"):
        runpy.run_path(str(EXAMPLES / f"webhooks_{framework}.py"))


# ── The inbox ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_inbox_detects_repeats_from_several_threads(new_inbox: Callable[..., Inbox], handler: Handler) -> None:
    inbox = new_inbox()
    inbox.start(handler)
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(inbox.put, [event("evt_1")] * 40))
    assert sorted(outcomes) == [False] * 39 + [True]
    assert inbox.put(event("evt_2")) is True
    assert handler.ids(2) == ["evt_1", "evt_2"]


def test_an_inbox_detects_repeats_after_a_restart(new_inbox: Callable[..., Inbox], handler: Handler) -> None:
    for inbox, is_new in [(new_inbox(), True), (new_inbox(), False)]:
        inbox.start(handler)
        assert inbox.put(event("evt_1")) is is_new
        handler.wait_for(1)
        inbox.stop()
    assert handler.ids(1) == ["evt_1"]


def test_an_event_that_fails_does_not_delay_others(new_inbox: Callable[..., Inbox], handler: Handler) -> None:
    def fail(event: WebhookEvent) -> None:
        if event.id == "evt_bad":
            raise ValueError

    handler.act = fail
    inbox = new_inbox(retry_wait=DEADLINE)
    inbox.start(handler)
    for event_id in ["evt_bad", "evt_2", "evt_3"]:
        inbox.put(event(event_id))
    assert handler.ids(3) == ["evt_bad", "evt_2", "evt_3"]
    started = time.monotonic()
    inbox.stop()
    assert time.monotonic() - started < DEADLINE / 2  # a pending retry does not delay the stop


def test_events_pending_at_a_crash_are_handled_after_the_restart(
    new_inbox: Callable[..., Inbox], handler: Handler, tmp_path: Path
) -> None:
    crash = """if True:
        import os, sys, threading
        from webhook_inbox import EVENTS, Inbox
        all_are_stored = threading.Event()
        inbox = Inbox("webhooks.db")
        inbox.start(lambda event: all_are_stored.wait() and os._exit(7))
        for line in sys.stdin:
            inbox.put(EVENTS.validate_json(line))
        all_are_stored.set()
        threading.Event().wait()
    """
    lines = "\n".join(event(event_id).model_dump_json() for event_id in ["evt_1", "evt_2", "evt_3"])
    crashed = subprocess.run(
        [sys.executable, "-c", crash],
        input=lines,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
        cwd=tmp_path,
        encoding="utf-8",
        timeout=10 * DEADLINE,
        check=False,
    )
    assert crashed.returncode == 7
    new_inbox().start(handler)
    assert handler.ids(3) == ["evt_1", "evt_2", "evt_3"]


def test_an_inbox_cannot_be_started_by_a_second_process(
    new_inbox: Callable[..., Inbox], handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, timeout=0))
    new_inbox().start(handler)
    with pytest.raises(sqlite3.OperationalError, match=re.escape("database is locked")):
        new_inbox().start(handler)


def test_an_inbox_that_is_not_running_rejects_events(new_inbox: Callable[..., Inbox], handler: Handler) -> None:
    inbox = new_inbox()
    with pytest.raises(RuntimeError, match="The inbox is not running"):
        inbox.put(event("evt_1"))
    inbox.start(handler)
    inbox.stop()
    with pytest.raises(RuntimeError, match="The inbox is not running"):
        inbox.put(event("evt_1"))
    with pytest.raises(RuntimeError, match="The inbox is not running"):
        inbox.put_unreadable(b"[]")


def test_the_documented_clean_up_deletes_only_events_handled_long_ago(
    new_inbox: Callable[..., Inbox], handler: Handler, tmp_path: Path
) -> None:
    inbox = new_inbox(retry_wait=DEADLINE)

    def fail(event: WebhookEvent) -> None:
        if event.id == "evt_pending":
            raise ValueError

    handler.act = fail
    inbox.start(handler)
    for event_id in ["evt_old", "evt_pending", "evt_new"]:
        inbox.put(event(event_id))
    handler.wait_for(3)
    inbox.stop()
    [statement] = re.findall(r'sqlite3 webhooks.db "(.+)"', sys.modules["webhook_inbox"].__doc__ or "")
    with contextlib.closing(sqlite3.connect(tmp_path / "webhooks.db")) as database:
        database.execute("UPDATE events SET received = datetime('now', '-31 days') WHERE id != 'evt_new'")
        database.execute(statement)
        assert database.execute("SELECT id FROM events ORDER BY number").fetchall() == [("evt_pending",), ("evt_new",)]
