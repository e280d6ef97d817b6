"""The parts of a running sandbox, as the HTTP endpoints use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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
    reset: Callable[[], None]
