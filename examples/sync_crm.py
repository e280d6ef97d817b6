"""Bring the customers of a CSV file into cStar: create who is missing, update who changed, leave the rest alone.

    python examples/sync_crm.py customers.csv      # with CSTAR_API_KEY set
    python examples/sync_crm.py --demo             # against a sandbox, with a file made up for it

The file has the columns `email`, `name` and, if you like, `status`, `tags` (separated by `;`) and `notes`. Rows are
matched by email, which is unique in a team, so it can be run again without harm, also after it was broken off: who is
there already is not created twice, and what has not changed costs no request. Reading 100 customers costs one request
of the hourly limit, each change costs one.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import track

from cstar import APIStatusError, Cstar, CstarError, Customer, CustomerStatus, RateLimitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STATUSES: dict[str, CustomerStatus] = {"active": "active", "inactive": "inactive"}
DEMO = """email,name,status,tags,notes
ada@example.com,Ada Lovelace,active,vip;founder,Prefers letters
grace@example.com,Grace Hopper,active,navy,
alan@example.com,Alan Turing,inactive,,Moved away
"""


@dataclass(frozen=True)
class Row:
    line: int
    email: str
    name: str
    status: CustomerStatus
    tags: list[str]
    notes: str | None

    def is_as(self, customer: Customer) -> bool:
        return (self.name, self.status, self.tags, self.notes) == (
            customer.name,
            customer.status,
            customer.tags,
            customer.notes,
        )


def sync(client: Cstar, team_id: str, rows: Iterable[Row]) -> Counter[str]:
    """Bring the rows in, and go on past those that the server refuses.

    Returns:
        How many customers were `created`, `updated`, `unchanged` and `refused`.
    """
    there = {(customer.email or "").casefold(): customer for customer in client.customers.list(team_id)}
    counts: Counter[str] = Counter()
    for row in rows:
        try:
            counts[sync_row(client, team_id, row, there)] += 1
        except RateLimitError:
            raise
        except APIStatusError as error:
            print(f"line {row.line}, {row.email}: {error}", file=sys.stderr)
            counts["refused"] += 1
    return counts


def sync_row(client: Cstar, team_id: str, row: Row, there: Mapping[str, Customer]) -> str:
    customer = there.get(row.email.casefold())
    if customer is None:
        client.customers.create(
            team_id, name=row.name, email=row.email, status=row.status, tags=row.tags, notes=row.notes
        )
        return "created"
    if row.is_as(customer):
        return "unchanged"
    client.customers.update(team_id, customer.id, name=row.name, status=row.status, tags=row.tags, notes=row.notes)
    return "updated"


def read(path: Path) -> list[Row]:
    """Read and check the whole file, so that a mistake in its last line is found before the first one is sent."""
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


def report(counts: Counter[str]) -> None:
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing to do")


def demo() -> None:
    from cstar.sandbox import Sandbox

    changed = DEMO.replace("Moved away", "Came back").replace("inactive", "active")
    with Sandbox() as box, Cstar(api_key=box.api_key, base_url=box.url) as client, tempfile.TemporaryDirectory() as tmp:
        for content in (DEMO, changed):
            path = Path(tmp, "customers.csv")
            path.write_text(content, encoding="utf-8")
            report(sync(client, box.team_id, track(read(path), "Syncing")))


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring the customers of a CSV file into cStar.")
    parser.add_argument("file", type=Path, nargs="?", help="a CSV file with the columns email and name")
    parser.add_argument("--demo", action="store_true", help="run against a sandbox, with a file made up for it")
    arguments = parser.parse_args()
    if arguments.demo:
        demo()
        return 0
    if arguments.file is None:
        parser.error("name a CSV file, or --demo")
    try:
        rows = read(arguments.file)
        # Nobody is waiting: sit through a full hour of rate limit rather than give up half-way.
        with Cstar(max_retry_wait=3600) as client:
            counts = sync(client, client.whoami().team_id, track(rows, "Syncing"))
    except (CstarError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report(counts)
    return 1 if counts["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
