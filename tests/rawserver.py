"""A server of plain sockets, for tests of connections. A handler serves each connection in its own thread."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from support import TEAM, customer, ok

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Self

Handler = Callable[[socket.socket, int], None]

IDENTITY = {"teamId": TEAM, "teamName": "T", "teamSlug": "t", "keyType": "secret", "environment": "test"}
WHOAMI = json.dumps(ok(IDENTITY)).encode()


def response(body: bytes = WHOAMI, *, status: str = "200 OK", headers: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + headers + b"\r\n" + body


def read_request(connection: socket.socket) -> bytes | None:
    """Read one request, and return its head; `None` if the client has closed the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return None
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head


def respond_to_all(connection: socket.socket, number: int = 0) -> None:
    """Respond to every request as the API does."""
    while (head := read_request(connection)) is not None:
        path = head.split(b" ")[1].decode()
        is_customer = "/customers/" in path
        body = json.dumps(ok(customer(0, id=path.rpartition("/")[2]))).encode() if is_customer else WHOAMI
        connection.sendall(response(body))


class RawServer:
    """The server; it runs within a `with` statement.

    Args:
        handler: Serves a connection, given its number, from 1.
        tls: The TLS settings, if the server uses TLS.

    Attributes:
        connections: The number of connections so far.
        open: The number of connections that the client has not closed.
    """

    def __init__(self, handler: Handler = respond_to_all, *, tls: ssl.SSLContext | None = None) -> None:
        self._handler, self._tls = handler, tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}/api/v1"
        self.connections = 0
        self.open = 0
        self._lock = threading.Lock()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with self._lock:
            self.open += 1
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._handler(connection, number)
        except (OSError, ValueError):
            connection.close()
        finally:
            with self._lock:
                self.open -= 1

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        # close() alone would leave the thread in accept(), and the port in use.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
