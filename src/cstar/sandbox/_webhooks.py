"""Webhooks as the sandbox sends them: each event to every configured URL as a signed POST, repeated until it is taken.

Everything happens on the server's event loop, in one task for each customer and URL that has something pending. Only
the record of the deliveries is shared with other threads, behind a lock.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import anyio

from cstar.sandbox import _clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
    from datetime import datetime
    from types import TracebackType

    import httpx
    from typing_extensions import Self

    from cstar.sandbox._models import Customer, Json, JsonObject

EventType: TypeAlias = Literal["customer.created", "customer.updated", "customer.deleted"]
Outcome: TypeAlias = Literal["pending", "delivered", "failed"]

USER_AGENT = "cStar-Webhooks/1.0 (sandbox)"
ANSWER_TIME = 10.0  # seconds from connecting to the end of the answer
RETRY_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # seconds after each failed attempt; there is one attempt more
CONCURRENT_POSTS = 20  # to one URL
REMEMBERED_DELIVERIES = 1000  # finished ones; those pending are never forgotten


_log = logging.getLogger("cstar.sandbox")


@dataclass(frozen=True)
class DeliveryAttempt:
    """One POST, and what came of it.

    Attributes:
        at: When it was sent, which is also the time in its signature.
        signature: Its `X-Signature` header.
        status: The status code of the answer, if there was one.
        error: Why it failed, such as "connection refused"; None if it was taken.
        duration: Seconds from connecting to the end of the answer.
    """

    at: datetime
    signature: str
    status: int | None
    error: str | None
    duration: float


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one URL.

    Attributes:
        id: Its own id, `dlv_…`.
        event_id: The event's id, `evt_…`, the same for every URL and attempt.
        event_type: What happened, such as "customer.created".
        customer_id: To which customer, `cus_…`.
        url: Where it goes, without the user name and password that the URL may hold.
        webhook_id: Which of the webhooks that is, `wh_…`, always the same for a URL.
        payload: The body, byte for byte.
        outcome: "pending" until it was taken ("delivered") or given up ("failed").
        attempts: Every POST so far, oldest first.
    """

    id: str
    event_id: str
    event_type: EventType
    customer_id: str
    url: str
    webhook_id: str
    payload: bytes
    outcome: Outcome = "pending"
    attempts: tuple[DeliveryAttempt, ...] = ()


def delivery_json(delivery: Delivery) -> JsonObject:
    """A delivery and its attempts as JSON."""
    payload: Json = json.loads(delivery.payload)
    return {
        "id": delivery.id,
        "eventId": delivery.event_id,
        "eventType": delivery.event_type,
        "customerId": delivery.customer_id,
        "url": delivery.url,
        "webhookId": delivery.webhook_id,
        "payload": payload,
        "outcome": delivery.outcome,
        "attempts": [_attempt_json(attempt) for attempt in delivery.attempts],
    }


def _attempt_json(attempt: DeliveryAttempt) -> JsonObject:
    return {
        "at": _clock.iso(_clock.instant(attempt.at)),
        "signature": attempt.signature,
        "status": attempt.status,
        "error": attempt.error,
        "duration": attempt.duration,
    }


class Event(NamedTuple):
    """Something that happened to a customer, and the customer after it, or as it last was."""

    type: EventType
    customer: Customer


