"""The page at the sandbox's root: what it holds and what happens in it, for a person to watch.

Pure functions make the HTML; the browser's part, in `_page.js`, asks for the page again once a second and takes over
what has changed. What the page shows was sent by anybody, so nothing gets into it unescaped: only `Html` counts as
markup, and every other text is escaped where it is put into an element.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from string import Template
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from cstar.sandbox import _clock
from cstar.sandbox._control import CONTROL_PATH
from cstar.sandbox._faults import fault_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from cstar.sandbox._faults import Fault
    from cstar.sandbox._models import Customer
    from cstar.sandbox._request_log import ReceivedRequest
    from cstar.sandbox._services import Services
    from cstar.sandbox._webhooks import Delivery, DeliveryAttempt

_CUSTOMERS = 25
_REQUESTS = 50
_DELIVERIES = 50
_BODY_CHARACTERS = 4000  # of each body; a page of bodies of 1 MiB would not be one that a browser likes to read

# What browsers ask of any server on this machine. It is not the doing of the client that is watched.
_ASKED_BY_BROWSERS = ("/favicon.ico", "/.well-known/appspecific/com.chrome.devtools.json")

# A key belongs into the Authorization header, which the journal masks; it may have been sent elsewhere by mistake.
_SECRET = re.compile(r"([sp]k_(?:live|test)_|whsec_)[A-Za-z0-9_-]{8,}")
_TIME = "%H:%M:%S"
_DAY_AND_TIME = "%Y-%m-%d %H:%M"

_SENTIMENT_TONES = {"happy": "good", "frustrated": "warning", "angry": "bad"}
_OUTCOME_TONES = {"delivered": "good", "pending": "warning", "failed": "bad"}
_PHRASES: dict[int | None, str] = {status.value: status.phrase for status in HTTPStatus}
_STATUS_TONES = {2: "good", 3: "accent", 4: "warning", 5: "bad"}


@dataclass(frozen=True)
class State:
    """What the page shows: of each kind the newest, newest first, and how many there are."""

    base_path: str
    team_id: str
    faults: Sequence[Fault]
    requests: Sequence[ReceivedRequest]
    request_count: int
    customers: Sequence[Customer]
    customer_count: int
    deliveries: Sequence[Delivery]
    delivery_count: int


class Html(str):
    """Text that is markup already, and not to be escaped."""

    __slots__ = ()


def page_routes(services: Services, base_path: str) -> list[Route]:
    """The page, which tells of the API at `base_path`, and nothing at what else a browser asks for."""
    versions = _Versions()

    async def page(request: Request) -> Response:
        state = _state(services, base_path)
        version = versions.of(state)
        headers = {**_headers(), "ETag": version}
        if request.headers.get("If-None-Match") == version:
            return Response(status_code=304, headers=headers)
        document = render(state, str(request.base_url).rstrip("/"), version=version, now=datetime.now(timezone.utc))
        # What JSON says in escapes may be no text that can be encoded.
        return Response(document.encode(errors="replace"), media_type="text/html", headers=headers)

    async def nothing(_request: Request) -> Response:
        return Response(status_code=404)

    return [Route("/", page), *(Route(path, nothing) for path in _ASKED_BY_BROWSERS)]


def render(state: State, root: str, *, version: str, now: datetime) -> str:
    """The whole page.

    Args:
        state: What to show.
        root: Where the sandbox is, such as `http://127.0.0.1:4010`.
        version: What to call this state; the browser's part sends it back to ask for another.
        now: When the state was as it is.
    """
    page = Template(_asset("_page.html")).substitute(
        style=_asset("_page.css"),
        script=_asset("_page.js"),
        version=html.escape(version),
        now=_time(now, _TIME),
        facts=_facts(state, root),
        contents=_contents(state),
        faults=_faults(state, root),
        requests=_requests(state, root),
        customers=_customers(state),
        deliveries=_deliveries(state),
    )
    return _SECRET.sub(r"\1***", page)


def element(name: str, *content: str, **attributes: str) -> Html:
    """An HTML element; its attributes, and its content where that is not `Html`, are escaped.

    In the names of attributes, `_` stands for `-`, and at the end for nothing: `class_="tags"`, `aria_hidden="true"`.
    """
    opening = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items()
    )
    inside = "".join(text if isinstance(text, Html) else html.escape(text, quote=False) for text in content)
    return Html(f"<{name}{opening}>{inside}</{name}>")


class _Versions:
    """A name for each state that follows another, so that one who has seen the latest need not be sent it again."""

    def __init__(self) -> None:
        self._start = secrets.token_hex(4)  # or the same number might mean something else after a restart
        self._count = 0
        self._latest: State | None = None

    def of(self, state: State) -> str:
        if state != self._latest:
            self._latest = state
            self._count += 1
        return f'"{self._start}-{self._count}"'


def _state(services: Services, base_path: str) -> State:
    customers, customer_count = services.store.customers({}, page_size=_CUSTOMERS)
    requests, deliveries = services.request_log.requests(), services.webhooks.deliveries
    return State(
        base_path=base_path,
        team_id=services.store.credentials.team_id,
        faults=tuple(services.faults),
        requests=requests[: -_REQUESTS - 1 : -1],
        request_count=len(requests),
        customers=customers,
        customer_count=customer_count,
        deliveries=deliveries[: -_DELIVERIES - 1 : -1],
        delivery_count=len(deliveries),
    )


@functools.cache
def _asset(name: str) -> str:
    from importlib import resources  # takes longer to import than all else here, and not every sandbox is watched

    return resources.files("cstar.sandbox").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _headers() -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "style-src": _source(_asset("_page.css")),
        "script-src": _source(_asset("_page.js")),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{directive} {source}" for directive, source in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def _source(asset: str) -> str:
    """An inline script or style as a source that a Content-Security-Policy allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(asset.encode()).digest()).decode()}'"


