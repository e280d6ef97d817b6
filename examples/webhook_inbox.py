"""A persistent inbox for webhook events: a view stores an event and responds at once, and a thread handles it later.

    inbox = Inbox("webhooks.db")
    inbox.start(handle)  # when the server starts; `inbox.stop()` when it stops
    inbox.put(event)  # in the view
    inbox.put_unreadable(body)  # in the view, after a WebhookPayloadError

When `put` returns, the event is on disk, so a crash does not lose it. An event that is delivered again has the same id,
and is ignored. `handle` is called with one event at a time, in the order of arrival. If it raises, the error is
logged, and the event is handled again later; other events do not wait for it. If the process ends while `handle` runs,
the event is handled again after the next start. So `handle` must be idempotent. For example, pass an `idempotency_key`
derived from `event.id` to calls of cStar.

Use it in a single process, with any number of threads. A second process that starts an inbox on the same file gets
`sqlite3.OperationalError: database is locked`. For several processes, store the event's id in your database, in a
column with a unique constraint, and handle the events in a queue such as Celery: see celery_tasks.py.

A signed body that cannot be parsed is stored in the table `unreadable`. Report it to cStar's support. Another delivery
would have the same body, so the view responds with 2xx.

Handled events stay in the file, so that repeated deliveries are recognized. To delete old ones, stop the server first:

    sqlite3 webhooks.db "DELETE FROM events WHERE due IS NULL AND received < datetime('now', '-30 days')"
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from cstar.webhooks import WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

EVENTS: TypeAdapter[WebhookEvent] = TypeAdapter(WebhookEvent)

# `due` is the time to handle an event: 0 at first, later after each failure, and NULL when it has been handled.
SCHEMA = """
    PRAGMA locking_mode = EXCLUSIVE;
    BEGIN EXCLUSIVE;
    CREATE TABLE IF NOT EXISTS events (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        event TEXT NOT NULL,
        received TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
        due REAL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS unreadable (
        number INTEGER PRIMARY KEY,
        body BLOB NOT NULL UNIQUE,
        received TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE INDEX IF NOT EXISTS pending ON events (due) WHERE due IS NOT NULL;
    COMMIT;
"""


class Inbox:
    """Stores events in an SQLite file until they are handled. Thread-safe.

    Args:
        path: The file. It is created if it does not exist.
        retry_wait: Seconds until an event is handled again after `handle` has raised.
    """

    def __init__(self, path: str | Path, *, retry_wait: float = 30) -> None:
        self._path = path
        self._retry_wait = retry_wait
        self._worker: threading.Thread | None = None
        self._changed = threading.Condition()  # guards the database; notified of a new event and of a stop

    def start(self, handle: Callable[[WebhookEvent], None]) -> None:
        """Open the file, and call `handle` on a thread with the pending events and the new ones."""
        self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._database.executescript(SCHEMA)
        except sqlite3.Error:
            self._database.close()
            raise
        self._stopping = False
        self._worker = threading.Thread(target=self._work, args=(handle,), name="webhook-inbox", daemon=True)
        self._worker.start()

    def stop(self) -> None:
        """Wait for `handle` to finish its current event, and close the file. Other events wait for the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._worker is not None:
            self._worker.join()
            self._database.close()

    def put(self, event: WebhookEvent) -> bool:
        """Store an event on disk.

        Returns:
            Whether it is new.

        Raises:
            RuntimeError: The inbox was not started in this process, or has stopped.
        """
        insert = "INSERT INTO events (id, event) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
        return self._insert(insert, event.id, event.model_dump_json())

    def put_unreadable(self, body: bytes) -> bool:
        """Store a signed body that is not an event.

        Returns:
            Whether it is new.

        Raises:
            RuntimeError: The inbox was not started in this process, or has stopped.
        """
        return self._insert("INSERT INTO unreadable (body) VALUES (?) ON CONFLICT (body) DO NOTHING", body)

    def _insert(self, statement: str, *values: str | bytes) -> bool:
        with self._changed:
            # A fork copies the inbox, but not its thread.
            if self._worker is None or not self._worker.is_alive():
                raise RuntimeError("The inbox is not running: call start() in the process that serves the webhooks.")
            is_new = self._database.execute(statement, values).rowcount == 1
            self._changed.notify()
            return is_new

    def _work(self, handle: Callable[[WebhookEvent], None]) -> None:
        while row := self._next():
            number, event_id, stored = row
            due = None
            try:
                handle(EVENTS.validate_json(stored))
            except Exception:
                logger.exception("Event %s was not handled; it is handled again in %g s.", event_id, self._retry_wait)
                due = time.time() + self._retry_wait
            with self._changed:
                self._database.execute("UPDATE events SET due = ? WHERE number = ?", (due, number))

    def _next(self) -> tuple[int, str, str] | None:
        """Wait until an event is due, and return its number, id and JSON. Return `None` after `stop`."""
        select = "SELECT due, number, id, event FROM events WHERE due IS NOT NULL ORDER BY due, number LIMIT 1"
        with self._changed:
            while not self._stopping:
                row: tuple[float, int, str, str] | None = self._database.execute(select).fetchone()
                if row and row[0] <= time.time():
                    return row[1:]
                self._changed.wait(row[0] - time.time() if row else None)
        return None
