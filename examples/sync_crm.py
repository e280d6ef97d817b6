"""Synchronize the customers of a CSV file to cStar: import missing customers, and update those that differ.

    python examples/sync_crm.py customers.csv      # with CSTAR_API_KEY set
    python examples/sync_crm.py --demo             # against a sandbox, with generated files

The file has the columns `email` and `name`, and optionally `status`, `tags` (separated by `;`) and `notes`. Rows are
matched by email address, which is unique in a team.

A request reads 100 customers, imports 500, or makes the same change to 100. Rows without changes need no request.

The program may be killed at any moment and run again. It needs no idempotency key: each run compares the file with the
current customers, and an import skips customers that another run has created meanwhile. With a key derived from the
file, a customer who was deleted since would not be created again.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

from rich.progress import Progress, TaskID

from cstar import (
    Attempt,
    BadRequestError,
    BulkError,
    Cstar,
    CstarError,
    Customer,
    CustomerRecord,
    CustomerStatus,
    UnprocessableEntityError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

T = TypeVar("T")
STATUSES: dict[str, CustomerStatus] = {"active": "active", "inactive": "inactive"}
DEMO = """email,name,status,tags,notes
ada@example.com,Ada Lovelace,active,vip;founder,Prefers letters
grace@example.com,Grace Hopper,active,navy,
alan@example.com,Alan Turing,inactive,,Moved away
"""


class Changes(TypedDict, total=False):
    name: str
    status: CustomerStatus
    tags: list[str]
    notes: str | None


@dataclass(frozen=True)
class Row:
    line: int
    email: str
    name: str
    status: CustomerStatus
    tags: list[str]
    notes: str | None

    def record(self) -> CustomerRecord:
        return CustomerRecord(email=self.email, name=self.name, status=self.status, tags=self.tags, notes=self.notes)

    def changes(self, customer: Customer) -> Changes:
        """Return the fields in which the customer differs from the row."""
        changes = Changes()
        if self.name != customer.name:
            changes["name"] = self.name
        if self.status != customer.status:
            changes["status"] = self.status
        if self.tags != customer.tags:
            changes["tags"] = self.tags
        if self.notes != customer.notes:
            changes["notes"] = self.notes
        return changes


@dataclass
class Update:
    """The customers that need the same changes."""

    changes: Changes
    rows: list[Row]
    ids: list[str]


def sync(client: Cstar, team_id: str, rows: Sequence[Row]) -> Counter[str]:
    """Import and update the customers of the rows. If the server rejects a row, continue with the others.

    Returns:
        The numbers of customers that were `created`, `updated`, `unchanged` and `rejected`.
    """
    customers = {(customer.email or "").casefold(): customer for customer in client.customers.list(team_id)}
    missing: list[Row] = []
    updates: dict[str, Update] = {}
    for row in rows:
        customer = customers.get(row.email.casefold())
        if customer is None:
            missing.append(row)
        elif changes := row.changes(customer):
            update = updates.setdefault(repr(changes), Update(changes, [], []))
            update.rows.append(row)
            update.ids.append(customer.id)
    updated_rows = sum(len(update.rows) for update in updates.values())
    counts = Counter(unchanged=len(rows) - len(missing) - updated_rows)

    with Progress() as progress:
        importing = progress.add_task("Importing", total=len(missing), visible=bool(missing))
        updating = progress.add_task("Updating", total=updated_rows, visible=bool(updates))

        # A bulk call reads its input as it sends it, so the bars follow the requests.
        def advance(task: TaskID, items: Iterable[T]) -> Iterator[T]:
            for item in items:
                yield item
                progress.advance(task)

        records = advance(importing, (row.record() for row in missing))
        imported = client.customers.bulk_import(team_id, records)
        report_errors(missing, imported.errors)
        counts += Counter(created=imported.created, unchanged=imported.skipped, rejected=len(imported.errors))

        for update in updates.values():
            try:
                result = client.customers.bulk_update(team_id, advance(updating, update.ids), **update.changes)
            except (BadRequestError, UnprocessableEntityError) as error:  # the change is invalid for every customer
                report_errors(update.rows, [BulkError(index=n, message=str(error)) for n in range(len(update.rows))])
                counts["rejected"] += len(update.rows)
            else:
                report_errors(update.rows, result.errors)
                counts += Counter(updated=result.succeeded, rejected=result.failed)
    return counts


def report_errors(rows: Sequence[Row], errors: Sequence[BulkError]) -> None:
    for error in errors:
        row = None if error.index is None else rows[error.index]
        where = "a row" if row is None else f"line {row.line}, {row.email}"
        print(f"{where}: {error.message or error.code or 'rejected'}", file=sys.stderr)


def read(path: Path) -> list[Row]:
    """Read and validate the whole file before anything is sent."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        if missing := {"email", "name"} - set(reader.fieldnames or []):
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        rows = [read_row(reader.line_num, cells) for cells in reader]
    lines: dict[str, int] = {}
    for row in rows:
        if row.email.casefold() in lines:
            raise ValueError(f"line {row.line}: {row.email} is in line {lines[row.email.casefold()]} already")
        lines[row.email.casefold()] = row.line
    return rows


