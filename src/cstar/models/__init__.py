"""The public models: pydantic models, one file for each resource, and the rate limit.

`__all__` below is the only list of them. They are loaded when the first one is named: only for a model does pydantic
load most of itself, which would take longer than all else in importing the client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cstar.models.attempt import Attempt
from cstar.models.rate_limit import RateLimit

if TYPE_CHECKING:
    from cstar.models.bulk import *
    from cstar.models.customer import *
    from cstar.models.identity import *

__all__ = [
    "Attempt",
    "BulkError",
    "BulkResult",
    "Customer",
    "CustomerDetail",
    "CustomerExport",
    "CustomerRecord",
    "CustomerSentiment",
    "CustomerStatus",
    "DeletedCustomer",
    "Identity",
    "ImportResult",
    "RateLimit",
    "RecentTicket",
    "Upserted",
]

_FILES = ("bulk", "customer", "identity")


def _lazy(name: str) -> object:
    if name in __all__:
        for file in _FILES:
            loaded = vars(import_module(f"{__name__}.{file}"))
            globals().update({public: loaded[public] for public in __all__ if public in loaded})
        if name in globals():
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # to a type checker, it would be any name that is there
    __getattr__ = _lazy


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
