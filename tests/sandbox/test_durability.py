"""What survives a kill, and who may use a database: real processes, real HTTP, real files."""

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
import pytest

PATIENCE = 20  # seconds, for what takes a fraction of one


@contextmanager
def sandbox_process(database, *options):
    command = [sys.executable, "-m", "cstar.sandbox", "--json", "--port", "0", "--database", str(database), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    with process:
        try:
            yield process
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()


def told(process):
    """What a process says about itself once it answers."""
    return json.loads(process.stdout.readline())


def client_of(box):
    return httpx.Client(
        base_url=f"{box['url']}/teams/{box['team_id']}",
        headers={"Authorization": f"Bearer {box['api_key']}"},
        timeout=PATIENCE,
    )


@contextmanager
def served(database, *options):
    """A client of a sandbox in a process of its own."""
    with sandbox_process(database, *options) as process, client_of(told(process)) as client:
        yield client


def walk(client):
    customers, pages = [], itertools.count(1)
    while True:
        body = client.get("/customers", params={"page": next(pages), "pageSize": 100}).json()
        customers += body["data"]
        if not body["pagination"]["hasMore"]:
            return customers


@dataclass
class Write:
    """A write, with its key, and its answer if one arrived; `email` is that of the customer it is about."""

    email: str
    method: str
    path: str
    json: dict | None
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: httpx.Response | None = None

    def send(self, client):
        return client.request(self.method, self.path, json=self.json, headers={"Idempotency-Key": self.key})


def write_until_cut_off(box, name, acknowledged):
    """Create, change and delete customers, one write after the other; gives them, the last without an answer."""
    writes = []
    with client_of(box) as client:

        def write(*about):
            writes.append(Write(*about))
            writes[-1].answer = writes[-1].send(client)
            acknowledged.release()
            return writes[-1].answer.json()["data"]

        try:
            for number in itertools.count():
                email = f"{name}.{number}@example.com"
                path = "/customers/" + write(email, "POST", "/customers", {"name": "New", "email": email})["id"]
                write(email, "PATCH", path, {"name": "Changed", "tags": [email]})
                if number % 3 == 0:
                    write(email, "DELETE", path, None)
        except httpx.TransportError:
            return writes


def killed_while_writing(database, acknowledgements):
    """Let four clients write to a sandbox, and kill it after so many of their writes, with the next ones under way."""
    acknowledged = threading.Semaphore(0)
    with sandbox_process(database) as process, ThreadPoolExecutor(4) as threads:
        box = told(process)
        names = [uuid.uuid4().hex for _ in range(4)]
        writers = [threads.submit(write_until_cut_off, box, name, acknowledged) for name in names]
        for _ in range(acknowledgements):
            assert acknowledged.acquire(timeout=PATIENCE)
        process.send_signal(signal.SIGKILL)
        return [writer.result() for writer in writers]


def outcome(writes):
    """The customers that writes leave, by their email."""
    customers = {}
    for write in writes:
        if write.method == "DELETE":
            customers.pop(write.email, None)
        else:
            customers[write.email] = write.answer.json()["data"]
    return customers


@pytest.mark.parametrize("round", range(2))
def test_a_kill_loses_no_acknowledged_write_and_the_rest_can_be_repeated(tmp_path, round):
    database = tmp_path / "cstar.db"
    writers = killed_while_writing(database, random.randint(1, 80))
    assert all(write.answer.is_success for writes in writers for write in writes[:-1])
    assert all(writes[-1].answer is None for writes in writers)

    with closing(sqlite3.connect(database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with served(database) as client:
        found = {customer["email"]: customer for customer in walk(client)}
        for writes in writers:
            *acknowledged, unacknowledged = writes
            kept = outcome(acknowledged)
            kept.pop(unacknowledged.email, None)  # this one may have been changed, and need not have been
            assert kept.items() <= found.items()
            for write in acknowledged:
                again = write.send(client)
                assert (again.content, again.headers["Idempotent-Replayed"]) == (write.answer.content, "true")
            unacknowledged.answer = unacknowledged.send(client)
            assert unacknowledged.answer.is_success
            assert unacknowledged.send(client).content == unacknowledged.answer.content

        expected = outcome(itertools.chain.from_iterable(writers))
        rows = walk(client)
        assert len(rows) == len(expected)
        assert {customer["email"]: customer for customer in rows} == expected
        for email, customer in expected.items():
            assert client.get("/customers", params={"search": email}).json()["data"] == [customer]
            assert client.get("/customers", params={"tag": email}).json()["data"] == (
                [customer] * bool(customer["tags"])
            )


def test_a_kill_during_the_start_leaves_no_demo_customers_or_all(tmp_path):
    database = tmp_path / "cstar.db"
    with sandbox_process(database, "--customers", "100000") as process:
        for _ in range(PATIENCE * 100):
            if Path(f"{database}-wal").exists():
                break
            time.sleep(0.01)
        time.sleep(0.5)  # in the middle of adding customers
        process.send_signal(signal.SIGKILL)
    with served(database, "--customers", "100") as client:
        assert len(walk(client)) == 100


def test_a_second_process_at_a_database_is_told_so_in_one_line(tmp_path):
    database = tmp_path / "cstar.db"
    command = [sys.executable, "-m", "cstar.sandbox", "--port", "0", "--database", str(database)]
    with served(database) as client:
        second = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert client.post("/customers", json={"name": "New", "email": "new@example.com"}).status_code == 201
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "another process is using it; stop that one, or name another file" in second.stderr
