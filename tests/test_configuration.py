"""The options of a client: their sources, their validation, and their effect on requests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cstar import AsyncCstar, ConfigurationError, Cstar
from support import CUSTOMERS, DETAIL, ID, KEY, TEAM, Runner, ok

if TYPE_CHECKING:
    import respx

BOTH = pytest.mark.parametrize("build", [Cstar, AsyncCstar])
LIVE = "sk_live_" + "k3Y_" * 8
GET = f"{CUSTOMERS}/{ID}"


@BOTH
def test_a_missing_key_is_an_error_that_says_how_to_pass_one(build: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"api_key=.*CSTAR_API_KEY"):
        build()


@BOTH
def test_an_empty_environment_variable_is_ignored(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSTAR_API_KEY", "")
    with pytest.raises(ConfigurationError, match="no API key"):
        build()


def test_the_key_and_the_url_come_from_the_environment(
    run: Runner, api_mock: respx.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSTAR_API_KEY", "sk_test_from_environment")
    monkeypatch.setenv("CSTAR_BASE_URL", "https://environment.test/v9/")
    route = api_mock.get(f"https://environment.test/v9{GET}").respond(json=ok(DETAIL))
    run(lambda client: client.customers.get(TEAM, ID), api_key=None, base_url=None)
    assert route.calls.last.request.headers["Authorization"] == "Bearer sk_test_from_environment"


def test_arguments_take_precedence_over_the_environment(
    run: Runner, api_mock: respx.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSTAR_API_KEY", "sk_test_from_environment")
    monkeypatch.setenv("CSTAR_BASE_URL", "https://environment.test")
    route = api_mock.get(GET).respond(json=ok(DETAIL))
    run(lambda client: client.customers.get(TEAM, ID))
    assert route.calls.last.request.headers["Authorization"] == f"Bearer {KEY}"


def test_the_default_base_url_is_that_of_the_api(run: Runner, api_mock: respx.Router) -> None:
    route = api_mock.get(f"https://www.cstar.help/api/v1{GET}").respond(json=ok(DETAIL))
    run(lambda client: client.customers.get(TEAM, ID), base_url=None)
    assert route.called


@BOTH
@pytest.mark.parametrize(
    "key",
    ["", " ", LIVE + "\n", "\n" + LIVE, LIVE + "\r\nX-Evil: 1", f"{LIVE} ", LIVE.replace("k", "к"), f"{LIVE}\0", 7],
)
def test_a_malformed_key_is_rejected_and_not_shown(build: Any, key: Any) -> None:
    with pytest.raises(ConfigurationError, match="api_key must") as raised:
        build(key)
    assert "3Y_" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        (f"{LIVE}\n", "was it read from a file with a line break at its end"),
        (f"Bearer {LIVE}", "must not begin with 'Bearer'"),
        (f'"{LIVE}"', "must not be in quotation marks"),
        (f"'{LIVE}'", "must not be in quotation marks"),
        ("whsec_3Y_x", "must be an API key, not the secret of a webhook"),
    ],
)
def test_the_error_for_a_common_mistake_in_a_key_says_what_to_change(key: str, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice) as raised:
        Cstar(key)
    assert "3Y_" not in str(raised.value)


@BOTH
@pytest.mark.parametrize("key", [LIVE, "pk_live_x", "rk_new_kind_x"])
@pytest.mark.parametrize(
    "url", ["http://api.cstar.test", "http://10.0.0.1", "http://localhost.evil.test", "http://[::2]"]
)
def test_a_live_key_is_not_sent_over_plain_http_to_another_machine(build: Any, key: str, url: str) -> None:
    with pytest.raises(ConfigurationError, match="plain http") as raised:
        build(key, base_url=url)
    assert key not in str(raised.value)


@BOTH
@pytest.mark.parametrize(
    "url",
    ["http://localhost:4010", "http://127.0.0.1", "http://127.8.9.1:1/api", "http://[::1]:4010", "http://a.localhost"],
)
def test_a_live_key_may_be_sent_over_plain_http_to_localhost(build: Any, url: str) -> None:
    assert repr(build(LIVE, base_url=url)) == f"{build.__name__}(base_url={url!r})"


@BOTH
def test_a_test_key_may_be_sent_over_plain_http(build: Any) -> None:
    build(KEY, base_url="http://sandbox:4010/api/v1")


@BOTH
@pytest.mark.parametrize(
    "url",
    ["", "api.cstar.test", "ftp://api.cstar.test", "https://", "https://u:p@api.cstar.test", "https://a.test?x=1",
     "https://a.test#x", "https://a.test:port", "https://a.test:65536", "https://a b.test", "https://a..test", "https://.",
     f"https://{'a' * 64}.test", 7],
)  # fmt: skip
def test_an_invalid_base_url_is_rejected(build: Any, url: Any) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        build(KEY, base_url=url)


@BOTH
@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("timeout", value) for value in [0, -1, math.nan, math.inf, 1e10, None, "30", True]),
        *(("timeout", value) for value in [httpx.Timeout(-1), httpx.Timeout(5, read=1e10)]),
        *(("max_retries", value) for value in [-1, 1.5, None, "3", True]),
        *(("max_retry_wait", value) for value in [-1, math.nan, None, "60", True]),
        *(("api_version", value) for value in ["2026\n", "é", "", None]),
    ],
)
def test_an_invalid_option_is_rejected_with_its_name(build: Any, option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=option):
        build(KEY, **{option: value})


@BOTH
@pytest.mark.parametrize(
    "headers", [{"X Y": "1"}, {"": "1"}, {"X": "1\r\nY: 2"}, {"X": "é"}, {"X": 1}, {1: "x"}, ["X"], "X: 1"]
)
def test_malformed_default_headers_are_rejected(build: Any, headers: Any) -> None:
    with pytest.raises(ConfigurationError, match="default_headers"):
        build(KEY, default_headers=headers)
    with pytest.raises(ConfigurationError, match="default_headers"):
        build(KEY).with_options(default_headers=headers)


@BOTH
@pytest.mark.parametrize(
    "name", ["authorization", "Idempotency-Key", "Content-Length", "TRANSFER-ENCODING", "Content-Type"]
)
def test_headers_that_every_call_sets_are_rejected_as_defaults(build: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is set for each call"):
        build(KEY, default_headers={name: "x"})


@pytest.mark.parametrize(("build", "name"), [(Cstar, "Client"), (AsyncCstar, "AsyncClient")])
def test_an_http_client_of_httpx2_is_rejected(build: Any, name: str) -> None:
    http_client = type(name, (), {"__module__": "httpx2._client"})()
    with pytest.raises(ConfigurationError, match=rf"not an httpx2\.{name}: .* call httpx2\.alias_httpx\(\)"):
        build(KEY, http_client=http_client)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (Cstar, httpx.AsyncClient, "http_client must be an httpx.Client, not an httpx.AsyncClient (use AsyncCstar)"),
        (AsyncCstar, httpx.Client, "http_client must be an httpx.AsyncClient, not an httpx.Client (use Cstar)"),
        (Cstar, dict, "http_client must be an httpx.Client, not a dict"),
    ],
)
def test_an_http_client_of_another_type_is_rejected(build: Any, kind: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        build(KEY, http_client=kind())
    assert str(raised.value) == message


def test_default_headers_replace_those_of_the_library(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(json=ok(DETAIL))
    run(
        lambda client: client.customers.get(TEAM, ID),
        default_headers={"X-App": "crm", "user-agent": "crm/1", "cstar-version": "2027-01-01"},
    )
    headers = route.calls.last.request.headers
    assert headers["X-App"] == "crm"
    assert headers.get_list("User-Agent") == ["crm/1"]
    assert headers.get_list("CStar-Version") == ["2027-01-01"]


def test_api_version_is_sent(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(json=ok(DETAIL))
    run(lambda client: client.customers.get(TEAM, ID), api_version="2025-01-01")
    assert route.calls.last.request.headers["CStar-Version"] == "2025-01-01"


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, {"connect": 30.0, "read": 30.0, "write": 30.0, "pool": 30.0}),
        ({"timeout": 2}, {"connect": 2, "read": 2, "write": 2, "pool": 2}),
        ({"timeout": httpx.Timeout(5, connect=1)}, {"connect": 1, "read": 5, "write": 5, "pool": 5}),
        ({"timeout": httpx.Timeout(None)}, {"connect": None, "read": None, "write": None, "pool": None}),
    ],
)
def test_every_attempt_has_the_timeout(
    api_mock: respx.Router, run: Runner, options: dict[str, Any], parts: dict[str, float | None]
) -> None:
    route = api_mock.get(GET).mock(side_effect=[httpx.Response(500), httpx.Response(200, json=ok(DETAIL))])
    run(lambda client: client.customers.get(TEAM, ID), **options)
    assert [call.request.extensions["timeout"] for call in route.calls] == [parts, parts]


def test_names_of_default_headers_are_case_insensitive(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(GET).respond(json=ok(DETAIL))
    run(
        lambda client: client.with_options(default_headers={"x-APP": "3"}).customers.get(TEAM, ID),
        default_headers={"X-App": "1", "x-app": "2"},
    )
    assert route.calls.last.request.headers.get_list("X-App") == ["3"]
