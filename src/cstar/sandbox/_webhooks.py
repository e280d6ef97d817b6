"""Webhooks: each event is sent to every configured URL as a signed POST, with retries.

Each delivery is a task on the server's event loop. Other threads only read the deliveries, under a lock.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

import anyio
from pydantic.alias_generators import to_camel
from typing_extensions import Self

from cstar.sandbox import _clock
from cstar.sandbox._models import Customer, JsonObject

EventType: TypeAlias = Literal["customer.created", "customer.updated", "customer.deleted"]
Outcome: TypeAlias = Literal["pending", "delivered", "failed"]

RESPONSE_TIMEOUT = 10.0  # seconds from connecting to the end of the response
RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # seconds after each failed attempt but the last
MAX_RESPONSE_SIZE = 64 * 1024  # bytes of a response to read
CONCURRENT_POSTS = 20  # to one URL
MAX_FINISHED_DELIVERIES = 1000  # pending ones are always kept

_log = logging.getLogger("cstar.sandbox")


@dataclass(frozen=True)
class DeliveryAttempt:
    """One POST and its result."""

    at: datetime
    """The time when it was sent, as in its signature."""
    signature: str
    """The `X-Signature` header."""
    status: int | None
    """The status code of the response; `None` if there was no response."""
    error: str | None
    """The reason for a failure, such as "connection refused"; `None` if it succeeded."""
    duration: float
    """Seconds from connecting to the end of the response."""


@dataclass(frozen=True)
class Delivery:
    """The delivery of one event to one URL."""

    id: str
    """The id of the delivery, `dlv_…`."""
    event_id: str
    """The id of the event, `evt_…`: the same for every URL and attempt."""
    event_type: EventType
    """The type of the event, such as "customer.created"."""
    customer_id: str
    """The id of the customer, `cus_…`."""
    url: str
    """The URL, without any user name and password."""
    webhook_id: str
    """The id of the webhook, `wh_…`: always the same for the same URL."""
    payload: bytes
    """The body of the POST."""
    outcome: Outcome = "pending"
    """`"pending"`, then `"delivered"`, or `"failed"` after the last attempt."""
    attempts: tuple[DeliveryAttempt, ...] = ()
    """Every POST so far, oldest first."""


def delivery_json(delivery: Delivery) -> JsonObject:
    """Convert a delivery and its attempts to JSON."""
    attempts = [{**asdict(each), "at": _clock.iso(_clock.instant(each.at))} for each in delivery.attempts]
    document: JsonObject = {**asdict(delivery), "payload": json.loads(delivery.payload), "attempts": [*attempts]}
    return {to_camel(name): value for name, value in document.items()}


class Event(NamedTuple):
    """A change of a customer, with the customer after the change or, for a deletion, before."""

    type: EventType
    customer: Customer


class Webhooks:
    """The webhooks of one sandbox, sent on the event loop on which this async context manager is entered.

    A URL receives the events of one customer in order: each waits until the previous one is delivered or has failed.
    Different customers and different URLs do not wait for each other. Deliveries pending on exit stay pending.
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
        self._tasks: set[asyncio.Task[None]] = set()
        # A lock per URL and customer, for as long as a task uses it. Tasks acquire it in the order of the events.
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        # Other threads use the attributes below, under the lock of this condition.
        self._changed = threading.Condition()
        self._deliveries: dict[str, Delivery] = {}
        self._finished: deque[str] = deque()
        self._stopped = False

    async def __aenter__(self) -> Self:
        if self._endpoints:
            import httpx  # only here, because the import takes longer than the rest of the start

            self._client = httpx.AsyncClient(
                timeout=None,  # noqa: S113 - _attempt() limits the whole POST
                # Reading the certificate authorities takes as long as starting the sandbox.
                verify=any(endpoint.url.startswith("https:") for endpoint in self._endpoints),
                trust_env=False,
                # One connection per POST: a receiver may close an idle connection as the next POST is sent, and may
                # serve only one connection at a time.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            )
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._endpoints:
            await self._client.aclose()
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def publish(self, events: Iterable[Event], at: int) -> None:
        """Start to send events that happened at an instant, without waiting."""
        if not self._endpoints:
            return
        for event in events:
            event_id = f"evt_{secrets.token_hex(12)}"
            document: JsonObject = {
                "id": event_id,
                "type": event.type,
                "created_at": _clock.iso(at),
                "team_id": self._team_id,
                "data": {"customer": event.customer.model_dump(mode="json")},
            }
            payload = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
            for endpoint in self._endpoints:
                delivery = Delivery(
                    id=f"dlv_{secrets.token_hex(12)}",
                    event_id=event_id,
                    event_type=event.type,
                    customer_id=event.customer.id,
                    url=endpoint.url,
                    webhook_id=endpoint.webhook_id,
                    payload=payload,
                )
                with self._changed:
                    self._deliveries[delivery.id] = delivery
                lock = self._locks.setdefault((endpoint.url, event.customer.id), asyncio.Lock())
                task = asyncio.create_task(self._deliver(endpoint, delivery, lock))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def clear(self) -> None:
        """Remove all deliveries, and cancel those that are pending."""
        for task in self._tasks:
            task.cancel()
        with self._changed:
            self._deliveries.clear()
            self._finished.clear()
            self._changed.notify_all()

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The pending deliveries and the newest finished ones, oldest first. Any thread may read them."""
        with self._changed:
            return tuple(self._deliveries.values())

    def wait_until_settled(self, timeout: float) -> tuple[Delivery, ...]:
        """Block for at most `timeout` seconds until no delivery is pending. Do not call it on the event loop.

        Raises:
            TimeoutError: Deliveries are still pending. The message has their number, URLs and last errors. If the
                sandbox has stopped, it is raised at once.
        """
        deadline = _clock.real_time() + timeout  # not Condition.wait_for(), whose clock a test can freeze
        with self._changed:
            while len(self._deliveries) > len(self._finished):
                remaining = deadline - _clock.real_time()
                if self._stopped or remaining <= 0:
                    when = "after the sandbox has stopped" if self._stopped else f"after {timeout:g} s"
                    raise TimeoutError(_describe_pending(self._deliveries.values(), when))
                self._changed.wait(remaining)
            return tuple(self._deliveries.values())

    async def _deliver(self, endpoint: Endpoint, delivery: Delivery, lock: asyncio.Lock) -> None:
        async with lock:
            for number, delay in enumerate((*RETRY_DELAYS, None), start=1):
                async with endpoint.slots:
                    attempt = await self._attempt(endpoint, delivery, number)
                outcome: Outcome = "delivered" if attempt.error is None else "pending" if delay else "failed"
                delivery = replace(delivery, outcome=outcome, attempts=(*delivery.attempts, attempt))
                event, result = f"{delivery.event_type} {delivery.event_id}", attempt.error or attempt.status
                next_step = {"delivered": "", "pending": f", retry in {delay} s", "failed": ", given up"}[outcome]
                details = f"attempt {number}, {attempt.duration * 1000:.1f} ms"
                _log.info(f"webhook {event} to {delivery.url}: {result} ({details}){next_step}")
                self._update(delivery)
                if outcome == "delivered":
                    return
                if delay:
                    await self._sleep(delay)

    async def _attempt(self, endpoint: Endpoint, delivery: Delivery, number: int) -> DeliveryAttempt:
        now, started = self._clock(), _clock.real_time()
        timestamp = str(now // _clock.SECOND)  # of this attempt, because receivers reject an old one as a replay
        signed = f"{timestamp}.".encode() + delivery.payload
        signature = f"t={timestamp},v1={hmac.new(self._secret.encode(), signed, hashlib.sha256).hexdigest()}"
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "cStar-Webhooks/1.0 (sandbox)",
            "X-Signature": signature,
            "X-Event-Type": delivery.event_type,
            "X-Event-ID": delivery.event_id,
            "X-Webhook-ID": delivery.webhook_id,
            "X-Timestamp": timestamp,
            "X-Delivery-Attempt": str(number),
        }
        status = error = None
        try:
            # httpx's timeouts begin again with every packet; asyncio.wait_for() can lose a cancel() before Python 3.12.
            with anyio.fail_after(RESPONSE_TIMEOUT):
                post = self._client.stream(
                    "POST", endpoint.url, content=delivery.payload, headers=headers, auth=endpoint.credentials
                )
                async with post as response:
                    size = 0
                    async for chunk in response.aiter_raw():  # let the receiver send its response, up to a limit
                        if (size := size + len(chunk)) > MAX_RESPONSE_SIZE:
                            break
            status = response.status_code
            error = None if response.is_success else f"status {status}"
        except TimeoutError:
            error = f"no response within {RESPONSE_TIMEOUT:g} s"
        except Exception as failure:  # not only httpx's: an invalid host name is a UnicodeError
            error = _reason(failure)
        return DeliveryAttempt(_clock.moment(now), signature, status, error, _clock.real_time() - started)

    def _update(self, delivery: Delivery) -> None:
        with self._changed:
            self._deliveries[delivery.id] = delivery
            if delivery.outcome != "pending":
                self._finished.append(delivery.id)
                if len(self._finished) > MAX_FINISHED_DELIVERIES:
                    del self._deliveries[self._finished.popleft()]
                self._changed.notify_all()


@dataclass(frozen=True)
class Endpoint:
    """A configured URL; `url` may be logged, `credentials` may not."""

    url: str
    credentials: tuple[str, str] | None = field(repr=False)
    webhook_id: str
    slots: asyncio.Semaphore  # per URL, so that a receiver that hangs does not delay the others


def endpoints(urls: Sequence[str]) -> list[Endpoint]:
    """Parse webhook URLs.

    Raises:
        ValueError: A URL is not absolute, not http or https, or a duplicate.
    """
    found = {endpoint.url: endpoint for endpoint in map(_endpoint, urls)}
    if len(found) < len(urls):
        raise ValueError(f"A webhook URL is given twice. The distinct URLs are {', '.join(found)}.")
    return list(found.values())


def _endpoint(url: str) -> Endpoint:
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host or (parsed.port or 0) > 65535:
        harmless = url.rpartition("@")[2]  # without a password
        message = "is not an absolute URL with http or https, such as http://127.0.0.1:8000/webhooks."
        raise ValueError(f"The webhook URL {harmless!r} {message}")
    # Without the credentials, because httpx logs URLs.
    shown = str(parsed.copy_with(userinfo=b"", fragment=None))
    credentials = (parsed.username, parsed.password) if parsed.userinfo else None
    webhook_id = f"wh_{hashlib.sha256(shown.encode()).hexdigest()[:24]}"
    return Endpoint(shown, credentials, webhook_id, asyncio.Semaphore(CONCURRENT_POSTS))


def _reason(failure: Exception) -> str:
    """Describe why there was no response. httpx wraps the cause in several exceptions."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if isinstance(cause, (ConnectionResetError, anyio.BrokenResourceError)):
            return "connection reset"
        members: Sequence[BaseException] = getattr(cause, "exceptions", ())  # Python 3.10 has no ExceptionGroup
        cause = members[0] if members else cause.__cause__ or cause.__context__
    return str(failure).rstrip(".") or type(failure).__name__


def _describe_pending(deliveries: Iterable[Delivery], when: str) -> str:
    pending = [each for each in deliveries if each.outcome == "pending"]
    errors = [f"last attempt: {each.attempts[-1].error}" if each.attempts else "no attempt yet" for each in pending]
    counts = Counter(f"to {each.url} ({error})" for each, error in zip(pending, errors, strict=True))
    where = "; ".join(f"{count} {target}" for target, count in counts.items())
    subject = "delivery is" if len(pending) == 1 else "deliveries are"
    return f"{len(pending)} webhook {subject} still pending {when}: {where}."
