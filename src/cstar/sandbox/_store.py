"""The SQLite database: all SQL of the sandbox.

One process uses the database, under an exclusive lock. The thread that starts the sandbox opens it; the server's thread
uses it afterwards.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import uuid
from collections.abc import Generator, Iterable
from dataclasses import dataclass

from cstar.sandbox import _clock
from cstar.sandbox._models import Customer, Filters, Ticket

_APPLICATION_ID = 0x63737472  # "cstr": identifies the databases of the sandbox
_SCHEMA_VERSION = 4

_SCHEMA = (
    """CREATE TABLE sandbox (
           team_id TEXT NOT NULL, api_key TEXT NOT NULL, publishable_key TEXT NOT NULL, webhook_secret TEXT NOT NULL,
           seeded INTEGER NOT NULL DEFAULT 0)""",
    # The primary key is the unique creation time in microseconds: SQLite stores rows in the order of lists. `folded` is
    # case-folded text for searches. The JSON of customers is in another table, so that filters read less.
    """CREATE TABLE customers (
           created INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, folded_email TEXT NOT NULL UNIQUE,
           folded TEXT NOT NULL, sentiment TEXT NOT NULL, status TEXT NOT NULL)""",
    """CREATE TABLE documents (
           customer INTEGER PRIMARY KEY REFERENCES customers ON DELETE CASCADE, document TEXT NOT NULL)""",
    """CREATE TABLE tags (
           tag TEXT NOT NULL, customer INTEGER NOT NULL REFERENCES customers ON DELETE CASCADE,
           PRIMARY KEY (tag, customer)) WITHOUT ROWID""",
    "CREATE INDEX tags_by_customer ON tags (customer)",
    """CREATE TABLE tickets (
           customer INTEGER NOT NULL REFERENCES customers ON DELETE CASCADE, created INTEGER NOT NULL, id TEXT NOT NULL,
           document TEXT NOT NULL, PRIMARY KEY (customer, created, id)) WITHOUT ROWID""",
    """CREATE TABLE idempotency (
           api_key TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, at INTEGER NOT NULL,
           status INTEGER NOT NULL, media_type TEXT NOT NULL, body BLOB NOT NULL, request_id TEXT NOT NULL,
           PRIMARY KEY (api_key, key)) WITHOUT ROWID""",
    "CREATE INDEX idempotency_by_time ON idempotency (at)",
)

_CUSTOMER = """SELECT document, (SELECT count(*) FROM tickets WHERE tickets.customer = page.created)
    FROM (SELECT created FROM customers WHERE {}) AS page JOIN documents ON documents.customer = page.created
    ORDER BY page.created DESC"""
_PUT_CUSTOMER = """INSERT INTO customers VALUES (:created, :id, :folded_email, :folded, :sentiment, :status)
    ON CONFLICT (id) DO UPDATE SET folded_email = :folded_email, folded = :folded, sentiment = :sentiment,
    status = :status"""
_CONDITIONS = {
    "status": "status = :status",
    "sentiment": "sentiment = :sentiment",
    "search": "instr(folded, :search)",
    "tag": "created IN (SELECT customer FROM tags WHERE tag = :tag)",
}


@dataclass(frozen=True, repr=False)
class Credentials:
    """The team of a database, and its secrets."""

    team_id: str
    api_key: str
    publishable_key: str
    webhook_secret: str


@dataclass(frozen=True)
class IdempotencyRecord:
    """The first response to an Idempotency-Key, and a fingerprint of the request."""

    fingerprint: str
    status: int
    media_type: str
    body: bytes
    request_id: str


class Store:
    """An open SQLite database, to be closed by `close`.

    Raises:
        ValueError: The file belongs to another program, or to another version of the sandbox.
        sqlite3.Error: The file cannot be opened, or another process is using it.
    """

    def __init__(self, database: str | os.PathLike[str]) -> None:
        name = repr(os.fspath(database))
        try:
            with contextlib.ExitStack() as stack:
                self._db = sqlite3.connect(
                    database,
                    timeout=0,  # another process keeps its lock, so do not wait for it
                    isolation_level=None,  # transactions begin and end in transaction()
                    check_same_thread=False,
                )
                stack.callback(self._db.close)
                self._prepare(name)
                select = "SELECT team_id, api_key, publishable_key, webhook_secret FROM sandbox"
                self.credentials = Credentials(*self._db.execute(select).fetchone())
                stack.pop_all()
        except sqlite3.Error as error:
            reason = str(error)
            if reason == "database is locked":  # compare the text: Python 3.10 has no error code
                reason = "another process is using it; stop that one, or name another file"
            raise type(error)(f"The database {name} cannot be opened: {reason}.") from error

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """Commit if the block succeeds; roll back if it raises."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    def customers(self, filters: Filters, *, page: int = 1, page_size: int) -> tuple[list[Customer], int]:
        """Return one page of the customers that match, newest first, and the number of all matches."""
        values = {**filters, "search": filters.get("search", "").casefold()}
        where = " AND ".join(["TRUE", *(_CONDITIONS[name] for name in _CONDITIONS if name in filters)])
        # The conditions are constants, and their values are bound.
        total: int = self._db.execute(f"SELECT count(*) FROM customers WHERE {where}", values).fetchone()[0]  # noqa: S608
        values |= {"size": page_size, "offset": (page - 1) * page_size}
        statement = _CUSTOMER.format(f"{where} ORDER BY created DESC LIMIT :size OFFSET :offset")
        return [_customer(row) for row in self._db.execute(statement, values)], total

    def customer(self, id: str) -> Customer | None:
        row = self._db.execute(_CUSTOMER.format("id = ?"), (id,)).fetchone()
        return row and _customer(row)

    def customer_with_email(self, email: str) -> Customer | None:
        row = self._db.execute(_CUSTOMER.format("folded_email = ?"), (email.casefold(),)).fetchone()
        return row and _customer(row)

    def free_instant(self, at: int) -> int:
        """Return an instant at which no customer was created: `at`, or the first one after the newest."""
        is_free = self._db.execute("SELECT 1 FROM customers WHERE created = ?", (at,)).fetchone() is None
        return at if is_free else self._db.execute("SELECT max(created) FROM customers").fetchone()[0] + 1

    def put(self, customer: Customer) -> None:
        """Insert or replace a customer."""
        row = {
            "created": _clock.instant(customer.created_at),
            "id": customer.id,
            "folded_email": customer.email.casefold(),
            # Folded text has no capital letters, so no search matches across this separator.
            "folded": f"{customer.email.casefold()}A{customer.name.casefold()}",
            "sentiment": customer.sentiment,
            "status": customer.status,
            "document": customer.model_dump_json(),
        }
        self._db.execute(_PUT_CUSTOMER, row)
        self._db.execute("INSERT OR REPLACE INTO documents VALUES (:created, :document)", row)
        self._db.execute("DELETE FROM tags WHERE customer = :created", row)
        tags = [(tag, row["created"]) for tag in dict.fromkeys(customer.tags)]
        self._db.executemany("INSERT INTO tags (tag, customer) VALUES (?, ?)", tags)

    def remove(self, customer: Customer) -> None:
        self._db.execute("DELETE FROM customers WHERE id = ?", (customer.id,))

    def add_tickets(self, customer: Customer, tickets: Iterable[Ticket]) -> None:
        created = _clock.instant(customer.created_at)
        self._db.executemany(
            "INSERT INTO tickets (customer, created, id, document) VALUES (?, ?, ?, ?)",
            [(created, _clock.instant(each.created_at), each.id, each.model_dump_json()) for each in tickets],
        )

    def recent_tickets(self, customer: Customer, limit: int) -> list[Ticket]:
        """Return the newest tickets of a customer, newest first."""
        rows = self._db.execute(
            "SELECT document FROM tickets WHERE customer = ? ORDER BY created DESC, id LIMIT ?",
            (_clock.instant(customer.created_at), limit),
        )
        return [Ticket.model_validate_json(document) for (document,) in rows]

    def idempotency_record(self, api_key: str, key: str) -> IdempotencyRecord | None:
        """Return the first response to an Idempotency-Key, if any."""
        columns = "fingerprint, status, media_type, body, request_id"
        statement = f"SELECT {columns} FROM idempotency WHERE api_key = ? AND key = ?"  # noqa: S608 - fixed names
        row = self._db.execute(statement, (api_key, key)).fetchone()
        return row and IdempotencyRecord(*row)

    def add_idempotency_record(self, api_key: str, key: str, record: IdempotencyRecord, *, at: int) -> None:
        self._db.execute(
            "INSERT INTO idempotency (api_key, key, fingerprint, at, status, media_type, body, request_id) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (api_key, key, record.fingerprint, at, record.status, record.media_type, record.body, record.request_id),
        )

    def expire_idempotency_records(self, *, before: int) -> None:
        self._db.execute("DELETE FROM idempotency WHERE at < ?", (before,))

    def clear(self) -> None:
        """Delete everything but the credentials; tables that refer to others come first."""
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'sandbox' ORDER BY rowid DESC"
        for (table,) in self._db.execute(tables).fetchall():
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - fixed names
        self.seeded = 0

    @property
    def seeded(self) -> int:
        """The number of demo customers ever added, including those deleted since."""
        count: int = self._db.execute("SELECT seeded FROM sandbox").fetchone()[0]
        return count

    @seeded.setter
    def seeded(self, count: int) -> None:
        self._db.execute("UPDATE sandbox SET seeded = ?", (count,))

    def _prepare(self, name: str) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # until the connection closes or the process ends
        is_blank = self._db.execute("SELECT 1 FROM sqlite_master").fetchone() is None
        version = [self._db.execute(f"PRAGMA {each}").fetchone()[0] for each in ("application_id", "user_version")]
        if not is_blank and version != [_APPLICATION_ID, _SCHEMA_VERSION]:
            raise ValueError(
                f"{name} is not a database of this version of the cStar sandbox; move it away, or name another file."
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        with self.transaction():
            if is_blank:
                self._create()
        # Sync at every commit, which is not the default in WAL mode: a response means that its write is on disk.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA cache_size = -65536")  # KiB: room for 100,000 customers

    def _create(self) -> None:
        for statement in _SCHEMA:
            self._db.execute(statement)
        self._db.execute(
            "INSERT INTO sandbox (team_id, api_key, publishable_key, webhook_secret) VALUES (?, ?, ?, ?)",
            (str(uuid.uuid4()), *(prefix + secrets.token_urlsafe(24) for prefix in ("sk_test_", "pk_test_", "whsec_"))),
        )
        self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


def _customer(row: tuple[str, int]) -> Customer:
    document, ticket_count = row
    return Customer.model_validate_json(document).model_copy(update={"ticket_count": ticket_count})
