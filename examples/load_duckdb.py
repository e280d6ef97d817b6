"""Load the customers into a DuckDB table, writing only what has changed since the last time.

    python examples/load_duckdb.py customers.duckdb     # with CSTAR_API_KEY set
    python examples/load_duckdb.py --demo               # against a sandbox: a first load, and one after changes

The API can neither filter nor sort by `updatedAt`. So every run reads all customers, and writes those whose `updatedAt`
is newer than the table's. Who is gone from the API goes from the table. All of that is one transaction at the end of
the reading: a run that is broken off leaves the table as it was.

The hourly limit: 100 customers are one request, changed or not. 200,000 customers are 2,000 requests, which is two
hours' worth of 1,000 an hour: such a run waits for the second hour, and leaves nothing to others.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from rich.progress import Progress

from cstar import Cstar, CstarError, Customer, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
CREATE = f"CREATE TABLE IF NOT EXISTS customers ({', '.join(map(' '.join, COLUMNS.items()))}, PRIMARY KEY (id))"
STAGE = "CREATE OR REPLACE TEMPORARY TABLE incoming AS FROM customers LIMIT 0"
READ = "INSERT INTO incoming BY NAME SELECT unnest(from_json(?, ?), recursive := true)"
# OR REPLACE is short for ON CONFLICT (id) DO UPDATE of every column.
WRITE = """INSERT OR REPLACE INTO customers
    FROM incoming ANTI JOIN customers AS known ON known.id = incoming.id AND known.updated_at >= incoming.updated_at"""
REMOVE = "DELETE FROM customers WHERE id NOT IN (SELECT id FROM incoming)"


def load(database: duckdb.DuckDBPyConnection, pages: Iterable[Page[Customer]]) -> tuple[int, int]:
    """Make the table what the pages show.

    Returns:
        How many rows were written, and how many removed.
    """
    database.execute(CREATE)
    database.execute(STAGE)
    for page in pages:
        rows = [customer.model_dump(mode="json", include=set(COLUMNS)) for customer in page.data]
        database.execute(READ, [json.dumps(rows), json.dumps([COLUMNS])])
    database.begin()
    written, removed = (database.execute(statement).fetchall()[0][0] for statement in (WRITE, REMOVE))
    database.commit()
    return written, removed


def with_progress(pages: Iterable[Page[Customer]]) -> Iterator[Page[Customer]]:
    with Progress() as progress:
        task = progress.add_task("Reading customers", total=None)
        for page in pages:
            yield page
            progress.update(task, total=page.total, advance=len(page.data))


def run(client: Cstar, team_id: str, path: Path) -> None:
    with duckdb.connect(path) as database:  # which undoes, when it is closed, what was not committed
        written, removed = load(database, with_progress(client.customers.list(team_id).iter_pages()))
    print(f"{written} written, {removed} removed")


def demo() -> None:
    import tempfile

    from cstar.sandbox import Sandbox

    with (
        Sandbox(customers=2500) as box,
        Cstar(api_key=box.api_key, base_url=box.url) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        run(client, box.team_id, path := Path(folder, "customers.duckdb"))
        first, second, *_ = client.customers.list(box.team_id).data
        client.customers.update(box.team_id, first.id, notes="Called today")
        client.customers.delete(box.team_id, second.id)
        client.customers.create(box.team_id, name="Ada", email="ada@example.com")
        run(client, box.team_id, path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Load the customers into a DuckDB table.")
    parser.add_argument("file", type=Path, nargs="?", help="the database; it is made if it is not there")
    parser.add_argument("--demo", action="store_true", help="run against a sandbox, into a database of its own")
    arguments = parser.parse_args()
    if arguments.demo:
        demo()
        return 0
    if arguments.file is None:
        parser.error("name a database file, or --demo")
    try:
        # Nobody is waiting: sit through a full hour of rate limit rather than give up half-way.
        with Cstar(max_retry_wait=3600) as client:
            run(client, client.whoami().team_id, arguments.file)
    except (CstarError, duckdb.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
