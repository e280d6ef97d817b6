"""The public class `Sandbox`: it starts and stops the store, the API, the server and the webhooks."""

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

    It belongs to the process that started it. A forked child can use clients, `url` and the keys. There, the methods,
    `faults`, `requests` and `deliveries` raise RuntimeError.

    Args:
        port: The TCP port; 0 picks a free one.
        host: The address to listen on. The default can be reached from this machine only.
        database: A file that stores the data between starts, or ":memory:" for an empty database at every start. The
            keys and the team id are generated once and stored, too. One process at a time can use a file.
        customers: The number of demo customers, which have tickets and are the same in every sandbox. Those added to
            the database before are not added again.
        rate_limit: The number of requests that each key may send in a number of seconds, such as (1000, 3600). Further
            requests get a 429 with `Retry-After`. The default is one million per hour.
        webhook_url: One or several URLs that receive events.
        allow_hosts: Further host names of the sandbox, such as the name of a container. A request with another name in
            its `Host` header is rejected, except for loopback names (localhost, 127.0.0.1, [::1]) and `host`.

    Raises:
        ValueError: An argument is invalid; the message says what is allowed.

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
        _check("customers", customers, Annotated[int, Field(ge=0)], "a whole number of at least 0")
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
        endpoints(self._webhook_urls)  # an invalid URL is an error here, not in start()
        self._request_log = RequestLog()
        self._running: contextlib.ExitStack | None = None
        self._latest: _Run | None = None

    def start(self) -> None:
        """Open the database and start the server; it accepts requests on return.

        Raises:
            RuntimeError: It is already running, in this process or in the process that forked this one.
            OSError: The port is in use.
            sqlite3.Error: The database cannot be opened, or another process is using it.
            ValueError: The file belongs to another program, or to another version of the sandbox.

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
            # The port first: a second start by mistake must not touch the database of the running sandbox.
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

        It takes about 0.2 seconds, even with idle connections, incomplete requests and delayed responses.

        Raises:
            RuntimeError: It was started by the process that forked this one.

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
        """Whether it is running."""
        return self._running is not None

    @property
    def faults(self) -> Faults:
        """The faults: `box.faults.add("status", status=503, times=2)` makes the next two requests fail."""
        self._check_process()
        return self._faults

    def reset(self) -> None:
        """Delete all customers, faults, requests, deliveries and idempotency keys; add the demo customers again.

        The port, the keys and the team stay the same, so clients keep working. The rate limit of each key starts again.
        A database file is cleared, too. A reset takes milliseconds, so each test can begin with one.

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
        """The newest 1,000 requests to the API, oldest first. A request is added before its response is sent."""
        self._check_process()
        return self._request_log.requests()

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The webhook deliveries, oldest first: all pending ones and the newest 1,000 finished ones."""
        self._check_process()
        return self._last_run().services.webhooks.deliveries

    def wait_for_deliveries(self, timeout: float = 10.0) -> tuple[Delivery, ...]:
        """Wait until no webhook delivery is pending.

        Args:
            timeout: The longest wait, in seconds.

        Returns:
            The same as `deliveries`.

        Raises:
            RuntimeError: The sandbox was not started yet.
            TimeoutError: Deliveries are still pending; the message has their URLs and the last errors.

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
        """The URL of the page that shows its data and requests in a browser."""
        return self.url.removesuffix(BASE_PATH) + "/"

    @property
    def api_key(self) -> str:
        """The secret test key, which can read and write: `sk_test_` and 32 characters."""
        return self._credentials().api_key

    @property
    def publishable_key(self) -> str:
        """The publishable test key, which can only read: `pk_test_` and 32 characters."""
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
                "can use its url here; use the Sandbox object only in that process, or create a new one."
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
    """The objects of one run. The services can also be read after it has stopped."""

    process: int
    url: str
    services: Services
    server: Server
