"""The exceptions that this library raises: one hierarchy under `CstarError`.

Every error can be pickled with its attributes, so a task queue can send it to another process. No error contains the
API key. Programs should read the attributes, not parse `str(error)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pydantic

if TYPE_CHECKING:
    from cstar.models.bulk import BulkResult, ImportResult

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "ConflictError",
    "CstarError",
    "InternalServerError",
    "InvalidParameterError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "UnprocessableEntityError",
    "WebhookPayloadError",
    "WebhookSignatureError",
]


class CstarError(Exception):
    """The base class of every error that this library raises."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message: str = message
        """The error message."""


class ConfigurationError(CstarError, ValueError):
    """The options of a client are invalid: no API key, a malformed key, a live key over plain http."""


class InvalidParameterError(CstarError, ValueError):
    """A parameter is invalid. The request was not sent."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param: str | None = param
        """The parameter, with the path to the invalid value: `"email"`, `"custom_fields.plan.price"`, `"ids[17]"`."""
        self.index: int | None = None
        """The index of the invalid item in the input of a bulk call, from 0; otherwise `None`."""
        self.partial: BulkResult | ImportResult | None = None
        """The result so far, if a bulk call had sent requests before it read the invalid item; otherwise `None`."""
        self.idempotency_key: str | None = None
        """The idempotency key of the bulk call, if it had sent requests; otherwise `None`."""


class WebhookSignatureError(CstarError):
    """The signature of a webhook delivery is missing, invalid or too old. The message says what to check."""


class WebhookPayloadError(CstarError):
    """The signature of a webhook delivery is valid, but its body is not a JSON object, or is nested too deeply."""


class APIError(CstarError):
    """The base class of errors of API calls: the call was attempted and failed."""

    def __init__(self, message: str, *, attempts: int = 1, idempotency_key: str | None = None) -> None:
        super().__init__(message)
        self.attempts: int = attempts
        """The number of attempts."""
        self.idempotency_key: str | None = idempotency_key
        """The Idempotency-Key of the call; `None` for a read.

        Repeating the call with this key is safe for 24 hours: the server performs it at most once.
        """
        self.partial: BulkResult | ImportResult | None = None
        """The result so far, if the error ended a bulk call; otherwise `None`.

        To continue, repeat the bulk call with the same `idempotency_key` and input.
        """


class APIConnectionError(APIError):
    """No response was received: the server could not be reached, or the connection was lost."""

    def __init__(
        self, message: str, *, was_sent: bool = True, attempts: int = 1, idempotency_key: str | None = None
    ) -> None:
        super().__init__(message, attempts=attempts, idempotency_key=idempotency_key)
        self.was_sent: bool = was_sent
        """Whether an attempt may have reached the server. If so, a write may have been carried out."""


class APITimeoutError(APIConnectionError):
    """No response was received within `timeout` or `deadline`; the message says which.

    A write may have been carried out: see `was_sent`.
    """


class APIResponseValidationError(APIError):
    """The response has a success status, but is not JSON or not as documented; or it is too large, with any status.

    A write was probably carried out.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int = 0,
        headers: Mapping[str, str] | None = None,
        body: pydantic.JsonValue = None,
        request_id: str | None = None,
        attempts: int = 1,
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__(message, attempts=attempts, idempotency_key=idempotency_key)
        self.status_code: int = status_code
        """The HTTP status code."""
        self.headers: dict[str, str] = dict(headers or {})
        """The HTTP headers, with lower-case names."""
        self.body: pydantic.JsonValue = body
        """The response body: parsed if it is JSON, otherwise as text."""
        self.request_id: str | None = request_id
        """The server's id of the request, for a support ticket."""


class APIStatusError(APIError):
    """The server returned an error status. The most common ones have a subclass."""

    message: str
    """The server's message. `str(error)` also names the call and the status."""

    status_code: int = 0
    """The HTTP status code."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        type: str | None = None,
        code: str | None = None,
        server_message: str | None = None,
        param: str | None = None,
        doc_url: str | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: pydantic.JsonValue = None,
        retry_after: float | None = None,
        attempts: int = 1,
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__(message, attempts=attempts, idempotency_key=idempotency_key)
        if status_code is not None:
            self.status_code = status_code
        self.type: str | None = type
        """The server's category of the error, such as `"invalid_request_error"`."""
        self.code: str | None = code
        """The server's error code, such as `"parameter_missing"`."""
        if server_message is not None:
            self.message = server_message
        self.param: str | None = param
        """The invalid parameter, in the API's spelling (`"customFields"`): the server's `param` or `field`."""
        self.doc_url: str | None = doc_url
        """The URL of the documentation of `code`."""
        self.request_id: str | None = request_id
        """The server's id of the request, for a support ticket."""
        self.headers: dict[str, str] = dict(headers or {})
        """The HTTP headers, with lower-case names."""
        self.body: pydantic.JsonValue = body
        """The response body: parsed if it is JSON, otherwise as text."""
        self.retry_after: float | None = retry_after
        """The seconds to wait before the next attempt, as requested by the server; `None` if it requests no wait.

        It is the value of `Retry-After` or, after a 429 without it, the time until the rate limit resets.
        """


class BadRequestError(APIStatusError):
    """400: a parameter is invalid; `param` names it."""

    status_code = 400


class AuthenticationError(APIStatusError):
    """401: the API key is missing, unknown or expired."""

    status_code = 401


class PermissionDeniedError(APIStatusError):
    """403: the API key is publishable (read-only), belongs to another team, or lacks the permission."""

    status_code = 403


class NotFoundError(APIStatusError):
    """404: the resource, or the endpoint, does not exist."""

    status_code = 404


class ConflictError(APIStatusError):
    """409: another resource has the same value, such as an email address, or another call used the idempotency key."""

    status_code = 409


class UnprocessableEntityError(APIStatusError):
    """422: the request is well-formed, but cannot be carried out."""

    status_code = 422


class RateLimitError(APIStatusError):
    """429: the rate limit of the API key is used up; `retry_after` is the number of seconds to wait."""

    status_code = 429


class InternalServerError(APIStatusError):
    """5xx: the server, or a proxy in front of it, failed. A write may have been carried out."""

    status_code = 500
