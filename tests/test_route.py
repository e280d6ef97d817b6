"""The route to the API: which proxy and which certificates apply, and what is wrong with their settings."""

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
    APIResponseValidationError,
    APIStatusError,
    AsyncCstar,
    ConfigurationError,
    Cstar,
)
from rawserver import RawServer, read_request, respond_to_all, response
from support import KEY, TEAM, Runner, ok

if TYPE_CHECKING:
    from pathlib import Path

BOTH = pytest.mark.parametrize("build", [Cstar, AsyncCstar])
REMOTE = "https://api.cstar.test/api/v1"


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
    """Makes clients trust the authority."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


# ── Proxies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def forward(connection: socket.socket, number: int) -> None:
    """A proxy that answers requests itself, and tunnels to this machine's port wherever it is asked to."""
    while (head := read_request(connection)) is not None:
        method, target = head.split(b" ")[:2]
        if method != b"CONNECT":
            connection.sendall(response(json.dumps(ok({"seen": head.decode()})).encode()))
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
def test_a_proxy_of_the_environment_is_used(run: Runner, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with RawServer(forward) as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        answer = run(lambda client: client.request("GET", "/any"), base_url="http://api.cstar.test/v1")
    assert answer["data"]["seen"].startswith("GET http://api.cstar.test/v1/any HTTP/1.1")


def test_a_proxy_without_a_scheme_is_an_http_proxy(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(forward) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        assert run(lambda client: client.request("GET", "/any"), base_url="http://api.cstar.test")["success"]


def test_the_password_of_a_proxy_is_sent_to_it(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(forward) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://ann:p%40ss@127.0.0.1:{proxy.port}")
        answer = run(lambda client: client.request("GET", "/any"), base_url="http://api.cstar.test")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'ann:p@ss').decode()}" in answer["data"]["seen"]


def test_https_goes_through_a_tunnel_of_the_proxy(
    run: Runner, tls: ssl.SSLContext, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(tls=tls) as server, RawServer(forward) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        identity = run(lambda client: client.whoami(), base_url=f"https://api.cstar.test:{server.port}")
        assert (identity.team_id, proxy.connections, server.connections) == (TEAM, 1, 1)


def test_a_proxy_may_speak_tls_itself(
    run: Runner, tls: ssl.SSLContext, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(tls=tls) as server, RawServer(forward, tls=tls) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy.port}")
        identity = run(lambda client: client.whoami(), base_url=f"https://api.cstar.test:{server.port}")
        assert (identity.team_id, proxy.connections, server.connections) == (TEAM, 1, 1)


def socks(connection: socket.socket, number: int) -> None:
    """A SOCKS5 proxy (RFC 1928) that connects to this machine's port."""
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
        run(lambda client: client.whoami(), base_url=f"http://api.cstar.test:{server.port}")
        assert (proxy.connections, server.connections) == (1, 1)


@pytest.mark.parametrize("host", ["localhost", "localhost.", "127.0.0.1", "[::1]", "app.localhost"])
@BOTH
def test_requests_to_this_machine_do_not_go_through_a_proxy(
    build: Any, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    assert build(KEY, base_url=f"http://{host}:4010")._transport.clients.proxy is None


@pytest.mark.parametrize(
    "exceptions",
    ["api.cstar.test", ".cstar.test", "cstar.test", "other.test, api.cstar.test", "*", "api.cstar.test:443"],
)
@BOTH
def test_no_proxy_names_the_hosts_without_one(build: Any, exceptions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert build(KEY, base_url=REMOTE)._transport.clients.proxy is None


@pytest.mark.parametrize(
    "exceptions", ["fd00::/8", "[::1]", "10.0.0.0/8,localhost", "http://other.test", ",,;", "[", "é"]
)
@BOTH
def test_exceptions_from_a_proxy_that_are_not_for_us_never_hurt(
    build: Any, exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert build(KEY, base_url=REMOTE)._transport.clients.proxy == "the proxy http://proxy.test:3128 of HTTPS_PROXY"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:9", "ALL_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", "socks4://127.0.0.1:9", "HTTPS_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", "ftp://127.0.0.1", "HTTPS_PROXY must be the URL of a proxy"),
        ("https_proxy", "http://", "https_proxy must be the URL of a proxy"),
        (
            "HTTPS_PROXY",
            "http://127.0.0.1:abc",
            "HTTPS_PROXY must be .*check its host and port",
        ),
        ("HTTPS_PROXY", "http://127.0.0.1:99999", "HTTPS_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://a..b:3128", "HTTPS_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://xn--a:9", "HTTPS_PROXY must be the URL of a proxy"),
        ("HTTPS_PROXY", f"socks5://ann:{'p' * 256}@127.0.0.1:9", "HTTPS_PROXY must have .* at most 255 bytes"),
    ],
)
@BOTH
def test_a_proxy_that_cannot_work_is_named_when_a_client_is_made(
    build: Any, variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=reason):
        build(KEY, base_url=REMOTE)


@BOTH
def test_a_socks_proxy_without_its_package_says_what_to_install(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._route._is_installed", lambda package: False)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"^HTTPS_PROXY names a SOCKS proxy.*pip install 'httpx\[socks\]'$"):
        build(KEY, base_url=REMOTE)


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
def test_no_message_shows_the_password_of_a_proxy(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ConfigurationError) as caught:
        Cstar(KEY, base_url=REMOTE)
    assert "hush" not in repr([caught.value, caught.value.__cause__, caught.value.__context__])


def test_a_proxy_that_is_not_there_is_named_in_the_error(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:hush@127.0.0.1:9")
    with pytest.raises(APIConnectionError) as caught:
        run(lambda client: client.whoami(), base_url=REMOTE, max_retries=0)
    assert "through the proxy http://127.0.0.1:9 of HTTPS_PROXY (ConnectError: " in str(caught.value)
    assert "hush" not in repr([caught.value, caught.value.__cause__])
    assert not caught.value.was_sent


def test_a_proxy_that_refuses_is_named_in_the_error(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with RawServer(reject) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(APIConnectionError, match=r"of HTTPS_PROXY \(ProxyError: 403 Forbidden\)") as caught:
            run(lambda client: client.whoami(), base_url=REMOTE)
    assert (caught.value.was_sent, caught.value.attempts) == (False, 1)


def test_the_password_of_a_proxy_is_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:hush@proxy.test:3128")
    client = Cstar(KEY, base_url=REMOTE)
    assert "hush" not in repr([client._transport.clients._route, client, client._transport.clients.proxy])


DROPPED: dict[str, Any] = {
    "before it connects": lambda connection, number: read_request(connection),
    "as it connects": lambda connection, number: read_request(connection) and connection.sendall(b"HTTP/1.1 200"),
    "nonsense": lambda connection, number: read_request(connection) and connection.sendall(b"nonsense\r\n\r\n"),
    "silence": lambda connection, number: read_request(connection) and read_request(connection),
    "before TLS": lambda connection, number: (
        read_request(connection) and connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
    ),
}


@pytest.mark.parametrize("way", DROPPED)
@pytest.mark.parametrize("timeout", [0.1, httpx.Timeout(0.1)], ids=["number", "parts"])
def test_what_a_tunnel_did_not_carry_was_not_sent(
    run: Runner, way: str, timeout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(DROPPED[way]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(APIConnectionError, match="of HTTPS_PROXY") as caught:
            run(lambda client: client.whoami(), base_url=REMOTE, max_retries=0, timeout=timeout)
    assert not caught.value.was_sent


BAD_SOCKS: dict[str, Any] = {
    "hangs up": lambda connection, number: connection.recv(99),
    "nonsense": lambda connection, number: connection.recv(99) and connection.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"),
    "an unknown method": lambda connection, number: connection.recv(99) and connection.sendall(b"\x05\x09"),
    "half a reply": lambda connection, number: connection.recv(99) and connection.sendall(b"\x05"),
    "refuses": lambda connection, number: (
        (connection.recv(99) and connection.sendall(b"\x05\x00"))
        or (connection.recv(99) and connection.sendall(b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"))
    ),
    "silence": lambda connection, number: connection.recv(99) and connection.recv(99),
}


@pytest.mark.parametrize("way", BAD_SOCKS)
@pytest.mark.parametrize("timeout", [0.1, httpx.Timeout(0.1)], ids=["number", "parts"])
def test_a_socks_proxy_that_fails_is_named_in_the_error(
    run: Runner, way: str, timeout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(BAD_SOCKS[way]) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")
        with pytest.raises(APIConnectionError, match="of ALL_PROXY") as caught:
            run(lambda client: client.whoami(), base_url="http://api.cstar.test", max_retries=0, timeout=timeout)
    assert not caught.value.was_sent


def test_an_answer_of_a_proxy_itself_names_it(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(response(b"<h1>Who are you?</h1>", status="407 Proxy Authentication Required"))

    with RawServer(reject) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(
            APIStatusError, match=f"possibly from the proxy http://127.0.0.1:{proxy.port} of HTTP_PROXY"
        ):
            run(lambda client: client.whoami(), base_url="http://api.cstar.test")


def test_a_page_of_a_proxy_with_status_200_names_it(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def sign_in(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(response(b"<title>Sign in</title>"))

    with RawServer(sign_in) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(APIResponseValidationError, match=r"'Sign in' \(possibly from the proxy http://127"):
            run(lambda client: client.whoami(), base_url="http://api.cstar.test")


def test_a_custom_httpx_client_has_its_own_proxies(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    own = run.http_client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=ok({}))))
    monkeypatch.setenv("HTTPS_PROXY", "ftp://127.0.0.1")
    assert run(lambda client: client.request("GET", "/any"), http_client=own) == ok({})


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_reason_of_a_custom_async_httpx_client_is_told(backend: str) -> None:
    run = Runner(backend)
    with pytest.raises(APIConnectionError, match=r"\(ConnectError: \[Errno 111\] Connection refused\)"):
        run(lambda client: client.whoami(), base_url="http://127.0.0.1:9", max_retries=0, http_client=run.http_client())


# ── Certificates ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_with_a_trusted_certificate_is_spoken_to(run: Runner, tls: ssl.SSLContext, trusted: None) -> None:
    with RawServer(tls=tls) as server:
        assert run(lambda client: client.whoami(), base_url=server.url).team_id == TEAM


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_connections_are_kept(run: Runner, tls: ssl.SSLContext, trusted: None, version: ssl.TLSVersion) -> None:
    tls.minimum_version = tls.maximum_version = version

    def calls(client: Any) -> Any:
        if isinstance(client, Cstar):
            return [client.whoami() for _ in range(3)]

        async def calls_async() -> list[Any]:
            return [await client.whoami() for _ in range(3)]

        return calls_async()

    with RawServer(tls=tls) as server:
        run(calls, base_url=server.url)
        assert server.connections == 1


def test_large_bodies_pass_through_tls_both_ways(run: Runner, tls: ssl.SSLContext, trusted: None) -> None:
    text = "é" * 3_000_000

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
        sent = {"text": text}
        assert run(lambda client: client.request("POST", "/any", json=sent), base_url=server.url) == sent


def test_a_server_that_closes_without_the_alert_of_tls_has_answered(
    run: Runner, tls: ssl.SSLContext, trusted: None
) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer(handler, tls=tls) as server:
        assert run(lambda client: client.request("GET", "/any"), base_url=server.url) == {}


def test_a_certificate_that_is_not_trusted_is_an_error_that_says_so(run: Runner, tls: ssl.SSLContext) -> None:
    with RawServer(tls=tls) as server, pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        run(lambda client: client.whoami(), base_url=server.url)
    assert (caught.value.was_sent, caught.value.attempts) == (False, 1)


def test_a_certificate_of_another_host_is_not_accepted(run: Runner, authority: trustme.CA, trusted: None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.test").configure_cert(context)
    with RawServer(tls=context) as server, pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        run(lambda client: client.whoami(), base_url=server.url, max_retries=0)


@pytest.mark.usefixtures("late_cancellation")
def test_a_handshake_that_stalls_ends_with_the_timeout(run: Runner, trusted: None) -> None:
    with RawServer(lambda connection, number: connection.recv(65536) and connection.recv(65536)) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(APIConnectionError, match=r"within the timeout of 0\.3 s \(ConnectTimeout") as caught:
            run(lambda client: client.whoami(), base_url=url, max_retries=0, timeout=0.3)
    assert not caught.value.was_sent


def test_a_server_that_does_not_speak_tls_is_an_error(run: Runner, trusted: None) -> None:
    with (
        RawServer(lambda connection, number: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server,
        pytest.raises(APIConnectionError, match=r"\(ConnectError: .*SSL") as caught,
    ):
        run(lambda client: client.whoami(), base_url=server.url.replace("http:", "https:"))
    assert caught.value.attempts == 1


def test_a_kept_tls_connection_that_the_server_closes_properly_is_replaced_at_once(
    run: Runner, tls: ssl.SSLContext, trusted: None
) -> None:
    def handler(connection: Any, number: int) -> None:
        read_request(connection)
        connection.sendall(response())
        if read_request(connection) is not None:
            with suppress(OSError):
                connection.unwrap()  # sends the alert that TLS asks for

    def calls(client: Any) -> Any:
        if isinstance(client, Cstar):
            return [client.whoami() for _ in range(2)]

        async def calls_async() -> list[Any]:
            return [await client.whoami() for _ in range(2)]

        return calls_async()

    with RawServer(handler, tls=tls) as server:
        run(calls, base_url=server.url, max_retries=0)
        assert server.connections == 2


def test_nonsense_within_tls_is_an_error_of_the_library(run: Runner, tls: ssl.SSLContext, trusted: None) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        with socket.socket(fileno=os.dup(connection.fileno())) as below:
            below.sendall(b"nonsense" * 100)
        connection.recv(65536)

    with (
        RawServer(handler, tls=tls) as server,
        pytest.raises(APIConnectionError, match=r"\(ReadError: .*SSL") as caught,
    ):
        run(lambda client: client.whoami(), base_url=server.url, max_retries=0)
    assert caught.value.was_sent


def test_a_tls_connection_whose_response_says_close_is_closed(run: Runner, tls: ssl.SSLContext, trusted: None) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(response(headers=b"Connection: close\r\n"))

    with RawServer(handler, tls=tls) as server:
        assert run(lambda client: client.whoami(), base_url=server.url).team_id == TEAM


@BOTH
def test_a_certificate_file_that_does_not_exist_is_named(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    with pytest.raises(ConfigurationError, match=r"^SSL_CERT_FILE must be a file of certificates.*'/nonexistent\.pem'"):
        build(KEY, base_url=REMOTE)


@BOTH
def test_a_certificate_file_without_certificates_is_named(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ConfigurationError, match=r"^SSL_CERT_FILE must be a file of certificates"):
        build(KEY, base_url=REMOTE)


@BOTH
def test_a_certificate_directory_that_does_not_exist_is_named(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    with pytest.raises(ConfigurationError, match=r"^SSL_CERT_DIR must be a directory of certificates"):
        build(KEY, base_url=REMOTE)


@BOTH
def test_a_certificate_directory_does_not_matter_if_there_is_a_file(
    build: Any, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    build(KEY, base_url=REMOTE)


@BOTH
def test_certificate_settings_do_not_matter_without_tls(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    build(KEY, base_url="http://localhost:4010")


def test_certificates_are_those_of_the_environment_when_a_client_is_made(
    run: Runner, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "authority.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    trustme.CA().cert_pem.write_to_path(str(file))
    with RawServer(tls=tls) as server:
        with pytest.raises(APIConnectionError):
            run(lambda client: client.whoami(), base_url=server.url, max_retries=0)
        authority.cert_pem.write_to_path(str(file))
        assert run(lambda client: client.whoami(), base_url=server.url).team_id == TEAM


def test_the_server_of_these_tests_answers_every_request(run: Runner) -> None:
    with RawServer(respond_to_all) as server:
        assert run(lambda client: client.customers.get(TEAM, "cus_7"), base_url=server.url).id == "cus_7"
