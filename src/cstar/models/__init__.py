"""The public models. `__all__` is the only list of them.

The pydantic models are imported on first access, because defining a model imports most of pydantic. That takes longer
than the rest of importing the client.
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


def _lazy(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pkgutil import iter_modules

    for file in iter_modules(__path__):
        loaded = vars(import_module(f"{__name__}.{file.name}"))
        globals().update({public: loaded[public] for public in __all__ if public in loaded})
    return globals()[name]


if not TYPE_CHECKING:  # type checkers would accept any name
    __getattr__ = _lazy


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
