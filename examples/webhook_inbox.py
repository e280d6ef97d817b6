"""An inbox for webhook events: a view puts them in and answers at once, a thread hands them to your code.

    inbox = Inbox("webhooks.db")
    inbox.start(handle)  # when the server starts; `inbox.stop()` when it stops
    inbox.put(event)  # in the view
    inbox.put_unreadable(body)  # in the view, on a WebhookPayloadError

Once `put` has returned, the event is on disk and a crash cannot lose it. A repeat is known by the event's id and left
out. `handle` gets the events one at a time, in the order in which they came. An event for which it raises is logged and
comes again after a while; the others do not wait for it. If the process dies while `handle` is at work, the event comes
again after the next start. So `handle` should do no harm when it sees an event twice: in calls to cStar, for instance,
pass an `idempotency_key` made of `event.id`.

This is for a single process with any number of threads. A second process that starts an inbox on the same file gets
`sqlite3.OperationalError: database is locked`, since it would handle every event again. For several processes, keep the
event's id in a table of your own database, likewise unique, and hand the work to a queue such as Celery: see
celery_tasks.py.

A signed body that cannot be read is kept in the table `unreadable`, once. Nothing else happens to it: look at it, and
write to cStar's support. Another delivery would bring the same, so the view answers with 2xx.

Handled events stay in the file, so that late repeats are known. To make room, while the server is stopped:

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

# `due` is when to handle it: 0 at first, later after each failure, and NULL once it is done.
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
    """Events in an SQLite file until they are handled. Safe to use from any thread.

    Args:
        path: The file; it is made where there is none.
        retry_wait: After how many seconds an event comes again for which `handle` has raised.
    """

    def __init__(self, path: str | Path, *, retry_wait: float = 30) -> None:
        self._path = path
        self._retry_wait = retry_wait
        self._worker: threading.Thread | None = None
        self._changed = threading.Condition()  # guards the database; notified of a new event, and of the end

    def start(self, handle: Callable[[WebhookEvent], None]) -> None:
        """Open the file, and hand what is pending and what comes in to `handle`, on a thread."""
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
        """Let `handle` finish the event it is at, and close the file. What is pending waits for the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._worker is not None:
            self._worker.join()
            self._database.close()

    def put(self, event: WebhookEvent) -> bool:
        """Keep an event, which is on disk once this returns.

        Returns:
            Whether it is new; False for a repeat.

        Raises:
            RuntimeError: Nobody would handle it: the inbox was not started in this process, or has stopped.
        """
        insert = "INSERT INTO events (id, event) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
        return self._insert(insert, event.id, event.model_dump_json())

    def put_unreadable(self, body: bytes) -> bool:
        """Keep a signed body that is not an event. It is on disk once this returns.

        Returns:
            Whether it is new; False for a repeat.

        Raises:
            RuntimeError: The inbox was not started in this process, or has stopped.
        """
        return self._insert("INSERT INTO unreadable (body) VALUES (?) ON CONFLICT (body) DO NOTHING", body)

    def _insert(self, statement: str, *values: str | bytes) -> bool:
        with self._changed:
            # Also after a fork, which copies the inbox but not its thread.
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
                logger.exception("Event %s was not handled; it comes again in %g s.", event_id, self._retry_wait)
                due = time.time() + self._retry_wait
            with self._changed:
                self._database.execute("UPDATE events SET due = ? WHERE number = ?", (due, number))

    def _next(self) -> tuple[int, str, str] | None:
        """Wait for an event to be due; returns its number, id and JSON, or None when it is time to stop."""
        select = "SELECT due, number, id, event FROM events WHERE due IS NOT NULL ORDER BY due, number LIMIT 1"
        with self._changed:
            while not self._stopping:
                row: tuple[float, int, str, str] | None = self._database.execute(select).fetchone()
                if row and row[0] <= time.time():
                    return row[1:]
                self._changed.wait(row[0] - time.time() if row else None)
        return None
