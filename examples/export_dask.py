"""Export the customers to Parquet with Dask, which reads the pages in parallel, each as a partition.

    python examples/export_dask.py customers     # a new folder, with CSTAR_API_KEY set
    python examples/export_dask.py --demo        # against a sandbox

Page numbers count rows from the top of the list. If customers are created or deleted while pages are read in parallel,
rows move between pages. This export detects that: it writes the list of one moment, or raises an error and creates no
folder. Then run it again, or iterate (`for customer in client.customers.list(team_id)`), which skips no row. A customer
who is changed meanwhile is exported with or without the change.

Each request reads 100 customers. With a limit of 1,000 requests an hour, reading in parallel is fast for the first
100,000 customers. After that, all threads wait for the next hour, and the list must not change until then. For longer
lists, iterate.
"""

# Dask and PyArrow are typed only in part.
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
        "custom_fields": pa.string(),  # JSON, because its values may have any type
        "ticket_count": pa.int64(),
        "metadata": pa.string(),
        "created_at": TIME,
        "updated_at": TIME,
    }
)


class ListChangedError(Exception):
    """Customers were created or deleted during the export."""


def frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    return pa.Table.from_pylist(rows, schema=SCHEMA).to_pandas(types_mapper=pd.ArrowDtype)


def read_page(number: int, client: Cstar, team_id: str, total: int) -> pd.DataFrame:
    page = client.customers.list(team_id, page=number, page_size=PAGE_SIZE)
    if page.total != total:
        raise ListChangedError(f"there were {total} customers at first, and {page.total} at page {number}")
    rows = [customer.model_dump() for customer in page.data]
    return frame([row | {name: json.dumps(row[name]) for name in ("custom_fields", "metadata")} for row in rows])


def state(client: Cstar, team_id: str) -> tuple[int, list[str]]:
    """Return the number of customers and the id of the newest one, which change if one is created or deleted."""
    page = client.customers.list(team_id, page_size=1)
    return page.total, [customer.id for customer in page.data]


def export(client: Cstar, team_id: str, folder: Path) -> int:
    """Write all customers to Parquet files in a new folder, on Dask's current cluster.

    Returns:
        The number of customers.

    Raises:
        ListChangedError: Customers were created or deleted meanwhile. No folder was created.
    """
    before = state(client, team_id)
    total, _ = before
    pages = max(1, ceil(total / PAGE_SIZE))
    partitions = dd.from_map(
        read_page, range(1, pages + 1), client=client, team_id=team_id, total=total, meta=frame([])
    )
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unverified = Path(scratch, "customers")
        # One file for 100 pages, because many small Parquet files are slow to read.
        partitions.repartition(npartitions=ceil(pages / 100)).to_parquet(unverified, schema=SCHEMA, write_index=False)
        if state(client, team_id) != before:
            raise ListChangedError(f"there were {total} customers at first, and others at the end")
        unverified.rename(folder)
    return total


def run(client: Cstar, team_id: str, folder: Path) -> None:
    # Without an address, this is a LocalCluster of threads, which wait for responses. With the address of a cluster,
    # the `Cstar` client is sent to the workers as a pickle, which contains the API key.
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
    parser.add_argument("folder", type=Path, nargs="?", help="the folder to create")
    parser.add_argument("--demo", action="store_true", help="run against a sandbox, into a temporary folder")
    arguments = parser.parse_args()
    if arguments.demo:
        demo()
        return 0
    if arguments.folder is None or arguments.folder.exists():
        parser.error("give the name of a folder that does not exist, or --demo")
    try:
        # Wait up to an hour for the rate limit to reset, rather than fail.
        with Cstar(max_retry_wait=3600) as client:
            run(client, client.whoami().team_id, arguments.folder)
    except (CstarError, ListChangedError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
