"""Webhooks, sent to real receivers on loopback."""

import asyncio
import base64
import contextlib
import gc
import hashlib
import json
import logging
import re
import socket
import ssl
import struct
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from cstar.sandbox import Sandbox, _webhooks
from cstar.sandbox._store import Customer
from cstar.sandbox._webhooks import Webhooks, delivery_json

SECRET = "whsec_a-secret-of-the-tests"
TEAM = "11111111-2222-4333-8444-555555555555"
SECOND = 1_000_000
NOON = int(datetime(2026, 11, 22, 12, tzinfo=timezone.utc).timestamp()) * SECOND
BACKOFF = [0.5, 1, 2, 4, 8, 16, 32]
DEADLINE = 10

# For 127.0.0.1 until 2126, signed by itself; made for these tests alone, with
# openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost \
#     -addext "subjectAltName=DNS:localhost,IP:127.0.0.1"
SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgV1OzNsqqL01JPzQy
aLOJDrCxn2ISPJfcg1nOmCciAkehRANCAAT/dZp4ZYPhKH+G5XW5VK1MU4+oB844
HdSsH5TWc7KZTsgRdTF6PXV1wSEveOL0amrW1h03mGfslYDUyDUNhxZJ
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUA4RjKL/99JBhvBDQhEiX55e7Wt0wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE1MDQxN1oYDzIxMjYxMDI5
MTUwNDE3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT/dZp4ZYPhKH+G5XW5VK1MU4+oB844HdSsH5TWc7KZTsgRdTF6PXV1
wSEveOL0amrW1h03mGfslYDUyDUNhxZJo28wbTAdBgNVHQ4EFgQUKop9hF5Y816b
Y61rQy+r3HVq9vwwHwYDVR0jBBgwFoAUKop9hF5Y816bY61rQy+r3HVq9vwwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAN5eYWMNJQaOwyp+Wz5+UJQWlfAgYZdvV/8YVs4gLGObAiAs
HeOVrxjbmFZ4fCrL1R9I9Uro78pIou6gw9U5YRcxBQ==
-----END CERTIFICATE-----
"""

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


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
    """A web server that remembers what it was sent; `answer` decides each status, on a thread of the server."""

    def __init__(self, port=0, certificate=None):
        self.posts = []
        self.answer = lambda post: 204
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
        status = self.answer(post)
        # Whoever was kept waiting may have hung up since.
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
            else:
                handler.send_response(status)
                handler.send_header("Location", "/elsewhere")
                handler.send_header("Content-Length", "0")
                handler.end_headers()

    def hang(self, post):
        self.released.wait()
        return 204

    async def arrival_of(self, count):
        """Wait until so many POSTs have come in all."""

        def wait():
            with self._arrived:
                assert self._arrived.wait_for(lambda: len(self.posts) >= count, DEADLINE), f"got {self.posts}"

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


class FakeTime:
    """A clock that stands still, except while somebody sleeps, which takes no time."""

    def __init__(self):
        self.now = NOON
        self.waits = []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += int(seconds * SECOND)


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def to(fake_time):
    """`Webhooks` to some receivers or URLs, under the fake time."""

    def to(*targets, **options):
        urls = [getattr(target, "url", target) for target in targets]
        options = {"clock": fake_time.clock, "sleep": fake_time.sleep, **options}
        return Webhooks(urls, secret=SECRET, team_id=TEAM, **options)

    return to


def customer(name="Jane", **fields):
    return Customer(uuid.uuid4(), NOON, NOON, name, f"{name.lower()}@example.com", **fields)


def publish(webhooks, who, type="customer.updated"):
    webhooks.publish(type, who, NOON)


async def settled(webhooks):
    return await asyncio.to_thread(webhooks.wait_until_settled, DEADLINE)


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def hmac_sha256(key, message):
    """By its definition in RFC 2104."""
    key = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).hexdigest()


# What is sent


async def test_the_body_is_the_event_and_its_customer_in_snake_case(receiver, to):
    jane = Customer(
        uuid.UUID("0123456789abcdef0123456789abcdef"),
        NOON,
        NOON + 5,
        "Jané",
        "jane@example.com",
        sentiment="happy",
        tags=["vip"],
        custom_fields={"seatCount": [1, None]},
        metadata={"crmId": "7"},
        ticket_count=3,
    )
    async with to(receiver) as webhooks:
        webhooks.publish("customer.created", jane, NOON + 7)
        await settled(webhooks)
    [post] = receiver.posts
    event_id = post.headers["X-Event-ID"]
    assert re.fullmatch(r"evt_[0-9a-f]{24}", event_id)
    assert post.body.decode() == (
        f'{{"id":"{event_id}","type":"customer.created","created_at":"2026-11-22T12:00:00.000007Z","team_id":"{TEAM}",'
        '"data":{"customer":{"id":"cus_0123456789abcdef0123456789abcdef","object":"customer","name":"Jané",'
        '"email":"jane@example.com","sentiment":"happy","status":"active","tags":["vip"],"notes":null,'
        '"custom_fields":{"seatCount":[1,null]},"ticket_count":3,"metadata":{"crmId":"7"},'
        '"created_at":"2026-11-22T12:00:00.000000Z","updated_at":"2026-11-22T12:00:00.000005Z"}}}'
    )


async def test_the_headers_say_what_it_is_and_sign_it(receiver, to):
    async with to(receiver) as webhooks:
        publish(webhooks, customer(), "customer.deleted")
        await settled(webhooks)
    [post] = receiver.posts
    timestamp = str(NOON // SECOND)
    digest = hmac_sha256(SECRET.encode(), f"{timestamp}.".encode() + post.body)
    names = ["Content-Type", "User-Agent", "X-Signature", "X-Event-Type", "X-Timestamp", "X-Delivery-Attempt"]
    assert {name: post.headers[name] for name in names} == {
        "Content-Type": "application/json",
        "User-Agent": "cStar-Webhooks/1.0 (sandbox)",
        "X-Signature": f"t={timestamp},v1={digest}",
        "X-Event-Type": "customer.deleted",
        "X-Timestamp": timestamp,
        "X-Delivery-Attempt": "1",
    }
    assert post.headers["X-Event-ID"] == post.event["id"]
    assert re.fullmatch(r"wh_[0-9a-f]{24}", post.headers["X-Webhook-ID"])
    assert post.path == "/hook"


async def test_a_url_keeps_its_webhook_id_from_one_start_to_the_next_and_no_other_url_has_it(receiver, to):
    for _ in range(2):
        async with to(receiver, receiver.url + "/other") as webhooks:
            publish(webhooks, customer())
            await settled(webhooks)
    ids = {(post.path, post.headers["X-Webhook-ID"]) for post in receiver.posts}
    assert len(receiver.posts) == 4
    assert len(ids) == len({webhook_id for _, webhook_id in ids}) == 2


async def test_a_user_name_and_password_in_the_url_are_sent_as_basic_authentication(receiver, to):
    async with to(receiver.url.replace("//", "//me:p%40ss@")) as webhooks:
        publish(webhooks, customer())
        await settled(webhooks)
    assert receiver.posts[0].headers["Authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


async def test_it_goes_straight_to_the_receiver_whatever_proxy_the_environment_names(
    receiver, to, closed_port, monkeypatch
):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("no_proxy", "")
    async with to(receiver) as webhooks:
        publish(webhooks, customer())
        await settled(webhooks)
    assert len(receiver.posts) == 1


async def test_each_post_has_a_connection_of_its_own(receiver, to):
    """So that a receiver that serves one connection at a time is not kept from the next by an idle one."""
    async with to(receiver) as webhooks:
        for _ in range(3):
            publish(webhooks, customer())
            await settled(webhooks)
        handlers = [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]
        for handler in handlers:  # each ends with its connection
            handler.join(DEADLINE)
            assert not handler.is_alive()
    assert len(receiver.posts) == 3


async def test_without_urls_nothing_is_recorded_and_no_http_client_is_made(to, monkeypatch):
    monkeypatch.delattr(_webhooks, "_new_client")
    async with to() as webhooks:
        publish(webhooks, customer())
        assert webhooks.wait_until_settled(0) == webhooks.deliveries == ()


# Retries


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (500, 500, "answered 500"),
        (404, 404, "answered 404"),
        (302, 302, "answered 302, and redirects are not followed"),
        (307, 307, "answered 307, and redirects are not followed"),
        ("drop the connection", None, "Server disconnected without sending a response"),
        ("reset the connection", None, "connection reset"),
    ],
)
async def test_anything_but_2xx_is_retried(receiver, to, fake_time, answer, status, error):
    receiver.answer = lambda post: answer if post.attempt == 1 else 200
    async with to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert [post.path for post in receiver.posts] == ["/hook", "/hook"]
    assert delivery.outcome == "delivered"
    assert [(attempt.status, attempt.error) for attempt in delivery.attempts] == [(status, error), (200, None)]
    assert fake_time.waits == BACKOFF[:1]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_every_2xx_is_taken_for_delivered(receiver, to, status):
    receiver.answer = lambda post: status
    async with to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert delivery.outcome == "delivered"
    assert [(attempt.status, attempt.error) for attempt in delivery.attempts] == [(status, None)]


async def test_a_receiver_that_is_not_up_yet_gets_it_once_it_is(new_receiver, to, fake_time, closed_port):
    receivers = []

    async def sleep(seconds):
        await fake_time.sleep(seconds)
        if len(fake_time.waits) == 2:
            receivers.append(new_receiver(closed_port))

    async with to(f"http://127.0.0.1:{closed_port}/hook", sleep=sleep) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert [post.attempt for post in receivers[0].posts] == [3]
    assert [attempt.error for attempt in delivery.attempts] == ["connection refused", "connection refused", None]


async def test_refused_at_every_address_of_a_name_is_still_called_refused(to, closed_port, monkeypatch):
    def getaddrinfo(*arguments, **options):
        addresses = [("127.0.0.1", closed_port), ("127.0.0.2", closed_port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with to(f"http://receiver.example:{closed_port}/hook") as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert {attempt.error for attempt in delivery.attempts} == {"connection refused"}


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "unknown host (Name or service not known)"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
async def test_a_host_that_cannot_be_looked_up_is_retried_and_given_up_too(to, monkeypatch, failure, error):
    def getaddrinfo(*arguments, **options):
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with to("http://receiver.example/hook") as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert [attempt.error for attempt in delivery.attempts] == [error] * 8


async def test_https_needs_a_certificate_that_somebody_vouches_for_also_beside_plain_http(new_receiver, to, tmp_path):
    certificate = tmp_path / "self-signed.pem"
    certificate.write_text(SELF_SIGNED)
    plain, secure = new_receiver(), new_receiver(certificate=certificate)
    async with to(plain, secure) as webhooks:
        publish(webhooks, customer())
        delivered, failed = await settled(webhooks)
    assert (delivered.outcome, failed.outcome) == ("delivered", "failed")
    assert re.fullmatch(r"certificate not trusted \(self.signed certificate\)", failed.attempts[-1].error)
    assert secure.posts == []


@pytest.mark.parametrize("answer", ["nothing", "never end"])
async def test_a_receiver_that_has_not_answered_in_time_gets_it_again(receiver, to, fake_time, monkeypatch, answer):
    assert _webhooks.ANSWER_TIME == 10
    monkeypatch.setattr(_webhooks, "ANSWER_TIME", 0.1)

    def take_too_long(post):
        if post.attempt == 2:
            return 200
        return receiver.hang(post) if answer == "nothing" else answer

    receiver.answer = take_too_long
    async with to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    late, taken = delivery.attempts
    assert (late.status, late.error) == (None, "no answer within 0.1 s")
    assert 0.1 <= late.duration < 1
    assert taken.error is None
    assert fake_time.waits == BACKOFF[:1]


async def test_each_attempt_is_numbered_and_signed_anew_while_event_and_body_stay_the_same(receiver, to, fake_time):
    receiver.answer = lambda post: 500 if post.attempt < 4 else 200
    async with to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert fake_time.waits == BACKOFF[:3]
    assert [post.attempt for post in receiver.posts] == [1, 2, 3, 4]
    start = NOON // SECOND
    assert [int(post.headers["X-Timestamp"]) for post in receiver.posts] == [start, start, start + 1, start + 3]
    for post, attempt in zip(receiver.posts, delivery.attempts, strict=True):
        timestamp = post.headers["X-Timestamp"]
        digest = hmac_sha256(SECRET.encode(), f"{timestamp}.".encode() + post.body)
        assert post.headers["X-Signature"] == attempt.signature == f"t={timestamp},v1={digest}"
    assert {post.body for post in receiver.posts} == {delivery.payload}
    assert {post.headers["X-Event-ID"] for post in receiver.posts} == {delivery.event_id}


async def test_after_the_last_of_growing_waits_it_is_given_up(receiver, to, fake_time):
    receiver.answer = lambda post: 503
    async with to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert delivery.outcome == "failed"
    assert fake_time.waits == BACKOFF
    assert [post.attempt for post in receiver.posts] == list(range(1, 9))
    offsets = [(attempt.at - delivery.attempts[0].at).total_seconds() for attempt in delivery.attempts]
    assert offsets == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5]


# Order and independence


class Gate:
    """A sleep that lasts until it is opened."""

    def __init__(self):
        self._asleep = asyncio.Semaphore(0)
        self._opened = asyncio.Event()

    async def sleep(self, _seconds):
        self._asleep.release()
        await self._opened.wait()

    async def entered_by(self, count):
        """Wait until so many more have gone to sleep."""
        for _ in range(count):
            await asyncio.wait_for(self._asleep.acquire(), DEADLINE)

    def open(self):
        self._opened.set()


async def test_a_later_event_waits_for_the_earlier_one_of_its_customer_and_for_no_other(receiver, to):
    gate = Gate()
    jane, bob = customer("Jane"), customer("Bob")
    receiver.answer = lambda post: 500 if post.customer == "Jane" and len(receiver.posts) == 1 else 200
    async with to(receiver, sleep=gate.sleep) as webhooks:
        publish(webhooks, jane, "customer.created")
        await gate.entered_by(1)
        publish(webhooks, jane, "customer.updated")
        publish(webhooks, jane, "customer.deleted")
        publish(webhooks, bob, "customer.created")
        await receiver.arrival_of(2)
        gate.open()
        await settled(webhooks)
    assert [(post.customer, post.event["type"], post.attempt) for post in receiver.posts] == [
        ("Jane", "customer.created", 1),
        ("Bob", "customer.created", 1),
        ("Jane", "customer.created", 2),
        ("Jane", "customer.updated", 1),
        ("Jane", "customer.deleted", 1),
    ]


async def test_after_a_delivery_was_given_up_the_next_event_of_the_customer_is_sent(receiver, to):
    receiver.answer = lambda post: 500 if post.event["type"] == "customer.created" else 200
    jane = customer()
    async with to(receiver) as webhooks:
        publish(webhooks, jane, "customer.created")
        publish(webhooks, jane, "customer.updated")
        first, second = await settled(webhooks)
    assert (first.outcome, second.outcome) == ("failed", "delivered")
    assert receiver.posts[-1].event["type"] == "customer.updated"


async def test_a_customer_with_nothing_pending_is_told_of_again(receiver, to):
    jane = customer()
    async with to(receiver) as webhooks:
        for event_type in ("customer.created", "customer.updated"):
            publish(webhooks, jane, event_type)
            await settled(webhooks)
    assert [post.event["type"] for post in receiver.posts] == ["customer.created", "customer.updated"]


async def test_one_event_goes_to_every_url(new_receiver, to):
    here, there = new_receiver(), new_receiver()
    async with to(here, there) as webhooks:
        publish(webhooks, customer())
        first, second = await settled(webhooks)
    assert (first.url, second.url) == (here.url, there.url)
    assert first.id != second.id
    assert here.posts[0].body == there.posts[0].body


async def test_a_url_that_hangs_gets_a_limited_number_at_once_and_holds_up_no_other_url(new_receiver, to, monkeypatch):
    monkeypatch.setattr(_webhooks, "CONCURRENT_POSTS", 2)
    hanging, quick = new_receiver(), new_receiver()
    hanging.answer = hanging.hang
    async with to(hanging, quick) as webhooks:
        for number in range(10):
            publish(webhooks, customer(f"Number {number}"))
        await quick.arrival_of(10)
        await hanging.arrival_of(2)
        assert len(hanging.posts) == 2
        hanging.released.set()
        await settled(webhooks)
    assert len(hanging.posts) == 10


async def test_publishing_waits_for_nobody(receiver, to):
    receiver.answer = receiver.hang
    jane = customer()
    async with to(receiver) as webhooks:
        publish(webhooks, jane)
        await receiver.arrival_of(1)
        started = time.perf_counter()
        for _ in range(100):
            publish(webhooks, jane)
        assert time.perf_counter() - started < 1
        assert [delivery.outcome for delivery in webhooks.deliveries] == ["pending"] * 101


# The record


async def test_a_delivery_tells_where_what_and_how_it_went(receiver, to):
    receiver.answer = lambda post: 500 if post.attempt == 1 else 200
    jane = customer()
    async with to(receiver) as webhooks:
        publish(webhooks, jane, "customer.created")
        [delivery] = await settled(webhooks)
    post = receiver.posts[0]
    assert re.fullmatch(r"dlv_[0-9a-f]{24}", delivery.id)
    assert delivery.event_id == post.event["id"]
    assert delivery.event_type == "customer.created"
    assert delivery.customer_id == jane.public_id == post.event["data"]["customer"]["id"]
    assert delivery.url == receiver.url
    assert delivery.webhook_id == post.headers["X-Webhook-ID"]
    assert delivery.payload == post.body
    noon = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
    assert [attempt.at for attempt in delivery.attempts] == [noon, noon + timedelta(seconds=0.5)]
    assert all(0 < attempt.duration < DEADLINE for attempt in delivery.attempts)


async def test_a_delivery_as_json_has_camel_case_keys_and_the_payload_parsed(receiver, to):
    async with to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    [attempt] = delivery.attempts
    assert json.loads(json.dumps(delivery_json(delivery))) == {
        "id": delivery.id,
        "eventId": delivery.event_id,
        "eventType": "customer.updated",
        "customerId": delivery.customer_id,
        "url": receiver.url,
        "webhookId": delivery.webhook_id,
        "payload": receiver.posts[0].event,
        "outcome": "delivered",
        "attempts": [
            {
                "at": "2026-11-22T12:00:00.000000Z",
                "signature": receiver.posts[0].headers["X-Signature"],
                "status": 204,
                "error": None,
                "duration": attempt.duration,
            }
        ],
    }


async def test_a_failed_attempt_shows_while_the_delivery_is_still_pending(receiver, to):
    gate = Gate()
    receiver.answer = lambda post: 500
    async with to(receiver, sleep=gate.sleep) as webhooks:
        publish(webhooks, customer())
        await gate.entered_by(1)
        [delivery] = webhooks.deliveries
    assert delivery.outcome == "pending"
    assert [attempt.status for attempt in delivery.attempts] == [500]


async def test_only_the_newest_finished_deliveries_are_remembered_and_all_that_are_pending(receiver, to, monkeypatch):
    assert _webhooks.REMEMBERED_DELIVERIES == 1000
    monkeypatch.setattr(_webhooks, "REMEMBERED_DELIVERIES", 3)
    gate = Gate()
    statuses = {"customer.created": 200, "customer.updated": 500}
    receiver.answer = lambda post: receiver.hang(post) if post.customer == "Slow" else statuses[post.event["type"]]
    jane = customer("Jane")
    async with to(receiver, sleep=gate.sleep) as webhooks:
        for _ in range(3):
            publish(webhooks, customer("Slow"))
        for _ in range(5):
            publish(webhooks, jane, "customer.created")
        publish(webhooks, jane, "customer.updated")
        await gate.entered_by(1)  # so the five before it are finished
        slow, finished, failing = (webhooks.deliveries[part] for part in (slice(3), slice(3, 6), slice(6, None)))
    assert [delivery.outcome for delivery in (*slow, *failing)] == ["pending"] * 4
    assert [delivery.outcome for delivery in finished] == ["delivered"] * 3
    to_jane = [post.event["id"] for post in receiver.posts if post.customer == "Jane"]
    assert [delivery.event_id for delivery in (*finished, *failing)] == to_jane[2:]


async def test_waiting_returns_as_soon_as_nothing_is_pending(receiver, to):
    receiver.answer = receiver.hang
    async with to(receiver) as webhooks:
        publish(webhooks, customer())
        waiting = asyncio.create_task(settled(webhooks))
        await receiver.arrival_of(1)
        assert not waiting.done()
        receiver.released.set()
        [delivery] = await asyncio.wait_for(waiting, DEADLINE / 2)
    assert delivery.outcome == "delivered"


async def test_waiting_too_long_says_how_many_are_pending_where_and_why(new_receiver, to, fake_time):
    failing, hanging, mixed = new_receiver(), new_receiver(), new_receiver()
    gate = Gate()
    failing.answer = lambda post: 500 if post.customer == "Jane" else 503
    hanging.answer = hanging.hang
    mixed.answer = lambda post: 200 if post.customer == "Jane" else 502
    async with to(failing, hanging, mixed, sleep=gate.sleep) as webhooks:
        publish(webhooks, customer("Jane"))
        await gate.entered_by(1)
        fake_time.now += SECOND
        publish(webhooks, customer("Bob"))
        await gate.entered_by(2)
        await hanging.arrival_of(2)
        await mixed.arrival_of(2)
        with pytest.raises(TimeoutError) as caught:
            await asyncio.to_thread(webhooks.wait_until_settled, 0.01)
    assert str(caught.value) == (
        f"5 webhook deliveries are still pending after 0.01 s: 2 to {failing.url} (last attempt: answered 503); "
        f"2 to {hanging.url} (no attempt has ended yet); 1 to {mixed.url} (last attempt: answered 502)."
    )


# Clearing and stopping


async def test_clearing_forgets_everything_and_makes_no_pending_delivery(receiver, to):
    gate = Gate()
    receiver.answer = lambda post: 500 if post.customer == "Jane" else 200
    jane = customer("Jane")
    async with to(receiver, sleep=gate.sleep) as webhooks:
        publish(webhooks, customer("Bob"), "customer.created")
        await settled(webhooks)
        publish(webhooks, jane, "customer.created")
        publish(webhooks, jane, "customer.updated")
        waiting = asyncio.create_task(settled(webhooks))
        await gate.entered_by(1)
        webhooks.clear()
        assert webhooks.deliveries == ()
        assert await asyncio.wait_for(waiting, DEADLINE / 2) == ()
        gate.open()
        receiver.answer = lambda post: 200
        publish(webhooks, jane, "customer.deleted")
        [delivery] = await settled(webhooks)
    assert delivery.event_type == "customer.deleted"
    assert [(post.customer, post.event["type"]) for post in receiver.posts] == [
        ("Bob", "customer.created"),
        ("Jane", "customer.created"),
        ("Jane", "customer.deleted"),
    ]


async def test_an_answer_to_what_was_cleared_meanwhile_is_not_recorded(receiver, to):
    receiver.answer = lambda post: receiver.hang(post) if len(receiver.posts) == 1 else 200
    jane = customer()
    async with to(receiver) as webhooks:
        publish(webhooks, jane)
        await receiver.arrival_of(1)
        webhooks.clear()
        receiver.released.set()
        publish(webhooks, jane)
        [delivery] = await settled(webhooks)
    assert delivery.event_id == receiver.posts[1].event["id"]


@pytest.fixture
def no_complaints(caplog):
    """Nothing that asyncio would complain about is left behind."""
    yield
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.usefixtures("no_complaints")
async def test_leaving_in_the_middle_of_a_post_is_quick_and_leaves_it_pending(receiver, to):
    receiver.answer = receiver.hang
    jane = customer()
    tasks = asyncio.all_tasks()
    async with to(receiver) as webhooks:
        publish(webhooks, jane)
        await receiver.arrival_of(1)
        publish(webhooks, jane)
        publish(webhooks, customer())  # whose task is cancelled before it has begun
        started = time.perf_counter()
    assert time.perf_counter() - started < 0.5
    assert [(delivery.outcome, delivery.attempts) for delivery in webhooks.deliveries] == [("pending", ())] * 3
    assert asyncio.all_tasks() == tasks


@pytest.mark.usefixtures("no_complaints")
async def test_leaving_between_two_attempts_ends_the_wait_and_keeps_what_was_tried(receiver, to):
    gate = Gate()
    receiver.answer = lambda post: 500
    async with to(receiver, sleep=gate.sleep) as webhooks:
        publish(webhooks, customer())
        await gate.entered_by(1)
    [delivery] = webhooks.deliveries
    assert (delivery.outcome, len(delivery.attempts)) == ("pending", 1)
    assert len(receiver.posts) == 1


async def test_whoever_waits_is_told_at_once_that_the_sandbox_stopped(receiver, to):
    receiver.answer = receiver.hang
    async with to(receiver) as webhooks:
        publish(webhooks, customer())
        await receiver.arrival_of(1)
        waiting = asyncio.create_task(settled(webhooks))
    with pytest.raises(TimeoutError, match="1 webhook delivery is still pending after the sandbox has stopped: 1 to"):
        await asyncio.wait_for(waiting, DEADLINE / 2)


async def test_after_leaving_nothing_more_is_sent(receiver, to):
    async with to(receiver) as webhooks:
        pass
    publish(webhooks, customer())
    assert webhooks.deliveries == ()


@pytest.mark.usefixtures("no_complaints")
def test_a_loop_that_ends_in_the_middle_of_a_post_leaves_nothing_behind(receiver, to):
    receiver.answer = receiver.hang

    async def end_abruptly():
        webhooks = await to(receiver).__aenter__()
        publish(webhooks, customer())
        await receiver.arrival_of(1)

    asyncio.run(end_abruptly())


# The log, and what must not be in it


async def test_each_attempt_is_one_line_of_the_log(receiver, to, caplog):
    caplog.set_level(logging.INFO, "cstar.sandbox")
    receiver.answer = lambda post: 500 if post.attempt == 1 else 200
    async with to(receiver) as webhooks:
        publish(webhooks, customer(), "customer.created")
        [delivery] = await settled(webhooks)
    lines = [record.getMessage() for record in caplog.records if record.name == "cstar.sandbox"]
    what = f"webhook customer.created {delivery.event_id} to {receiver.url}"
    assert [re.sub(r"[\d.]+ ms", "… ms", line) for line in lines] == [
        f"{what}: answered 500 (attempt 1, … ms), next in 0.5 s",
        f"{what}: 200 (attempt 2, … ms)",
    ]


async def test_the_log_says_when_a_delivery_is_given_up(to, closed_port, caplog):
    caplog.set_level(logging.INFO, "cstar.sandbox")
    async with to(f"http://127.0.0.1:{closed_port}/") as webhooks:
        publish(webhooks, customer())
        await settled(webhooks)
    line = [record.getMessage() for record in caplog.records if record.name == "cstar.sandbox"][-1]
    assert re.search(r": connection refused \(attempt 8, [\d.]+ ms\), given up$", line)


async def test_neither_the_secret_nor_a_password_shows_in_logs_json_or_errors(receiver, to, caplog):
    caplog.set_level(logging.DEBUG)
    gate = Gate()
    receiver.answer = lambda post: 500
    async with to(receiver.url.replace("//", "//me:hunter2@"), sleep=gate.sleep) as webhooks:
        publish(webhooks, customer())
        await gate.entered_by(1)
        with pytest.raises(TimeoutError) as caught:
            await asyncio.to_thread(webhooks.wait_until_settled, 0)
        [delivery] = webhooks.deliveries
    assert "Authorization" in receiver.posts[0].headers
    endpoints = _webhooks.endpoints([receiver.url.replace("//", "//me:hunter2@")])
    shown = f"{caplog.text} {json.dumps(delivery_json(delivery))} {delivery} {caught.value} {webhooks!r} {endpoints}"
    assert receiver.url in shown
    assert not {secret for secret in (SECRET, "hunter2", "me:") if secret in shown}


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/hook",
        "127.0.0.1:8000/hook",
        "localhost:8000/hook",
        "ftp://example.com/hook",
        "http://",
        "http:///hook",
        "http://:8000/hook",
        "http://[::1/hook",
        "http://example.com:port/hook",
        "http://example.com:65536/hook",
        "http://example.com/ho\nok",
    ],
)
def test_what_is_not_an_absolute_http_url_is_refused(to, url):
    with pytest.raises(ValueError, match="not an absolute URL with http or https, such as http://127") as caught:
        to("http://127.0.0.1/", url)
    assert f"{url!r} is not" in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://me:hunter2@example.com/", "me:hunter2@example.com", "http://me:hunter2@/x"])
def test_a_refused_url_does_not_give_its_password_away(to, url):
    with pytest.raises(ValueError, match="is not an absolute URL") as caught:
        to(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("again", ["http://example.com/hook", "http://me:hunter2@EXAMPLE.com:80/hook#here"])
def test_the_same_url_twice_is_refused(to, again):
    with pytest.raises(ValueError, match=re.escape("The webhook URL http://example.com/hook is there twice.")):
        to("http://example.com/hook", again)


# A whole sandbox


@contextlib.contextmanager
def calling(box):
    """Plain HTTP with the secret key, at the team's own URL."""
    headers = {"Authorization": f"Bearer {box.api_key}"}
    with httpx.Client(base_url=f"{box.url}/teams/{box.team_id}", headers=headers) as client:
        yield client


