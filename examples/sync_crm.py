"""Bring the customers of a CSV file into cStar: create who is missing, update who changed, leave the rest alone.

    python examples/sync_crm.py customers.csv      # with CSTAR_API_KEY set
    python examples/sync_crm.py --demo             # against a sandbox, with a file made up for it

The file has the columns `email`, `name` and, if you like, `status`, `tags` (separated by `;`) and `notes`. Rows are
matched by email. It can be run again without harm: what is there already is not created twice, and what has not
changed costs no request. Reading 100 customers costs one request of the hourly limit, each change costs one.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import track

from cstar import ConflictError, Cstar, CstarError, Customer, CustomerStatus
from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUSES: dict[str, CustomerStatus] = {"active": "active", "inactive": "inactive"}
DEMO = """email,name,status,tags,notes
ada@example.com,Ada Lovelace,active,vip;founder,Prefers letters
grace@example.com,Grace Hopper,active,navy,
alan@example.com,Alan Turing,inactive,,Moved away
"""


def sync(client: Cstar, team_id: str, rows: list[dict[str, str]]) -> Counter[str]:
    """Bring the rows in.

    Returns:
        How many customers were `created`, `updated` and `unchanged`.
    """
    there = {customer.email.lower(): customer for customer in client.customers.list(team_id)}
    return Counter(sync_row(client, team_id, row, there) for row in track(rows, "Syncing"))


def sync_row(client: Cstar, team_id: str, row: dict[str, str], there: Mapping[str, Customer]) -> str:
    email, name, notes = row["email"].strip(), row["name"].strip(), (row.get("notes") or "").strip() or None
    tags = [tag.strip() for tag in (row.get("tags") or "").split(";") if tag.strip()]
    status = status_of(row)
    customer = there.get(email.lower())
    if customer is None:
        # The key names the row, so a run that is broken off and started again repeats the same operation.
        key = "sync-crm-" + hashlib.sha256(repr((team_id, email, name, status, tags, notes)).encode()).hexdigest()
        try:
            client.customers.create(
                team_id, name=name, email=email, status=status, tags=tags, notes=notes, idempotency_key=key
            )
        except ConflictError:
            return "conflicts"  # somebody else created this customer after we read the list
        return "created"
    if (customer.name, customer.status, customer.tags, customer.notes) == (name, status, tags, notes):
        return "unchanged"
    client.customers.update(team_id, customer.id, name=name, status=status, tags=tags, notes=notes)
    return "updated"


def status_of(row: dict[str, str]) -> CustomerStatus:
    wanted = (row.get("status") or "active").strip()
    if wanted not in STATUSES:
        raise ValueError(f"{row['email']}: the status must be one of {', '.join(STATUSES)}, not {wanted!r}")
    return STATUSES[wanted]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if missing := {"email", "name"} - set(reader.fieldnames or []):
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        return list(reader)


def report(counts: Counter[str]) -> None:
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing to do")


def demo() -> None:
    changed = DEMO.replace("Moved away", "Came back").replace("inactive", "active")
    with Sandbox() as box, Cstar(api_key=box.api_key, base_url=box.url) as client, tempfile.TemporaryDirectory() as tmp:
        for content in (DEMO, changed):
            path = Path(tmp, "customers.csv")
            path.write_text(content, encoding="utf-8")
            report(sync(client, box.team_id, read(path)))


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
            report(sync(client, client.whoami().team_id, rows))
    except (CstarError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