def read_row(line: int, cells: Mapping[str, str]) -> Row:
    def cell(name: str) -> str:
        return cells.get(name, "").strip()

    for required in ("email", "name"):
        if not cell(required):
            raise ValueError(f"line {line}: the {required} is missing")
    status = cell("status") or "active"
    if status not in STATUSES:
        raise ValueError(f"line {line}: the status must be one of {', '.join(STATUSES)}, not {status!r}")
    tags = [tag.strip() for tag in cell("tags").split(";") if tag.strip()]
    return Row(line, cell("email"), cell("name"), STATUSES[status], tags, cell("notes") or None)


class Requests:
    """Counts the requests of a client, retries included."""

    def __init__(self) -> None:
        self.reads = self.writes = 0

    def __call__(self, attempt: Attempt) -> None:
        if attempt.method == "GET":
            self.reads += 1
        else:
            self.writes += 1


def report(counts: Counter[str], requests: Requests) -> None:
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()) if count) or "nothing to do")
    changes = counts.total() - counts["unchanged"]
    print(f"requests: {requests.reads} to read, {requests.writes} to write; without bulk calls, {changes} to write")


def demo() -> None:
    from cstar.sandbox import Sandbox

    rows = [f"customer-{number}@example.com,Customer {number},active,," for number in range(1997)]
    before = DEMO + "\n".join(rows)
    after = before.replace("Moved away", "Came back").replace("active,,\n", "inactive,,\n", 300)
    with Sandbox() as box, tempfile.TemporaryDirectory() as folder:
        for content in (before, after):
            path = Path(folder, "customers.csv")
            path.write_text(content, encoding="utf-8")
            requests = Requests()
            with Cstar(api_key=box.api_key, base_url=box.url, on_attempt=requests) as client:
                report(sync(client, box.team_id, read(path)), requests)


def main() -> int:
    parser = argparse.ArgumentParser(description="Synchronize the customers of a CSV file to cStar.")
    parser.add_argument("file", type=Path, nargs="?", help="a CSV file with the columns email and name")
    parser.add_argument("--demo", action="store_true", help="run against a sandbox, with generated files")
    arguments = parser.parse_args()
    if arguments.demo:
        demo()
        return 0
    if arguments.file is None:
        parser.error("give the name of a CSV file, or --demo")
    requests = Requests()
    try:
        rows = read(arguments.file)
        # Wait up to an hour for the rate limit to reset, rather than fail.
        with Cstar(max_retry_wait=3600, on_attempt=requests) as client:
            counts = sync(client, client.whoami().team_id, rows)
    except (CstarError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report(counts, requests)
    return 1 if counts["rejected"] else 0


if __name__ == "__main__":
    sys.exit(main())
