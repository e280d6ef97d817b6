"""Sandboxes shared by many tests, whose email addresses and tags differ, and a receiver of webhooks."""

import asyncio
import contextlib
import itertools
import json
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from cstar.sandbox import Sandbox
from support import team_client


@pytest.fixture(scope="session")
def box():
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="session")
def api(box):
    """An HTTP client with the secret key, at the URL of the team: `api.get("/customers")`."""
    with team_client(box) as client:
        yield client


@pytest.fixture
def empty_api(cstar_sandbox):
    """The same, for a sandbox that is empty at the start of each test."""
    with team_client(cstar_sandbox) as client:
        yield client


@pytest.fixture(scope="session")
def anonymous(box):
    """An HTTP client without an API key."""
    with httpx.Client(base_url=box.url) as client:
        yield client


@pytest.fixture(scope="session")
def demo_api():
    """The same as `api`, for a sandbox with 60 demo customers, which no test may change."""
    with Sandbox(customers=60) as box, team_client(box) as client:
        yield client


@pytest.fixture(scope="session")
def new_email():
    """A function that returns an email address that no other test uses."""
    numbers = itertools.count(1)
    return lambda: f"someone.{next(numbers)}@example.com"


@pytest.fixture(scope="session")
def create(api, new_email):
    """A function that creates a customer and returns the response's data."""

    def create(**fields):
        response = api.post("/customers", json={"name": "Jane Doe", "email": new_email(), **fields})
        assert response.status_code == 201, response.text
        return response.json()["data"]

    return create


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict
    body: bytes

    @property
    def event(self):
        return json.loads(self.body)

    @property
    def customer(self):
        return self.event["data"]["customer"]["name"]

    @property
    def attempt(self):
        return int(self.headers["X-Delivery-Attempt"])


class Receiver:
    """A web server that records the POSTs. `respond` returns the status of each one, or how it fails."""

    def __init__(self, port=0, certificate=None):
        self.posts = []
        self.respond = lambda post: 204
        self.released = threading.Event()
        self._arrived = threading.Condition()

        receive = self._receive

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receive(self, Post(self.path, dict(self.headers), body))

            def log_message(self, format, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _receive(self, handler, post):
        with self._arrived:
            self.posts.append(post)
            self._arrived.notify_all()
        status = self.respond(post)
        # The client may have closed the connection meanwhile.
        with contextlib.suppress(ConnectionError):
            if status == "drop the connection":
                handler.close_connection = True
            elif status == "reset the connection":
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                socket.close(handler.connection.detach())
                handler.close_connection = True
            elif status == "never end":
                handler.send_response(200)
                handler.end_headers()
                while not self.released.wait(0.005):
                    handler.wfile.write(b".")
            elif status == "endless":
                handler.send_response(200)
                handler.end_headers()
                while True:
                    handler.wfile.write(b"." * 65536)
            else:
                handler.send_response(status)
                handler.send_header("Location", "/elsewhere")
                handler.send_header("Content-Length", "0")
                handler.end_headers()

    def hang(self, post):
        self.released.wait()
        return 204

    async def wait_for_posts(self, count):
        """Wait until a total number of POSTs have arrived."""

        def wait():
            with self._arrived:
                assert self._arrived.wait_for(lambda: len(self.posts) >= count, 10), f"got {self.posts}"

        await asyncio.to_thread(wait)

    def close(self):
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def new_receiver():
    with contextlib.ExitStack() as stack:

        def new(*arguments, **options):
            receiver = Receiver(*arguments, **options)
            stack.callback(receiver.close)
            return receiver

        yield new


@pytest.fixture
def receiver(new_receiver):
    return new_receiver()
