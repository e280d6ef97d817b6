"""Webhooks, sent to real receivers on loopback."""

import asyncio
import base64
import gc
import hmac
import itertools
import json
import logging
import re
import socket
import threading
import time
from datetime import datetime, timezone

import httpx
import pytest

from cstar.sandbox import Sandbox, _webhooks
from cstar.sandbox._clock import moment
from cstar.sandbox._models import Customer
from cstar.sandbox._webhooks import Event, Webhooks, delivery_json
from support import team_client

SECRET = "whsec_a-secret-of-the-tests"
TEAM = "11111111-2222-4333-8444-555555555555"
SECOND = 1_000_000
NOON = int(datetime(2026, 11, 22, 12, tzinfo=timezone.utc).timestamp()) * SECOND
RETRY_DELAYS = [0.5, 1, 2, 4, 8, 16, 32]
DEADLINE = 10

# A self-signed certificate for 127.0.0.1, valid until 2126, made for these tests with
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


class FakeTime:
    """A clock that advances only by its `sleep`, which returns at once."""

    def __init__(self):
        self.now = NOON
        self.delays = []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.delays.append(seconds)
        self.now += int(seconds * SECOND)


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def webhooks_to(fake_time):
    """A function that creates `Webhooks` to receivers or URLs, with the fake time."""

    def webhooks_to(*targets, **options):
        urls = [getattr(target, "url", target) for target in targets]
        options = {"clock": fake_time.clock, "sleep": fake_time.sleep, **options}
        return Webhooks(urls, secret=SECRET, team_id=TEAM, **options)

    return webhooks_to


ids = itertools.count(1)


def customer(name="Jane", **fields):
    return Customer(
        id=f"cus_{next(ids):032x}",
        name=name,
        email="someone@example.com",
        created_at=moment(NOON),
        updated_at=moment(NOON),
        **fields,
    )


def publish(webhooks, customer, type="customer.updated"):
    webhooks.publish([Event(type, customer)], NOON)


async def settled(webhooks):
    return await asyncio.to_thread(webhooks.wait_until_settled, DEADLINE)


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def signature(post, secret=SECRET):
    """Return the expected `X-Signature` of a POST."""
    timestamp = post.headers["X-Timestamp"]
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + post.body, "sha256").hexdigest()
    return f"t={timestamp},v1={digest}"


# The POST


async def test_the_body_is_the_event_with_its_customer_in_snake_case(receiver, webhooks_to):
    jane = customer(
        "Jané", sentiment="happy", tags=["vip"], custom_fields={"seatCount": [1, None]}, metadata={"crmId": "7"}
    )
    async with webhooks_to(receiver) as webhooks:
        webhooks.publish([Event("customer.created", jane)], NOON + 7)
        await settled(webhooks)
    [post] = receiver.posts
    event_id = post.headers["X-Event-ID"]
    assert re.fullmatch(r"evt_[0-9a-f]{24}", event_id)
    assert post.body.decode() == (
        f'{{"id":"{event_id}","type":"customer.created","created_at":"2026-11-22T12:00:00.000007Z","team_id":"{TEAM}",'
        f'"data":{{"customer":{{"id":"{jane.id}","object":"customer","name":"Jané",'
        '"email":"someone@example.com","sentiment":"happy","status":"active","tags":["vip"],"notes":null,'
        '"custom_fields":{"seatCount":[1,null]},"ticket_count":0,"metadata":{"crmId":"7"},'
        '"created_at":"2026-11-22T12:00:00.000000Z","updated_at":"2026-11-22T12:00:00.000000Z"}}}'
    )


