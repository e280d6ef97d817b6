"""A typed client for the cStar customer-support API: `Cstar`, and `AsyncCstar` for asyncio and trio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cstar import models
from cstar._client import AsyncCstar, Cstar
from cstar._pagination import AsyncPage, AsyncPaginator, AsyncRowIterator, Page, RowIterator
from cstar._response import RawResponse
from cstar._types import NOT_GIVEN, Json, ListOptions, NotGiven, QueryValue
from cstar._version import __version__
from cstar.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    CstarError,
    InternalServerError,
    InvalidParameterError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
    WebhookPayloadError,
    WebhookSignatureError,
)

if TYPE_CHECKING:
    from cstar.models import *

__all__ = [
    "NOT_GIVEN",
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncCstar",
    "AsyncPage",
    "AsyncPaginator",
    "AsyncRowIterator",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "ConflictError",
    "Cstar",
    "CstarError",
    "InternalServerError",
    "InvalidParameterError",
    "Json",
    "ListOptions",
    "NotFoundError",
    "NotGiven",
    "Page",
    "PermissionDeniedError",
    "QueryValue",
    "RateLimitError",
    "RawResponse",
    "RowIterator",
    "UnprocessableEntityError",
    "WebhookPayloadError",
    "WebhookSignatureError",
    "__version__",
]
__all__ += models.__all__


def _lazy(name: str) -> object:
    # Models are imported on first access: see `cstar.models`.
    if name in models.__all__:
        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # type checkers would accept any name
    __getattr__ = _lazy


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