def _facts(state: State, root: str) -> Html:
    facts = {"Base URL": root + state.base_path, "Team": state.team_id}
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", element("code", fact))) for name, fact in facts.items()),
        class_="facts",
    )


def _contents(state: State) -> Html:
    """Links to the sections, for screens on which these stand one below the other."""
    return element(
        "nav",
        element("a", f"Requests {state.request_count:,}", href="#requests"),
        element("a", f"Customers {state.customer_count:,}", href="#customers"),
        element("a", f"Deliveries {state.delivery_count:,}", href="#deliveries"),
        aria_label="Sections",
    )


def _faults(state: State, root: str) -> Html:
    if not state.faults:
        return Html()
    return element(
        "section",
        element("h2", "Faults in wait", id="faults-title"),
        element("ul", *map(_fault, state.faults)),
        element("p", "Clear with ", element("code", f"curl -X DELETE {root}{CONTROL_PATH}/faults")),
        id="faults",
        aria_labelledby="faults-title",
    )


def _fault(fault: Fault) -> Html:
    details = fault_json(fault)
    kind = _badge(str(details.pop("kind")), "bad")
    return element("li", kind, *(element("code", element("i", name), f" {value}") for name, value in details.items()))


def _requests(state: State, root: str) -> Html:
    hint = _hint(
        "Nothing has arrived yet. Send a first request, with the API key that was printed at the start:",
        f"export CSTAR_BASE_URL={root}{state.base_path}\n"
        f"export CSTAR_TEAM_ID={state.team_id}\n"
        "export CSTAR_API_KEY=…\n"
        'curl $CSTAR_BASE_URL/auth/whoami -H "Authorization: Bearer $CSTAR_API_KEY"',
    )
    rows = [_request(request, key, state) for request, key in zip(state.requests, _keys(state.requests), strict=True)]
    columns = ("Time", "Status", "Method", "Path", "Duration")
    return _panel("requests", "Requests", state.request_count, columns, rows, hint)


def _request(request: ReceivedRequest, key: str, state: State) -> Html:
    return element(
        "tr",
        element("td", _time(request.at, _TIME), class_="time"),
        element("td", _status(request.status), class_="status"),
        element("td", element("code", request.method), class_="method"),
        element("td", _request_details(request, state), class_="what"),
        element("td", _milliseconds(request.duration), class_="duration"),
        id=key,
    )


def _request_details(request: ReceivedRequest, state: State) -> Html:
    target = f"{request.path}?{request.query}" if request.query else request.path
    marks: list[Html] = []
    if request.replayed:
        marks.append(_badge("replayed", "accent"))
    if request.fault:
        marks.append(_badge(f"fault: {request.fault}", "bad"))
    headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    return element(
        "details",
        element("summary", _path(target, f"{state.base_path}/teams/{state.team_id}"), *marks),
        _listing(f"Request {request.request_id or ''}", f"{request.method} {target}\n{headers}"),
        _body("Body", request.body),
    )


def _path(target: str, team: str) -> Html:
    """A path in full, with what is the same in most of them marked, so that it can step back."""
    if not target.startswith(team):
        return element("code", target)
    return element("code", element("span", team, class_="team"), target[len(team) :])


def _keys(requests: Sequence[ReceivedRequest]) -> list[str]:
    """An id for each request that it keeps when others come and go; a clock may give several the same instant."""
    seen, keys = Counter[int](), list[str]()
    for request in reversed(requests):
        instant = _clock.instant(request.at)
        seen[instant] += 1
        keys.append(f"request-{instant}-{seen[instant]}")
    return keys[::-1]


def _customers(state: State) -> Html:
    hint = _hint(
        "There are no customers yet. Start the sandbox with --customers 500 for demo ones, or create the first:",
        "curl $CSTAR_BASE_URL/teams/$CSTAR_TEAM_ID/customers \\\n"
        '  -H "Authorization: Bearer $CSTAR_API_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        """  -d '{"name": "Ada Lovelace", "email": "ada@example.com"}'""",
    )
    rows = [_customer(customer) for customer in state.customers]
    columns = ("Customer", "Status", "Sentiment", "Tags", "Tickets", "Created")
    return _panel("customers", "Customers", state.customer_count, columns, rows, hint)


