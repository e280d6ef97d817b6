"""Export the customers to Parquet with Dask: the pages are read side by side, each as a partition.

    python examples/export_dask.py customers     # a folder to be made, with CSTAR_API_KEY set
    python examples/export_dask.py --demo        # against a sandbox

Page numbers count rows from the top, so customers who come or go move the rows between pages that are read at the same
time. A walk (`for customer in client.customers.list(team_id)`) notices that and makes up for it; pages read by number
cannot. This export only notices: it is the list as it stood, or an error and no folder. Run it again then, or walk. A
customer who is merely changed meanwhile is exported as before or as after.

The hourly limit: 100 customers are one request. Reading side by side makes the first 1,000 requests of an hour quick,
that is 100,000 customers, and nothing after that: all threads wait for the next hour, and nobody may come or go until
then. For longer lists, walk.
"""

# Dask and PyArrow say only some of their types.
# mypy: disable-error-code="no-untyped-call"
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
from distributed import Client

from cstar import Cstar, CstarError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAGE_SIZE = 100
TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "name": pa.string(),
        "email": pa.string(),
        "sentiment": pa.string(),
        "status": pa.string(),
        "tags": pa.list_(pa.string()),
        "notes": pa.string(),
        "custom_fields": pa.string(),  # JSON, as its values may be of any type
        "ticket_count": pa.int64(),
        "metadata": pa.string(),
        "created_at": TIME,
        "updated_at": TIME,
    }
)


class ListChangedError(Exception):
    """Customers came or went during the export."""


def frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    return pa.Table.from_pylist(rows, schema=SCHEMA).to_pandas(types_mapper=pd.ArrowDtype)


def read_page(number: int, client: Cstar, team_id: str, total: int) -> pd.DataFrame:
    page = client.customers.list(team_id, page=number, page_size=PAGE_SIZE)
    if page.total != total:
        raise ListChangedError(f"there were {total} customers at first, and {page.total} at page {number}")
    rows = [customer.model_dump() for customer in page.data]
    return frame([row | {name: json.dumps(row[name]) for name in ("custom_fields", "metadata")} for row in rows])


def state(client: Cstar, team_id: str) -> tuple[int, list[str]]:
    """How many customers there are, and who is the newest: together they change if anybody came or went."""
    page = client.customers.list(team_id, page_size=1)
    return page.total, [customer.id for customer in page.data]


def export(client: Cstar, team_id: str, folder: Path) -> int:
    """Write all customers to Parquet files in a new folder, on Dask's current cluster.

    Returns:
        How many there are.

    Raises:
        ListChangedError: Customers came or went meanwhile; there is no folder.
    """
    before = total, _ = state(client, team_id)
    pages = max(1, ceil(total / PAGE_SIZE))
    partitions = dd.from_map(
        read_page, range(1, pages + 1), client=client, team_id=team_id, total=total, meta=frame([])
    )
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unproven = Path(scratch, "customers")
        # A file for each 100 pages: Parquet is slow in small pieces.
        partitions.repartition(npartitions=ceil(pages / 100)).to_parquet(unproven, schema=SCHEMA, write_index=False)
        if state(client, team_id) != before:
            raise ListChangedError(f"there were {total} customers at first, and others at the end")
        unproven.rename(folder)
    return total


def run(client: Cstar, team_id: str, folder: Path) -> None:
    # Without an address, this is a LocalCluster, and of threads, as the work is to wait for answers. With the address
    # of a cluster, the `Cstar` client travels to the workers as a pickle, which holds the key.
    with Client(processes=False, n_workers=1, threads_per_worker=8, dashboard_address="127.0.0.1:0"):
        total = export(client, team_id, folder)
    print(f"{total} customers, files: {len(list(folder.iterdir()))}")


def demo() -> None:
    from cstar.sandbox import Sandbox

    with (
        Sandbox(customers=2500) as box,
        Cstar(api_key=box.api_key, base_url=box.url) as client,
        tempfile.TemporaryDirectory() as parent,
    ):
        run(client, box.team_id, Path(parent, "customers"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Export the customers to Parquet.")
    parser.add_argument("folder", type=Path, nargs="?", help="where to: a folder that is not there yet")
    parser.add_argument("--demo", action="store_true", help="run against a sandbox, into a folder of its own")
    arguments = parser.parse_args()
    if arguments.demo:
        demo()
        return 0
    if arguments.folder is None or arguments.folder.exists():
        parser.error("name a folder that is not there yet, or --demo")
    try:
        # Nobody is waiting: sit through a full hour of rate limit rather than give up half-way.
        with Cstar(max_retry_wait=3600) as client:
            run(client, client.whoami().team_id, arguments.folder)
    except (CstarError, ListChangedError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
