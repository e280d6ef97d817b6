import logging
import re
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timezone

import httpx
import pytest
import time_machine
import uvicorn

from cstar.sandbox import Sandbox

HALF_A_REQUEST = b"POST /api/v1/auth/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"


def whoami(box, key=None):
    return httpx.get(f"{box.url}/auth/whoami", headers={"Authorization": f"Bearer {key or box.api_key}"})


def customers_of(box):
    return f"{box.url}/teams/{box.team_id}/customers"


def test_several_run_side_by_side_each_with_its_own_port_keys_and_team(box):
    with Sandbox() as other:
        for one in (box, other):
            assert one.url.startswith("http://127.0.0.1:")
            assert one.url.endswith("/api/v1")
            assert whoami(one).status_code == 200
        assert {other.url, other.api_key, other.publishable_key, other.team_id, other.webhook_secret}.isdisjoint(
            {box.url, box.api_key, box.publishable_key, box.team_id, box.webhook_secret}
        )


def test_it_listens_where_it_is_told_to():
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


def test_its_repr_shows_no_key(box):
    assert box.url in repr(box)
    assert not any(secret in repr(box) for secret in (box.api_key, box.publishable_key, box.webhook_secret))


def test_it_answers_once_started_and_after_a_stop_neither_port_nor_thread_is_left():
    threads = set(threading.enumerate())
    box = Sandbox()
    box.start()
    assert whoami(box).status_code == 200
    box.stop()
    assert set(threading.enumerate()) <= threads
    with pytest.raises(httpx.ConnectError):
        whoami(box)


def test_stopping_twice_is_harmless_and_so_is_stopping_what_never_started():
    box = Sandbox()
    box.stop()
    box.start()
    box.stop()
    box.stop()


def test_starting_twice_is_an_error_and_leaves_the_first_running(box):
    with pytest.raises(RuntimeError, match="already running"):
        box.start()
    assert whoami(box).status_code == 200


def test_it_can_be_started_again_after_a_stop():
    box = Sandbox()
    for _ in range(2):
        with box:
            assert whoami(box).status_code == 200


@pytest.mark.parametrize("attribute", ["url", "api_key", "publishable_key", "team_id", "webhook_secret"])
def test_asking_for_keys_before_the_start_says_to_start(attribute):
    with pytest.raises(RuntimeError, match="not started"):
        getattr(Sandbox(), attribute)


def test_it_starts_and_stops_well_within_a_second():
    began = time.monotonic()
    with Sandbox(customers=100):
        pass
    assert time.monotonic() - began < 1


def test_it_stops_at_once_in_spite_of_idle_and_half_open_connections():
    with Sandbox() as box, httpx.Client(headers={"Authorization": f"Bearer {box.api_key}"}) as idle:
        idle.get(f"{box.url}/auth/whoami")
        url = httpx.URL(box.url)
        with socket.create_connection((url.host, url.port)) as half_open:
            half_open.sendall(HALF_A_REQUEST)
            idle.get(f"{box.url}/auth/whoami")  # by its answer, the half request before it has arrived
            began = time.monotonic()
            box.stop()
            assert time.monotonic() - began < 1


def test_a_client_that_hangs_up_halfway_does_not_disturb_the_next(box, caplog):
    url = httpx.URL(box.url)
    with socket.create_connection((url.host, url.port)) as half_open:
        half_open.sendall(HALF_A_REQUEST)
    assert whoami(box).status_code == 200
    assert not caplog.records


def test_answers_on_a_kept_alive_connection_are_not_delayed(api):
    api.get("/customers/cus_nobody")
    began = time.monotonic()
    for _ in range(20):
        api.get("/customers/cus_nobody")
    assert time.monotonic() - began < 20 * 0.040  # what Nagle's algorithm would add to each