async def test_the_headers_describe_and_sign_the_event(receiver, webhooks_to):
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer(), "customer.deleted")
        await settled(webhooks)
    [post] = receiver.posts
    names = ["Content-Type", "User-Agent", "X-Signature", "X-Event-Type", "X-Timestamp", "X-Delivery-Attempt"]
    assert {name: post.headers[name] for name in names} == {
        "Content-Type": "application/json",
        "User-Agent": "cStar-Webhooks/1.0 (sandbox)",
        "X-Signature": signature(post),
        "X-Event-Type": "customer.deleted",
        "X-Timestamp": str(NOON // SECOND),
        "X-Delivery-Attempt": "1",
    }
    assert post.headers["X-Event-ID"] == post.event["id"]
    assert re.fullmatch(r"wh_[0-9a-f]{24}", post.headers["X-Webhook-ID"])
    assert post.path == "/hook"


async def test_each_url_has_the_same_webhook_id_at_every_start(receiver, webhooks_to):
    for _ in range(2):
        async with webhooks_to(receiver, receiver.url + "/other") as webhooks:
            publish(webhooks, customer())
            await settled(webhooks)
    ids = {(post.path, post.headers["X-Webhook-ID"]) for post in receiver.posts}
    assert len(receiver.posts) == 4
    assert len(ids) == len({webhook_id for _, webhook_id in ids}) == 2


async def test_credentials_in_a_url_are_sent_as_basic_authentication(receiver, webhooks_to):
    async with webhooks_to(receiver.url.replace("//", "//me:p%40ss@")) as webhooks:
        publish(webhooks, customer())
        await settled(webhooks)
    assert receiver.posts[0].headers["Authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


async def test_proxies_in_the_environment_are_not_used(receiver, webhooks_to, closed_port, monkeypatch):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("no_proxy", "")
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer())
        await settled(webhooks)
    assert len(receiver.posts) == 1


async def test_each_post_has_its_own_connection(receiver, webhooks_to):
    """An idle connection would block a receiver that serves one connection at a time."""
    async with webhooks_to(receiver) as webhooks:
        for _ in range(3):
            publish(webhooks, customer())
            await settled(webhooks)
        handlers = [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]
        for handler in handlers:  # each thread ends when its connection closes
            handler.join(DEADLINE)
            assert not handler.is_alive()
    assert len(receiver.posts) == 3


# Retries


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        (500, 500, "status 500"),
        (404, 404, "status 404"),
        (302, 302, "status 302"),
        ("drop the connection", None, "Server disconnected without sending a response"),
        ("reset the connection", None, "connection reset"),
    ],
)
async def test_anything_but_2xx_is_retried(receiver, webhooks_to, fake_time, behaviour, status, error):
    receiver.respond = lambda post: behaviour if post.attempt == 1 else 200
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert [post.path for post in receiver.posts] == ["/hook", "/hook"]
    assert delivery.outcome == "delivered"
    assert [(attempt.status, attempt.error) for attempt in delivery.attempts] == [(status, error), (200, None)]
    assert fake_time.delays == RETRY_DELAYS[:1]


async def test_an_event_reaches_a_receiver_that_starts_late(new_receiver, webhooks_to, fake_time, closed_port):
    receivers = []

    async def sleep(seconds):
        await fake_time.sleep(seconds)
        if len(fake_time.delays) == 2:
            receivers.append(new_receiver(closed_port))

    async with webhooks_to(f"http://127.0.0.1:{closed_port}/hook", sleep=sleep) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert [post.attempt for post in receivers[0].posts] == [3]
    assert [attempt.error for attempt in delivery.attempts] == ["connection refused", "connection refused", None]