NEW = {"name": "Jane", "email": "jane@example.com"}


def test_each_write_is_told_in_order_with_the_customer_as_it_then_was(receiver):
    with Sandbox(webhook_url=receiver.url) as box, calling(box) as api:
        created = api.post("/customers", json=NEW).json()["data"]
        updated = api.patch(f"/customers/{created['id']}", json={"name": "Janet"}).json()["data"]
        api.delete(f"/customers/{created['id']}")
        deliveries = box.wait_for_deliveries(DEADLINE)
        assert box.deliveries == deliveries
    assert [(post.event["type"], post.customer) for post in receiver.posts] == [
        ("customer.created", "Jane"),
        ("customer.updated", "Janet"),
        ("customer.deleted", "Janet"),
    ]
    assert [delivery.payload for delivery in deliveries] == [post.body for post in receiver.posts]
    assert {post.event["team_id"] for post in receiver.posts} == {box.team_id}
    last = receiver.posts[-1].event["data"]["customer"]
    assert (last["created_at"], last["updated_at"]) == (created["createdAt"], updated["updatedAt"])


def test_the_sandbox_signs_with_its_webhook_secret_at_the_time_it_is(receiver):
    with Sandbox(webhook_url=receiver.url) as box, calling(box) as api:
        before = int(time.time())
        api.post("/customers", json=NEW)
        box.wait_for_deliveries(DEADLINE)
    [post] = receiver.posts
    timestamp = post.headers["X-Timestamp"]
    assert before <= int(timestamp) <= time.time()
    digest = hmac_sha256(box.webhook_secret.encode(), f"{timestamp}.".encode() + post.body)
    assert post.headers["X-Signature"] == f"t={timestamp},v1={digest}"


