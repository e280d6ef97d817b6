"""Starting, stopping and resetting a sandbox, its options and its log."""

import logging
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
import uvicorn

from cstar.sandbox import Sandbox
from cstar.sandbox._server import REQUEST_TIMEOUT
from support import team_client

INCOMPLETE_REQUEST = b"POST /api/v1/auth/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"


def whoami(box):
    return httpx.get(f"{box.url}/auth/whoami", headers={"Authorization": f"Bearer {box.api_key}"})


def test_several_sandboxes_have_different_ports_keys_and_teams(box):
    with Sandbox() as other:
        for each in (box, other):
            assert each.url.startswith("http://127.0.0.1:")
            assert each.url.endswith("/api/v1")
            assert whoami(each).status_code == 200
        assert {other.url, other.api_key, other.publishable_key, other.team_id, other.webhook_secret}.isdisjoint(
            {box.url, box.api_key, box.publishable_key, box.team_id, box.webhook_secret}
        )


def test_the_sandbox_listens_on_the_given_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with Sandbox(port=port) as box:
        assert box.url == f"http://127.0.0.1:{port}/api/v1"


def test_the_keys_have_the_form_of_the_real_ones(box):
    assert box.api_key.startswith("sk_test_")
    assert len(box.api_key) == len("sk_test_") + 32
    assert box.publishable_key.startswith("pk_test_")
    assert len(box.publishable_key) == len("pk_test_") + 32
    assert box.webhook_secret.startswith("whsec_")


def test_the_repr_of_a_sandbox_contains_no_key(box):
    assert box.url in repr(box)
    assert not any(secret in repr(box) for secret in (box.api_key, box.publishable_key, box.webhook_secret))


def test_a_stopped_sandbox_has_no_open_port_and_no_thread():
    threads = set(threading.enumerate())
    box = Sandbox()
    box.start()
    assert whoami(box).status_code == 200
    box.stop()
    assert set(threading.enumerate()) <= threads
    with pytest.raises(httpx.ConnectError):
        whoami(box)


def test_stopping_twice_or_before_the_start_does_nothing():
    box = Sandbox()
    box.stop()
    box.start()
    box.stop()
    box.stop()


def test_a_second_start_is_an_error_and_does_not_stop_the_first(box):
    with pytest.raises(RuntimeError, match="already running"):
        box.start()
    assert whoami(box).status_code == 200


def test_the_sandbox_can_be_started_again_and_its_request_log_is_then_empty():
    box = Sandbox()
    for _ in range(2):
        with box:
            assert box.requests == ()
            assert whoami(box).status_code == 200


def test_the_sandbox_starts_and_stops_well_within_a_second():
    def start_and_stop():
        began = time.monotonic()
        with Sandbox(customers=100):
            pass
        return time.monotonic() - began

    assert min(start_and_stop() for _ in range(3)) < 1  # other load may slow one of them


def test_the_sandbox_stops_quickly_despite_idle_connections_and_incomplete_requests():
    with Sandbox() as box, httpx.Client(headers={"Authorization": f"Bearer {box.api_key}"}) as idle:
        idle.get(f"{box.url}/auth/whoami")
        url = httpx.URL(box.url)
        with socket.create_connection((url.host, url.port)) as connection:
            connection.sendall(INCOMPLETE_REQUEST)
            idle.get(f"{box.url}/auth/whoami")  # after this response, the incomplete request has arrived
            began = time.monotonic()
            box.stop()
            assert time.monotonic() - began < REQUEST_TIMEOUT / 2


def test_an_aborted_request_does_not_affect_the_next_one(box, caplog):
    url = httpx.URL(box.url)
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(INCOMPLETE_REQUEST)
    assert whoami(box).status_code == 200
    assert not caplog.records


def test_responses_on_a_reused_connection_are_not_delayed(api):
    def seconds():
        began = time.monotonic()
        api.get("/customers/cus_nobody")
        return time.monotonic() - began

    seconds()
    assert min(seconds() for _ in range(20)) < 0.040  # Nagle's algorithm would add 40 ms to each


def test_a_port_in_use_is_an_error_and_creates_no_thread_and_no_database(box, tmp_path):
    threads = set(threading.enumerate())
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=httpx.URL(box.url).port, database=tmp_path / "cstar.db").start()
    assert set(threading.enumerate()) <= threads
    assert not (tmp_path / "cstar.db").exists()


def test_an_error_at_the_start_of_the_server_is_raised_by_start(monkeypatch):
    async def startup(self, sockets=None):
        raise LookupError("a bug")

    monkeypatch.setattr("uvicorn.Server.startup", startup)
    threads = set(threading.enumerate())
    with pytest.raises(LookupError, match="a bug"):
        Sandbox().start()
    assert set(threading.enumerate()) <= threads