async def test_a_connection_refused_at_every_address_is_reported_as_refused(webhooks_to, closed_port, monkeypatch):
    def getaddrinfo(*arguments, **options):
        addresses = [("127.0.0.1", closed_port), ("127.0.0.2", closed_port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with webhooks_to(f"http://receiver.example:{closed_port}/hook") as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert {attempt.error for attempt in delivery.attempts} == {"connection refused"}


async def test_https_needs_a_trusted_certificate(new_receiver, webhooks_to, tmp_path):
    certificate = tmp_path / "self-signed.pem"
    certificate.write_text(SELF_SIGNED)
    plain, secure = new_receiver(), new_receiver(certificate=certificate)
    async with webhooks_to(plain, secure) as webhooks:
        publish(webhooks, customer())
        delivered, failed = await settled(webhooks)
    assert (delivered.outcome, failed.outcome) == ("delivered", "failed")
    assert re.search("certificate verify failed: self.signed certificate", failed.attempts[-1].error)
    assert secure.posts == []


@pytest.mark.parametrize("behaviour", ["hang", "never end"])
async def test_a_response_that_does_not_end_in_time_is_retried(
    receiver, webhooks_to, fake_time, monkeypatch, behaviour
):
    assert _webhooks.RESPONSE_TIMEOUT == 10
    monkeypatch.setattr(_webhooks, "RESPONSE_TIMEOUT", 0.5)

    def respond_too_slowly(post):
        if post.attempt == 2:
            return 200
        return receiver.hang(post) if behaviour == "hang" else behaviour

    receiver.respond = respond_too_slowly
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    first, second = delivery.attempts
    assert (first.status, first.error) == (None, "no response within 0.5 s")
    assert 0.5 <= first.duration < DEADLINE
    assert second.error is None
    assert fake_time.delays == RETRY_DELAYS[:1]


async def test_an_endless_response_is_not_read_to_its_end(receiver, webhooks_to):
    receiver.respond = lambda post: "endless"
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert (delivery.outcome, [attempt.status for attempt in delivery.attempts]) == ("delivered", [200])


async def test_each_attempt_has_its_own_number_and_signature(receiver, webhooks_to, fake_time):
    receiver.respond = lambda post: 500 if post.attempt < 4 else 200
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert fake_time.delays == RETRY_DELAYS[:3]
    assert [post.attempt for post in receiver.posts] == [1, 2, 3, 4]
    start = NOON // SECOND
    assert [int(post.headers["X-Timestamp"]) for post in receiver.posts] == [start, start, start + 1, start + 3]
    for post, attempt in zip(receiver.posts, delivery.attempts, strict=True):
        assert post.headers["X-Signature"] == attempt.signature == signature(post)
    assert {post.body for post in receiver.posts} == {delivery.payload}
    assert {post.headers["X-Event-ID"] for post in receiver.posts} == {delivery.event_id}


async def test_a_delivery_fails_after_eight_attempts_with_growing_delays(receiver, webhooks_to, fake_time):
    receiver.respond = lambda post: 503
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer())
        [delivery] = await settled(webhooks)
    assert delivery.outcome == "failed"
    assert fake_time.delays == RETRY_DELAYS
    assert [post.attempt for post in receiver.posts] == list(range(1, 9))
    offsets = [(attempt.at - delivery.attempts[0].at).total_seconds() for attempt in delivery.attempts]
    assert offsets == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5]


# Order


class Gate:
    """A sleep that lasts until the gate is opened."""

    def __init__(self):
        self._sleepers = asyncio.Semaphore(0)
        self._opened = asyncio.Event()

    async def sleep(self, _seconds):
        self._sleepers.release()
        await self._opened.wait()

    async def wait_for_sleepers(self, count):
        """Wait until a number of further tasks sleep."""
        for _ in range(count):
            await asyncio.wait_for(self._sleepers.acquire(), DEADLINE)

    def open(self):
        self._opened.set()


async def test_an_event_waits_only_for_earlier_events_of_its_customer(receiver, webhooks_to):
    gate = Gate()
    jane, bob = customer("Jane"), customer("Bob")
    receiver.respond = lambda post: 500 if post.customer == "Jane" and len(receiver.posts) == 1 else 200
    async with webhooks_to(receiver, sleep=gate.sleep) as webhooks:
        publish(webhooks, jane, "customer.created")
        await gate.wait_for_sleepers(1)
        publish(webhooks, jane, "customer.updated")
        publish(webhooks, jane, "customer.deleted")
        publish(webhooks, bob, "customer.created")
        await receiver.wait_for_posts(2)
        gate.open()
        await settled(webhooks)
    assert [(post.customer, post.event["type"], post.attempt) for post in receiver.posts] == [
        ("Jane", "customer.created", 1),
        ("Bob", "customer.created", 1),
        ("Jane", "customer.created", 2),
        ("Jane", "customer.updated", 1),
        ("Jane", "customer.deleted", 1),
    ]


async def test_the_next_event_is_sent_after_a_failed_delivery(receiver, webhooks_to):
    receiver.respond = lambda post: 500 if post.event["type"] == "customer.created" else 200
    jane = customer()
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, jane, "customer.created")
        publish(webhooks, jane, "customer.updated")
        first, second = await settled(webhooks)
    assert (first.outcome, second.outcome) == ("failed", "delivered")
    assert receiver.posts[-1].event["type"] == "customer.updated"