def test_what_writes_nothing_tells_nobody(receiver):
    with Sandbox(webhook_url=receiver.url) as box, calling(box) as api:
        key = {"Idempotency-Key": "once"}
        assert api.post("/customers", json=NEW, headers=key).status_code == 201
        assert api.post("/customers", json=NEW, headers=key).status_code == 201  # a replay
        assert api.post("/customers", json=NEW).status_code == 409
        assert api.post("/customers", json={}).status_code == 400
        assert api.delete(f"/customers/cus_{0:032}").status_code == 404
        assert api.get("/customers").status_code == 200
        [delivery] = box.wait_for_deliveries(DEADLINE)
    assert delivery.event_type == "customer.created"
    assert len(receiver.posts) == 1


def test_a_hanging_receiver_delays_neither_the_answers_of_the_api_nor_its_stop(receiver):
    receiver.answer = receiver.hang
    started = time.perf_counter()
    with Sandbox(webhook_url=receiver.url) as box, calling(box) as api:
        for number in range(30):
            assert api.post("/customers", json={"name": "Jane", "email": f"{number}@example.com"}).status_code == 201
    assert time.perf_counter() - started < _webhooks.ANSWER_TIME / 2
    assert {delivery.outcome for delivery in box.deliveries} == {"pending"}
    with pytest.raises(TimeoutError, match="30 webhook deliveries are still pending after the sandbox has stopped"):
        box.wait_for_deliveries(DEADLINE)


def test_stopping_does_not_wait_for_a_retry_that_is_due_later(closed_port):
    with Sandbox(webhook_url=f"http://127.0.0.1:{closed_port}/") as box, calling(box) as api:
        api.post("/customers", json=NEW)
        with pytest.raises(TimeoutError, match="last attempt: connection refused"):
            box.wait_for_deliveries(0.2)
        threads = threading.active_count()
    assert threading.active_count() < threads
    [delivery] = box.deliveries
    assert delivery.outcome == "pending"


def test_a_sandbox_tells_several_urls_and_none_that_is_not_one(new_receiver):
    receivers = [new_receiver(), new_receiver()]
    with Sandbox(webhook_url=[receiver.url for receiver in receivers]) as box, calling(box) as api:
        api.post("/customers", json=NEW)
        box.wait_for_deliveries(DEADLINE)
    assert [len(receiver.posts) for receiver in receivers] == [1, 1]
    with pytest.raises(ValueError, match="not an absolute URL"):
        Sandbox(webhook_url="localhost:8000")
