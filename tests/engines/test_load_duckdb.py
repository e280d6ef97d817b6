"""examples/load_duckdb.py, with a DuckDB database in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from cstar import Attempt, Cstar, PermissionDeniedError
from load_duckdb import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cstar.sandbox import Sandbox


@pytest.fixture
def database(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(tmp_path / "customers.duckdb") as database:
        yield database


@pytest.fixture
def load_all(database: duckdb.DuckDBPyConnection, client: Cstar, box: Sandbox) -> Callable[[], tuple[int, int]]:
    return lambda: load(database, client, box.team_id)


def test_the_first_load_writes_every_customer_with_every_field(
    database: duckdb.DuckDBPyConnection, client: Cstar, box: Sandbox, load_all
) -> None:
    client.customers.create(
        box.team_id,
        name="Ada",
        email="ada@engines.test",
        tags=["vip", "née"],
        custom_fields={"seats": 3, "plan": {"name": "pro"}},
        metadata={"crm_id": "7"},
    )
    assert load_all() == (251, 0)
    # Times as numbers: to read them, DuckDB's Python client needs pytz, which is not installed.
    stored = database.sql(
        """SELECT id, name, email, sentiment, status, tags, notes, custom_fields->>'seats', ticket_count,
           metadata->>'crm_id', epoch_us(created_at), epoch_us(updated_at) FROM customers"""
    ).fetchall()
    assert sorted(stored) == sorted(
        (
            each.id,
            each.name,
            each.email,
            each.sentiment,
            each.status,
            each.tags,
            each.notes,
            None if "seats" not in each.custom_fields else str(each.custom_fields["seats"]),
            each.ticket_count,
            each.metadata.get("crm_id"),
            round(each.created_at.timestamp() * 1_000_000),
            round(each.updated_at.timestamp() * 1_000_000),
        )
        for each in client.customers.list(box.team_id)
    )


def test_a_load_with_nothing_new_reads_all_pages_and_writes_nothing(box: Sandbox, load_all) -> None:
    load_all()
    before = len(box.requests)
    assert load_all() == (0, 0)
    assert len(box.requests) - before == 3


def test_a_later_load_writes_new_and_changed_rows_and_removes_deleted_ones(
    database: duckdb.DuckDBPyConnection, client: Cstar, box: Sandbox, load_all
) -> None:
    load_all()
    changed, deleted, *_ = client.customers.list(box.team_id).data
    client.customers.update(box.team_id, changed.id, name="Grace", tags=["new"])
    client.customers.delete(box.team_id, deleted.id)
    client.customers.create(box.team_id, name="Ada", email="ada@engines.test")
    assert load_all() == (2, 1)
    named = database.execute("SELECT name, tags FROM customers WHERE id = ? OR name = 'Ada'", [changed.id]).fetchall()
    assert sorted(named) == [("Ada", []), ("Grace", ["new"])]
    assert database.execute("SELECT count(*) FROM customers WHERE id = ?", [deleted.id]).fetchall() == [(0,)]
    assert database.sql("SELECT count(*) FROM customers").fetchall() == [(250,)]


def test_a_failed_load_does_not_change_the_table_and_can_be_continued(
    database: duckdb.DuckDBPyConnection, client: Cstar, box: Sandbox, load_all
) -> None:
    load_all()
    before = database.sql("SELECT * EXCLUDE (created_at, updated_at) FROM customers ORDER BY id").fetchall()
    newest, *_, oldest = client.customers.list(box.team_id)
    for customer in (newest, oldest):
        client.customers.update(box.team_id, customer.id, name="Grace")
    attempts = []

    def fail_after_two(attempt: Attempt) -> None:
        attempts.append(attempt)
        if len(attempts) == 2:
            box.faults.add("status", status=403)

    with Cstar(on_attempt=fail_after_two) as failing, pytest.raises(PermissionDeniedError):
        load(database, failing, box.team_id)
    after = database.sql("SELECT * EXCLUDE (created_at, updated_at) FROM customers ORDER BY id").fetchall()
    assert after == before
    sent = len(box.requests)
    assert load_all() == (2, 0)
    assert len(box.requests) - sent < 3
    assert database.sql("SELECT count(*) FROM customers").fetchall() == [(250,)]


def test_a_load_that_fails_after_writing_does_not_change_the_table(
    tmp_path: Path, client: Cstar, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "customers.duckdb"
    monkeypatch.setattr("load_duckdb.DELETE", "SELECT error('the disk is full')")
    with duckdb.connect(path) as database, pytest.raises(duckdb.Error, match="the disk is full"):
        load(database, client, box.team_id)
    with duckdb.connect(path) as database:
        assert database.sql("SELECT count(*) FROM customers").fetchall() == [(0,)]


def test_the_program_shows_its_progress_and_can_be_repeated(
    box: Sandbox, tmp_path: Path, run: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    for result in ("250 written, 0 deleted\n", "0 written, 0 deleted\n"):
        assert run("load_duckdb", str(tmp_path / "customers.duckdb")) == 0
        output = capsys.readouterr()
        assert output.err == ""
        assert output.out.startswith("Reading customers ")
        assert " 100% " in output.out
        assert output.out.endswith(result)


def test_the_program_reports_an_error(
    box: Sandbox, tmp_path: Path, run: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.joinpath("notes.txt").write_text("This is not a database." * 1000)
    assert run("load_duckdb", str(tmp_path / "notes.txt")) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_the_demo_loads_twice(run: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("load_duckdb", "--demo") == 0
    output = capsys.readouterr().out
    assert "\n2500 written, 0 deleted\n" in output
    assert output.endswith("\n2 written, 1 deleted\n")