async def test_one_event_goes_to_every_url(new_receiver, webhooks_to):
    here, there = new_receiver(), new_receiver()
    async with webhooks_to(here, there) as webhooks:
        publish(webhooks, customer())
        first, second = await settled(webhooks)
    assert (first.url, second.url) == (here.url, there.url)
    assert first.id != second.id
    assert here.posts[0].body == there.posts[0].body


async def test_a_url_that_hangs_does_not_delay_other_urls(new_receiver, webhooks_to, monkeypatch):
    monkeypatch.setattr(_webhooks, "CONCURRENT_POSTS", 2)
    hanging, quick = new_receiver(), new_receiver()
    hanging.respond = hanging.hang
    async with webhooks_to(hanging, quick) as webhooks:
        for number in range(10):
            publish(webhooks, customer(f"Number {number}"))
        await quick.wait_for_posts(10)
        await hanging.wait_for_posts(2)
        assert len(hanging.posts) == 2
        hanging.released.set()
        await settled(webhooks)
    assert len(hanging.posts) == 10


async def test_500_events_are_published_without_waiting(receiver, webhooks_to):
    assert _webhooks.CONCURRENT_POSTS == 20
    receiver.respond = receiver.hang
    events = [Event("customer.created", customer()) for _ in range(500)]
    async with webhooks_to(receiver) as webhooks:
        started = time.perf_counter()
        webhooks.publish(events, NOON)
        assert time.perf_counter() - started < _webhooks.RESPONSE_TIMEOUT / 2
        await receiver.wait_for_posts(20)
        assert len(receiver.posts) == 20
    assert len(webhooks.deliveries) == 500


# The deliveries


async def test_a_delivery_as_json_has_camel_case_keys_and_a_parsed_payload(receiver, webhooks_to):
    async with webhooks_to(receiver) as webhooks:
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


async def test_all_pending_and_the_newest_finished_deliveries_are_kept(receiver, webhooks_to, monkeypatch):
    assert _webhooks.MAX_FINISHED_DELIVERIES == 1000
    monkeypatch.setattr(_webhooks, "MAX_FINISHED_DELIVERIES", 3)
    gate = Gate()
    statuses = {"customer.created": 200, "customer.updated": 500}
    receiver.respond = lambda post: receiver.hang(post) if post.customer == "Slow" else statuses[post.event["type"]]
    jane = customer("Jane")
    async with webhooks_to(receiver, sleep=gate.sleep) as webhooks:
        for _ in range(3):
            publish(webhooks, customer("Slow"))
        for _ in range(5):
            publish(webhooks, jane, "customer.created")
        publish(webhooks, jane, "customer.updated")
        await gate.wait_for_sleepers(1)  # the five before it are finished
        kept = webhooks.deliveries
    slow, finished, failing = kept[:3], kept[3:6], kept[6:]
    assert [delivery.outcome for delivery in (*slow, *failing)] == ["pending"] * 4
    assert [delivery.outcome for delivery in finished] == ["delivered"] * 3
    to_jane = [post.event["id"] for post in receiver.posts if post.customer == "Jane"]
    assert [delivery.event_id for delivery in (*finished, *failing)] == to_jane[2:]


async def test_waiting_returns_as_soon_as_nothing_is_pending(receiver, webhooks_to):
    receiver.respond = receiver.hang
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer())
        waiting = asyncio.create_task(settled(webhooks))
        await receiver.wait_for_posts(1)
        assert not waiting.done()
        receiver.released.set()
        [delivery] = await asyncio.wait_for(waiting, DEADLINE / 2)
    assert delivery.outcome == "delivered"


async def test_the_timeout_error_has_the_number_urls_and_errors_of_deliveries(new_receiver, webhooks_to, fake_time):
    failing, hanging, mixed = new_receiver(), new_receiver(), new_receiver()
    gate = Gate()
    failing.respond = lambda post: 500 if post.customer == "Jane" else 503
    hanging.respond = hanging.hang
    mixed.respond = lambda post: 200 if post.customer == "Jane" else 502
    async with webhooks_to(failing, hanging, mixed, sleep=gate.sleep) as webhooks:
        publish(webhooks, customer("Jane"))
        await gate.wait_for_sleepers(1)
        fake_time.now += SECOND
        publish(webhooks, customer("Bob"))
        await gate.wait_for_sleepers(2)
        await hanging.wait_for_posts(2)
        await mixed.wait_for_posts(2)
        with pytest.raises(TimeoutError) as caught:
            await asyncio.to_thread(webhooks.wait_until_settled, 0.01)
    assert str(caught.value) == (
        f"5 webhook deliveries are still pending after 0.01 s: 1 to {failing.url} (last attempt: status 500); "
        f"2 to {hanging.url} (no attempt yet); 1 to {failing.url} (last attempt: status 503); "
        f"1 to {mixed.url} (last attempt: status 502)."
    )