class Webhooks:
    """The webhooks of one sandbox: entered on its event loop, on which `publish()` and `clear()` must be called too.

    Events of one customer reach a URL in order: the next one waits until the last was delivered or given up. Customers
    do not wait for each other, nor URLs. On leaving, what is still pending stays so in the record.

    Args:
        urls: Where events go. A user name and a password in a URL are sent as basic authentication.
        secret: What signs them.
        team_id: The team to which the customers belong.
        clock: The time in microseconds, see `_clock`.
        sleep: Waits between two attempts.

    Raises:
        ValueError: A URL is not absolute, not http or https, or there twice.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        secret: str,
        team_id: str,
        clock: Callable[[], int] = _clock.now,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._secret = secret
        self._team_id = team_id
        self._clock = clock
        self._sleep = sleep
        self._endpoints = endpoints(urls)
        # Without URLs there is no client either: importing httpx would take longer than all else in starting a sandbox.
        self._client = _new_client(self._endpoints) if urls else None
        self._lanes: dict[tuple[str, str], deque[Delivery]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

        # Shared with other threads, under the lock of this condition, which is notified when nothing is pending.
        self._settled = threading.Condition()
        self._record: dict[str, Delivery] = {}
        self._finished: deque[str] = deque()
        self._stopped = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        self._lanes = {}
        tasks = self._cancel_tasks()
        await asyncio.gather(*tasks, return_exceptions=True)
        if client is not None:
            await client.aclose()
        with self._settled:
            self._stopped = True
            self._settled.notify_all()

    def publish(self, events: Iterable[Event], at: int) -> None:
        for event in events:
            self._publish(event.type, event.customer, at)

    def _publish(self, event_type: EventType, customer: Customer, at: int) -> None:
        """Send an event about a customer to every URL; returns at once.

        Args:
            event_type: What happened.
            customer: The customer as it is now or, of a deleted one, as it last was.
            at: When it happened, in microseconds.
        """
        client = self._client
        if client is None:
            return
        event_id = f"evt_{secrets.token_hex(12)}"
        payload = _payload(event_id, event_type, customer, at, self._team_id)
        for endpoint in self._endpoints:
            delivery = Delivery(
                id=f"dlv_{secrets.token_hex(12)}",
                event_id=event_id,
                event_type=event_type,
                customer_id=customer.id,
                url=endpoint.url,
                webhook_id=endpoint.webhook_id,
                payload=payload,
            )
            with self._settled:
                self._record[delivery.id] = delivery
            self._enqueue(client, endpoint, delivery)

    def clear(self) -> None:
        """Forget every delivery; those that are pending are not made."""
        self._lanes = {}
        self._cancel_tasks()
        with self._settled:
            self._record.clear()
            self._finished.clear()
            self._settled.notify_all()

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """What is pending and the newest of what is finished, oldest first. For any thread."""
        with self._settled:
            return tuple(self._record.values())

    def wait_until_settled(self, timeout: float) -> tuple[Delivery, ...]:
        """Block until every delivery was made or given up. For any thread but the event loop's.

        Args:
            timeout: The longest wait, in seconds.

        Returns:
            The deliveries, as in `deliveries`.

        Raises:
            TimeoutError: Some are still pending; says how many, to which URL, and why the last attempt failed. Raised
                at once when the sandbox has stopped.
        """
        with self._settled:
            self._settled.wait_for(lambda: self._stopped or not self._pending_count(), timeout)
            if self._pending_count():
                since = "after the sandbox has stopped" if self._stopped else f"after {timeout:g} s"
                raise TimeoutError(_still_pending(self._record.values(), since))
            return tuple(self._record.values())

    def _enqueue(self, client: httpx.AsyncClient, endpoint: Endpoint, delivery: Delivery) -> None:
        key = (endpoint.webhook_id, delivery.customer_id)
        if key in self._lanes:
            self._lanes[key].append(delivery)
            return
        self._lanes[key] = deque([delivery])
        task = asyncio.create_task(self._work_off(client, endpoint, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work_off(self, client: httpx.AsyncClient, endpoint: Endpoint, key: tuple[str, str]) -> None:
        """Deliver what is in a lane and what is added meanwhile, one after another, and close the lane."""
        lane = self._lanes[key]
        while lane:
            await self._deliver(client, endpoint, lane.popleft())
        del self._lanes[key]

    async def _deliver(self, client: httpx.AsyncClient, endpoint: Endpoint, delivery: Delivery) -> None:
        for number, wait in enumerate((*RETRY_WAITS, None), start=1):
            async with endpoint.slots:
                attempt = await self._attempt(client, endpoint, delivery, number)
            outcome: Outcome
            if attempt.error is None:
                outcome, remark = "delivered", ""
            elif wait is None:
                outcome, remark = "failed", ", given up"
            else:
                outcome, remark = "pending", f", next in {wait:g} s"
            delivery = replace(delivery, outcome=outcome, attempts=(*delivery.attempts, attempt))
            _log.info(
                "webhook %s %s to %s: %s (attempt %d, %.1f ms)%s",
                delivery.event_type,
                delivery.event_id,
                delivery.url,
                attempt.error or attempt.status,
                number,
                attempt.duration * 1000,
                remark,
            )
            self._update(delivery)
            if outcome == "delivered":
                return
            if wait is not None:
                await self._sleep(wait)

    async def _attempt(
        self, client: httpx.AsyncClient, endpoint: Endpoint, delivery: Delivery, number: int
    ) -> DeliveryAttempt:
        now = self._clock()
        # Signed anew each time: under the time of the first attempt, a late one would be refused as a replay.
        timestamp = str(now // _clock.SECOND)
        signature = _signature(self._secret, timestamp, delivery.payload)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "X-Signature": signature,
            "X-Event-Type": delivery.event_type,
            "X-Event-ID": delivery.event_id,
            "X-Webhook-ID": delivery.webhook_id,
            "X-Timestamp": timestamp,
            "X-Delivery-Attempt": str(number),
        }
        status = error = None
        started = time.perf_counter()
        try:
            # Not httpx's timeouts, each of which begins again with every packet. Nor asyncio.wait_for(), which before
            # Python 3.12 can swallow the cancellation on which stopping relies.
            with anyio.fail_after(ANSWER_TIME):
                status = await _post(client, endpoint, delivery.payload, headers)
            error = _refusal(status)
        except TimeoutError:
            error = f"no answer within {ANSWER_TIME:g} s"
        except Exception as failure:  # not only httpx's: should one end this task, what follows in the lane would hang
            error = _reason(failure)
        duration = time.perf_counter() - started
        return DeliveryAttempt(_clock.moment(now), signature, status, error, duration)

    def _update(self, delivery: Delivery) -> None:
        with self._settled:
            self._record[delivery.id] = delivery
            if delivery.outcome == "pending":
                return
            self._finished.append(delivery.id)
            if len(self._finished) > REMEMBERED_DELIVERIES:
                del self._record[self._finished.popleft()]
            if not self._pending_count():
                self._settled.notify_all()

    def _pending_count(self) -> int:
        return len(self._record) - len(self._finished)

    def _cancel_tasks(self) -> list[asyncio.Task[None]]:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks


@dataclass(frozen=True)
class Endpoint:
    """A configured URL: the part of it that may be shown, and the part that may not."""

    url: str
    credentials: tuple[str, str] | None = field(repr=False)
    webhook_id: str
    slots: asyncio.Semaphore  # its own, so that a URL that hangs cannot use up those of the others


def endpoints(urls: Sequence[str]) -> list[Endpoint]:
    """Read webhook URLs.

    Raises:
        ValueError: A URL is not absolute, not http or https, or there twice.
    """
    read = [_endpoint(url) for url in urls]
    for number, endpoint in enumerate(read):
        if endpoint.url in [other.url for other in read[:number]]:
            raise ValueError(f"The webhook URL {endpoint.url} is there twice.")
    return read


def _endpoint(url: str) -> Endpoint:
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise _bad_url(url) from None
    if parsed.scheme not in {"http", "https"} or not parsed.host or (parsed.port or 0) > 65535:
        raise _bad_url(url)
    shown = str(parsed.copy_with(userinfo=b"", fragment=None))
    return Endpoint(
        url=shown,
        # Never left in the URL, which httpx writes into its log.
        credentials=(parsed.username, parsed.password) if parsed.userinfo else None,
        webhook_id=f"wh_{hashlib.sha256(shown.encode()).hexdigest()[:24]}",
        slots=asyncio.Semaphore(CONCURRENT_POSTS),
    )


def _bad_url(url: str) -> ValueError:
    harmless = url.rpartition("@")[2]  # in a URL that cannot be read, all that comes before may be a password
    return ValueError(
        f"The webhook URL {harmless!r} is not an absolute URL with http or https, such as http://127.0.0.1:8000/webhooks."
    )


def _new_client(endpoints: Sequence[Endpoint]) -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(
        timeout=None,  # noqa: S113 - there is one, around the whole POST
        # Reading the certificate authorities takes as long as starting the sandbox, and no other URL is ever asked.
        verify=any(endpoint.url.startswith("https:") for endpoint in endpoints),
        trust_env=False,
        follow_redirects=False,
        # A connection for each POST: on a kept one, a receiver that is just then letting go of it would cost an
        # attempt, and one that serves a single connection at a time would serve nobody else.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )


async def _post(client: httpx.AsyncClient, endpoint: Endpoint, body: bytes, headers: dict[str, str]) -> int:
    request = client.stream("POST", endpoint.url, content=body, headers=headers, auth=endpoint.credentials)
    async with request as answer:
        # The receiver gets to say all of it, though nobody listens: hanging up on it would be an error on its side.
        async for _ in answer.aiter_raw():
            pass
        return answer.status_code


def _payload(event_id: str, event_type: EventType, customer: Customer, at: int, team_id: str) -> bytes:
    event: JsonObject = {
        "id": event_id,
        "type": event_type,
        "created_at": _clock.iso(at),
        "team_id": team_id,
        "data": {"customer": _customer_json(customer)},
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _customer_json(customer: Customer) -> JsonObject:
    document: JsonObject = customer.model_dump(mode="json")
    return document


def _signature(secret: str, timestamp: str, payload: bytes) -> str:
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + payload, hashlib.sha256)
    return f"t={timestamp},v1={digest.hexdigest()}"


def _refusal(status: int) -> str | None:
    """What is wrong with a status code, if anything is."""
    if 200 <= status < 300:
        return None
    return f"answered {status}, and redirects are not followed" if 300 <= status < 400 else f"answered {status}"


def _reason(failure: Exception) -> str:
    """Why there was no answer, in words; the plainest cause is somewhere below what httpx raises."""
    for cause in _causes(failure):
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if isinstance(cause, (ConnectionResetError, anyio.BrokenResourceError)):  # which older ones of anyio say alone
            return "connection reset"
        if isinstance(cause, socket.gaierror):
            return f"unknown host ({cause.strerror})"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate not trusted ({cause.verify_message})"
    return str(failure).rstrip(".") or type(failure).__name__


def _causes(error: BaseException) -> Generator[BaseException]:
    yield error
    # Those of an exception group; before Python 3.11 that class is not a builtin.
    members: Sequence[BaseException] = getattr(error, "exceptions", ())
    below = error.__cause__ or error.__context__
    for cause in (*members, *([below] if below else [])):
        yield from _causes(cause)


def _still_pending(deliveries: Iterable[Delivery], since: str) -> str:
    pending: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        if delivery.outcome == "pending":
            pending.setdefault(delivery.url, []).append(delivery)
    count = sum(map(len, pending.values()))
    where = "; ".join(f"{len(waiting)} to {url} ({_last_error(waiting)})" for url, waiting in pending.items())
    return f"{count} webhook {'delivery is' if count == 1 else 'deliveries are'} still pending {since}: {where}."


def _last_error(deliveries: Sequence[Delivery]) -> str:
    attempts = [delivery.attempts[-1] for delivery in deliveries if delivery.attempts]
    if not attempts:
        return "no attempt has ended yet"
    return f"last attempt: {max(attempts, key=lambda attempt: attempt.at).error}"