def test_a_taken_port_is_an_error_for_the_caller_and_leaves_nothing_behind(box, tmp_path):
    threads = set(threading.enumerate())
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=httpx.URL(box.url).port, database=tmp_path / "cstar.db").start()
    assert set(threading.enumerate()) <= threads
    assert not (tmp_path / "cstar.db").exists()


def test_a_server_that_fails_to_start_fails_in_the_caller(monkeypatch):
    async def startup(self, sockets=None):
        raise LookupError("no such luck")

    monkeypatch.setattr("uvicorn.Server.startup", startup)
    threads = set(threading.enumerate())
    with pytest.raises(LookupError, match="no such luck"):
        Sandbox().start()
    assert set(threading.enumerate()) <= threads


def test_what_fails_in_the_server_after_its_start_is_reported_as_of_any_thread(monkeypatch):
    stop, reported = uvicorn.Server.shutdown, []

    async def shutdown(self, sockets=None):
        await stop(self, sockets)
        raise LookupError("no such luck")

    monkeypatch.setattr("uvicorn.Server.shutdown", shutdown)
    monkeypatch.setattr(threading, "excepthook", reported.append)
    with Sandbox() as box:
        assert whoami(box).status_code == 200
    [failure] = reported
    assert failure.exc_type is LookupError
    assert failure.thread.name == "cstar-sandbox"


def test_demo_customers_are_put_in_only_once_and_only_up_to_the_number(tmp_path):
    totals = []
    for customers in (3, 5, 0):
        with Sandbox(database=tmp_path / "cstar.db", customers=customers) as box:
            answer = httpx.get(
                f"{box.url}/teams/{box.team_id}/customers", headers={"Authorization": f"Bearer {box.api_key}"}
            )
            totals.append(answer.json()["pagination"]["total"])
    assert totals == [3, 5, 5]


def test_the_same_database_has_the_same_keys_team_and_customers_at_every_start(tmp_path):
    seen = []
    for database in (tmp_path / "cstar.db", str(tmp_path / "cstar.db")):
        with Sandbox(database=database, customers=3) as box:
            customers = httpx.get(
                f"{box.url}/teams/{box.team_id}/customers", headers={"Authorization": f"Bearer {box.api_key}"}
            )
            identity = (box.api_key, box.publishable_key, box.team_id, box.webhook_secret)
            seen.append((identity, customers.json()["data"]))
    assert seen[0] == seen[1]


def test_a_file_that_is_not_its_database_is_refused_and_left_as_it_was(tmp_path):
    notes, content = tmp_path / "notes.txt", b"Longer than the header of a database.\n" * 50
    notes.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Sandbox(database=notes).start()
    assert notes.read_bytes() == content


def test_a_database_of_another_program_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE accounts (id)")
    with pytest.raises(ValueError, match="not a database of this version"):
        Sandbox(database=tmp_path / "other.db").start()


def test_it_logs_requests_under_its_own_name_and_keeps_uvicorn_quiet(caplog, new_email):
    with caplog.at_level(logging.INFO), Sandbox() as box:
        httpx.post(
            f"{box.url}/teams/{box.team_id}/customers?x=%0A",
            headers={"Authorization": f"Bearer {box.api_key}"},
            json={},
        )
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "cstar.sandbox"]
    assert line.startswith("400 POST   /api/v1/teams/")
    assert "?" not in line
    assert "parameter_invalid" in line
    assert box.api_key not in line


def test_uvicorn_messages_from_elsewhere_still_come_through(box, caplog):
    logging.getLogger("uvicorn.error").warning("from the program around it")
    assert "from the program around it" in caplog.text


