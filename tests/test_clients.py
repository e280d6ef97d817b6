"""Clients: raw responses, with_options, http_client, closing, copying, on_attempt, concurrency, cancellation."""

from __future__ import annotations

import copy
import functools
import json
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from cstar import (
    APIConnectionError,
    APIResponseValidationError,
    AsyncCstar,
    Attempt,
    BadRequestError,
    ConfigurationError,
    Cstar,
    CstarError,
    CustomerDetail,
    InternalServerError,
    NotFoundError,
    RawResponse,
)
from cstar._route import _default_ssl_context
from rawserver import IDENTITY, RawServer
from support import CUSTOMER, CUSTOMERS, DETAIL, ID, KEY, TEAM, URL, Runner, customer, ok, page_of

if TYPE_CHECKING:
    import respx

    from cstar.sandbox import Sandbox

GET = f"{CUSTOMERS}/{ID}"
BOTH = pytest.mark.parametrize("build", [Cstar, AsyncCstar])
COPIES = pytest.mark.parametrize("duplicate", [lambda c: pickle.loads(pickle.dumps(c)), copy.copy, copy.deepcopy])


# ── Raw responses ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_raw_response_has_the_http_response_and_the_model(api_mock: respx.Router, run: Runner) -> None:
    headers = {
        "X-Request-Id": "req_1",
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "99",
        "X-RateLimit-Reset": "1774864800",
    }
    api_mock.get(GET).mock(side_effect=[httpx.Response(500), httpx.Response(200, json=ok(DETAIL), headers=headers)])
    raw = run(lambda client: client.customers.with_raw_response.get(TEAM, ID))
    assert isinstance(raw, RawResponse)
    assert (raw.status_code, raw.request_id, raw.attempts) == (200, "req_1", 2)
    assert raw.headers["x-request-id"] == "req_1"
    assert raw.rate_limit.remaining == 99
    assert json.loads(raw.content) == ok(DETAIL)
    assert raw.parse() == CustomerDetail.model_validate(DETAIL)
    assert repr(raw) == "<RawResponse 200, request req_1, attempts 2>"


@pytest.mark.parametrize(
    ("method", "arguments", "verb", "status"),
    [
        ("create", {"name": "J", "email": CUSTOMER["email"]}, "POST", 201),
        ("update", {"customer_id": ID, "name": "J"}, "PATCH", 200),
    ],
)
def test_create_and_update_have_a_raw_response(
    api_mock: respx.Router, run: Runner, method: str, arguments: dict[str, str], verb: str, status: int
) -> None:
    api_mock.route(method=verb).respond(status, json=ok(CUSTOMER))
    raw = run(lambda client: getattr(client.customers.with_raw_response, method)(TEAM, **arguments))
    assert (raw.status_code, raw.parse().id) == (status, ID)


@pytest.mark.parametrize("is_pickled", [False, True])
def test_a_raw_response_of_a_list_parses_to_a_page_that_fetches_the_next(
    api_mock: respx.Router, run: Runner, is_pickled: bool
) -> None:
    for number in (1, 2, 3):
        page = page_of([customer(number)], number, size=1, total=3, has_more=number < 3)
        api_mock.get(CUSTOMERS, params={"page": str(number)}).respond(json=page)

    def parse(raw: Any) -> Any:
        return (pickle.loads(pickle.dumps(raw)) if is_pickled else raw).parse()

    def list_ids(client: Any) -> list[str]:
        return [row.id for row in parse(client.customers.with_raw_response.list(TEAM, page_size=1))]

    async def list_ids_async(client: Any) -> list[str]:
        raw = await client.customers.with_raw_response.list(TEAM, page_size=1)
        return [row.id async for row in parse(raw)]

    assert run(list_ids if run.kind == "sync" else list_ids_async) == ["cus_1", "cus_2", "cus_3"]


