"""examples/export_dask.py, on a Dask cluster in this process and on one in another process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from distributed import Client

import export_dask
from cstar import RateLimitError
from export_dask import ListChangedError, export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cstar import Cstar
    from cstar.sandbox import Sandbox


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with Client(processes=False, n_workers=1, threads_per_worker=4, dashboard_address="127.0.0.1:0"):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "customers"


def rows(folder: Path) -> list[dict]:
    return sorted(pq.read_table(folder).to_pylist(), key=lambda row: row["id"])


def expected(client: Cstar, team_id: str) -> list[dict]:
    customers = [each.model_dump(include=set(export_dask.SCHEMA.names)) for each in client.customers.list(team_id)]
    for customer in customers:
        customer["custom_fields"] = json.dumps(customer["custom_fields"])
        customer["metadata"] = json.dumps(customer["metadata"])
    return sorted(customers, key=lambda row: row["id"])


@pytest.mark.usefixtures("cluster")
def test_the_export_has_every_customer_with_every_field(box: Sandbox, client: Cstar, folder: Path) -> None:
    client.customers.create(
        box.team_id,
        name="Ada",
        email="ada@engines.test",
        tags=["née"],
        custom_fields={"a": [1, None]},
        metadata={"b": "c"},
    )
    assert export(client, box.team_id, folder) == 251
    assert rows(folder) == expected(client, box.team_id)
    assert pq.read_schema(next(folder.iterdir())).remove_metadata() == export_dask.SCHEMA


@pytest.mark.usefixtures("cluster")
def test_an_export_sends_a_request_per_100_customers_and_two_more(box: Sandbox, client: Cstar, folder: Path) -> None:
    export(client, box.team_id, folder)
    queries = sorted(request.query for request in box.requests)
    assert queries == [
        "page=1&pageSize=1",
        "page=1&pageSize=1",
        "page=1&pageSize=100",
        "page=2&pageSize=100",
        "page=3&pageSize=100",
    ]


@pytest.mark.usefixtures("cluster")
def test_an_empty_list_is_exported(box: Sandbox, client: Cstar, folder: Path) -> None:
    for customer in client.customers.list(box.team_id):
        client.customers.delete(box.team_id, customer.id)
    assert export(client, box.team_id, folder) == 0
    assert rows(folder) == []


@pytest.mark.usefixtures("cluster")
def test_a_customer_created_during_the_export_is_detected(
    box: Sandbox, client: Cstar, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_page = export_dask.read_page

    def read_page_late(number, client, team_id, total):
        if number == 2:
            client.customers.create(team_id, name="Ada", email="ada@engines.test")
        return read_page(number, client, team_id, total)

    monkeypatch.setattr(export_dask, "read_page", read_page_late)
    with pytest.raises(ListChangedError):
        export(client, box.team_id, folder)
    assert list(folder.parent.iterdir()) == []


@pytest.mark.usefixtures("cluster")
def test_a_create_and_a_delete_that_keep_the_total_are_detected(
    box: Sandbox, client: Cstar, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = export_dask.state
    deleted = client.customers.list(box.team_id).data[99]
    states = []

    def state_after_change(client, team_id):
        if states:
            client.customers.delete(team_id, deleted.id)
            client.customers.create(team_id, name="Ada", email="ada@engines.test")
        states.append(state(client, team_id))
        return states[-1]

    monkeypatch.setattr(export_dask, "state", state_after_change)
    with pytest.raises(ListChangedError, match="others at the end"):
        export(client, box.team_id, folder)
    assert [total for total, _ in states] == [250, 250]
    assert list(folder.parent.iterdir()) == []


@pytest.mark.usefixtures("cluster")
def test_a_customer_that_exists_only_while_one_page_is_read_is_detected(
    box: Sandbox, client: Cstar, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_page = export_dask.read_page

    def read_page_between(number, client, team_id, total):
        if number != 2:
            return read_page(number, client, team_id, total)
        created = client.customers.create(team_id, name="Ada", email="ada@engines.test")
        try:
            return read_page(number, client, team_id, total)
        finally:
            client.customers.delete(team_id, created.id)

    monkeypatch.setattr(export_dask, "read_page", read_page_between)
    with pytest.raises(ListChangedError, match=r"there were 250 customers at first, and 251 at page \d"):
        export(client, box.team_id, folder)


@pytest.mark.usefixtures("cluster")
def test_an_error_in_a_worker_reaches_the_caller_and_removes_the_files(
    box: Sandbox, client: Cstar, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = export_dask.state

    def state_before_error(client, team_id):
        try:
            return state(client, team_id)
        finally:
            box.faults.add("status", status=429, retry_after=3000)

    monkeypatch.setattr(export_dask, "state", state_before_error)
    with pytest.raises(RateLimitError) as caught:
        export(client, box.team_id, folder)
    assert caught.value.retry_after == 3000
    assert list(folder.parent.iterdir()) == []


def test_the_client_can_be_sent_to_workers_in_other_processes(box: Sandbox, client: Cstar, folder: Path) -> None:
    with Client(processes=True, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"):
        assert export(client, box.team_id, folder) == 250
    assert rows(folder) == expected(client, box.team_id)


def test_the_program_rejects_an_existing_folder(
    box: Sandbox, folder: Path, run: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    assert run("export_dask", str(folder)) == 2
    assert "give the name of a folder that does not exist" in capsys.readouterr().err
    assert not box.requests


def test_the_program_exports_into_a_new_folder(
    box: Sandbox, folder: Path, run: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export_dask", str(folder)) == 0
    assert capsys.readouterr().out == "250 customers, files: 1\n"
    assert len(rows(folder)) == 250


def test_the_demo_exports_a_sandbox(run: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export_dask", "--demo") == 0
    assert capsys.readouterr().out == "2500 customers, files: 1\n"
