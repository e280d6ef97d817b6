"""Build the `httpx.Request` of a call, without merging the httpx client's defaults for each request."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx

from cstar._body import ACCEPT_ENCODING
from cstar._options import CALL_HEADERS
from cstar._version import __version__
from cstar.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cstar._call import Call
    from cstar._options import Options

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

USER_AGENT = f"cstar-python/{__version__} python/{sys.version.split()[0]} {httpx.__name__}/{httpx.__version__}"


class _Content(httpx.ByteStream):
    """The body of a request. httpx uses an async generator, and trio warns about it if the request is cancelled."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _SingleChunk(self._content)


class _SingleChunk(AsyncIterator[bytes]):
    def __init__(self, content: bytes) -> None:
        self._chunks = [content]

    async def __anext__(self) -> bytes:
        if not self._chunks:
            raise StopAsyncIteration
        return self._chunks.pop()


class RequestBuilder:
    """The builder of a client's requests.

    Args:
        options: The client's options.
        user_agent: The `User-Agent` header of a custom httpx client.
    """

    def __init__(self, options: Options, user_agent: str | None) -> None:
        self._base_url = options.base_url
        self._host = httpx.URL(options.base_url).netloc
        self._headers = httpx.Headers(
            {
                "Accept": "application/json",
                "Accept-Encoding": ACCEPT_ENCODING,
                "CStar-Version": options.api_version,
                "User-Agent": user_agent or USER_AGENT,
                # The repr of `httpx.Headers` hides this value.
                "Authorization": f"Bearer {options.api_key}",
            }
        )
        self._headers.update(options.default_headers)
        # The httpx client's headers when they were last merged, and the result.
        self._merged: tuple[RawHeaders, httpx.Headers] | None = None

    def build(
        self, call: Call[Any], http: httpx.Client | httpx.AsyncClient, extensions: Mapping[str, object]
    ) -> httpx.Request:
        """Build the request of an attempt.

        Args:
            call: The call.
            http: The httpx client that will send the request.
            extensions: The request's extensions: `timeout`, `deadline` and `new_connection`.

        Raises:
            InvalidParameterError: The parameters are too long for a URL.
        """
        try:
            request = self._build(call, http, {**extensions})
        except httpx.InvalidURL as invalid:
            raise InvalidParameterError(f"the parameters do not fit into a URL: {invalid}") from None
        request.read()  # for event hooks that use `request.content`
        return request

    def _build(
        self, call: Call[Any], http: httpx.Client | httpx.AsyncClient, extensions: dict[str, Any]
    ) -> httpx.Request:
        merged = headers = self._merge_headers(http)
        if call_headers := _call_headers(call):
            headers = httpx.Headers([*merged.raw, *call_headers])
        if http.params or http.cookies:  # a custom httpx client
            return http.build_request(
                call.method,
                self._base_url + call.path,
                params=call.query or None,
                content=call.body,
                headers=headers,
                extensions=extensions,
            )
        # Avoid `build_request`, which takes a third of httpx's time for a call, but build the same request. The body is
        # a stream, so httpx adds no headers for it.
        url = self._base_url + call.target
        request = httpx.Request(
            call.method,
            _parse_url(url) if call.method == "POST" else url,
            headers=headers,
            stream=_Content(call.body or b""),
            extensions=extensions,
        )
        # Set the encoding, which httpx would otherwise detect for each request. The headers of a call are ASCII.
        request.headers.encoding = merged.encoding
        return request

    def _merge_headers(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Headers:
        """Merge the headers of every call over those of the httpx client."""
        client_headers = http.headers.raw
        if self._merged is None or self._merged[0] != client_headers:
            merged = http.headers.copy()
            merged.update(self._headers)
            if "Host" not in merged:
                merged = httpx.Headers([(b"Host", self._host), *merged.raw])
            for name in CALL_HEADERS:
                merged.pop(name, None)
            self._merged = client_headers, merged
        return self._merged[1]


# Parsing a URL takes half of the time to build a request, and most POST requests have the URL of the previous one.
@lru_cache(maxsize=64)
def _parse_url(url: str) -> httpx.URL:
    return httpx.URL(url)


def _call_headers(call: Call[Any]) -> RawHeaders:
    headers: RawHeaders = []
    if call.body is not None:
        headers.append((b"Content-Type", b"application/json"))
    if call.body is not None or call.method in {"POST", "PUT", "PATCH"}:
        headers.append((b"Content-Length", b"%d" % len(call.body or b"")))
    if call.idempotency_key is not None:
        headers.append((b"Idempotency-Key", call.idempotency_key.encode()))
    return headers
