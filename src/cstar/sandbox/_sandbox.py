"""The public face: a sandbox is a store, an API over it, and a server in front, which live and die together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cstar.sandbox._api import Api
from cstar.sandbox._app import BASE_PATH, build_app
from cstar.sandbox._seed import seed
from cstar.sandbox._server import listen, serving
from cstar.sandbox._store import Identity, Store

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from typing_extensions import Self


class Sandbox:
    """A cStar API of your own, on a port of this machine.

    Use it as a context manager, or call `start()` and `stop()`. It serves from one background thread; any number of
    clients may use it at once. Several sandboxes can run side by side.

    Args:
        port: The TCP port; 0 picks a free one.
        host: The address to listen on. The default can be reached from this machine only.
        database: A file that keeps everything from one start to the next, or ":memory:" for a fresh, empty one at
            every start. Its keys and its team id are made up once and kept in it.
        customers: How many demo customers to put in, each with some tickets: the same ones in every sandbox. Those
            that the database has had already are not put in again.

    Raises:
        ValueError: `customers` is negative.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        database: str | os.PathLike[str] = ":memory:",
        customers: int = 0,
    ) -> None:
        if customers < 0:
            raise ValueError("customers must not be negative.")
        self._port = port
        self._host = host
        self._database = database
        self._customers = customers
        self._running: contextlib.ExitStack | None = None
        self._url: str | None = None
        self._identity: Identity | None = None

    def start(self) -> None:
        """Open the database and serve; on return, the server answers.

        Raises:
            RuntimeError: It is already running.
            OSError: The port is taken.
            sqlite3.Error: The database cannot be opened.
            ValueError: The database is a file of another program, or of another version of the sandbox.
        """
        if self._running is not None:
            raise RuntimeError(f"This sandbox is already running at {self._url}; stop() it before starting it again.")
        with contextlib.ExitStack() as stack:
            # The port first: a second start by mistake must not touch the database of the one that runs.
            listener = stack.enter_context(listen(self._host, self._port))
            store = stack.enter_context(contextlib.closing(Store(self._database)))
            seed(store, self._customers)
            stack.enter_context(serving(build_app(Api(store)), listener))
            host = f"[{self._host}]" if ":" in self._host else self._host
            self._url = f"http://{host}:{listener.getsockname()[1]}{BASE_PATH}"
            self._identity = store.identity
            self._running = stack.pop_all()

    def stop(self) -> None:
        """Close every connection, the port and the database; do nothing if it is not running.

        Takes about a fifth of a second, also with idle or half-open connections.
        """
        running, self._running = self._running, None
        if running is not None:
            running.close()

    @property
    def url(self) -> str:
        """The base URL for a client, such as `http://127.0.0.1:4010/api/v1`."""
        if self._url is None:
            raise self._not_started()
        return self._url

    @property
    def api_key(self) -> str:
        """The secret test key, which reads and writes: `sk_test_` and 32 characters."""
        return self._known_identity().api_key

    @property
    def publishable_key(self) -> str:
        """The publishable test key, which only reads: `pk_test_` and 32 characters."""
        return self._known_identity().publishable_key

    @property
    def team_id(self) -> str:
        """The UUID of the team to which both keys belong."""
        return self._known_identity().team_id

    @property
    def webhook_secret(self) -> str:
        """The secret that signs webhooks, `whsec_…`."""
        return self._known_identity().webhook_secret

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"at {self._url}" if self._running is not None else "not running"
        return f"<Sandbox {state}, database {str(self._database)!r}>"

    def _known_identity(self) -> Identity:
        if self._identity is None:
            raise self._not_started()
        return self._identity

    def _not_started(self) -> RuntimeError:
        return RuntimeError("This sandbox was not started yet: use it in a with block, or call start().")
