"""Response bodies: the accepted encodings, and the limit on their size."""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator

from cstar import APIResponseValidationError, APIStatusError, Attempt
from cstar._body import MAX_BODY_SIZE, Body, BodyRejectedError
from rawserver import WHOAMI, RawServer, read_request, response
from support import KEY, TEAM, Runner, ok

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterator

    import respx


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


COMPRESS: dict[str, tuple[str | None, Callable[[bytes], bytes]]] = {
    "no encoding": (None, bytes),
    "identity": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "gzip in capitals": ("GZIP", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without its header": ("deflate", raw_deflate),
}


def decode(encoding: str | None, chunks: list[bytes]) -> bytes:
    """Return the content of a body that is received in these chunks."""
    headers = {} if encoding is None else {"Content-Encoding": encoding}
    body = Body(httpx.Response(200, headers=headers, stream=httpx.SyncByteStream()))
    for chunk in chunks:
        body.feed(chunk)
    return body.content


@pytest.mark.parametrize("name", COMPRESS)
@given(data=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 2000), max_size=5))
def test_a_body_decodes_the_same_however_it_is_split_into_chunks(name: str, data: bytes, cuts: list[int]) -> None:
    encoding, compress = COMPRESS[name]
    sent = compress(data)
    ends = sorted({0, *(cut for cut in cuts if cut < len(sent)), len(sent)})
    chunks = [sent[start:end] for start, end in itertools.pairwise(ends)]
    assert decode(encoding, chunks) == data


def respond_with(content: bytes, headers: bytes, status: str = "200 OK") -> Any:
    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            connection.sendall(response(content, status=status, headers=headers))

    return handler


@pytest.mark.parametrize(
    ("headers", "encoding"),
    [
        (b"Content-Encoding: br\r\n", "br"),
        (b"Content-Encoding: compress\r\n", "compress"),
        (b"Content-Encoding: gzip, gzip\r\n", "gzip, gzip"),
        (b"Content-Encoding: gzip\r\n" * 2, "gzip, gzip"),
    ],
)
def test_an_unrequested_content_encoding_is_rejected(run: Runner, headers: bytes, encoding: str) -> None:
    with (
        RawServer(respond_with(WHOAMI, headers)) as server,
        pytest.raises(APIResponseValidationError, match=f"its encoding is '{encoding}', but only 'gzip, deflate'"),
    ):
        run(lambda client: client.whoami(), base_url=server.url)


