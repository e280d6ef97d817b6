"""Durability of writes after a kill, and the lock of a database, with real processes and files."""

import itertools
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

TIMEOUT = 20  # seconds; each step takes a fraction of one


@contextmanager
def sandbox_process(database, *options):
    command = [sys.executable, "-m", "cstar.sandbox", "--json", "--port", "0", "--database", str(database), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    watchdog = threading.Timer(TIMEOUT, process.kill)
    watchdog.start()
    with process:
        try:
            yield process
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()


def read_json(process):
    """Return the URL and the keys that a process prints once its sandbox is running."""
    return json.loads(process.stdout.readline())


def new_client(box):
    return httpx.Client(
        base_url=f"{box['url']}/teams/{box['team_id']}",
        headers={"Authorization": f"Bearer {box['api_key']}"},
        timeout=TIMEOUT,
    )


@contextmanager
def running_client(database, *options):
    """Run a sandbox in another process, and yield a client of it."""
    with sandbox_process(database, *options) as process, new_client(read_json(process)) as client:
        yield client


def list_all(client):
    customers, pages = [], itertools.count(1)
    while True:
        body = client.get("/customers", params={"page": next(pages), "pageSize": 100}).json()
        customers += body["data"]
        if not body["pagination"]["hasMore"]:
            return customers


@dataclass
class Write:
    """A write with its idempotency key, the email of its customer, and its response if one arrived."""

    email: str
    method: str
    path: str
    json: dict | None
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    response: httpx.Response | None = None

    def send(self, client):
        return client.request(self.method, self.path, json=self.json, headers={"Idempotency-Key": self.key})


def write_until_killed(box, name, acknowledged):
    """Send one write after another until the connection fails; return them, the last one without a response."""
    writes = []
    with new_client(box) as client:

        def write(*arguments):
            writes.append(Write(*arguments))
            writes[-1].response = writes[-1].send(client)
            acknowledged.release()
            return writes[-1].response.json()["data"]

        try:
            for number in itertools.count():
                email = f"{name}.{number}@example.com"
                path = "/customers/" + write(email, "POST", "/customers", {"name": "New", "email": email})["id"]
                write(email, "PATCH", path, {"name": "Changed", "tags": [email]})
                if number % 3 == 0:
                    write(email, "DELETE", path, None)
        except httpx.TransportError:
            return writes


def kill_while_writing(database, write_count):
    """Let four clients write to a sandbox, kill it after a number of writes, and return the writes of each client."""
    acknowledged = threading.Semaphore(0)
    with sandbox_process(database) as process, ThreadPoolExecutor(4) as threads:
        box = read_json(process)
        names = [uuid.uuid4().hex for _ in range(4)]
        writers = [threads.submit(write_until_killed, box, name, acknowledged) for name in names]
        for _ in range(write_count):
            assert acknowledged.acquire(timeout=TIMEOUT)
        process.send_signal(signal.SIGKILL)
        return [writer.result() for writer in writers]


def customers_after(writes):
    """Return the customers after a sequence of writes, by email."""
    customers = {}
    for write in writes:
        if write.method == "DELETE":
            customers.pop(write.email, None)
        else:
            customers[write.email] = write.response.json()["data"]
    return customers


def test_a_kill_loses_no_acknowledged_write_and_the_last_ones_can_be_repeated(tmp_path):
    database = tmp_path / "cstar.db"
    writers = kill_while_writing(database, random.randint(1, 80))
    assert all(write.response.is_success for writes in writers for write in writes[:-1])
    assert all(writes[-1].response is None for writes in writers)

    with closing(sqlite3.connect(database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with running_client(database) as client:
        found = {customer["email"]: customer for customer in list_all(client)}
        for writes in writers:
            *acknowledged, unacknowledged = writes
            kept = customers_after(acknowledged)
            kept.pop(unacknowledged.email, None)  # this customer may have been changed or not
            assert kept.items() <= found.items()
            for write in acknowledged:
                again = write.send(client)
                assert (again.content, again.headers["Idempotent-Replayed"]) == (write.response.content, "true")
            unacknowledged.response = unacknowledged.send(client)
            assert unacknowledged.response.is_success
            assert unacknowledged.send(client).content == unacknowledged.response.content

        expected = customers_after(itertools.chain.from_iterable(writers))
        rows = list_all(client)
        assert len(rows) == len(expected)
        assert {customer["email"]: customer for customer in rows} == expected
        for email, customer in expected.items():
            assert client.get("/customers", params={"search": email}).json()["data"] == [customer]
            assert client.get("/customers", params={"tag": email}).json()["data"] == (
                [customer] * bool(customer["tags"])
            )


def test_a_kill_during_the_start_leaves_all_demo_customers_or_none(tmp_path):
    database = tmp_path / "cstar.db"
    with sandbox_process(database, "--customers", "100000") as process:
        for _ in range(TIMEOUT * 100):
            if Path(f"{database}-wal").exists():
                break
            time.sleep(0.01)
        time.sleep(0.5)  # until it is adding customers
        process.send_signal(signal.SIGKILL)
    with running_client(database, "--customers", "100") as client:
        assert len(list_all(client)) == 100


def test_a_second_process_for_a_database_fails_with_a_one_line_error(tmp_path):
    database = tmp_path / "cstar.db"
    command = [sys.executable, "-m", "cstar.sandbox", "--port", "0", "--database", str(database)]
    with running_client(database) as client:
        second = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert client.post("/customers", json={"name": "New", "email": "new@example.com"}).status_code == 201
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "another process is using it; stop that one, or name another file" in second.stderr
