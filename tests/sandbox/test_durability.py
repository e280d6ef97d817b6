"""What survives a kill, and several processes on one database: real processes, real HTTP, real files."""

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
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest

from cstar.sandbox._seed import seed
from cstar.sandbox._store import Store
from cstar.sandbox._validation import ListQuery

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


@pytest.mark.parametrize("round", range(3))
def test_what_was_acknowledged_before_a_kill_is_there_after_it_and_the_rest_can_be_repeated(tmp_path, round):
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


OPEN_AS_TOLD = """
import sys
from dataclasses import astuple
from cstar.sandbox._store import Store
print("ready", flush=True)
stores = []
for line in sys.stdin:
    stores.append(Store(line.rstrip()))
    print(*astuple(stores[-1].identity), flush=True)
"""


def test_processes_that_create_one_database_at_the_same_moment_agree_on_its_team_and_keys(tmp_path):
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", OPEN_AS_TOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for number in range(10):
            for process in processes:
                process.stdin.write(f"{tmp_path / str(number)}.db\n")
                process.stdin.flush()
            identities = {process.stdout.readline() for process in processes}
            assert len(identities) == 1
            assert len(identities.pop().split()) == 4
        for process in processes:
            process.stdin.close()


def test_sandboxes_started_at_the_same_moment_on_a_new_database_all_serve_the_same_customers(tmp_path):
    database = tmp_path / "cstar.db"
    with ExitStack() as stack:
        processes = [stack.enter_context(sandbox_process(database, "--customers", "2500")) for _ in range(3)]
        boxes = [told(process) for process in processes]
        seen = [walk(stack.enter_context(client_of(box))) for box in boxes]
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 2500
    assert len({(box["team_id"], box["api_key"], box["webhook_secret"]) for box in boxes}) == 1


def wait_for_demo_customers(database):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as file:
            if file.execute("SELECT seeded FROM sandbox").fetchone()[0]:
                return
    raise TimeoutError


def test_demo_customers_cut_short_by_a_kill_are_completed_by_the_next_start(tmp_path):
    database = tmp_path / "cstar.db"
    with sandbox_process(database, "--customers", "1000000") as process:
        wait_for_demo_customers(database)
        process.send_signal(signal.SIGKILL)
    with closing(Store(database)) as cut_short, closing(Store(":memory:")) as whole:
        before = cut_short.seeded
        assert cut_short.customers(ListQuery())[1] == before
        for store in (cut_short, whole):
            seed(store, before + 1)
        rows = [
            store._db.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("customers", "tickets")
            for store in (cut_short, whole)
        ]
        assert rows[0] == rows[1]
        assert rows[2] == rows[3]


def test_reads_are_answered_while_another_process_is_writing_and_writes_wait_for_it(tmp_path):
    database = tmp_path / "cstar.db"
    with (
        served(database) as client,
        closing(sqlite3.connect(database, isolation_level=None)) as other,
        ThreadPoolExecutor(1) as threads,
    ):
        other.execute("BEGIN IMMEDIATE")
        writing = threads.submit(client.post, "/customers", json={"name": "New", "email": "new@example.com"})
        for _ in range(50):
            assert client.get("/customers").json()["pagination"]["total"] == 0
        assert not writing.done()
        other.execute("ROLLBACK")
        assert writing.result().status_code == 201


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Clients of two sandboxes, each in a process of its own, on one database."""
    database = tmp_path_factory.mktemp("pair") / "cstar.db"
    with served(database) as one, served(database) as other:
        yield one, other


def test_a_write_through_one_is_at_once_in_the_lists_of_the_other(pair):
    for here, there in (pair, reversed(pair)):

        def found(there=there, **params):
            return there.get("/customers", params=params).json()["data"]

        fields = {"name": "Quirin", "email": f"{uuid.uuid4()}@example.com", "tags": ["before"]}
        customer = here.post("/customers", json=fields).json()["data"]
        path = f"/customers/{customer['id']}"
        assert found(search="quirin") == found(tag="before") == [customer]
        customer = here.patch(path, json={"status": "inactive", "tags": ["after"]}).json()["data"]
        assert found(status="inactive") == found(tag="after") == [customer]
        assert found(tag="before") == []
        here.delete(path)
        assert found(search="quirin") == found(status="inactive") == []


def send_to_both_at_once(pair, request):
    together = threading.Barrier(2)

    def send(client):
        together.wait()
        return client.post("/customers", **request)

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(send, pair))


def test_one_email_created_through_both_at_once_makes_one_customer(pair):
    for _ in range(20):
        email = f"{uuid.uuid4()}@example.com"
        answers = send_to_both_at_once(pair, {"json": {"name": "Twice", "email": email}})
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        for client in pair:
            assert client.get("/customers", params={"search": email}).json()["pagination"]["total"] == 1


def test_one_idempotency_key_used_through_both_at_once_acts_once(pair):
    for _ in range(20):
        email = f"{uuid.uuid4()}@example.com"
        request = {"json": {"name": "Once", "email": email}, "headers": {"Idempotency-Key": email}}
        first, second = send_to_both_at_once(pair, request)
        assert (first.status_code, first.content) == (second.status_code, second.content)
        assert first.status_code == 201
        assert sorted("Idempotent-Replayed" in answer.headers for answer in (first, second)) == [False, True]
        for client in pair:
            assert client.get("/customers", params={"search": email}).json()["pagination"]["total"] == 1


def test_writes_through_one_wait_while_the_other_is_putting_in_many_demo_customers(tmp_path):
    database = tmp_path / "cstar.db"
    with (
        served(database) as client,
        sandbox_process(database, "--customers", "5000") as seeding,
        ThreadPoolExecutor(1) as threads,
    ):
        seeded = threads.submit(told, seeding)
        answers = []
        while not seeded.done():
            customer = {"name": "New", "email": f"{len(answers)}@example.com"}
            answers.append(client.post("/customers", json=customer))
        assert {answer.status_code for answer in answers} == {201}
        assert client.get("/customers").json()["pagination"]["total"] == len(answers) + 5000
