"""The page at the sandbox's root, which shows its requests, customers, deliveries and faults in a browser.

This module prepares the data; the markup is the template `_page.html`. In the browser, `_page.js` requests the page
once a second and updates the elements that have changed. The template escapes every value, because most values come
from clients, and redacts API keys and webhook secrets.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from datetime import datetime, timezone
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cstar.sandbox._control import CONTROL_PATH
from cstar.sandbox._faults import fault_json
from cstar.sandbox._request_log import redact
from cstar.sandbox._services import Services

if TYPE_CHECKING:
    from jinja2 import Template  # imported when the page is first shown

State: TypeAlias = "dict[str, Any]"  # the variables of the template; each list begins with its newest item

_MAX_CUSTOMERS, _MAX_REQUESTS, _MAX_DELIVERIES = 25, 50, 50
_MAX_BODY = 4000  # characters of each body; browsers are slow to display many bodies of 1 MiB

# In escaped text, a line may break after punctuation, but not within a number, an IP address or a customer id.
_PUNCTUATION = re.compile(r"(?:&amp;|[@/?=:,-]|\.(?![0-9])|_(?![0-9a-f]{20}))+")


def page_routes(services: Services, base_path: str) -> list[Route]:
    """Return the routes of the page, and a 404 for the paths that browsers request from any server."""

    async def page(request: Request) -> Response:
        search = request.query_params.get("search", "").strip()
        state = _state(services, search) | {"base_path": base_path, "root": str(request.base_url).rstrip("/")}
        version = _version(state)
        headers = {**_headers(), "ETag": version}
        if request.headers.get("If-None-Match") == version:
            return Response(status_code=304, headers=headers)
        document = template().render(state, version=version, now=datetime.now(timezone.utc))
        # A JSON escape can be a lone surrogate, which has no encoding.
        return Response(document.encode(errors="replace"), media_type="text/html", headers=headers)

    browser_paths = ("/favicon.ico", "/.well-known/appspecific/com.chrome.devtools.json")
    return [Route("/", page), *(Route(path, Response(status_code=404)) for path in browser_paths)]


def _version(state: State) -> str:
    """Return the ETag: a digest of the ids of the items, without their bodies, which may be large."""
    requests = [id(each) for each in state["requests"]]
    deliveries = [(each.id, len(each.attempts)) for each in state["deliveries"]]
    items = repr(state | {"requests": requests, "deliveries": deliveries})
    return f'"{hashlib.sha256(items.encode(errors="replace")).hexdigest()}"'


def _state(services: Services, search: str) -> State:
    customers, match_count = services.store.customers({"search": search} if search else {}, page_size=_MAX_CUSTOMERS)
    requests, deliveries = services.request_log.requests(), services.webhooks.deliveries
    return {
        "team_id": services.store.credentials.team_id,
        "search": search,
        "faults": [fault_json(fault) for fault in services.faults],
        "requests": requests[: -_MAX_REQUESTS - 1 : -1],
        "request_count": len(requests),
        "customers": customers,
        "match_count": match_count,
        "customer_count": services.store.customers({}, page_size=0)[1],
        "deliveries": deliveries[: -_MAX_DELIVERIES - 1 : -1],
        "delivery_count": len(deliveries),
    }


@functools.cache
def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@functools.cache
def _headers() -> dict[str, str]:
    style, script = (
        f"'sha256-{base64.b64encode(hashlib.sha256(_asset(name).encode()).digest()).decode()}'"
        for name in ("_page.css", "_page.js")
    )
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src {style}; script-src {script}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


@functools.cache
def template() -> Template:
    # Jinja2 takes longer to import than the rest of this module, and most sandboxes never show their page.
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_redact, trim_blocks=True)
    environment.filters.update(wbr=_wbr, indent_json=_indent_json)  # pyright: ignore[reportUnknownMemberType]
    phrases = {status.value: status.phrase for status in HTTPStatus}
    constants = {"asset": _asset, "id_of": id, "control_path": CONTROL_PATH, "max_body": _MAX_BODY, "phrases": phrases}
    return environment.from_string(_asset("_page.html"), constants)


def _redact(value: object) -> object:
    """Redact the keys and secrets in a value of the template. Markup is already redacted."""
    return redact(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _wbr(text: str) -> str:
    """Redact and escape an address, and allow line breaks after its punctuation."""
    return Markup(_PUNCTUATION.sub(r"\g<0><wbr>", str(escape(_redact(text)))))  # noqa: S704 - escaped


def _indent_json(text: str) -> str:
    """Indent JSON if that changes only white space; return any other text unchanged."""
    try:
        indented = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
    return indented if "".join(indented.split()) == "".join(text.split()) else text
