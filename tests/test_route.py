"""Proxies and certificates: where their settings come from, and the errors of invalid settings and of failures."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trustme

from cstar import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AsyncCstar,
    ConfigurationError,
    Cstar,
)
from cstar._route import Route
from rawserver import RawServer, read_request, response
from support import KEY, TEAM, Runner, ok

if TYPE_CHECKING:
    from pathlib import Path

REMOTE = "https://api.cstar.test/api/v1"


def whoami(client: Any) -> Any:
    return client.whoami()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "api.cstar.test").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make clients trust the authority."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


# ── Proxies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def forward(connection: socket.socket, number: int) -> None:
    """Serve as an HTTP proxy: respond to a plain request with its head, and tunnel to any port on this machine."""
    while (head := read_request(connection)) is not None:
        method, target = head.split(b" ")[:2]
        if method != b"CONNECT":
            connection.sendall(response(json.dumps(ok({"head": head.decode()})).encode()))
            continue
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with socket.create_connection(("127.0.0.1", int(target.rpartition(b":")[2]))) as server:
            back = threading.Thread(target=pipe, args=(server, connection), daemon=True)
            back.start()
            pipe(connection, server)
            back.join()
        return


def pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_from_the_environment_is_used(run: Runner, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with RawServer(forward) as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        body = run(lambda client: client.request("GET", "/any"), base_url="http://api.cstar.test/v1")
    assert body["data"]["head"].startswith("GET http://api.cstar.test/v1/any HTTP/1.1")


def test_a_proxy_url_without_a_scheme_is_an_http_proxy(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(forward) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        assert run(lambda client: client.request("GET", "/any"), base_url="http://api.cstar.test")["success"]


def test_the_credentials_in_a_proxy_url_are_sent_to_the_proxy(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(forward) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://ann:p%40ss@127.0.0.1:{proxy.port}")
        body = run(lambda client: client.request("GET", "/any"), base_url="http://api.cstar.test")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'ann:p@ss').decode()}" in body["data"]["head"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_https_requests_use_a_tunnel_through_the_proxy(
    run: Runner, tls: ssl.SSLContext, trusted: None, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with RawServer(tls=tls) as server, RawServer(forward, tls=tls if scheme == "https" else None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")
        identity = run(whoami, base_url=f"https://api.cstar.test:{server.port}")
        assert (identity.team_id, proxy.connections, server.connections) == (TEAM, 1, 1)


def socks(connection: socket.socket, number: int) -> None:
    """Serve as a SOCKS5 proxy (RFC 1928): connect to any port on this machine."""
    connection.recv(3)
    connection.sendall(b"\x05\x00")
    request = connection.recv(262)
    connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    with socket.create_connection(("127.0.0.1", int.from_bytes(request[-2:], "big"))) as server:
        threading.Thread(target=pipe, args=(server, connection), daemon=True).start()
        pipe(connection, server)


def test_a_socks_proxy_is_used(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer() as server, RawServer(socks) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{proxy.port}")
        run(whoami, base_url=f"http://api.cstar.test:{server.port}")
        assert (proxy.connections, server.connections) == (1, 1)


@pytest.mark.parametrize("host", ["localhost", "localhost.", "127.0.0.1", "[::1]", "app.localhost"])
def test_requests_to_this_machine_do_not_use_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    assert Route.resolve(f"http://{host}:4010").proxy is None


@pytest.mark.parametrize(
    "no_proxy",
    ["api.cstar.test", ".cstar.test", "cstar.test", "other.test, api.cstar.test", "*", "api.cstar.test:443"],
)
def test_hosts_in_no_proxy_do_not_use_a_proxy(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert Route.resolve(REMOTE).proxy is None


@pytest.mark.parametrize(
    "no_proxy", ["fd00::/8", "[::1]", "10.0.0.0/8,localhost", "http://other.test", ",,;", "[", "é"]
)
def test_other_hosts_and_invalid_values_in_no_proxy_are_ignored(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert str(Route.resolve(REMOTE).proxy) == "the proxy http://proxy.test:3128 of HTTPS_PROXY"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:9", "ALL_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", "socks4://127.0.0.1:9", "HTTPS_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", "ftp://127.0.0.1", "HTTPS_PROXY must be the URL of a proxy"),
        ("https_proxy", "http://", "https_proxy must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://127.0.0.1:abc", "HTTPS_PROXY must be .*check its host and port"),
        ("HTTPS_PROXY", "http://127.0.0.1:99999", "HTTPS_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://a..b:3128", "HTTPS_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://xn--a:9", "HTTPS_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", f"socks5://ann:{'p' * 256}@127.0.0.1:9", "HTTPS_PROXY must have .* at most 255 bytes"),
    ],
)
@pytest.mark.parametrize("build", [Cstar, AsyncCstar])
def test_an_invalid_proxy_setting_is_rejected_by_the_constructor(
    build: Any, variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=reason):
        build(KEY, base_url=REMOTE)


def test_the_error_for_a_socks_proxy_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._route._is_installed", lambda package: False)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"^HTTPS_PROXY names a SOCKS proxy.*pip install 'httpx\[socks\]'$"):
        Route.resolve(REMOTE)


@pytest.mark.parametrize(
    "value",
    [
        "http://ann:hush@[::1",
        "ftp://ann:hush@proxy.test",
        "http://ann:hush@proxy.test:x",
        "http://ann:12#hush@127.0.0.1:9",
        "http://ann:12/hush@127.0.0.1:9",
        "http://ann:12?hush@127.0.0.1:9",
        "http://ann:hush",
    ],
)
def test_no_error_shows_the_password_of_a_proxy(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ConfigurationError) as raised:
        Cstar(KEY, base_url=REMOTE)
    assert "hush" not in repr([raised.value, raised.value.__cause__, raised.value.__context__])


def test_the_error_for_an_unreachable_proxy_names_the_proxy(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:hush@127.0.0.1:9")
    with pytest.raises(APIConnectionError) as raised:
        run(whoami, base_url=REMOTE, max_retries=0)
    assert "through the proxy http://127.0.0.1:9 of HTTPS_PROXY (ConnectError: " in str(raised.value)
    assert "hush" not in repr([raised.value, raised.value.__cause__])
    assert not raised.value.was_sent


def test_the_error_for_a_rejected_tunnel_names_the_proxy(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with RawServer(reject) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(APIConnectionError, match=r"of HTTPS_PROXY \(ProxyError: 403 Forbidden\)") as raised:
            run(whoami, base_url=REMOTE)
    assert (raised.value.was_sent, raised.value.attempts) == (False, 1)


def test_no_repr_shows_the_password_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:hush@proxy.test:3128")
    client = Cstar(KEY, base_url=REMOTE)
    assert "hush" not in repr([client._transport.clients._route, client, client._transport.clients.proxy])


BROKEN_TUNNELS: dict[str, Any] = {
    "closed before the response": lambda connection, number: read_request(connection),
    "closed within the response": lambda connection, number: (
        read_request(connection) and connection.sendall(b"HTTP/1.1 200")
    ),
    "invalid response": lambda connection, number: read_request(connection) and connection.sendall(b"nonsense\r\n\r\n"),
    "no response": lambda connection, number: read_request(connection) and read_request(connection),
    "closed before TLS": lambda connection, number: (
        read_request(connection) and connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
    ),
}


@pytest.mark.parametrize("handler", BROKEN_TUNNELS.values(), ids=BROKEN_TUNNELS)
@pytest.mark.parametrize("timeout", [0.1, httpx.Timeout(0.1)], ids=["number", "parts"])
def test_a_request_is_not_sent_if_the_tunnel_fails(
    run: Runner, handler: Any, timeout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(handler) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(APIConnectionError, match="of HTTPS_PROXY") as raised:
            run(whoami, base_url=REMOTE, max_retries=0, timeout=timeout)
    assert not raised.value.was_sent


BROKEN_SOCKS: dict[str, Any] = {
    "closed": lambda connection, number: connection.recv(99),
    "invalid reply": lambda connection, number: connection.recv(99) and connection.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"),
    "unknown method": lambda connection, number: connection.recv(99) and connection.sendall(b"\x05\x09"),
    "truncated reply": lambda connection, number: connection.recv(99) and connection.sendall(b"\x05"),
    "connection rejected": lambda connection, number: (
        (connection.recv(99) and connection.sendall(b"\x05\x00"))
        or (connection.recv(99) and connection.sendall(b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"))
    ),
    "no reply": lambda connection, number: connection.recv(99) and connection.recv(99),
}


@pytest.mark.parametrize("handler", BROKEN_SOCKS.values(), ids=BROKEN_SOCKS)
@pytest.mark.parametrize("timeout", [0.1, httpx.Timeout(0.1)], ids=["number", "parts"])
def test_the_error_for_a_failing_socks_proxy_names_the_proxy(
    run: Runner, handler: Any, timeout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(handler) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")
        with pytest.raises(APIConnectionError, match="of ALL_PROXY") as raised:
            run(whoami, base_url="http://api.cstar.test", max_retries=0, timeout=timeout)
    assert not raised.value.was_sent


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            response(b"<h1>Who are you?</h1>", status="407 Proxy Authentication Required"),
            APIStatusError,
            r"\(possibly from the proxy http://127\.0\.0\.1:\d+ of HTTP_PROXY\): '<h1>Who are you\?",
        ),
        (
            response(b"<title>Sign in</title>"),
            APIResponseValidationError,
            r"begins with 'Sign in' \(possibly from the proxy http://127\.0\.0\.1:\d+ of HTTP_PROXY\)",
        ),
    ],
    ids=["error status", "sign-in page"],
)
def test_the_error_for_a_response_that_may_be_from_a_proxy_names_the_proxy(
    run: Runner, data: bytes, error: type[APIError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(lambda connection, number: read_request(connection) and connection.sendall(data)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(error, match=message):
            run(whoami, base_url="http://api.cstar.test")


def test_a_custom_http_client_ignores_the_proxy_settings(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    http_client = run.http_client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=ok({}))))
    monkeypatch.setenv("HTTPS_PROXY", "ftp://127.0.0.1")
    assert run(lambda client: client.request("GET", "/any"), http_client=http_client) == ok({})


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_error_of_a_custom_async_http_client_has_the_cause(backend: str) -> None:
    run = Runner(backend)
    with pytest.raises(APIConnectionError, match=r"\(ConnectError: \[Errno 111\] Connection refused\)"):
        run(whoami, base_url="http://127.0.0.1:9", max_retries=0, http_client=run.http_client())


# ── Certificates ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_connections_are_reused(run: Runner, tls: ssl.SSLContext, trusted: None, version: ssl.TLSVersion) -> None:
    tls.minimum_version = tls.maximum_version = version
    with RawServer(tls=tls) as server:
        run.in_order(whoami, whoami, base_url=server.url)
        assert server.connections == 1


def test_large_bodies_are_sent_and_received_over_tls(run: Runner, tls: ssl.SSLContext, trusted: None) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        head, _, body = head.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65536)
        connection.sendall(response(body))

    with RawServer(handler, tls=tls) as server:
        body = {"text": "é" * 3_000_000}
        assert run(lambda client: client.request("POST", "/any", json=body), base_url=server.url) == body


def test_a_response_may_end_without_the_closing_alert_of_tls(run: Runner, tls: ssl.SSLContext, trusted: None) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer(handler, tls=tls) as server:
        assert run(lambda client: client.request("GET", "/any"), base_url=server.url) == {}


def test_an_untrusted_certificate_is_an_error_that_is_not_retried(run: Runner, tls: ssl.SSLContext) -> None:
    with RawServer(tls=tls) as server, pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED") as raised:
        run(whoami, base_url=server.url)
    assert (raised.value.was_sent, raised.value.attempts) == (False, 1)


def test_a_certificate_of_another_host_is_rejected(run: Runner, authority: trustme.CA, trusted: None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.test").configure_cert(context)
    with RawServer(tls=context) as server, pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        run(whoami, base_url=server.url, max_retries=0)


@pytest.mark.usefixtures("late_cancellation")
def test_a_timeout_bounds_the_tls_handshake(run: Runner, trusted: None) -> None:
    with RawServer(lambda connection, number: connection.recv(65536) and connection.recv(65536)) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(APIConnectionError, match=r"within the timeout of 0\.3 s \(ConnectTimeout") as raised:
            run(whoami, base_url=url, max_retries=0, timeout=0.3)
    assert not raised.value.was_sent


def test_a_server_without_tls_is_an_error_that_is_not_retried(run: Runner, trusted: None) -> None:
    with (
        RawServer(lambda connection, number: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server,
        pytest.raises(APIConnectionError, match=r"\(ConnectError: .*SSL") as raised,
    ):
        run(whoami, base_url=server.url.replace("http:", "https:"))
    assert raised.value.attempts == 1


def test_an_idle_tls_connection_that_the_server_closes_is_replaced_at_once(
    run: Runner, tls: ssl.SSLContext, trusted: None
) -> None:
    def handler(connection: Any, number: int) -> None:
        read_request(connection)
        connection.sendall(response())
        if read_request(connection) is not None:
            with suppress(OSError):
                connection.unwrap()  # sends close_notify

    with RawServer(handler, tls=tls) as server:
        run.in_order(whoami, whoami, base_url=server.url, max_retries=0)
        assert server.connections == 2


def test_invalid_tls_records_raise_a_connection_error(run: Runner, tls: ssl.SSLContext, trusted: None) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        with socket.socket(fileno=os.dup(connection.fileno())) as unencrypted:
            unencrypted.sendall(b"not TLS" * 100)
        connection.recv(65536)

    with (
        RawServer(handler, tls=tls) as server,
        pytest.raises(APIConnectionError, match=r"\(ReadError: .*SSL") as raised,
    ):
        run(whoami, base_url=server.url, max_retries=0)
    assert raised.value.was_sent


def test_a_response_over_tls_may_close_the_connection(run: Runner, tls: ssl.SSLContext, trusted: None) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(response(headers=b"Connection: close\r\n"))

    with RawServer(handler, tls=tls) as server:
        assert run(whoami, base_url=server.url).team_id == TEAM


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SSL_CERT_FILE", "/nonexistent.pem", r"^SSL_CERT_FILE must be a file of certificates.*'/nonexistent\.pem'"),
        ("SSL_CERT_FILE", __file__, "^SSL_CERT_FILE must be a file of certificates"),
        ("SSL_CERT_DIR", "/nonexistent", "^SSL_CERT_DIR must be a directory of certificates"),
    ],
    ids=["no such file", "no certificates", "no such directory"],
)
def test_an_invalid_certificate_setting_is_rejected(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=message):
        Route.resolve(REMOTE)


def test_a_certificate_directory_is_ignored_if_there_is_a_file(trusted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    Route.resolve(REMOTE)


def test_certificate_settings_are_ignored_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    Route.resolve("http://localhost:4010")


def test_certificates_are_loaded_when_a_client_is_created(
    run: Runner, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "authority.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    trustme.CA().cert_pem.write_to_path(str(file))
    with RawServer(tls=tls) as server:
        with pytest.raises(APIConnectionError):
            run(whoami, base_url=server.url, max_retries=0)
        authority.cert_pem.write_to_path(str(file))
        assert run(whoami, base_url=server.url).team_id == TEAM