def _customer(customer: Customer) -> Html:
    return element(
        "tr",
        element("th", element("b", customer.name), element("span", customer.email), class_="who", scope="row"),
        element("td", _badge(customer.status, "good" if customer.status == "active" else "plain"), class_="status"),
        element("td", _badge(customer.sentiment, _SENTIMENT_TONES.get(customer.sentiment, "plain")), class_="mood"),
        element("td", *(_badge(tag, "plain") for tag in customer.tags), class_="tags"),
        element("td", f"{customer.ticket_count:,}", class_="tickets"),
        element("td", _time(customer.created_at, _DAY_AND_TIME), class_="time"),
        id=customer.id,
    )


def _deliveries(state: State) -> Html:
    hint = _hint(
        "Nothing was delivered yet. Start the sandbox with the URL of a receiver, which then gets every change:",
        "python -m cstar.sandbox --webhook-url http://127.0.0.1:8000/webhooks",
    )
    rows = [_delivery(delivery) for delivery in state.deliveries]
    columns = ("Outcome", "Event, customer and URL", "Attempts")
    return _panel("deliveries", "Webhook deliveries", state.delivery_count, columns, rows, hint)


def _delivery(delivery: Delivery) -> Html:
    return element(
        "tr",
        element("td", _badge(delivery.outcome, _OUTCOME_TONES[delivery.outcome]), class_="status"),
        element("td", _delivery_details(delivery), class_="what"),
        element("td", _attempts(delivery), class_="attempts"),
        id=delivery.id,
    )


def _delivery_details(delivery: Delivery) -> Html:
    attempts = [
        f"{_local(attempt.at, _TIME)} {_result(attempt)}, {_milliseconds(attempt.duration)}"
        for attempt in delivery.attempts
    ]
    return element(
        "details",
        element(
            "summary",
            element("b", delivery.event_type),
            element("code", delivery.customer_id),
            element("code", delivery.url),
        ),
        _listing(f"Delivery {delivery.id} of {delivery.event_id}", "\n".join(attempts) or "no attempt yet"),
        _body("Payload", delivery.payload),
    )


def _attempts(delivery: Delivery) -> str:
    count = len(delivery.attempts)
    if count == 0:
        return "none yet"
    result = _result(delivery.attempts[-1])
    return result if count == 1 else f"{count}, last: {result}"


def _result(attempt: DeliveryAttempt) -> str:
    return attempt.error or _named(attempt.status)


def _panel(name: str, title: str, count: int, columns: Sequence[str], rows: Sequence[Html], hint: Html) -> Html:
    """A section with a table of what there is, or with a hint if there is nothing."""
    extent = "" if len(rows) == count else f", the newest {len(rows)}"
    heading = element("h2", title, " ", element("small", f"{count:,}{extent}"), id=f"{name}-title")
    head = element("thead", element("tr", *(element("th", column, scope="col") for column in columns)))
    table = element("table", element("caption", f"{title}, newest first"), head, element("tbody", *rows))
    # Where it scrolls by itself, it must be possible to scroll it with the keyboard.
    content = element("div", table, class_="scroll", tabindex="0", role="region", aria_labelledby=f"{name}-title")
    return element("section", heading, content if rows else hint, id=name, aria_labelledby=f"{name}-title")


def _hint(text: str, commands: str) -> Html:
    return element("div", element("p", text), element("pre", commands), class_="hint")


def _listing(title: str, text: str) -> Html:
    return element("figure", element("figcaption", title), element("pre", text))


def _body(title: str, body: bytes) -> Html:
    if not body:
        return Html()
    text = body.decode(errors="replace")
    if len(text) > _BODY_CHARACTERS:
        return _listing(f"{title}, the first {_BODY_CHARACTERS:,} of {len(text):,} characters", text[:_BODY_CHARACTERS])
    return _listing(title, _indented(text))


def _indented(text: str) -> str:
    """JSON on lines of its own, if that changes nothing but white space; any other text as it is."""
    try:
        indented = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
    return indented if "".join(indented.split()) == "".join(text.split()) else text


def _status(status: int | None) -> Html:
    if status is None:
        return _badge("dropped", "bad")
    return element(
        "span", str(status), class_=f"badge {_STATUS_TONES.get(status // 100, 'plain')}", title=_named(status)
    )


def _named(status: int | None) -> str:
    return f"{status} {_PHRASES.get(status, '')}".rstrip()


def _badge(text: str, tone: str) -> Html:
    return element("span", text, class_=f"badge {tone}")


def _time(moment: datetime, shown: str) -> Html:
    return element("time", _local(moment, shown), datetime=moment.isoformat())


def _local(moment: datetime, shown: str) -> str:
    """A time on the clock of this machine, as in the lines that the sandbox logs."""
    return moment.astimezone().strftime(shown)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.{0 if seconds >= 0.1 else 1}f} ms"
