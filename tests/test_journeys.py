"""Tests of the client against the sandbox over real sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cstar import APIConnectionError, Cstar, NotFoundError
from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import Runner


@pytest.fixture
def box(session_box: Sandbox) -> Sandbox:
    return session_box


@pytest.fixture(scope="module")
def full_box() -> Iterator[Sandbox]:
    with Sandbox(customers=250) as box:
        yield box


def options_for(box: Sandbox) -> dict[str, Any]:
    return {"api_key": box.api_key, "base_url": box.url}


def new_email() -> str:
    return f"{uuid.uuid4().hex}@journey.test"


def test_a_customer_can_be_created_changed_read_and_deleted(box: Sandbox, run: Runner) -> None:
    team, email = box.team_id, new_email()
    jane = run(
        lambda client: client.customers.create(
            team, name="Jane", email=email, tags=["trial"], custom_fields={"plan": {"seats": 3}}, metadata={"crm": "7"}
        ),
        **options_for(box),
    )
    assert (jane.status, jane.sentiment, jane.ticket_count) == ("active", "neutral", 0)
    changed = run(
        lambda client: client.customers.update(
            team, jane.id, notes="Called.", tags=[], metadata={"crm": None, "erp": "8"}, custom_fields={"plan": None}
        ),
        **options_for(box),
    )
    assert changed.updated_at > jane.updated_at
    assert changed.created_at == jane.created_at
    found = run(lambda client: client.customers.get(team, jane.id), **options_for(box))
    assert found.recent_tickets == []
    assert (found.notes, found.tags, found.metadata, found.custom_fields) == (
        "Called.",
        [],
        {"erp": "8"},
        {"plan": None},
    )
    cleared = run(lambda client: client.customers.update(team, jane.id, notes=None), **options_for(box))
    assert cleared.notes is None
    assert run(lambda client: client.customers.delete(team, jane.id), **options_for(box)).id == jane.id
    with pytest.raises(NotFoundError):
        run(lambda client: client.customers.get(team, jane.id), **options_for(box))


def test_iterating_reads_every_customer_once_in_full_pages(full_box: Sandbox, run: Runner) -> None:
    rows = run.collect(lambda client: client.customers.list(full_box.team_id), **options_for(full_box))
    assert len({row.id for row in rows}) == len(rows) == 250
    pages = run.collect(lambda client: client.customers.list(full_box.team_id).iter_pages(), **options_for(full_box))
    assert [len(page.data) for page in pages] == [100, 100, 50]


class Lossy(httpx.HTTPTransport):
    """Loses the responses to the first requests that reach the server."""

    def __init__(self, losses: int) -> None:
        super().__init__()
        self.losses = losses

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if self.losses:
            self.losses -= 1
            response.close()
            raise httpx.ReadError("the connection broke after the request was processed")
        return response


@pytest.mark.parametrize(
    ("write", "added", "found"),
    [
        (lambda client, team, customer, email: client.customers.create(team, name="New", email=email), 1, 1),
        (lambda client, team, customer, email: client.customers.update(team, customer, email=email), 0, 1),
        (lambda client, team, customer, email: client.customers.delete(team, customer), -1, 0),
    ],
    ids=["create", "update", "delete"],
)
def test_a_write_whose_responses_are_lost_takes_effect_once(
    box: Sandbox, sleeps: list[float], write: Callable[[Cstar, str, str, str], object], added: int, found: int
) -> None:
    team, email = box.team_id, new_email()
    with Cstar(**options_for(box)) as direct, httpx.Client(transport=Lossy(2)) as lossy:
        target = direct.customers.create(team, name="Target", email=new_email())
        before = direct.customers.list(team).total
        write(Cstar(**options_for(box), http_client=lossy), team, target.id, email)
        assert len(sleeps) == 2
        assert direct.customers.list(team).total - before == added
        assert direct.customers.list(team, search=email).total == found


def test_a_failed_create_can_be_repeated_with_its_idempotency_key(box: Sandbox, sleeps: list[float]) -> None:
    team, email = box.team_id, new_email()
    with Cstar(**options_for(box)) as direct, httpx.Client(transport=Lossy(99)) as lossy:
        with pytest.raises(APIConnectionError) as caught:
            Cstar(**options_for(box), http_client=lossy, max_retries=1).customers.create(team, name="Once", email=email)
        again = direct.customers.create(team, name="Once", email=email, idempotency_key=caught.value.idempotency_key)
        assert [row.id for row in direct.customers.list(team, search=email)] == [again.id]


def test_concurrent_updates_of_different_metadata_keys_are_all_kept(box: Sandbox) -> None:
    with Cstar(**options_for(box)) as client, ThreadPoolExecutor(8) as threads:
        ann = client.customers.create(box.team_id, name="Ann", email=new_email())
        keys = [f"key{number}" for number in range(20)]
        for _ in threads.map(lambda key: client.customers.update(box.team_id, ann.id, metadata={key: "1"}), keys):
            pass
        assert client.customers.get(box.team_id, ann.id).metadata == dict.fromkeys(keys, "1")


JOB = """
import os, sys
from pathlib import Path
from cstar import Cstar

state, done, stop = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
client = Cstar()
resume = state.read_text() if state.exists() else None
rows = iter(client.customers.list(client.whoami().team_id, page_size=40, prefetch=int(sys.argv[4]), resume=resume))
for count, customer in enumerate(rows, 1):
    with done.open("a") as file:
        file.write(customer.id + "\\n")
    state.with_suffix(".new").write_text(rows.checkpoint())
    state.with_suffix(".new").replace(state)
    if count == stop:
        os._exit(9)
"""


@pytest.mark.parametrize("prefetch", [0, 4])
def test_a_killed_job_resumes_in_another_process(full_box: Sandbox, tmp_path: Path, prefetch: int) -> None:
    environment = {**os.environ, "CSTAR_API_KEY": full_box.api_key, "CSTAR_BASE_URL": full_box.url}
    state, done = tmp_path / "state", tmp_path / "done"
    codes = []
    for stop in ("57", "80", "0"):
        command = [sys.executable, "-c", JOB, str(state), str(done), stop, str(prefetch)]
        codes.append(subprocess.run(command, env=environment, check=False).returncode)
    assert codes == [9, 9, 0]
    ids = done.read_text().split()
    assert len(ids) == len(set(ids)) == 250