def test_accept_encoding_is_gzip_and_deflate(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get("/auth/whoami").respond(content=WHOAMI)
    http_client = run.http_client(headers={"Accept-Encoding": "br"})
    run(lambda client: client.whoami())
    run(lambda client: client.whoami(), http_client=http_client)
    assert [call.request.headers["Accept-Encoding"] for call in route.calls] == ["gzip, deflate"] * 2


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """Lower the limit on the size of a body to 1 MB."""
    monkeypatch.setattr("cstar._body.MAX_BODY_SIZE", 1_000_000)
    return 1_000_000


def send_endless_body(head: bytes) -> Any:
    """Make a handler that sends these headers and a chunked body without an end."""

    def handler(connection: socket.socket, number: int) -> None:
        if read_request(connection) is not None:
            connection.sendall(head)
            while True:
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")

    return handler


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "503 Unavailable"])
def test_an_endless_body_is_rejected_whatever_its_status(run: Runner, status: str, small_limit: int) -> None:
    handler = send_endless_body(f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    with RawServer(handler) as server:
        with pytest.raises(APIResponseValidationError, match="it has more than the 1000000 bytes") as raised:
            run(lambda client: client.whoami(), base_url=server.url)
        assert server.connections == 1
    assert raised.value.status_code == int(status[:3])


def test_a_body_whose_content_length_is_too_large_is_rejected_unread(run: Runner) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n")
        read_request(connection)

    with RawServer(handler) as server, pytest.raises(APIResponseValidationError, match="it has 67108865 bytes"):
        run(lambda client: client.whoami(), base_url=server.url)


def test_a_body_may_have_at_most_64_mib() -> None:
    decode(None, [bytes(MAX_BODY_SIZE // 2)] * 2)
    with pytest.raises(BodyRejectedError):
        decode(None, [bytes(MAX_BODY_SIZE // 2), bytes(MAX_BODY_SIZE // 2 + 1)])


def test_the_limit_applies_to_a_body_that_is_already_read(run: Runner, small_limit: int) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=bytes(small_limit + 1)))
    with pytest.raises(APIResponseValidationError, match="more than the 1000000 bytes"):
        run(lambda client: client.whoami(), http_client=run.http_client(transport=transport))


def run_program(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", script, KEY, *arguments]
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


BOMB = """
import asyncio, gzip, resource, sys, zlib
from cstar import APIResponseValidationError, AsyncCstar, Cstar
import httpx
from rawserver import *
key, kind, wbits = sys.argv[1], sys.argv[2], int(sys.argv[3])
compressor = zlib.compressobj(1, zlib.DEFLATED, wbits)
body = compressor.compress(bytes(1_000_000)) + compressor.flush(zlib.Z_FULL_FLUSH)
body += 400 * (compressor.compress(bytes(1_000_000)) + compressor.flush(zlib.Z_FULL_FLUSH))
encoding = b"Content-Encoding: " + (b"gzip" if wbits == 31 else b"deflate") + b"\\r\\n"
def handler(connection, _):
    while read_request(connection):
        connection.sendall(response(body, headers=encoding))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
async def call(url, **options):
    async with AsyncCstar(key, base_url=url, **options) as client:
        await client.whoami()
with RawServer(handler) as server:
    before = peak()
    try:
        if kind == "sync":
            Cstar(key, base_url=server.url).whoami()
        elif kind == "custom":
            Cstar(key, base_url=server.url, http_client=httpx.Client()).whoami()
        else:
            asyncio.run(call(server.url))
    except APIResponseValidationError:
        print(peak() - before)
"""


@pytest.mark.parametrize(
    ("kind", "wbits"), [("sync", 31), ("custom", 15), ("async", -15)], ids=["gzip", "deflate", "raw deflate"]
)
def test_a_decompression_bomb_is_rejected_within_200_mb_of_memory(kind: str, wbits: int) -> None:
    done = run_program(BOMB, kind, str(wbits))
    assert int(done.stdout) <= 200, done.stderr  # MB


OUT_OF_MEMORY = """
import resource, sys
from cstar import APIResponseValidationError, Cstar
from rawserver import *
body = response(b" " * 60_000_000 + WHOAMI)
def handler(connection, _):
    while read_request(connection):
        connection.sendall(body)
with RawServer(handler) as server, Cstar(sys.argv[1], base_url=server.url) as client:
    client.whoami()
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000, used + 30_000_000))
    try:
        client.whoami()
    except APIResponseValidationError as error:
        print(error)
"""


def test_a_body_that_exceeds_memory_is_a_validation_error() -> None:
    done = run_program(OUT_OF_MEMORY)
    assert "there is not enough memory for it" in done.stdout, done.stderr


def test_a_memory_error_before_the_response_is_a_validation_error(run: Runner) -> None:
    def raise_memory_error(request: httpx.Request) -> httpx.Response:
        raise MemoryError

    http_client = run.http_client(transport=httpx.MockTransport(raise_memory_error))
    attempts: list[Attempt] = []
    with pytest.raises(APIResponseValidationError, match="whoami failed: there is not enough memory") as raised:
        run(lambda client: client.whoami(), http_client=http_client, on_attempt=attempts.append)
    assert (raised.value.status_code, raised.value.headers) == (0, {})
    assert [attempt.status_code for attempt in attempts] == [None]


def test_a_value_that_exceeds_memory_is_a_validation_error(api_mock: respx.Router, run: Runner) -> None:
    def raise_memory_error(value: object) -> object:
        raise MemoryError

    api_mock.get("/any").respond(json=ok({}))
    with pytest.raises(APIResponseValidationError, match="there is not enough memory for it"):
        run(lambda client: client.request("GET", "/any", cast_to=Annotated[dict, AfterValidator(raise_memory_error)]))


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_an_error_status_with_an_undecodable_body_keeps_its_class(run: Runner, encoding: str) -> None:
    headers = f"Content-Encoding: {encoding}\r\n".encode()
    with (
        RawServer(respond_with(b"neither gzip nor br", headers, "404 Not Found")) as server,
        pytest.raises(APIStatusError) as raised,
    ):
        run(lambda client: client.whoami(), base_url=server.url)
    assert (raised.value.status_code, raised.value.body) == (404, None)


def test_compressed_responses_are_decoded_over_real_connections(run: Runner) -> None:
    with RawServer(respond_with(gzip.compress(WHOAMI), b"Content-Encoding: gzip\r\n")) as server:
        assert run(lambda client: client.whoami(), base_url=server.url).team_id == TEAM


class EndlessStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An endless body of a transport without connections."""

    def __iter__(self) -> Iterator[bytes]:
        return itertools.repeat(bytes(80_000))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


@pytest.mark.parametrize("run", ["sync", "asyncio"], indirect=True)  # trio warns about the unfinished generator
def test_an_endless_body_of_a_custom_transport_is_rejected(run: Runner, small_limit: int) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=EndlessStream()))
    with pytest.raises(APIResponseValidationError, match="it has more than the 1000000 bytes"):
        run(lambda client: client.whoami(), http_client=run.http_client(transport=transport))


EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # of deflate: it decompresses to nothing


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        (gzip.compress(b"")[:10], EMPTY_BLOCK * 2_000),
        (b"not gzip", bytes(10_000)),
        (gzip.compress(b"{}"), bytes(10_000)),
    ],
    ids=["empty blocks", "invalid data", "after the end"],
)
def test_compressed_bytes_count_towards_the_limit(start: bytes, rest: bytes, small_limit: int) -> None:
    with pytest.raises(BodyRejectedError):
        decode("gzip", [start, *itertools.repeat(rest, small_limit // len(rest) + 1)])


def test_bytes_after_the_end_of_a_compressed_body_are_ignored() -> None:
    assert decode("gzip", [gzip.compress(b"{}"), b"rest", b"more"]) == b"{}"


def test_a_rejected_body_raises_once_and_ignores_further_bytes(small_limit: int) -> None:
    body = Body(httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.SyncByteStream()))
    sent = gzip.compress(bytes(small_limit + 1), 1)
    with pytest.raises(BodyRejectedError):
        body.feed(sent)
    body.feed(sent)
    assert body.content == b""


def test_a_large_error_body_becomes_truncated_text(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get("/auth/whoami").respond(404, content=b"[" + b"[]," * 1_000_000 + b"[]]")
    with pytest.raises(APIStatusError) as raised:
        run(lambda client: client.whoami())
    assert isinstance(raised.value.body, str)
    assert len(raised.value.body) == 1024 * 1024
