"""What the sandbox remembers: all of its SQL, and nothing else of it.

A connection is used by one thread at a time (the one that starts the sandbox, then its event loop), and each request is
one transaction, so nothing here needs a lock. Several processes may have the same file open.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import sqlite3
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cstar.sandbox._index import Index, entry
from cstar.sandbox._validation import Json, JsonObject

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from cstar.sandbox._index import Entry
    from cstar.sandbox._validation import ListQuery

# "cstr", so that a database of another program is recognised and left alone.
_APPLICATION_ID = 0x63737472
_SCHEMA_VERSION = 2

# Seconds to wait for another process that is writing to the same file. Usually brief, because whoever waits in SQLite
# keeps everything else on its thread waiting too, and it is there for requests.
_BRIEFLY = 0.05
_PATIENTLY = 30.0

_SCHEMA = (
    """CREATE TABLE sandbox (
           team_id TEXT NOT NULL, api_key TEXT NOT NULL, publishable_key TEXT NOT NULL, webhook_secret TEXT NOT NULL,
           seeded INTEGER NOT NULL DEFAULT 0)""",
    # The instant of creation, made unique, is the primary key: then SQLite keeps the rows in the order of lists, and
    # the rows of a page, or nearly so, next to each other.
    """CREATE TABLE customers (
           created INTEGER PRIMARY KEY, updated INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,
           name TEXT NOT NULL, email TEXT NOT NULL, folded_email TEXT NOT NULL UNIQUE,
           sentiment TEXT NOT NULL, status TEXT NOT NULL, tags TEXT NOT NULL, notes TEXT,
           custom_fields TEXT NOT NULL, metadata TEXT NOT NULL)""",
    # Kept by customer, newest last, so that a customer's tickets are found, counted and put in together.
    """CREATE TABLE tickets (
           customer INTEGER NOT NULL REFERENCES customers ON DELETE CASCADE, created INTEGER NOT NULL, id TEXT NOT NULL,
           title TEXT NOT NULL, status TEXT NOT NULL,
           PRIMARY KEY (customer, created, id)) WITHOUT ROWID""",
    """CREATE TABLE remembered (
           api_key TEXT NOT NULL, idempotency_key TEXT NOT NULL, fingerprint TEXT NOT NULL, at INTEGER NOT NULL,
           status INTEGER NOT NULL, body BLOB NOT NULL, request_id TEXT NOT NULL,
           PRIMARY KEY (api_key, idempotency_key)) WITHOUT ROWID""",
    "CREATE INDEX remembered_by_time ON remembered (at)",
)

_SELECT_CUSTOMER = (
    "SELECT *, (SELECT count(*) FROM tickets WHERE customer = customers.created) AS ticket_count FROM customers"
)


@dataclass(frozen=True)
class Identity:
    """Whose data a database holds, and the secrets that open it."""

    team_id: str
    api_key: str
    publishable_key: str
    webhook_secret: str


@dataclass(frozen=True)
class Customer:
    """A customer; `created` also says where it stands in a list, and belongs to it alone."""

    id: uuid.UUID
    created: int
    updated: int
    name: str
    email: str
    sentiment: str = "neutral"
    status: str = "active"
    tags: list[str] = field(default_factory=list[str])
    notes: str | None = None
    custom_fields: JsonObject = field(default_factory=dict[str, Json])
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    ticket_count: int = 0

    @property
    def public_id(self) -> str:
        """The id as the API shows it."""
        return f"cus_{self.id.hex}"


@dataclass(frozen=True)
class Ticket:
    """A support ticket, as a customer's page embeds it."""

    id: str
    title: str
    status: str
    created: int


@dataclass(frozen=True)
class Remembered:
    """The first answer to an Idempotency-Key, and a fingerprint of the request that it answered."""

    fingerprint: str
    status: int
    body: bytes
    request_id: str


