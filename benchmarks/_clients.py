"""The same calls with each library, behind one interface.

Each library is imported when its client is created, so that a process loads only the library that it measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from benchmarks._shapes import CSTAR, OPENAI, PAGE_SIZE, STRIPE, TEAM_ID, Shape, headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import ModuleType

    import httpx

API_KEY = "sk_test_" + "a" * 32
# The greatest number of concurrent gets. aiohttp and httpx-aiohttp open at most 100 connections by default.
MAX_CONCURRENCY = 200

_HEADERS = {"Authorization": f"Bearer {API_KEY}", "CStar-Version": "2026-03-01"}
_NEW = {
    "name": "Grace Okafor",
    "email": "grace.okafor.00000000@northwind.example",
    "tags": ["vip", "newsletter"],
    "metadata": {"source": "demo", "crmId": "CRM-00000000"},
}


async def _no_close() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Getter:
    """The gets of a library.

    Attributes:
        shape: The shape of its API.
        get: Returns the row with an id, or an awaitable of it if the client is async.
        id_of: Returns the id of a row.
        close: Closes an async client that would otherwise warn.
    """

    shape: Shape
    get: Callable[[str], Any]
    id_of: Callable[[Any], str] = attrgetter("id")
    close: Callable[[], Awaitable[None]] = _no_close


@dataclass(frozen=True, kw_only=True)
class Client(Getter):
    """The client of a library.

    Attributes:
        create: Creates row 0 and returns it, or an awaitable of it if the client is async.
        walk: Returns an iterator over the rows of all pages, async if the client is. cstar's takes the options of
            `list`.
    """

    create: Callable[[], Any]
    walk: Callable[..., Any]


def _over_null(http: ModuleType, shape: Shape, *, is_async: bool, **settings: object) -> Any:  # noqa: ANN401 - sync or async
    """Make a client of httpx or httpx2 with a transport that responds immediately."""
    got, created = shape.one(is_new=False), shape.one(is_new=True)(b"00000000")

    def respond(request: Any) -> Any:  # noqa: ANN401 - of httpx or httpx2
        if request.method == "POST":
            return http.Response(201, headers=headers(), content=created)
        return http.Response(200, headers=headers(), content=got(request.url.raw_path[-8:]))

    return (http.AsyncClient if is_async else http.Client)(transport=http.MockTransport(respond), **settings)


def _cstar(url: str | None, *, is_async: bool, http_client: httpx.AsyncClient | None = None) -> Client:
    import cstar

    kind: Any = cstar.AsyncCstar if is_async else cstar.Cstar
    if url is None:
        import httpx

        client = kind(API_KEY, http_client=_over_null(httpx, CSTAR, is_async=is_async))
    else:
        client = kind(API_KEY, base_url=f"{url}/api/v1", http_client=http_client)
    return Client(
        shape=CSTAR,
        get=lambda row_id: client.customers.get(TEAM_ID, row_id),
        create=lambda: client.customers.create(TEAM_ID, **_NEW),
        walk=lambda **options: client.customers.list(TEAM_ID, **options),
        close=_no_close if http_client is None else http_client.aclose,
    )


def _cstar_over_aiohttp(url: str) -> Client:
    import httpx
    import httpx_aiohttp

    transport = httpx_aiohttp.AiohttpTransport(limits=httpx.Limits(max_connections=MAX_CONCURRENCY))
    http = httpx.AsyncClient(transport=transport, timeout=None)  # noqa: S113 - cstar has its own timeout
    return _cstar(url, is_async=True, http_client=http)


def _httpx(
    url: str | None,
    *,
    is_async: bool,
    library: str = "httpx",
    one: Callable[[Any], Any] = lambda envelope: envelope["data"],
    new: Callable[[Any], Any] = lambda envelope: envelope["data"],
    page: Callable[[Any], Iterable[Any]] = lambda envelope: envelope["data"],
    id_of: Callable[[Any], str] = itemgetter("id"),
) -> Client:
    http = import_module(library)
    settings: dict[str, Any] = {"base_url": f"{url or 'https://www.cstar.help'}/api/v1", "headers": _HEADERS}
    if url is None:
        client = _over_null(http, CSTAR, is_async=is_async, **settings)
    else:
        client = (http.AsyncClient if is_async else http.Client)(**settings)
    path = f"/teams/{TEAM_ID}/customers"

    def write() -> dict[str, Any]:
        return {"json": _NEW, "headers": {"Idempotency-Key": str(uuid4())}}

    def walk() -> Any:  # noqa: ANN401 - a row of any type
        number, has_more = 0, True
        while has_more:
            number += 1
            envelope = client.get(path, params={"page": number, "pageSize": PAGE_SIZE}).json()
            yield from page(envelope)
            has_more = envelope["pagination"]["hasMore"]

    async def get_async(row_id: str) -> Any:  # noqa: ANN401 - likewise
        return one((await client.get(f"{path}/{row_id}")).json())

    async def create_async() -> Any:  # noqa: ANN401 - likewise
        return new((await client.post(path, **write())).json())

    async def walk_async() -> Any:  # noqa: ANN401 - likewise
        number, has_more = 0, True
        while has_more:
            number += 1
            envelope = (await client.get(path, params={"page": number, "pageSize": PAGE_SIZE})).json()
            for row in page(envelope):
                yield row
            has_more = envelope["pagination"]["hasMore"]

    if is_async:
        return Client(shape=CSTAR, get=get_async, create=create_async, walk=walk_async, id_of=id_of)
    return Client(
        shape=CSTAR,
        get=lambda row_id: one(client.get(f"{path}/{row_id}").json()),
        create=lambda: new(client.post(path, **write()).json()),
        walk=walk,
        id_of=id_of,
    )


def _httpx_pydantic(url: str | None, *, is_async: bool) -> Client:
    from cstar import Customer, CustomerDetail

    return _httpx(
        url,
        is_async=is_async,
        one=lambda envelope: CustomerDetail.model_validate(envelope["data"]),
        new=lambda envelope: Customer.model_validate(envelope["data"]),
        page=lambda envelope: map(Customer.model_validate, envelope["data"]),
        id_of=attrgetter("id"),
    )


def _aiohttp(url: str) -> Getter:
    import aiohttp

    session: aiohttp.ClientSession | None = None

    async def get(row_id: str) -> Any:  # noqa: ANN401 - JSON
        nonlocal session
        if session is None:  # it must be created inside the event loop
            connector = aiohttp.TCPConnector(limit=MAX_CONCURRENCY)
            session = aiohttp.ClientSession(headers=_HEADERS, connector=connector)
        async with session.get(f"{url}{CSTAR.path}/{row_id}") as response:
            return (await response.json())["data"]

    async def close() -> None:
        if session is not None:
            await session.close()

    return Getter(shape=CSTAR, get=get, id_of=itemgetter("id"), close=close)


def _http_of(library: ModuleType) -> ModuleType:
    """Return the module with which a library sends requests: httpx or httpx2."""
    return import_module(library.DefaultHttpxClient.__base__.__module__.partition(".")[0])


def _openai(url: str | None, *, is_async: bool) -> Client:
    import openai

    kind: Any = openai.AsyncOpenAI if is_async else openai.OpenAI
    if url is None:
        client = kind(api_key=API_KEY, http_client=_over_null(_http_of(openai), OPENAI, is_async=is_async))
    else:
        client = kind(api_key=API_KEY, base_url=f"{url}/v1")
    jobs = client.fine_tuning.jobs
    new = {"model": "gpt-4o-mini", "training_file": "file-abc123", "seed": 12, "metadata": _NEW["metadata"]}
    return Client(
        shape=OPENAI,
        get=jobs.retrieve,
        create=lambda: jobs.create(**new),
        walk=lambda: jobs.list(limit=PAGE_SIZE),
    )


def _stripe(url: str | None, *, is_async: bool) -> Client:
    import stripe

    class OverNull(stripe.HTTPClient):
        # A copy of stripe.HTTPXClient, which takes no transport.
        name = "httpx"

        def __init__(self) -> None:
            import httpx

            super().__init__()
            self._http = _over_null(httpx, STRIPE, is_async=is_async)

        def request(self, method: str, url: str, headers: Any, post_data: Any = None) -> Any:  # noqa: ANN401 - stripe's signature
            response = self._http.request(method, url, headers=headers, data=post_data or {}, timeout=80)
            return response.content, response.status_code, response.headers

        async def request_async(self, method: str, url: str, headers: Any, post_data: Any = None) -> Any:  # noqa: ANN401 - likewise
            response = await self._http.request(method, url, headers=headers, data=post_data or {}, timeout=80)
            return response.content, response.status_code, response.headers

    if url is None:
        customers = stripe.StripeClient(API_KEY, http_client=OverNull()).v1.customers
    else:
        customers = stripe.StripeClient(API_KEY, base_addresses={"api": url}).v1.customers
    new: Any = {"name": _NEW["name"], "email": _NEW["email"], "metadata": _NEW["metadata"]}
    return Client(
        shape=STRIPE,
        get=customers.retrieve_async if is_async else customers.retrieve,
        create=lambda: (customers.create_async if is_async else customers.create)(new),
        walk=lambda: customers.list({"limit": PAGE_SIZE}).auto_paging_iter(),
    )


_LIBRARIES: dict[str, tuple[str, Callable[..., Client]]] = {
    "cstar": ("cstar", _cstar),
    "bare httpx": ("httpx", _httpx),
    "httpx + pydantic": ("pydantic", _httpx_pydantic),
    "openai": ("openai", _openai),
    "stripe": ("stripe", _stripe),
}
# For concurrent gets only; all are async.
_MORE_LIBRARIES: dict[str, tuple[str, Callable[[str], Getter]]] = {
    "cstar over httpx-aiohttp": ("httpx_aiohttp", _cstar_over_aiohttp),
    "httpx2": ("httpx2", lambda url: _httpx(url, is_async=True, library="httpx2")),
    "aiohttp": ("aiohttp", _aiohttp),
}
MISSING = [name for name, (module, _) in {**_LIBRARIES, **_MORE_LIBRARIES}.items() if find_spec(module) is None]
CLIENTS = {name: build for name, (_, build) in _LIBRARIES.items() if name not in MISSING}
GETTERS = {name: build for name, (_, build) in _MORE_LIBRARIES.items() if name not in MISSING}
