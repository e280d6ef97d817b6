"""Load the customers into a DuckDB table, and write only those that have changed since the last load.

    python examples/load_duckdb.py customers.duckdb     # with CSTAR_API_KEY set
    python examples/load_duckdb.py --demo               # against a sandbox: a first load, and one after changes

The API can neither filter nor sort by `updatedAt`. So each load reads all customers, and writes those whose
`updatedAt` is newer than the table's. Customers that were deleted from the API are deleted from the table.

Each request reads 100 customers. With a limit of 1,000 requests an hour, 200,000 customers take two hours. The table
`incoming` has the rows read so far, and the table `reading` the checkpoint of the list. An interrupted load continues
from the checkpoint when it is run again. The table `customers` changes at the end, in one transaction.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from pathlib import Path

import duckdb
from rich.progress import Progress

from cstar import Cstar, CstarError

COLUMNS = {
    "id": "VARCHAR",
    "name": "VARCHAR",
    "email": "VARCHAR",
    "sentiment": "VARCHAR",
    "status": "VARCHAR",
    "tags": "VARCHAR[]",
    "notes": "VARCHAR",
    "custom_fields": "JSON",
    "ticket_count": "INTEGER",
    "metadata": "JSON",
    "created_at": "TIMESTAMPTZ",
    "updated_at": "TIMESTAMPTZ",
}
CREATE = f"CREATE TABLE IF NOT EXISTS {{}} ({', '.join(map(' '.join, COLUMNS.items()))}, PRIMARY KEY (id))"
READ = "INSERT OR REPLACE INTO incoming BY NAME SELECT unnest(from_json(?, ?), recursive := true)"
PAGE_SIZE = 100
# OR REPLACE means ON CONFLICT (id) DO UPDATE for every column.
WRITE = """INSERT OR REPLACE INTO customers
    FROM incoming ANTI JOIN customers AS known ON known.id = incoming.id AND known.updated_at >= incoming.updated_at"""
DELETE = "DELETE FROM customers WHERE id NOT IN (SELECT id FROM incoming)"


def load(database: duckdb.DuckDBPyConnection, client: Cstar, team_id: str) -> tuple[int, int]:
    """Make the table `customers` equal to the list of customers, or continue an interrupted load.

    Returns:
        The numbers of rows that were written and deleted.
    """
    for table in ("customers", "incoming"):
        database.execute(CREATE.format(table))
    database.execute("CREATE TABLE IF NOT EXISTS reading (checkpoint VARCHAR)")
    read(database, client, team_id)
    database.begin()
    written, deleted = (database.execute(statement).fetchall()[0][0] for statement in (WRITE, DELETE))
    database.execute("DROP TABLE incoming; DROP TABLE reading")
    database.commit()
    return written, deleted


def read(database: duckdb.DuckDBPyConnection, client: Cstar, team_id: str) -> None:
    """Read the customers into the table `incoming`, from the checkpoint on."""
    found = database.execute("SELECT checkpoint FROM reading").fetchone()
    page = client.customers.list(team_id, page_size=PAGE_SIZE, resume=found[0] if found else None)
    customers = iter(page)
    [count] = database.execute("SELECT count(*) FROM incoming").fetchone() or [0]
    with Progress() as progress:
        task = progress.add_task("Reading customers", total=page.total, completed=count)
        while rows := [each.model_dump(mode="json", include=set(COLUMNS)) for each in islice(customers, PAGE_SIZE)]:
            database.begin()
            database.execute(READ, [json.dumps(rows), json.dumps([COLUMNS])])
            database.execute("DELETE FROM reading")
            database.execute("INSERT INTO reading VALUES (?)", [customers.checkpoint()])
            database.commit()
            progress.update(task, advance=len(rows))


def run(client: Cstar, team_id: str, path: Path) -> None:
    with duckdb.connect(path) as database:  # closing it rolls back an open transaction
        written, deleted = load(database, client, team_id)
    print(f"{written} written, {deleted} deleted")


def demo() -> None:
    import tempfile

    from cstar.sandbox import Sandbox

    with (
        Sandbox(customers=2500) as box,
        Cstar(api_key=box.api_key, base_url=box.url) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder, "customers.duckdb")
        run(client, box.team_id, path)
        first, second, *_ = client.customers.list(box.team_id).data
        client.customers.update(box.team_id, first.id, notes="Called today")
        client.customers.delete(box.team_id, second.id)
        client.customers.create(box.team_id, name="Ada", email="ada@example.com")
        run(client, box.team_id, path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Load the customers into a DuckDB table.")
    parser.add_argument("file", type=Path, nargs="?", help="the database file; created if it does not exist")
    parser.add_argument("--demo", action="store_true", help="run against a sandbox, into a temporary database")
    arguments = parser.parse_args()
    if arguments.demo:
        demo()
        return 0
    if arguments.file is None:
        parser.error("give the name of a database file, or --demo")
    try:
        # Wait up to an hour for the rate limit to reset, rather than fail.
        with Cstar(max_retry_wait=3600) as client:
            run(client, client.whoami().team_id, arguments.file)
    except (CstarError, duckdb.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