# Clearing and stopping


async def test_clear_removes_all_deliveries_and_cancels_the_pending_ones(receiver, webhooks_to):
    gate = Gate()
    receiver.respond = lambda post: 500 if post.customer == "Jane" else 200
    jane = customer("Jane")
    async with webhooks_to(receiver, sleep=gate.sleep) as webhooks:
        publish(webhooks, customer("Bob"), "customer.created")
        await settled(webhooks)
        publish(webhooks, jane, "customer.created")
        publish(webhooks, jane, "customer.updated")
        waiting = asyncio.create_task(settled(webhooks))
        await gate.wait_for_sleepers(1)
        webhooks.clear()
        assert webhooks.deliveries == ()
        assert await asyncio.wait_for(waiting, DEADLINE / 2) == ()
        gate.open()
        receiver.respond = lambda post: 200
        publish(webhooks, jane, "customer.deleted")
        [delivery] = await settled(webhooks)
    assert delivery.event_type == "customer.deleted"
    assert [(post.customer, post.event["type"]) for post in receiver.posts] == [
        ("Bob", "customer.created"),
        ("Jane", "customer.created"),
        ("Jane", "customer.deleted"),
    ]


@pytest.fixture
def no_asyncio_errors(caplog):
    """Fail if asyncio logs anything, such as a task that was never awaited."""
    yield
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.usefixtures("no_asyncio_errors")
async def test_exiting_during_a_post_is_fast_and_leaves_the_delivery_pending(receiver, webhooks_to):
    receiver.respond = receiver.hang
    jane = customer()
    tasks = asyncio.all_tasks()
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, jane)
        await receiver.wait_for_posts(1)
        publish(webhooks, jane)
        publish(webhooks, customer())  # its task is cancelled before it starts
        started = time.perf_counter()
    assert time.perf_counter() - started < _webhooks.RESPONSE_TIMEOUT / 2
    assert [(delivery.outcome, delivery.attempts) for delivery in webhooks.deliveries] == [("pending", ())] * 3
    assert asyncio.all_tasks() == tasks


@pytest.mark.usefixtures("no_asyncio_errors")
async def test_exiting_between_two_attempts_keeps_the_first_attempt(receiver, webhooks_to):
    gate = Gate()
    receiver.respond = lambda post: 500
    async with webhooks_to(receiver, sleep=gate.sleep) as webhooks:
        publish(webhooks, customer())
        await gate.wait_for_sleepers(1)
    [delivery] = webhooks.deliveries
    assert (delivery.outcome, len(delivery.attempts)) == ("pending", 1)
    assert len(receiver.posts) == 1


async def test_waiting_ends_when_the_sandbox_stops(receiver, webhooks_to):
    receiver.respond = receiver.hang
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer())
        await receiver.wait_for_posts(1)
        waiting = asyncio.create_task(settled(webhooks))
    with pytest.raises(TimeoutError, match="1 webhook delivery is still pending after the sandbox has stopped: 1 to"):
        await asyncio.wait_for(waiting, DEADLINE / 2)


@pytest.mark.usefixtures("no_asyncio_errors")
def test_an_event_loop_that_ends_during_a_post_causes_no_warning(receiver, webhooks_to):
    receiver.respond = receiver.hang

    async def end_abruptly():
        webhooks = await webhooks_to(receiver).__aenter__()
        publish(webhooks, customer())
        await receiver.wait_for_posts(1)

    asyncio.run(end_abruptly())


# The log


