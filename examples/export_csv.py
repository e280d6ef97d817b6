"""Write the customers to a CSV file. A run that was killed continues when it is started again.

    python examples/export_csv.py customers.csv           # with CSTAR_API_KEY set; any number of customers
    python examples/export_csv.py customers.csv --once    # up to 10,000 customers with a single request
    python examples/export_csv.py --demo                  # against a sandbox

With `--once`, the program sends one request, `customers.export`. Otherwise it reads 100 customers per request.

Without `--once`, the rows are first written to `customers.csv.part`. After every 100 rows, the size of that file and
the checkpoint of the list are saved in `customers.csv.checkpoint`. A run that finds these files truncates the first to
that size, and continues from the checkpoint. It may write a customer twice, with the same id, if the 100 customers
before the checkpoint were deleted meanwhile.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cstar import Cstar, CstarError, Customer

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS = ("id", "name", "email", "sentiment", "status", "tags", "notes", "custom_fields", "metadata", "created_at")
ROWS_BETWEEN_CHECKPOINTS = 100  # the size of a page


def write(file: TextIO, customers: Iterable[Customer]) -> None:
    writer = csv.writer(file)
    for customer in customers:
        row = customer.model_dump(mode="json")
        # Write lists and objects as JSON, because their values may have any type.
        writer.writerow(
            json.dumps(row[name], ensure_ascii=False) if isinstance(row[name], (list, dict)) else row[name]
            for name in COLUMNS
        )


def export_once(client: Cstar, team_id: str, path: Path) -> int:
    """Write up to 10,000 customers, with one request.

    Returns:
        The number of customers.
    """
    customers = client.customers.export(team_id).customers
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(COLUMNS)
        write(file, customers)
    part.replace(path)
    return len(customers)


def export_all(client: Cstar, team_id: str, path: Path) -> int:
    """Write all customers, or the remaining ones if an earlier run was killed.

    Returns:
        The number of customers that this run wrote.
    """
    part, saved = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.checkpoint")
    is_resumed = part.exists() and saved.exists()
    size, checkpoint = json.loads(saved.read_text()) if is_resumed else (0, None)
    customers = iter(client.customers.list(team_id, resume=checkpoint))
    count = 0
    with part.open("r+" if is_resumed else "w", newline="", encoding="utf-8") as file:
        file.truncate(size)
        file.seek(size)
        if not size:
            csv.writer(file).writerow(COLUMNS)
        for customer in customers:
            write(file, [customer])
            count += 1
            if count % ROWS_BETWEEN_CHECKPOINTS == 0:
                file.flush()
                new = saved.with_name(f"{saved.name}.new")
                new.write_text(json.dumps([part.stat().st_size, customers.checkpoint()]))
                new.replace(saved)
    saved.unlink(missing_ok=True)
    part.replace(path)
    return count


def demo() -> None:
    import tempfile

    from cstar.sandbox import Sandbox

    with (
        Sandbox(customers=2500) as box,
        Cstar(api_key=box.api_key, base_url=box.url) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder, "customers.csv")
        for export in (export_once, export_all):
            sent = len(box.requests)
            count = export(client, box.team_id, path)
            print(f"{count} customers, requests: {len(box.requests) - sent}, {path.stat().st_size} bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the customers to a CSV file.")
    parser.add_argument("file", type=Path, nargs="?", help="the CSV file; it is replaced at the end")
    parser.add_argument("--once", action="store_true", help="at most 10,000 customers, with one request")
    parser.add_argument("--demo", action="store_true", help="run against a sandbox, into a temporary file")
    arguments = parser.parse_args()
    if arguments.demo:
        demo()
        return 0
    if arguments.file is None:
        parser.error("give the name of a CSV file, or --demo")
    export = export_once if arguments.once else export_all
    try:
        # Wait up to an hour for the rate limit to reset, rather than fail.
        with Cstar(max_retry_wait=3600) as client:
            count = export(client, client.whoami().team_id, arguments.file)
    except (CstarError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{count} customers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
