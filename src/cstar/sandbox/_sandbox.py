"""The public class: a store, the API over it and a server in front, which start and stop together."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import Self

from cstar.sandbox._api import BASE_PATH, Api
from cstar.sandbox._app import build_app
from cstar.sandbox._clock import SECOND
from cstar.sandbox._faults import Faults
from cstar.sandbox._rate_limit import RateLimiter
from cstar.sandbox._request_log import ReceivedRequest, RequestLog
from cstar.sandbox._seed import seed
from cstar.sandbox._server import Server, listen, serving
from cstar.sandbox._services import Services
from cstar.sandbox._store import Credentials, Store
from cstar.sandbox._webhooks import Delivery, Webhooks, endpoints

_Text = Annotated[str, Field(min_length=1)]
_Texts = list[_Text] | tuple[_Text, ...]
_Host = Annotated[str, Field(pattern="^([A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*)$")]
_Seconds = Annotated[float, Field(ge=0.001, le=366 * 24 * 3600)]


class Sandbox:
    """A local cStar API, on a port of this machine.

    Use it as a context manager, or call `start()` and `stop()`. It serves from one background thread; any number of
    clients may use it at once. Several sandboxes can run side by side, each with its own database.

    It belongs to the process that started it. In a forked child, clients can use it, but everything else is rejected.

    Args:
        port: The TCP port; 0 picks a free one.
        host: The address to listen on. The default can be reached from this machine only.
        database: A file that keeps everything from one start to the next, or ":memory:" for an empty one at every
            start. Its keys and its team id are generated once and kept in it. One process at a time can use a file.
        customers: The number of demo customers, each with some tickets: the same ones in every sandbox. Those that the
            database has had already are not added again.
        rate_limit: The number of requests that each key may send in a number of seconds, such as (1000, 3600). Further
            requests get a 429 with `Retry-After`. The default is a million an hour.
        webhook_url: Where to deliver events: one URL or several.
        allow_hosts: Further names by which clients reach it, such as the name of a container. A request whose `Host`
            header has another name is rejected, except for the loopback names (localhost, 127.0.0.1, [::1]) and `host`.

    Raises:
        ValueError: One of these is not what it should be; the message says what is.

    Example:
        ```python
        with Sandbox(customers=50) as box, Cstar(api_key=box.api_key, base_url=box.url) as client:
            print(client.customers.list(box.team_id).total)
        ```
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        database: str | os.PathLike[str] = ":memory:",
        customers: int = 0,
        rate_limit: tuple[int, float] | None = None,
        webhook_url: str | Sequence[str] | None = None,
        allow_hosts: Sequence[str] = (),
    ) -> None:
        rates = "a whole number of requests and a number of seconds, such as (1000, 3600)"
        _check("port", port, Annotated[int, Field(ge=0, le=65535)], "a whole number from 0 to 65535")
        _check("host", host, _Text, "an address such as '127.0.0.1'")
        path = str(database) if isinstance(database, os.PathLike) else database
        _check("database", path, _Text, "a path, or ':memory:'")
        _check("customers", customers, Annotated[int, Field(ge=0)], "a whole number from 0 on")
        _check("rate_limit", rate_limit, tuple[Annotated[int, Field(ge=1)], _Seconds] | None, rates)
        _check("webhook_url", webhook_url, _Text | _Texts | None, "a URL or a list of URLs")
        _check("allow_hosts", allow_hosts, list[_Host] | tuple[_Host, ...], "a list of host names, without ports")
        self._faults = Faults()
        self._allow_hosts = [*allow_hosts, host]
        self._port = port
        self._host = host
        self._database = database
        self._customers = customers
        requests, seconds = rate_limit or (1_000_000, 3600)
        self._rate_limit = requests, int(seconds * SECOND)
        self._webhook_urls = [webhook_url] if isinstance(webhook_url, str) else list(webhook_url or ())
        endpoints(self._webhook_urls)  # an invalid URL is an error now, not at the start
        self._request_log = RequestLog()
        self._running: contextlib.ExitStack | None = None
        self._latest: _Run | None = None

    def start(self) -> None:
        """Open the database and serve; on return, the server responds.

        Raises:
            RuntimeError: It is running already, in this process or in the one that this one was forked from.
            OSError: The port is taken.
            sqlite3.Error: The database cannot be opened, or another process is using it.
            ValueError: The database is a file of another program, or of another version of the sandbox.

        Example:
            ```python
            box = Sandbox(port=4010, database="cstar.db")
            box.start()
            print(box.url)
            ```
        """
        self._check_process()
        if self._running is not None:
            raise RuntimeError(f"This sandbox is already running at {self.url}; stop() it before starting it again.")
        with contextlib.ExitStack() as stack:
            # The port first: a second start by mistake must not touch the database of the one that runs.
            listener = stack.enter_context(listen(self._host, self._port))
            host = f"[{self._host}]" if ":" in self._host else self._host
            url = f"http://{host}:{listener.getsockname()[1]}{BASE_PATH}"
            store = stack.enter_context(contextlib.closing(Store(self._database)))
            seed(store, self._customers)
            credentials = store.credentials
            webhooks = Webhooks(self._webhook_urls, secret=credentials.webhook_secret, team_id=credentials.team_id)
            api = Api(store, publish=webhooks.publish, limiter=RateLimiter(*self._rate_limit))
            services = Services(store, api, self._faults, self._request_log, webhooks, self._customers)
            self._request_log.clear()
            app = build_app(services, allow_hosts=self._allow_hosts)
            server = stack.enter_context(serving(app, listener, webhooks))
            self._latest = _Run(os.getpid(), url, services, server)
            self._running = stack.pop_all()

    def stop(self) -> None:
        """Close every connection, the port and the database; do nothing if it is not running.

        Takes about a fifth of a second, also with idle or half-open connections or a response that is held.

        Raises:
            RuntimeError: Another process has started it, from which this one was forked.

        Example:
            ```python
            box.stop()
            ```
        """
        self._check_process()
        running, self._running = self._running, None
        if running is not None:
            running.close()

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._running is not None

    @property
    def faults(self) -> Faults:
        """The faults: `box.faults.add("status", status=503, times=2)` makes the next two requests fail."""
        self._check_process()
        return self._faults

    def reset(self) -> None:
        """Start over without stopping: no customers but the demo ones, no faults, nothing remembered or recorded.

        Port, keys and team stay, and so do clients; every key has its whole budget again. In a database file, too,
        everything is deleted. Takes milliseconds, so that every test can have a sandbox as good as new.

        Raises:
            RuntimeError: It is not running.

        Example:
            ```python
            box.reset()
            assert not box.requests
            ```
        """
        self._check_process()
        if self._running is None:
            raise RuntimeError("This sandbox is not running, so there is nothing to reset.")
        run = self._last_run()
        asyncio.run_coroutine_threadsafe(run.services.reset(), run.server.loop.result()).result()

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """The newest 1,000 requests to the API, oldest first; each is there before its response is sent."""
        self._check_process()
        return self._request_log.requests()

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The webhook deliveries, oldest first: all that are pending, and the newest 1,000 others."""
        self._check_process()
        return self._last_run().services.webhooks.deliveries

    def wait_for_deliveries(self, timeout: float = 10.0) -> tuple[Delivery, ...]:
        """Wait until every webhook was delivered or given up.

        Args:
            timeout: The longest wait, in seconds.

        Returns:
            The same as `deliveries`.

        Raises:
            RuntimeError: It was not started yet.
            TimeoutError: Some are still pending; says where to and why.

        Example:
            ```python
            client.customers.create(box.team_id, name="Jane Doe", email="jane@example.com")
            [delivery] = box.wait_for_deliveries()
            assert delivery.outcome == "delivered"
            ```
        """
        self._check_process()
        return self._last_run().services.webhooks.wait_until_settled(timeout)

    @property
    def url(self) -> str:
        """The base URL for a client, such as `http://127.0.0.1:4010/api/v1`."""
        return self._last_run().url

    @property
    def page_url(self) -> str:
        """The page to open in a browser, which shows what it holds and what happens in it."""
        return self.url.removesuffix(BASE_PATH) + "/"

    @property
    def api_key(self) -> str:
        """The secret test key, which reads and writes: `sk_test_` and 32 characters."""
        return self._credentials().api_key

    @property
    def publishable_key(self) -> str:
        """The publishable test key, which only reads: `pk_test_` and 32 characters."""
        return self._credentials().publishable_key

    @property
    def team_id(self) -> str:
        """The UUID of the team to which both keys belong."""
        return self._credentials().team_id

    @property
    def webhook_secret(self) -> str:
        """The secret that signs webhooks, `whsec_…`."""
        return self._credentials().webhook_secret

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if not self._is_in_forked_child():
            self.stop()

    def __repr__(self) -> str:
        state = f"at {self.url}" if self._running is not None else "not running"
        return f"<Sandbox {state}, database {str(self._database)!r}>"

    def _is_in_forked_child(self) -> bool:
        return self._running is not None and self._last_run().process != os.getpid()

    def _check_process(self) -> None:
        if self._is_in_forked_child():
            raise RuntimeError(
                f"This sandbox runs in process {self._last_run().process}, from which this process was forked. Clients "
                "can use it from here at its url; all else must be done there, or with a new Sandbox()."
            )

    def _credentials(self) -> Credentials:
        return self._last_run().services.store.credentials

    def _last_run(self) -> _Run:
        if self._latest is None:
            raise RuntimeError("This sandbox was not started yet: use it in a with block, or call start().")
        return self._latest


def _check(name: str, value: object, shape: Any, allowed: str) -> None:
    try:
        TypeAdapter(shape).validate_python(value, strict=True)
    except ValidationError:
        raise ValueError(f"{name} must be {allowed}, not {value!r}.") from None


@dataclass(frozen=True)
class _Run:
    """What a start makes; the services can be read after the stop too."""

    process: int
    url: str
    services: Services
    server: Server
