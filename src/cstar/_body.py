"""Response bodies: decompressed while they are received, and limited in size."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import httpx

# Bytes, compressed or not. A page of 100 customers has about 50 KB.
MAX_BODY_SIZE = 64 * 1024 * 1024
# Only encodings of Python's zlib, whose decompressors can stop at a given size.
ACCEPT_ENCODING = "gzip, deflate"


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class BodyRejectedError(Exception):
    """A body is too large, or a successful response has an encoding that was not requested."""


class Body:
    """The body of a response.

    Args:
        response: The response. An event hook or transport of a custom httpx client may have read its body already.

    Attributes:
        is_read: Whether the body has been read already.

    Raises:
        BodyRejectedError: The body is too large, or a successful response has an encoding that was not requested.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.is_read: bool = response.is_stream_consumed
        self._is_faulty = False  # cannot be decompressed
        self._content = bytearray()
        self._received = 0
        self._is_rejected = False
        self._encoding = ""
        self._start = b""
        self._decompressor: _Decompressor | None = None
        if self.is_read:
            self._add(response.content)
            return
        for name, value in response.headers.raw:
            if name.lower() == b"content-encoding":
                self._encoding += (", " if self._encoding else "") + value.decode("ascii", "replace").strip().lower()
            elif name.lower() == b"content-length" and value.isdigit() and int(value) > MAX_BODY_SIZE:
                raise BodyRejectedError(f"it has {int(value)} bytes, but at most {MAX_BODY_SIZE} are accepted")
        if self._encoding == "identity":
            self._encoding = ""
        if self._encoding not in {"", "gzip", "x-gzip", "deflate"}:
            # The status of an error response is enough to raise its error.
            if response.is_success:
                raise BodyRejectedError(
                    f"its encoding is {self._encoding!r}, but only {ACCEPT_ENCODING!r} was requested"
                )
            self._is_faulty = True

    def feed(self, chunk: bytes) -> None:
        """Add the next bytes received. They are ignored after a `BodyRejectedError`.

        Raises:
            BodyRejectedError: The body is too large.
        """
        self._received += len(chunk)
        if self._is_rejected or self._received > MAX_BODY_SIZE:
            self._reject()
        elif not self._encoding:
            self._add(chunk)
        elif not self._is_faulty:
            if self._decompressor is None:
                self._start = chunk = self._start + chunk
                if len(chunk) < 2:
                    return
                self._decompressor = zlib.decompressobj(self._window_bits(chunk))
            # Data after the end of the compressed stream is ignored.
            if not self._decompressor.eof:
                try:
                    self._add(self._decompressor.decompress(chunk, MAX_BODY_SIZE + 1 - len(self._content)))
                except zlib.error:
                    self._is_faulty = True

    @property
    def content(self) -> bytes:
        """The whole body, decompressed; empty if it cannot be decompressed."""
        return b"" if self._is_faulty else bytes(self._content)

    def _add(self, data: bytes) -> None:
        self._content += data
        if len(self._content) > MAX_BODY_SIZE:
            self._reject()

    def _reject(self) -> None:
        self._content.clear()
        if not self._is_rejected:
            self._is_rejected = True
            raise BodyRejectedError(f"it has more than the {MAX_BODY_SIZE} bytes that are accepted")

    def _window_bits(self, start: bytes) -> int:
        if self._encoding != "deflate":
            return zlib.MAX_WBITS | 16
        # "deflate" is the zlib format (RFC 9110, section 8.4.1.2), but some servers omit its header.
        has_header = start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
