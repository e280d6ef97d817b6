"""A local cStar API to develop and test against: an HTTP server on loopback that stores its data in SQLite.

    from cstar import Cstar
    from cstar.sandbox import Sandbox

    with Sandbox() as box:
        client = Cstar(api_key=box.api_key, base_url=box.url)
        page = client.customers.list(box.team_id)

It implements the documented customers API. It shares no code with the client, so the two cannot share a mistake.
"""

from __future__ import annotations

try:
    from cstar.sandbox._faults import Fault, FaultKind, Faults
    from cstar.sandbox._request_log import ReceivedRequest
    from cstar.sandbox._sandbox import Sandbox
    from cstar.sandbox._webhooks import Delivery, DeliveryAttempt
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] not in {"markupsafe", "starlette", "uvicorn"}:
        raise
    raise ImportError(
        "cstar.sandbox needs the extra 'sandbox', which brings Starlette, uvicorn and Jinja2. Install cstar[sandbox] "
        "from the project's repository, as its README says: on PyPI, the name cstar belongs to another project.",
        name=_missing.name,
    ) from None

__all__ = ["Delivery", "DeliveryAttempt", "Fault", "FaultKind", "Faults", "ReceivedRequest", "Sandbox"]