async def test_each_attempt_is_one_log_line(receiver, webhooks_to, caplog):
    caplog.set_level(logging.INFO, "cstar.sandbox")
    receiver.respond = lambda post: 500 if post.attempt == 1 else 200
    async with webhooks_to(receiver) as webhooks:
        publish(webhooks, customer(), "customer.created")
        [delivery] = await settled(webhooks)
    lines = [record.getMessage() for record in caplog.records if record.name == "cstar.sandbox"]
    prefix = f"webhook customer.created {delivery.event_id} to {receiver.url}"
    assert [re.sub(r"[\d.]+ ms", "… ms", line) for line in lines] == [
        f"{prefix}: status 500 (attempt 1, … ms), retry in 0.5 s",
        f"{prefix}: 200 (attempt 2, … ms)",
    ]


async def test_logs_json_and_errors_contain_no_secret_and_no_password(receiver, webhooks_to, caplog):
    caplog.set_level(logging.DEBUG)
    gate = Gate()
    receiver.respond = lambda post: 500
    async with webhooks_to(receiver.url.replace("//", "//me:hunter2@"), sleep=gate.sleep) as webhooks:
        publish(webhooks, customer())
        await gate.wait_for_sleepers(1)
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
def test_anything_but_an_absolute_http_url_is_rejected(webhooks_to, url):
    with pytest.raises(ValueError, match="not an absolute URL with http or https, such as http://127") as caught:
        webhooks_to("http://127.0.0.1/", url)
    assert f"{url!r} is not" in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://me:hunter2@example.com/", "me:hunter2@example.com", "http://me:hunter2@/x"])
def test_the_error_about_a_url_does_not_contain_its_password(webhooks_to, url):
    with pytest.raises(ValueError, match="is not an absolute URL") as caught:
        webhooks_to(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("again", ["http://example.com/hook", "http://me:hunter2@EXAMPLE.com:80/hook#here"])
def test_a_duplicate_url_is_rejected(webhooks_to, again):
    message = "A webhook URL is given twice. The distinct URLs are http://example.com/hook."
    with pytest.raises(ValueError, match=re.escape(message)):
        webhooks_to("http://example.com/hook", again)


# A sandbox

NEW = {"name": "Jane", "email": "jane@example.com"}


def test_each_change_is_an_event_with_the_customer_after_it(receiver):
    with Sandbox(webhook_url=receiver.url) as box, team_client(box) as api:
        created = api.post("/customers", json=NEW).json()["data"]
        updated = api.patch(f"/customers/{created['id']}", json={"name": "Janet"}).json()["data"]
        api.delete(f"/customers/{created['id']}")
        deliveries = box.wait_for_deliveries(DEADLINE)
        assert box.deliveries == deliveries
        listed = httpx.get(f"{box.page_url}_sandbox/deliveries").json()["data"]
    assert listed == [delivery_json(delivery) for delivery in deliveries]
    assert [(post.event["type"], post.customer) for post in receiver.posts] == [
        ("customer.created", "Jane"),
        ("customer.updated", "Janet"),
        ("customer.deleted", "Janet"),
    ]
    assert [delivery.payload for delivery in deliveries] == [post.body for post in receiver.posts]
    assert {post.event["team_id"] for post in receiver.posts} == {box.team_id}
    last = receiver.posts[-1].event["data"]["customer"]
    assert (last["created_at"], last["updated_at"]) == (created["createdAt"], updated["updatedAt"])


def test_a_sandbox_signs_with_its_webhook_secret_and_the_current_time(receiver):
    with Sandbox(webhook_url=receiver.url) as box, team_client(box) as api:
        before = int(time.time())
        api.post("/customers", json=NEW)
        box.wait_for_deliveries(DEADLINE)
    [post] = receiver.posts
    assert before <= int(post.headers["X-Timestamp"]) <= time.time()
    assert post.headers["X-Signature"] == signature(post, box.webhook_secret)


def test_a_receiver_that_hangs_delays_neither_the_api_nor_the_stop(receiver):
    receiver.respond = receiver.hang
    started = time.perf_counter()
    with Sandbox(webhook_url=receiver.url) as box, team_client(box) as api:
        for number in range(30):
            assert api.post("/customers", json={"name": "Jane", "email": f"{number}@example.com"}).status_code == 201
    assert time.perf_counter() - started < _webhooks.RESPONSE_TIMEOUT / 2
    assert {delivery.outcome for delivery in box.deliveries} == {"pending"}
    with pytest.raises(TimeoutError, match="30 webhook deliveries are still pending after the sandbox has stopped"):
        box.wait_for_deliveries(DEADLINE)