def test_an_error_in_the_running_server_reaches_the_excepthook(monkeypatch):
    stop, reported = uvicorn.Server.shutdown, []

    async def shutdown(self, sockets=None):
        await stop(self, sockets)
        raise LookupError("a bug")

    monkeypatch.setattr("uvicorn.Server.shutdown", shutdown)
    monkeypatch.setattr(threading, "excepthook", reported.append)
    with Sandbox() as box:
        assert whoami(box).status_code == 200
    [failure] = reported
    assert failure.exc_type is LookupError
    assert failure.thread.name == "cstar-sandbox"


def test_a_database_keeps_its_keys_team_and_customers(tmp_path):
    seen = []
    for database in (tmp_path / "cstar.db", str(tmp_path / "cstar.db")):
        with Sandbox(database=database, customers=3) as box, team_client(box) as api:
            identity = (box.api_key, box.publishable_key, box.team_id, box.webhook_secret)
            seen.append((identity, api.get("/customers").json()["data"]))
    assert seen[0] == seen[1]


def test_the_sandbox_logs_requests_itself_and_silences_uvicorn(caplog):
    with caplog.at_level(logging.INFO), Sandbox() as box, team_client(box) as api:
        api.post("/customers?x=%0A", json={})
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "cstar.sandbox"]
    assert line.startswith("400 POST   /api/v1/teams/")
    assert "?" not in line
    assert "parameter_invalid" in line
    assert box.api_key not in line


def test_the_sandbox_does_not_silence_other_uvicorn_servers(box, caplog):
    logging.getLogger("uvicorn.error").warning("from the program around it")
    assert "from the program around it" in caplog.text


def test_a_reset_keeps_only_the_port_the_keys_and_the_demo_customers():
    key = {"Idempotency-Key": "k"}
    with Sandbox(customers=2) as box, team_client(box) as api:
        before = (box.url, box.api_key, box.publishable_key, box.team_id, box.webhook_secret)
        demo = api.get("/customers").json()["data"]
        api.delete(f"/customers/{demo[0]['id']}")
        api.post("/customers", json={"name": "Jane", "email": "jane@example.com"}, headers=key)
        box.faults.add("drop")
        box.reset()
        assert api.get("/customers").json()["data"] == demo
        assert (box.url, box.api_key, box.publishable_key, box.team_id, box.webhook_secret) == before
        assert len(box.requests) == 1
        assert not list(box.faults)
        other = {"name": "Other", "email": "other@example.com"}
        assert api.post("/customers", json=other, headers=key).status_code == 201


def test_a_stopped_sandbox_keeps_its_request_log_and_cannot_be_reset():
    with Sandbox() as box:
        whoami(box)
    assert [request.status for request in box.requests] == [200]
    assert box.deliveries == ()
    with pytest.raises(RuntimeError, match="not running"):
        box.reset()


@pytest.mark.parametrize("attribute", ["deliveries", "url", "api_key"])
def test_the_attributes_of_a_sandbox_raise_an_error_before_its_first_start(attribute):
    with pytest.raises(RuntimeError, match="not started yet"):
        getattr(Sandbox(), attribute)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": "4010"}, "port must be a whole number from 0 to 65535, not '4010'."),
        ({"port": 99999}, "port must be a whole number from 0 to 65535, not 99999."),
        ({"host": ""}, "host must be an address such as '127.0.0.1', not ''."),
        ({"customers": -1}, "customers must be a whole number of at least 0, not -1."),
        ({"customers": "10"}, "customers must be a whole number of at least 0, not '10'."),
        ({"customers": 1.5}, "customers must be a whole number of at least 0, not 1.5."),
        ({"database": ""}, "database must be a path, or ':memory:', not ''."),
        ({"database": 5}, "database must be a path, or ':memory:', not 5."),
        ({"database": None}, "database must be a path, or ':memory:', not None."),
        ({"webhook_url": 5}, "webhook_url must be a URL or a list of URLs, not 5."),
        ({"webhook_url": [5]}, "webhook_url must be a URL or a list of URLs, not [5]."),
    ],
)
def test_an_invalid_option_is_rejected_with_the_allowed_values(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Sandbox(**options)


def test_a_reset_never_happens_during_a_request():
    with Sandbox(customers=1) as box, ThreadPoolExecutor(4) as threads:

        def write(number):
            with team_client(box) as api:
                return [
                    api.post("/customers", json={"name": "J", "email": f"j{number}.{n}@example.com"}).status_code
                    for n in range(20)
                ]

        writing = [threads.submit(write, number) for number in range(4)]
        for _ in range(20):
            box.reset()
        assert {status for each in writing for status in each.result()} == {201}


def test_an_error_at_the_start_of_the_webhooks_is_raised_by_start(monkeypatch):
    def fail(*_arguments, **_options):
        raise OSError("no certificates")

    monkeypatch.setattr(httpx, "AsyncClient", fail)
    with pytest.raises(OSError, match="no certificates"):
        Sandbox(webhook_url="https://example.com/hooks").start()