class Store:
    """One SQLite database, opened and ready; `close()` it."""

    def __init__(self, database: str | os.PathLike[str]) -> None:
        self._index: Index | None = None  # made when it is first needed
        self._index_version = 0  # SQLite's data_version of what the index was made from
        self._index_changed = False  # by the transaction under way
        try:
            self._db = sqlite3.connect(
                database,
                timeout=_BRIEFLY,
                isolation_level=None,  # transactions are begun and ended here, not by the module's guesses
                check_same_thread=False,
            )
            try:
                self._db.row_factory = sqlite3.Row
                with self.patience():
                    self._prepare(database)
                    self.identity = self._identity()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise type(error)(f"The database {os.fspath(database)!r} cannot be opened: {error}.") from error

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def transaction(self, *, writing: bool) -> Generator[None]:
        """All of it or nothing; a reading one sees the data as of one moment."""
        # IMMEDIATE takes the write lock first, so that what a write has checked stays true until it commits, even with
        # another process at the same file.
        self._db.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
        self._index_changed = False
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # some failures, such as a full disk, have rolled back already
                self._db.execute("ROLLBACK")
            if self._index_changed:
                self._index = None  # what holds now is what the database says
            raise

    @contextlib.contextmanager
    def patience(self) -> Generator[None]:
        """Within, wait long for another process that is writing, before giving up with "database is locked"."""
        self._wait_for_others(_PATIENTLY)
        try:
            yield
        finally:
            self._wait_for_others(_BRIEFLY)

    def can_write(self) -> bool:
        """Whether a write could begin at once, because no other process is writing."""
        self._wait_for_others(0)
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            return not is_busy(error)  # anything else is for the write itself to meet
        else:
            self._db.execute("ROLLBACK")
            return True
        finally:
            self._wait_for_others(_BRIEFLY)

    def customers(self, query: ListQuery) -> tuple[list[Customer], int]:
        """One page of the customers that a query describes, newest first, and how many there are in all."""
        page, total = self._current_index().select(query)
        places = ", ".join("?" * len(page))
        rows = self._db.execute(f"{_SELECT_CUSTOMER} WHERE created IN ({places}) ORDER BY created DESC", page)
        return [_customer(row) for row in rows], total

    def prepare_lists(self) -> None:
        """Do now what the first list would have to wait for."""
        with self.transaction(writing=False):
            self._current_index()

    def customer(self, id: uuid.UUID) -> Customer | None:
        row = self._db.execute(f"{_SELECT_CUSTOMER} WHERE id = ?", (id.hex,)).fetchone()
        return row and _customer(row)

    def customer_with_email(self, email: str) -> Customer | None:
        row = self._db.execute(f"{_SELECT_CUSTOMER} WHERE folded_email = ?", (email.casefold(),)).fetchone()
        return row and _customer(row)

    def free_instant(self, at: int) -> int:
        """The first instant, from `at` on, at which no customer was created."""
        free = at
        for row in self._db.execute("SELECT created FROM customers WHERE created >= ? ORDER BY created", (at,)):
            if row["created"] > free:
                break
            free += 1
        return free

    def add(self, customer: Customer) -> None:
        self._db.execute(
            """INSERT INTO customers (created, updated, id, name, email, folded_email, sentiment, status, tags, notes,
                                      custom_fields, metadata)
               VALUES (:created, :updated, :id, :name, :email, :folded_email, :sentiment, :status, :tags, :notes,
                       :custom_fields, :metadata)""",
            _row(customer),
        )
        self._put_into_index(customer)

    def replace(self, customer: Customer) -> None:
        """Put a customer in the place of the one that has its `created`."""
        self._db.execute(
            """UPDATE customers SET updated = :updated, name = :name, email = :email, folded_email = :folded_email,
                   sentiment = :sentiment, status = :status, tags = :tags, notes = :notes,
                   custom_fields = :custom_fields, metadata = :metadata
               WHERE created = :created""",
            _row(customer),
        )
        self._put_into_index(customer)

    def remove(self, customer: Customer) -> None:
        self._db.execute("DELETE FROM customers WHERE created = ?", (customer.created,))
        self._index_changed = True
        if self._index is not None:
            self._index.discard(customer.created)

    def add_tickets(self, customer: Customer, tickets: Iterable[Ticket]) -> None:
        self._db.executemany(
            "INSERT INTO tickets (customer, created, id, title, status) VALUES (?, ?, ?, ?, ?)",
            [(customer.created, ticket.created, ticket.id, ticket.title, ticket.status) for ticket in tickets],
        )

    def recent_tickets(self, customer: Customer, limit: int) -> list[Ticket]:
        """A customer's newest tickets, newest first."""
        rows = self._db.execute(
            "SELECT * FROM tickets WHERE customer = ? ORDER BY created DESC, id LIMIT ?", (customer.created, limit)
        )
        return [Ticket(row["id"], row["title"], row["status"], row["created"]) for row in rows]

    def recall(self, api_key: str, idempotency_key: str, *, since: int) -> Remembered | None:
        """What was answered to a key at or after an instant."""
        row = self._db.execute(
            "SELECT * FROM remembered WHERE api_key = ? AND idempotency_key = ? AND at >= ?",
            (api_key, idempotency_key, since),
        ).fetchone()
        return row and Remembered(row["fingerprint"], row["status"], row["body"], row["request_id"])

    def remember(self, api_key: str, idempotency_key: str, answer: Remembered, *, at: int) -> None:
        self._db.execute(
            """INSERT OR REPLACE INTO remembered (api_key, idempotency_key, fingerprint, at, status, body, request_id)
               VALUES (?, ?, ?, ?, ?, ?, ?)""",
            (api_key, idempotency_key, answer.fingerprint, at, answer.status, answer.body, answer.request_id),
        )

    def forget(self, *, before: int) -> None:
        """Drop answers remembered before an instant; a hundred at most, so that no call pays for all of a busy day."""
        self._db.execute(
            """DELETE FROM remembered WHERE (api_key, idempotency_key) IN (
                   SELECT api_key, idempotency_key FROM remembered WHERE at < ? ORDER BY at LIMIT 100)""",
            (before,),
        )

    def clear(self) -> None:
        """Remove all customers, tickets and remembered answers; what stays is the identity."""
        for table in ("tickets", "customers", "remembered"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - fixed names
        self.seeded = 0
        self._index_changed = True
        self._index = None

    @property
    def seeded(self) -> int:
        """How many demo customers were ever put in, including those that were deleted since."""
        count: int = self._db.execute("SELECT seeded FROM sandbox").fetchone()[0]
        return count

    @seeded.setter
    def seeded(self, count: int) -> None:
        self._db.execute("UPDATE sandbox SET seeded = ?", (count,))

    def _prepare(self, database: str | os.PathLike[str]) -> None:
        if self._is_blank():
            with self.transaction(writing=True):
                if self._is_blank():  # still so: another process may be starting on the same new file
                    self._create()
        if (self._pragma("application_id"), self._pragma("user_version")) != (_APPLICATION_ID, _SCHEMA_VERSION):
            raise ValueError(
                f"{os.fspath(database)!r} is not a database of this version of the cStar sandbox; "
                "move it away, or name another file."
            )
        self._write_ahead()
        # In WAL mode the default would not sync at every commit; an answer must mean that its write is on disk.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")

    def _is_blank(self) -> bool:
        return self._db.execute("SELECT 1 FROM sqlite_master").fetchone() is None

    def _create(self) -> None:
        for statement in _SCHEMA:
            self._db.execute(statement)
        self._db.execute(
            "INSERT INTO sandbox (team_id, api_key, publishable_key, webhook_secret) VALUES (?, ?, ?, ?)",
            (
                str(uuid.uuid4()),
                f"sk_test_{secrets.token_urlsafe(24)}",
                f"pk_test_{secrets.token_urlsafe(24)}",
                f"whsec_{secrets.token_urlsafe(24)}",
            ),
        )
        self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    def _write_ahead(self) -> None:
        # The one statement for which SQLite does not wait while another process is about to do the same.
        deadline = time.monotonic() + _PATIENTLY
        while not self._is_write_ahead():
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("database is locked")
            time.sleep(0.01)

    def _is_write_ahead(self) -> bool:
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            return False
        return True

    def _wait_for_others(self, seconds: float) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def _pragma(self, name: str) -> int:
        value: int = self._db.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def _identity(self) -> Identity:
        row = self._db.execute("SELECT team_id, api_key, publishable_key, webhook_secret FROM sandbox").fetchone()
        return Identity(*row)

    def _put_into_index(self, customer: Customer) -> None:
        self._index_changed = True
        if self._index is not None:
            self._index.put(_entry(customer))

    def _current_index(self) -> Index:
        """The index, made anew if there is none or another process has written since it was made."""
        version = self._pragma("data_version")
        if self._index is None or version != self._index_version:
            rows = self._db.execute(
                "SELECT created, name, email, sentiment, status, tags FROM customers ORDER BY created"
            )
            self._index = Index(
                entry(created, name, email, sentiment, status, _tags(tags))
                for created, name, email, sentiment, status, tags in rows
            )
            self._index_version = version
        return self._index


def is_busy(error: Exception) -> bool:
    """Whether something failed because another process is writing to the same file."""
    # By its words: Python 3.10 does not give the code.
    return isinstance(error, sqlite3.OperationalError) and str(error) == "database is locked"


def _row(customer: Customer) -> dict[str, object]:
    return {
        "created": customer.created,
        "updated": customer.updated,
        "id": customer.id.hex,
        "name": customer.name,
        "email": customer.email,
        "folded_email": customer.email.casefold(),
        "sentiment": customer.sentiment,
        "status": customer.status,
        "tags": json.dumps(customer.tags),
        "notes": customer.notes,
        "custom_fields": json.dumps(customer.custom_fields),
        "metadata": json.dumps(customer.metadata),
    }


def _entry(customer: Customer) -> Entry:
    return entry(
        customer.created, customer.name, customer.email, customer.sentiment, customer.status, tuple(customer.tags)
    )


@functools.lru_cache(maxsize=1024)
def _tags(text: str) -> tuple[str, ...]:
    """The tags of an entry; many customers have the same ones."""
    return tuple(json.loads(text))


def _customer(row: sqlite3.Row) -> Customer:
    return Customer(
        id=uuid.UUID(row["id"]),
        created=row["created"],
        updated=row["updated"],
        name=row["name"],
        email=row["email"],
        sentiment=row["sentiment"],
        status=row["status"],
        tags=json.loads(row["tags"]),
        notes=row["notes"],
        custom_fields=json.loads(row["custom_fields"]),
        metadata=json.loads(row["metadata"]),
        ticket_count=row["ticket_count"],
    )