def test_whoami_has_a_raw_response(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get("/auth/whoami").respond(json=ok(IDENTITY), headers={"X-Request-Id": "req_1"})
    raw = run(lambda client: client.with_raw_response.whoami())
    assert (raw.status_code, raw.request_id, raw.parse().team_id) == (200, "req_1", TEAM)


def test_request_has_a_raw_response(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post("/any").respond(201, json=ok([1, 2]), headers={"X-Request-Id": "req_1"})
    raw = run(lambda client: client.with_raw_response.request("POST", "/any", json={}, cast_to=list[int]))
    assert (raw.status_code, raw.request_id, raw.parse()) == (201, "req_1", [1, 2])
    assert json.loads(raw.content) == ok([1, 2])


def test_a_raw_call_raises_an_error_for_an_error_status(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get("/auth/whoami").respond(400)
    with pytest.raises(BadRequestError):
        run(lambda client: client.with_raw_response.whoami())


# ── with_options ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_with_options_changes_only_the_given_options(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(500, headers={"Retry-After": "5"})
    with pytest.raises(InternalServerError):
        run(
            lambda client: (
                client.with_options(default_headers={"X-B": "2"})
                .with_options(timeout=1, max_retries=1)
                .customers.get(TEAM, ID)
            ),
            default_headers={"X-A": "1", "X-B": "1"},
            max_retry_wait=9,
        )
    assert route.call_count == 2
    request = route.calls.last.request
    assert (request.headers["X-A"], request.headers["X-B"]) == ("1", "2")
    assert request.extensions["timeout"]["read"] == 1
    assert 5 <= run.sleeps[0] <= 5.5


def test_with_options_does_not_change_the_original_client(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(json=ok(DETAIL))

    def get(client: Any) -> Any:
        client.with_options(default_headers={"X-B": "2"}, timeout=1)
        return client.customers.get(TEAM, ID)

    run(get)
    assert "X-B" not in route.calls.last.request.headers
    assert route.calls.last.request.extensions["timeout"]["read"] == 30.0


def test_with_options_shares_the_connections(run: Runner) -> None:
    with RawServer() as server:
        run.in_order(
            lambda client: client.whoami(),
            lambda client: client.with_options(timeout=5).whoami(),
            lambda client: client.with_options(max_retries=0).whoami(),
            base_url=server.url,
        )
        assert server.connections == 1


def test_closing_a_derived_client_leaves_the_connections_open(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL))
    _, detail = run.in_order(
        lambda client: client.with_options(timeout=1).close(),
        lambda client: client.customers.get(TEAM, ID),
    )
    assert detail.id == ID


# ── A custom httpx client ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_custom_http_client_keeps_its_headers_cookies_params_and_hooks(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(json=ok(DETAIL))
    events: list[object] = []
    http_client = run.http_client(
        headers={"X-Gateway": "g", "User-Agent": "acme/1"},
        cookies={"session": "s"},
        params={"tenant": "t"},
        event_hooks={
            "request": [run.hook(lambda request: events.append(request.method))],
            "response": [run.hook(lambda response: events.append(response.status_code))],
        },
    )
    run(lambda client: client.customers.get(TEAM, ID), http_client=http_client)
    request = route.calls.last.request
    assert request.headers["X-Gateway"] == "g"
    assert request.headers["User-Agent"] == "acme/1"
    assert request.headers["Cookie"] == "session=s"
    assert request.url.params["tenant"] == "t"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert events == ["GET", 200]


# One call of each kind.
CALLS = [
    lambda client: client.customers.list(TEAM, search="a b&c=d/é", tag="vip", extra_query={"n": [1, 2]}),
    lambda client: client.customers.create(TEAM, name="Zoë", email="z@x.io", idempotency_key="k"),
    lambda client: client.customers.get(TEAM, ID),
    lambda client: client.customers.update(TEAM, ID, notes=None, idempotency_key="k"),
    lambda client: client.customers.delete(TEAM, ID, idempotency_key="k"),
    lambda client: client.request("POST", "/any", idempotency_key="k"),
]


@pytest.mark.parametrize("action", CALLS)
def test_a_request_equals_the_one_that_httpx_would_build(run: Runner, action: Any) -> None:
    def request_of(**options: Any) -> httpx.Request:
        requests: list[httpx.Request] = []

        def respond(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return httpx.Response(400)

        transport = httpx.MockTransport(respond)
        with pytest.raises(BadRequestError):
            run(action, http_client=run.http_client(transport=transport, headers={"X-Gateway": "g"}, **options))
        return requests[0]

    # A cookie makes the client use httpx's build_request.
    request, expected = request_of(), request_of(cookies={"session": "s"})
    # The second request was sent later, so its deadline is later.
    assert request.extensions.pop("deadline") < expected.extensions.pop("deadline")
    assert expected.headers.pop("Cookie") == "session=s"
    assert sorted(request.headers.multi_items()) == sorted(expected.headers.multi_items())
    assert (request.method, request.url.path, request.content) == (expected.method, expected.url.path, expected.content)
    assert request.url.params.multi_items() == expected.url.params.multi_items()
    assert request.extensions == expected.extensions


def test_headers_of_a_custom_http_client_may_change_between_attempts(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=[httpx.Response(503), httpx.Response(201, json=ok(DETAIL))])

    def change(response: httpx.Response) -> None:
        http_client.headers.update({"X-Gateway": "b", "Host": "inside.test"})

    http_client = run.http_client(
        headers={"X-Gateway": "a", "Content-Type": "text/plain", "Idempotency-Key": "always"},
        event_hooks={"response": [run.hook(change)]},
    )
    run(lambda client: client.customers.create(TEAM, name="J", email=DETAIL["email"]), http_client=http_client)
    sent = [call.request.headers for call in route.calls]
    assert [(headers["X-Gateway"], headers["Host"]) for headers in sent] == [
        ("a", "api.cstar.test"),
        ("b", "inside.test"),
    ]
    assert [headers.get_list("Content-Type") for headers in sent] == [["application/json"]] * 2
    [first_key, second_key] = [headers["Idempotency-Key"] for headers in sent]
    assert first_key == second_key != "always"


def test_hooks_and_auth_see_the_body_and_change_one_attempt_only(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=[httpx.Response(503), httpx.Response(201, json=ok(DETAIL))])
    hook_calls: list[Any] = []

    def hook(request: httpx.Request) -> None:
        hook_calls.append((request.content, request.headers.get("X-Hook"), request.extensions["timeout"]["read"]))
        request.headers["X-Hook"] = "was here"
        request.extensions["timeout"]["read"] = 1

    class LengthAuth(httpx.Auth):
        requires_request_body = True

        def auth_flow(self, request: httpx.Request) -> Any:
            request.headers["X-Length"] = str(len(request.content))
            yield request

    http_client = run.http_client(event_hooks={"request": [run.hook(hook)]}, auth=LengthAuth())
    run(lambda client: client.customers.create(TEAM, name="J", email=DETAIL["email"]), http_client=http_client)
    body = b'{"name":"J","email":"jane@example.com"}'
    assert hook_calls == [(body, None, 30.0)] * 2
    assert [call.request.headers["X-Length"] for call in route.calls] == [str(len(body))] * 2


@pytest.mark.parametrize(("is_custom", "cookie"), [(True, "node=7"), (False, None)])
def test_only_a_custom_http_client_keeps_cookies(
    api_mock: respx.Router, run: Runner, is_custom: bool, cookie: str | None
) -> None:
    route = api_mock.get(GET).mock(
        side_effect=[httpx.Response(503, headers={"Set-Cookie": "node=7"}), httpx.Response(200, json=ok(DETAIL))]
    )
    options = {"http_client": run.http_client()} if is_custom else {}
    run(lambda client: client.customers.get(TEAM, ID), **options)
    assert [call.request.headers.get("Cookie") for call in route.calls] == [None, cookie]


def test_the_auth_of_a_custom_http_client_is_used(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(json=ok(DETAIL))
    run(lambda client: client.customers.get(TEAM, ID), http_client=run.http_client(auth=("gateway", "secret")))
    assert route.calls.last.request.headers["Authorization"].startswith("Basic ")


def test_a_custom_http_client_is_not_closed(api_mock: respx.Router, run: Runner) -> None:
    http_client = run.http_client()
    run(lambda client: client.rate_limit, http_client=http_client)
    assert not http_client.is_closed


def test_an_exception_of_a_hook_propagates_unchanged(api_mock: respx.Router, run: Runner) -> None:
    def hook(request: httpx.Request) -> None:
        raise ZeroDivisionError

    http_client = run.http_client(event_hooks={"request": [run.hook(hook)]})
    with pytest.raises(ZeroDivisionError):
        run(lambda client: client.customers.get(TEAM, ID), http_client=http_client)


@BOTH
def test_certificates_are_loaded_once_for_all_clients(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load = httpx.create_ssl_context
    loaded: list[object] = []

    def counting_load(**options: Any) -> object:
        loaded.append(load(**options))
        return loaded[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", counting_load)
    _default_ssl_context.cache_clear()
    for _ in range(3):
        assert build(KEY)._transport.clients._route.ssl_context()
    assert len(loaded) == 1


# ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_on_a_closed_client_raises(run: Runner) -> None:
    def close_again(client: Any) -> Any:
        return client.close() if run.kind == "sync" else client.aclose()

    with pytest.raises(CstarError, match="the client is closed"):
        run.in_order(lambda client: client.close(), close_again, lambda client: client.customers.get(TEAM, ID))


def test_a_call_on_a_closed_custom_http_client_raises(run: Runner) -> None:
    http_client = run.http_client()

    def close(client: Any) -> Any:
        return http_client.close() if run.kind == "sync" else http_client.aclose()

    with pytest.raises(CstarError, match="the http_client is closed"):
        run.in_order(close, lambda client: client.whoami(), http_client=http_client)


# ── Pickling, copying, repr ──────────────────────────────────────────────────────────────────────────────────────────


@BOTH
@COPIES
def test_a_copied_client_has_the_same_options_and_new_connections(build: Any, duplicate: Any) -> None:
    timeout = httpx.Timeout(5, connect=1)
    client = build(
        KEY, base_url=URL, timeout=timeout, max_retries=7, max_retry_wait=8, api_version="x", default_headers={"A": "b"}
    )
    twin = duplicate(client)
    assert type(twin) is build
    assert twin._transport.options == client._transport.options
    assert twin._transport.clients is not client._transport.clients


class Team(Cstar):
    """A subclass with a slot and an attribute in its `__dict__`."""

    __slots__ = ("region",)

    def __init__(self, team_id: str, region: str) -> None:
        super().__init__(KEY)
        self.team_id = team_id
        self.region = region


@COPIES
def test_a_copy_of_a_subclass_keeps_its_attributes(duplicate: Any) -> None:
    twin = duplicate(Team("t", "eu"))
    assert (type(twin), twin.team_id, twin.region) == (Team, "t", "eu")


def test_with_options_keeps_the_class_and_attributes_of_a_subclass() -> None:
    derived = Team("t", "eu").with_options(timeout=1)
    assert (type(derived), derived.team_id, derived.region) == (Team, "t", "eu")


class Locked(Cstar):
    """A subclass that omits an attribute that cannot be copied."""

    def __init__(self) -> None:
        super().__init__(KEY)
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "lock"}


class Rebuilt(Cstar):
    """A subclass with a `__reduce__` method."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Rebuilt, (KEY,)


@COPIES
def test_a_subclass_may_define_how_it_is_copied(duplicate: Any) -> None:
    assert not hasattr(duplicate(Locked()), "lock")
    assert duplicate(Locked())._transport.options.api_key == KEY
    assert type(duplicate(Rebuilt(KEY))) is Rebuilt


@BOTH
@COPIES
def test_a_resource_and_its_bound_methods_can_be_copied(build: Any, duplicate: Any) -> None:
    client = build(KEY, base_url=URL)
    for method in (client.customers.get, client.whoami, client.customers.with_raw_response.get):
        assert duplicate(functools.partial(method, "t")).args == ("t",)
    assert duplicate(client.customers)._transport.options == client._transport.options


def test_a_pickled_raw_response_is_complete_and_contains_no_key(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL, echo=KEY), headers={"X-Request-Id": "req_1", "X-Echo": KEY})
    pickled = pickle.dumps(run(lambda client: client.customers.with_raw_response.get(TEAM, ID)))
    assert KEY.encode() not in pickled
    twin = pickle.loads(pickled)
    assert (twin.status_code, twin.request_id, twin.attempts) == (200, "req_1", 1)
    assert twin.parse() == CustomerDetail.model_validate(DETAIL)


def test_a_pickled_client_works(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL))

    def get(client: Any) -> Any:
        with pickle.loads(pickle.dumps(client.with_options(timeout=3))) as twin:
            return twin.customers.get(TEAM, ID)

    async def get_async(client: Any) -> Any:
        async with pickle.loads(pickle.dumps(client.with_options(timeout=3))) as twin:
            return await twin.customers.get(TEAM, ID)

    assert run(get if run.kind == "sync" else get_async).id == ID


def test_a_client_with_a_custom_http_client_cannot_be_pickled(run: Runner) -> None:
    with pytest.raises(TypeError, match="custom http_client can be neither pickled nor copied"):
        run(pickle.dumps, http_client=run.http_client())


@BOTH
def test_no_repr_contains_the_api_key_or_a_default_header(build: Any) -> None:
    client = build(KEY, default_headers={"X-Secret": "hush"})
    transport = client._transport
    values = [client, vars(client), transport.options, vars(transport), client.customers]
    texts = [str(client), *map(repr, values)]
    assert "hush" not in "".join(texts)
    assert KEY not in "".join([*texts, repr(transport._requests._headers)])


# ── on_attempt ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_on_attempt_is_called_for_each_attempt(api_mock: respx.Router, run: Runner) -> None:
    outcomes = [httpx.Response(503, headers={"Retry-After": "2"}), httpx.ConnectError("refused")]
    api_mock.get(GET).mock(
        side_effect=[*outcomes, httpx.Response(200, json=ok(DETAIL), headers={"X-Request-Id": "req_1"})]
    )
    attempts: list[Attempt] = []
    run(lambda client: client.customers.get(TEAM, ID), on_attempt=attempts.append)
    assert [(each.method, each.path, each.number) for each in attempts] == [("GET", GET, n) for n in (1, 2, 3)]
    assert [each.status_code for each in attempts] == [503, None, 200]
    assert [type(each.error) for each in attempts] == [type(None), APIConnectionError, type(None)]
    assert [each.retry_wait for each in attempts] == [*run.sleeps, None]
    assert [each.request_id for each in attempts] == [None, None, "req_1"]
    assert all(0 <= each.duration < 5 for each in attempts)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(404), NotFoundError),
        (httpx.Response(200, headers={"Content-Length": "99999999"}), APIResponseValidationError),
    ],
)
def test_on_attempt_is_called_when_a_call_fails(
    api_mock: respx.Router, run: Runner, response: httpx.Response, error: type[CstarError]
) -> None:
    api_mock.get(GET).mock(return_value=response)
    attempts: list[Attempt] = []
    with pytest.raises(error):
        run(lambda client: client.customers.get(TEAM, ID), on_attempt=attempts.append)
    assert [(each.status_code, each.retry_wait) for each in attempts] == [(response.status_code, None)]


def test_an_exception_of_on_attempt_is_logged_and_ignored(
    api_mock: respx.Router, run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL))
    assert run(lambda client: client.customers.get(TEAM, ID), on_attempt=lambda attempt: 1 / 0).id == ID
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.getMessage() == "on_attempt raised an exception, which is ignored"


async def _measure(attempt: Attempt) -> None: ...


@BOTH
@pytest.mark.parametrize(
    ("value", "message"),
    [(7, "callable, not a value of type int"), (_measure, "a plain function, not async")],
    ids=["int", "async"],
)
def test_on_attempt_must_be_a_sync_callable(build: Any, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"on_attempt must be {message}"):
        build(KEY, on_attempt=value)


# ── Concurrency ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_threads_share_a_client(session_box: Sandbox) -> None:
    team = session_box.team_id
    with Cstar(session_box.api_key, base_url=session_box.url) as client, ThreadPoolExecutor(16) as threads:
        created = list(
            threads.map(lambda n: client.customers.create(team, name=f"T{n}", email=f"t{n}@threads.test"), range(100))
        )
        found = list(threads.map(lambda customer: client.customers.get(team, customer.id).email, created))
    assert found == [f"t{n}@threads.test" for n in range(100)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_concurrent_tasks_share_a_client(session_box: Sandbox, backend: str) -> None:
    team = session_box.team_id

    async def work() -> None:
        async with AsyncCstar(session_box.api_key, base_url=session_box.url) as client:

            async def create_and_get(number: int) -> None:
                email = f"t{number}@{backend}.test"
                created = await client.customers.create(team, name=f"T{number}", email=email)
                assert (await client.customers.get(team, created.id)).email == email

            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(create_and_get, number)

    anyio.run(work, backend=backend)


def test_a_call_on_asyncio_does_not_import_trio(api_mock: respx.Router, monkeypatch: pytest.MonkeyPatch) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL))
    monkeypatch.delitem(sys.modules, "trio")
    assert Runner("asyncio")(lambda client: client.customers.get(TEAM, ID)).id == ID
    assert "trio" not in sys.modules


FORKS = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")


def _search(client: Cstar, team: str, results: Any) -> None:
    results.put([client.customers.list(team, search=f"{n}@").total for n in range(20)])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@FORKS
def test_a_forked_process_does_not_use_its_parents_connections(session_box: Sandbox) -> None:
    fork = multiprocessing.get_context("fork")
    results: Any = fork.Queue()
    with Cstar(session_box.api_key, base_url=session_box.url) as client:
        client.customers.list(session_box.team_id)
        connections = client._transport.clients.get()
        child = fork.Process(target=_search, args=(client, session_box.team_id, results))
        child.start()
        totals = [client.customers.list(session_box.team_id, search=f"{n}@").total for n in range(20)]
        assert results.get(timeout=60) == totals
        child.join()
        assert client._transport.clients.get() is connections


def _whoami(client: Cstar, results: Any) -> None:
    try:
        results.put(client.whoami().team_id)
    except CstarError as error:
        results.put(str(error))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@FORKS
def test_a_custom_http_client_is_rejected_after_a_fork(session_box: Sandbox) -> None:
    fork = multiprocessing.get_context("fork")
    results: Any = fork.Queue()
    with httpx.Client() as http_client:
        client = Cstar(session_box.api_key, base_url=session_box.url, http_client=http_client)
        client.whoami()
        child = fork.Process(target=_whoami, args=(client, results))
        child.start()
        assert "create it in the process that uses it" in results.get(timeout=60)
        child.join()


# ── Cancellation and interrupts ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("moment", ["request", "retry delay"])
def test_a_cancelled_call_is_not_retried(backend: str, moment: str) -> None:
    requests: list[httpx.Request] = []

    async def act() -> None:
        async def respond(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            if moment == "request":
                scope.cancel()
                await anyio.sleep_forever()
            return httpx.Response(500)

        class CancelDuringRetryDelay(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if moment == "retry delay":
                    scope.cancel()

        logger, handler = logging.getLogger("cstar"), CancelDuringRetryDelay(logging.INFO)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            http_client = httpx.AsyncClient(transport=httpx.MockTransport(respond))
            async with http_client, AsyncCstar(KEY, http_client=http_client) as client:
                with anyio.CancelScope() as scope:
                    await client.customers.get(TEAM, ID)
                assert scope.cancelled_caught
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)

    anyio.run(act, backend=backend)
    assert len(requests) == 1


def test_ctrl_c_interrupts_a_retry_delay() -> None:
    script = """
import logging, os, signal
from cstar import Cstar
class Interrupt(logging.Handler):
    def emit(self, record):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells make background jobs ignore it
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
logger = logging.getLogger("cstar")
logger.setLevel(logging.INFO)
logger.addHandler(Interrupt())
Cstar(base_url="http://127.0.0.1:9", max_retries=50).whoami()
"""
    environment = {**os.environ, "CSTAR_API_KEY": KEY}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stderr.strip().endswith("KeyboardInterrupt")
    assert KEY not in done.stderr
