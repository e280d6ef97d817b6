"""A client's life: shared, derived, pickled, forked, closed, and built on an httpx client of your own."""

from __future__ import annotations

import copy
import functools
import json
import logging
import multiprocessing
import os
import pickle
import socketserver
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
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
    NotFoundError,
    RawResponse,
)
from cstar._response import ReceivedResponse, retry_after
from cstar._route import _default_ssl_context
from rawserver import IDENTITY
from support import CUSTOMER, CUSTOMERS, DETAIL, ID, KEY, TEAM, URL, Runner, ok

if TYPE_CHECKING:
    import respx

    from cstar.sandbox import Sandbox

GET = f"{CUSTOMERS}/{ID}"
BOTH = pytest.mark.parametrize("build", [Cstar, AsyncCstar])


# ── Raw responses ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_raw_response_has_the_http_response_and_the_model(api_mock: respx.Router, run: Runner) -> None:
    headers = {
        "X-Request-Id": "req_1",
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "99",
        "X-RateLimit-Reset": "1774864800",
    }
    answer = httpx.Response(200, json=ok(DETAIL), headers=headers)
    api_mock.get(GET).mock(side_effect=[httpx.Response(500), answer])
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


def test_a_raw_response_of_a_list_parses_to_a_page_that_fetches_the_next(api_mock: respx.Router, run: Runner) -> None:
    rows = [{**CUSTOMER, "id": f"cus_{number}"} for number in range(3)]
    for number, row in enumerate(rows, start=1):
        paging = {"total": 3, "page": number, "pageSize": 1, "hasMore": number < 3}
        api_mock.get(CUSTOMERS, params={"page": str(number)}).respond(json=ok([row], pagination=paging))

    def walk(client: Any) -> list[str]:
        return [row.id for row in client.customers.with_raw_response.list(TEAM, page_size=1).parse()]

    async def walk_async(client: Any) -> list[str]:
        raw = await client.customers.with_raw_response.list(TEAM, page_size=1)
        return [row.id async for row in raw.parse()]

    assert run(walk if run.kind == "sync" else walk_async) == ["cus_0", "cus_1", "cus_2"]


