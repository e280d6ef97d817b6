"""The services of a running sandbox, and their reset."""

from __future__ import annotations

from dataclasses import dataclass

from cstar.sandbox._api import Api
from cstar.sandbox._faults import Faults
from cstar.sandbox._request_log import RequestLog
from cstar.sandbox._store import Store
from cstar.sandbox._webhooks import Webhooks


@dataclass(frozen=True)
class Services:
    store: Store
    api: Api
    faults: Faults
    request_log: RequestLog
    webhooks: Webhooks
    customers: int

    async def reset(self) -> None:
        """Delete all data and add the demo customers, between two requests."""
        self.api.reset(self.customers)
        self.faults.clear()
        self.request_log.clear()
        self.webhooks.clear()