def test_a_reset_leaves_nothing_but_the_port_the_keys_and_the_demo_customers():
    with Sandbox(customers=2) as box, httpx.Client(headers={"Authorization": f"Bearer {box.api_key}"}) as client:
        before = (box.url, box.api_key, box.publishable_key, box.team_id, box.webhook_secret)
        customers = f"{box.url}/teams/{box.team_id}/customers"
        demo = client.get(customers).json()["data"]
        client.delete(f"{customers}/{demo[0]['id']}")
        client.post(customers, json={"name": "Jane", "email": "jane@example.com"})
        box.faults.add("drop")
        box.reset()
        assert client.get(customers).json()["data"] == demo
        assert (box.url, box.api_key, box.publishable_key, box.team_id, box.webhook_secret) == before
        assert len(box.requests) == 1
        assert not list(box.faults)


def test_what_arrived_can_still_be_asked_after_the_stop_but_not_reset():
    with Sandbox() as box:
        whoami(box)
    assert [request.status for request in box.requests] == [200]
    assert box.deliveries == ()
    with pytest.raises(RuntimeError, match="not running"):
        box.reset()


@pytest.mark.parametrize("ask", ["deliveries", "url", "api_key"])
def test_before_the_first_start_there_is_nothing_to_ask_for(ask):
    with pytest.raises(RuntimeError, match="not started yet"):
        getattr(Sandbox(), ask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": "4010"}, "port must be a whole number from 0 to 65535, not '4010'."),
        ({"port": 99999}, "port must be a whole number from 0 to 65535, not 99999."),
        ({"host": ""}, "host must be an address such as '127.0.0.1', not ''."),
        ({"customers": -1}, "customers must be a whole number from 0 on, not -1."),
        ({"customers": "10"}, "customers must be a whole number from 0 on, not '10'."),
        ({"customers": 1.5}, "customers must be a whole number from 0 on, not 1.5."),
        ({"webhook_url": 5}, "webhook_url must be a URL or a list of URLs, not 5."),
        ({"webhook_url": [5]}, "webhook_url must be a URL or a list of URLs, not [5]."),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_once_with_what_would(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Sandbox(**options)


def test_a_new_start_begins_a_new_list_of_requests():
    box = Sandbox()
    for _ in range(2):
        with box:
            assert box.requests == ()
            whoami(box)


def test_resets_come_between_two_requests_never_within_one():
    with Sandbox(customers=1) as box, ThreadPoolExecutor(4) as threads:
        customers = f"{box.url}/teams/{box.team_id}/customers"

        def write(number):
            with httpx.Client(headers={"Authorization": f"Bearer {box.api_key}"}) as client:
                return [
                    client.post(customers, json={"name": "J", "email": f"j{number}.{n}@example.com"}).status_code
                    for n in range(20)
                ]

        writing = [threads.submit(write, number) for number in range(4)]
        for _ in range(20):
            box.reset()
        assert {status for each in writing for status in each.result()} == {201}


def test_demo_customers_replace_nobody_who_was_created_at_the_same_time(tmp_path):
    newest = datetime(2025, 6, 1, tzinfo=timezone.utc)
    body = {"name": "Mine", "email": "mine@example.com"}
    with time_machine.travel(newest, tick=False), Sandbox(database=tmp_path / "cstar.db") as box:
        httpx.post(customers_of(box), json=body, headers={"Authorization": f"Bearer {box.api_key}"})
    with Sandbox(database=tmp_path / "cstar.db", customers=2) as box:
        response = httpx.get(customers_of(box), headers={"Authorization": f"Bearer {box.api_key}"})
    emails = [customer["email"] for customer in response.json()["data"]]
    assert len(emails) == 3
    assert "mine@example.com" in emails


def test_a_failure_to_start_the_webhooks_is_raised_by_the_start(monkeypatch):
    def fail(*_arguments, **_options):
        raise OSError("no certificates")

    monkeypatch.setattr(httpx, "AsyncClient", fail)
    with pytest.raises(OSError, match="no certificates"):
        Sandbox(webhook_url="https://example.com/hooks").start()


@pytest.mark.parametrize("database", ["", 5, None])
def test_a_database_is_a_path(database):
    with pytest.raises(ValueError, match=r"^database must be a path, or ':memory:', not "):
        Sandbox(database=database)