def test_whoami_has_a_raw_response(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get("/auth/whoami").respond(json=ok(IDENTITY), headers={"X-Request-Id": "req_1"})
    raw = run(lambda client: client.with_raw_response.whoami())
    assert (raw.status_code, raw.request_id, raw.parse().team_id) == (200, "req_1", TEAM)


def test_request_has_a_raw_response(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post("/any").respond(201, json=ok([1, 2]), headers={"X-Request-Id": "req_1"})
    raw = run(lambda client: client.with_raw_response.request("POST", "/any", json={}, cast_to=list[int]))
    assert (raw.status_code, raw.request_id, raw.content, raw.parse()) == (201, "req_1", raw.content, [1, 2])


def test_a_raw_call_raises_the_error_of_a_status(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get("/auth/whoami").respond(400)
    with pytest.raises(BadRequestError):
        run(lambda client: client.with_raw_response.whoami())


# ── with_options ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_with_options_changes_only_the_given_options(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(500, headers={"Retry-After": "5"})
    with suppress(CstarError):
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

    def derive(client: Any) -> Any:
        client.with_options(default_headers={"X-B": "2"}, timeout=1)
        return client.customers.get(TEAM, ID)

    run(derive)
    assert "X-B" not in route.calls.last.request.headers
    assert route.calls.last.request.extensions["timeout"]["read"] == 30.0


def test_with_options_shares_the_connections(run: Runner) -> None:
    """Counted at a server's door: what arrives over one connection comes from one port."""
    ports: set[int] = set()

    class Door(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline():
                ports.add(self.client_address[1])
                while self.rfile.readline().strip():
                    pass
                body = json.dumps(ok(DETAIL)).encode()
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def ask(client: Any) -> None:
        for each in (client, client.with_options(timeout=5), client.with_options(max_retries=0)):
            each.customers.get(TEAM, ID)

    async def ask_async(client: Any) -> None:
        for each in (client, client.with_options(timeout=5), client.with_options(max_retries=0)):
            await each.customers.get(TEAM, ID)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        run(ask if run.kind == "sync" else ask_async, base_url=f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()
    assert len(ports) == 1


def test_closing_a_derived_client_leaves_the_connections_open(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL))

    def derive(client: Any) -> Any:
        with client.with_options(timeout=1):
            pass
        return client.customers.get(TEAM, ID)

    async def derive_async(client: Any) -> Any:
        async with client.with_options(timeout=1):
            pass
        return await client.customers.get(TEAM, ID)

    assert run(derive if run.kind == "sync" else derive_async).id == ID


@BOTH
def test_with_options_keeps_the_class_and_attributes_of_a_subclass(build: Any) -> None:
    class Ours(build):  # type: ignore[misc,valid-type]
        pass

    client = Ours(KEY)
    client.label = "crm"
    assert type(client.with_options(timeout=1)) is Ours
    assert client.with_options(timeout=1).label == "crm"


# ── An httpx client of your own ──────────────────────────────────────────────────────────────────────────────────────


def test_a_custom_http_client_keeps_its_headers_cookies_params_and_hooks(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(json=ok(DETAIL))
    seen: list[str] = []
    own = run.http_client(
        headers={"X-Gateway": "g", "User-Agent": "acme/1"},
        cookies={"session": "s"},
        params={"tenant": "t"},
        event_hooks={
            "request": [run.hook(lambda request: seen.append(request.method))],
            "response": [run.hook(lambda response: seen.append(response.status_code))],
        },
    )
    run(lambda client: client.customers.get(TEAM, ID), http_client=own)
    request = route.calls.last.request
    assert request.headers["X-Gateway"] == "g"
    assert request.headers["User-Agent"] == "acme/1"
    assert request.headers["Cookie"] == "session=s"
    assert request.url.params["tenant"] == "t"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert seen == ["GET", 200]


# Each call, for the request that it makes.
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
    def sent(**options: Any) -> httpx.Request:
        requests: list[httpx.Request] = []

        def answer(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return httpx.Response(400)

        own = run.http_client(transport=httpx.MockTransport(answer), headers={"X-Gateway": "g"}, **options)
        with pytest.raises(BadRequestError):
            run(action, http_client=own)
        return requests[0]

    # With a cookie to merge, httpx's build_request makes it.
    ours, theirs = sent(), sent(cookies={"session": "s"})
    assert ours.extensions.pop("deadline") < theirs.extensions.pop("deadline")
    assert theirs.headers.pop("Cookie") == "session=s"
    assert sorted(ours.headers.multi_items()) == sorted(theirs.headers.multi_items())
    assert (ours.method, ours.url.path, ours.content) == (theirs.method, theirs.url.path, theirs.content)
    assert ours.url.params.multi_items() == theirs.url.params.multi_items()
    assert ours.extensions == theirs.extensions


def test_headers_of_a_custom_http_client_may_change_between_attempts(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=[httpx.Response(503), httpx.Response(201, json=ok(DETAIL))])

    def change(response: httpx.Response) -> None:
        own.headers.update({"X-Gateway": "b", "Host": "inside.test"})

    own = run.http_client(
        headers={"X-Gateway": "a", "Content-Type": "text/plain", "Idempotency-Key": "always"},
        event_hooks={"response": [run.hook(change)]},
    )
    run(lambda client: client.customers.create(TEAM, name="J", email=DETAIL["email"]), http_client=own)
    sent = [call.request.headers for call in route.calls]
    assert [(headers["X-Gateway"], headers["Host"]) for headers in sent] == [
        ("a", "api.cstar.test"),
        ("b", "inside.test"),
    ]
    assert [headers.get_list("Content-Type") for headers in sent] == [["application/json"]] * 2
    assert "always" not in sent[0].get_list("Idempotency-Key") == sent[1].get_list("Idempotency-Key")


def test_hooks_and_auth_see_the_body_and_change_one_attempt_only(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=[httpx.Response(503), httpx.Response(201, json=ok(DETAIL))])
    seen: list[Any] = []

    def hook(request: httpx.Request) -> None:
        seen.append((request.content, request.headers.get("X-Hook"), request.extensions["timeout"]["read"]))
        request.headers["X-Hook"] = "was here"
        request.extensions["timeout"]["read"] = 1

    class Signed(httpx.Auth):
        requires_request_body = True

        def auth_flow(self, request: httpx.Request) -> Any:
            request.headers["X-Length"] = str(len(request.content))
            yield request

    own = run.http_client(event_hooks={"request": [run.hook(hook)]}, auth=Signed())
    run(lambda client: client.customers.create(TEAM, name="J", email=DETAIL["email"]), http_client=own)
    body = b'{"name":"J","email":"jane@example.com"}'
    assert seen == [(body, None, 30.0)] * 2
    assert [call.request.headers["X-Length"] for call in route.calls] == [str(len(body))] * 2


def test_a_custom_httpx_client_keeps_its_cookies(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).mock(
        side_effect=[httpx.Response(503, headers={"Set-Cookie": "node=7"}), httpx.Response(200, json=ok(DETAIL))]
    )
    run(lambda client: client.customers.get(TEAM, ID), http_client=run.http_client())
    assert [call.request.headers.get("Cookie") for call in route.calls] == [None, "node=7"]


def test_a_client_keeps_no_cookies(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).mock(
        side_effect=[httpx.Response(503, headers={"Set-Cookie": "node=7"}), httpx.Response(200, json=ok(DETAIL))]
    )
    run(lambda client: client.customers.get(TEAM, ID))
    assert [call.request.headers.get("Cookie") for call in route.calls] == [None, None]


def test_a_retry_after_date_that_does_not_know_its_zone_is_in_utc() -> None:
    answer = ReceivedResponse(429, httpx.Headers({"Retry-After": "Wed, 21 Oct 2015 07:28:00 -0000"}), b"", "key")
    assert retry_after(answer, now=datetime(2015, 10, 21, 7, 27, 30, tzinfo=timezone.utc)) == 30.0


def test_the_auth_of_a_custom_http_client_is_used(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(json=ok(DETAIL))
    run(lambda client: client.customers.get(TEAM, ID), http_client=run.http_client(auth=("gateway", "secret")))
    assert route.calls.last.request.headers["Authorization"].startswith("Basic ")


def test_your_own_transport_is_used(run: Runner) -> None:
    own = run.http_client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=ok(DETAIL))))
    assert run(lambda client: client.customers.get(TEAM, ID), http_client=own).id == ID


def test_a_custom_http_client_is_not_closed(api_mock: respx.Router, run: Runner) -> None:
    own = run.http_client()
    run(lambda client: client.rate_limit, http_client=own)
    assert not own.is_closed


def test_an_exception_of_a_hook_is_passed_through(api_mock: respx.Router, run: Runner) -> None:
    def hook(request: httpx.Request) -> None:
        raise ZeroDivisionError

    own = run.http_client(event_hooks={"request": [run.hook(hook)]})
    with pytest.raises(ZeroDivisionError):
        run(lambda client: client.customers.get(TEAM, ID), http_client=own)


@BOTH
def test_certificates_are_loaded_once_for_all_clients(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load = httpx.create_ssl_context
    loaded: list[object] = []

    def counted(**options: Any) -> object:
        loaded.append(load(**options))
        return loaded[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", counted)
    _default_ssl_context.cache_clear()
    for _ in range(3):
        assert build(KEY)._transport.clients._route.ssl_context()
    assert len(loaded) == 1


# ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_on_a_closed_client_raises(run: Runner) -> None:
    def use(client: Any) -> Any:
        client.close()
        client.close()
        return client.customers.get(TEAM, ID)

    async def use_async(client: Any) -> Any:
        await client.close()
        await client.aclose()
        return await client.customers.get(TEAM, ID)

    with pytest.raises(CstarError, match="the client is closed"):
        run(use if run.kind == "sync" else use_async)


def test_a_call_on_a_closed_custom_http_client_raises(run: Runner) -> None:
    own = run.http_client()

    def use(client: Any) -> Any:
        own.close()
        return client.whoami()

    async def use_async(client: Any) -> Any:
        await own.aclose()
        return await client.whoami()

    with pytest.raises(CstarError, match="the http_client is closed"):
        run(use if run.kind == "sync" else use_async, http_client=own)


# ── Pickling, copying, showing ───────────────────────────────────────────────────────────────────────────────────────


@BOTH
@pytest.mark.parametrize("copied", [lambda c: pickle.loads(pickle.dumps(c)), copy.copy, copy.deepcopy])
def test_a_copied_client_has_the_same_options_and_new_connections(build: Any, copied: Any) -> None:
    timeout = httpx.Timeout(5, connect=1)
    client = build(
        KEY, base_url=URL, timeout=timeout, max_retries=7, max_retry_wait=8, api_version="x", default_headers={"A": "b"}
    )
    twin = copied(client)
    assert type(twin) is build
    assert twin._transport.options == client._transport.options
    assert twin._transport.clients is not client._transport.clients


class Team(Cstar):
    """A subclass with an attribute of each kind."""

    __slots__ = ("region",)

    def __init__(self, team_id: str, region: str) -> None:
        super().__init__(KEY)
        self.team_id = team_id
        self.region = region


COPIES = pytest.mark.parametrize("copied", [lambda c: pickle.loads(pickle.dumps(c)), copy.copy, copy.deepcopy])


@COPIES
def test_a_copy_of_a_subclass_keeps_its_attributes(copied: Any) -> None:
    twin = copied(Team("t", "eu"))
    assert (type(twin), twin.team_id, twin.region) == (Team, "t", "eu")


def test_a_derived_client_has_the_attributes_of_a_subclass() -> None:
    derived = Team("t", "eu").with_options(timeout=1)
    assert (type(derived), derived.team_id, derived.region) == (Team, "t", "eu")


class Locked(Cstar):
    """A subclass that leaves out what cannot be copied."""

    def __init__(self) -> None:
        super().__init__(KEY)
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "lock"}


class Rebuilt(Cstar):
    """A subclass with a way of its own to be copied."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Rebuilt, (KEY,)


@COPIES
def test_a_subclass_may_define_how_it_is_copied(copied: Any) -> None:
    assert not hasattr(copied(Locked()), "lock")
    assert copied(Locked())._transport.options.api_key == KEY
    assert type(copied(Rebuilt(KEY))) is Rebuilt


@BOTH
@COPIES
def test_a_resource_and_its_bound_methods_can_be_copied(build: Any, copied: Any) -> None:
    client = build(KEY, base_url=URL)
    for method in (client.customers.get, client.whoami, client.customers.with_raw_response.get):
        assert copied(functools.partial(method, "t")).args == ("t",)
    assert copied(client.customers)._transport.options == client._transport.options


@BOTH
def test_a_copy_has_connections_of_its_own(build: Any) -> None:
    client = build(KEY)
    assert copy.copy(client).customers._transport is not client.customers._transport


def test_a_pickled_raw_response_is_complete_and_contains_no_key(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL, echo=KEY), headers={"X-Request-Id": "req_1", "X-Echo": KEY})
    pickled = pickle.dumps(run(lambda client: client.customers.with_raw_response.get(TEAM, ID)))
    assert KEY.encode() not in pickled
    twin = pickle.loads(pickled)
    assert (twin.status_code, twin.request_id, twin.attempts) == (200, "req_1", 1)
    assert twin.parse() == CustomerDetail.model_validate(DETAIL)


def test_a_pickled_raw_list_parses_to_a_page_that_pages_on(api_mock: respx.Router, run: Runner) -> None:
    rows = [{**CUSTOMER, "id": f"cus_{number}"} for number in range(2)]
    for number, row in enumerate(rows, start=1):
        paging = {"total": 2, "page": number, "pageSize": 1, "hasMore": number < 2}
        api_mock.get(CUSTOMERS, params={"page": str(number)}).respond(json=ok([row], pagination=paging))

    def read(client: Any) -> list[str]:
        raw = pickle.loads(pickle.dumps(client.customers.with_raw_response.list(TEAM, page_size=1)))
        return [row.id for row in raw.parse()]

    async def read_async(client: Any) -> list[str]:
        raw = pickle.loads(pickle.dumps(await client.customers.with_raw_response.list(TEAM, page_size=1)))
        return [row.id async for row in raw.parse()]

    assert run(read if run.kind == "sync" else read_async) == ["cus_0", "cus_1"]


def test_a_pickled_client_works(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL))

    def travel(client: Any) -> Any:
        with pickle.loads(pickle.dumps(client.with_options(timeout=3))) as twin:
            return twin.customers.get(TEAM, ID)

    async def travel_async(client: Any) -> Any:
        async with pickle.loads(pickle.dumps(client.with_options(timeout=3))) as twin:
            return await twin.customers.get(TEAM, ID)

    assert run(travel if run.kind == "sync" else travel_async).id == ID


def test_a_client_with_a_custom_http_client_cannot_be_pickled(run: Runner) -> None:
    with pytest.raises(TypeError, match="custom http_client can be neither pickled nor copied"):
        run(pickle.dumps, http_client=run.http_client())


@BOTH
def test_no_repr_contains_the_api_key(build: Any) -> None:
    client = build(KEY, default_headers={"X-Secret": "hush"})
    shown = [repr(client), repr(vars(client)), repr(client._transport.options), repr(vars(client._transport))]
    shown += [repr(client._transport._requests._headers), repr(client.customers), str(client)]
    assert KEY not in "".join(shown)


# ── on_attempt ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_on_attempt_is_called_for_each_attempt(api_mock: respx.Router, run: Runner) -> None:
    answers = [httpx.Response(503, headers={"Retry-After": "2"}), httpx.ConnectError("refused")]
    api_mock.get(GET).mock(
        side_effect=[*answers, httpx.Response(200, json=ok(DETAIL), headers={"X-Request-Id": "req_1"})]
    )
    attempts: list[Attempt] = []
    run(lambda client: client.customers.get(TEAM, ID), on_attempt=attempts.append)
    assert [(each.method, each.path, each.number) for each in attempts] == [("GET", GET, n) for n in (1, 2, 3)]
    assert [each.status_code for each in attempts] == [503, None, 200]
    assert [type(each.error) for each in attempts] == [type(None), APIConnectionError, type(None)]
    assert [each.retry_wait for each in attempts] == [*run.sleeps, None]
    assert [each.request_id for each in attempts] == [None, None, "req_1"]
    assert all(0 <= each.duration < 5 for each in attempts)


def test_on_attempt_is_called_when_a_call_fails(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(404)
    attempts: list[Attempt] = []
    with pytest.raises(NotFoundError):
        run(lambda client: client.customers.get(TEAM, ID), on_attempt=attempts.append)
    assert [(each.status_code, each.retry_wait) for each in attempts] == [(404, None)]


def test_on_attempt_is_called_for_a_rejected_response(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(200, headers={"Content-Length": "99999999"})
    attempts: list[Attempt] = []
    with pytest.raises(APIResponseValidationError):
        run(lambda client: client.customers.get(TEAM, ID), on_attempt=attempts.append)
    assert [(each.status_code, each.retry_wait) for each in attempts] == [(200, None)]


def test_an_exception_of_on_attempt_is_logged_and_ignored(
    api_mock: respx.Router, run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL))
    assert run(lambda client: client.customers.get(TEAM, ID), on_attempt=lambda attempt: 1 / 0).id == ID
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.getMessage() == "on_attempt raised an exception, which is ignored"


@BOTH
def test_on_attempt_must_be_a_sync_callable(build: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_attempt must be callable, not a int"):
        build(KEY, on_attempt=7)


# ── Many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_threads_share_a_client(session_box: Sandbox) -> None:
    team = session_box.team_id
    with Cstar(session_box.api_key, base_url=session_box.url) as client, ThreadPoolExecutor(16) as threads:
        created = list(
            threads.map(lambda n: client.customers.create(team, name=f"T{n}", email=f"t{n}@threads.test"), range(100))
        )
        found = list(threads.map(lambda one: client.customers.get(team, one.id).email, created))
    assert found == [f"t{n}@threads.test" for n in range(100)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_concurrent_tasks_share_a_client(session_box: Sandbox, backend: str) -> None:
    team = session_box.team_id

    async def work() -> None:
        async with AsyncCstar(session_box.api_key, base_url=session_box.url) as client:

            async def one(number: int) -> None:
                email = f"t{number}@{backend}.test"
                created = await client.customers.create(team, name=f"T{number}", email=email)
                assert (await client.customers.get(team, created.id)).email == email

            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(one, number)

    anyio.run(work, backend=backend)


def test_a_call_on_asyncio_does_not_import_trio(
    api_mock: respx.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_mock.get(GET).respond(json=ok(DETAIL))
    monkeypatch.delitem(sys.modules, "trio")
    assert Runner("asyncio")(lambda client: client.customers.get(TEAM, ID)).id == ID
    assert "trio" not in sys.modules


def _ask(client: Cstar, team: str, answers: Any) -> None:
    answers.put([client.customers.list(team, search=f"{n}@").total for n in range(20)])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_forked_process_does_not_use_its_parents_connections(session_box: Sandbox) -> None:
    fork = multiprocessing.get_context("fork")
    answers: Any = fork.Queue()
    with Cstar(session_box.api_key, base_url=session_box.url) as client:
        client.customers.list(session_box.team_id)
        connections = client._transport.clients.get()
        child = fork.Process(target=_ask, args=(client, session_box.team_id, answers))
        child.start()
        ours = [client.customers.list(session_box.team_id, search=f"{n}@").total for n in range(20)]
        assert answers.get(timeout=60) == ours
        child.join()
        assert client._transport.clients.get() is connections


def _ask_once(client: Cstar, answers: Any) -> None:
    try:
        answers.put(client.whoami().team_id)
    except CstarError as error:
        answers.put(str(error))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_custom_http_client_is_rejected_after_a_fork(session_box: Sandbox) -> None:
    fork = multiprocessing.get_context("fork")
    answers: Any = fork.Queue()
    with httpx.Client() as own:
        client = Cstar(session_box.api_key, base_url=session_box.url, http_client=own)
        client.whoami()
        child = fork.Process(target=_ask_once, args=(client, answers))
        child.start()
        assert "create it in the process that uses it" in answers.get(timeout=60)
        child.join()


def test_one_async_client_serves_several_event_loops_one_after_the_other(session_box: Sandbox) -> None:
    # A program of its own, because what a loop leaves open when it ends is reported whenever it is noticed.
    script = f"""
import asyncio, trio
from cstar import AsyncCstar
client = AsyncCstar({session_box.api_key!r}, base_url={session_box.url!r})
async def ask():
    return (await client.whoami()).team_id
asyncio.run(ask())
asyncio.run(ask())
trio.run(ask)
trio.run(ask)
print(asyncio.run(ask()))
asyncio.run(client.close())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout.strip(), done.stderr) == (session_box.team_id, "")


# ── Interrupted ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("moment", ["request", "wait"])
def test_a_cancelled_call_is_not_retried(backend: str, moment: str) -> None:
    requests: list[httpx.Request] = []

    async def act() -> None:
        async def answer(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            if moment == "request":
                scope.cancel()
                await anyio.sleep_forever()
            return httpx.Response(500)

        class CancelDuringWait(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if moment == "wait":
                    scope.cancel()

        logger, handler = logging.getLogger("cstar"), CancelDuringWait(logging.INFO)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            own = httpx.AsyncClient(transport=httpx.MockTransport(answer))
            async with own, AsyncCstar(KEY, http_client=own) as client:
                with anyio.CancelScope() as scope:
                    await client.customers.get(TEAM, ID)
                assert scope.cancelled_caught
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)

    anyio.run(act, backend=backend)
    assert len(requests) == 1


def test_ctrl_c_interrupts_a_retry_delay(session_box: Sandbox) -> None:
    script = """
import logging, os, signal
from cstar import Cstar
class Interrupt(logging.Handler):
    def emit(self, record):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
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


def test_a_walk_leaves_no_thread_behind(session_box: Sandbox) -> None:
    before = set(threading.enumerate())
    with Cstar(session_box.api_key, base_url=session_box.url) as client:
        for _ in client.customers.list(session_box.team_id, page_size=1):
            break
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_walk_can_be_read_partly_and_read_on(session_box: Sandbox, backend: str) -> None:
    async def act() -> None:
        async with AsyncCstar(session_box.api_key, base_url=session_box.url) as client:
            for number in range(3):
                await client.customers.create(session_box.team_id, name="W", email=f"{number}@{backend}.walk.test")
            rows = aiter(client.customers.list(session_box.team_id, search=f"@{backend}.walk.test", page_size=1))
            first = await anext(rows)
            rest = [row async for row in rows]
            assert [row.email[0] for row in [first, *rest]] == ["2", "1", "0"]

    anyio.run(act, backend=backend)


@pytest.mark.parametrize("build", [Cstar, AsyncCstar])
def test_an_async_on_attempt_is_refused(build: Any) -> None:
    async def measure(attempt: Attempt) -> None: ...

    with pytest.raises(ConfigurationError, match="on_attempt must be a plain function, not async"):
        build(KEY, on_attempt=measure)
