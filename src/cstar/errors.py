"""Everything this library raises, as one tree under `CstarError`.

Every error survives `pickle` with its attributes (a task queue can carry it from worker to caller) and none holds the
API key. `str(error)` is a sentence for a person; the attributes are for programs.
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
    """The base of every error this library raises.

    Attributes:
        message: A sentence for a person.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message: str = message


class ConfigurationError(CstarError, ValueError):
    """The client cannot be built from these options: no key, a malformed key, a live key over plain http."""


class InvalidParameterError(CstarError, ValueError):
    """A parameter was refused before anything was sent.

    Attributes:
        param: The parameter's name as you wrote it, with the place inside it where there is one
            (`"metadata"`, `"custom_fields.plan.price"`, `"records[17].email"`).
        partial: The result so far, if a bulk call had sent requests before it drew an invalid item; otherwise `None`.
        idempotency_key: The key of that bulk call.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param: str | None = param
        self.partial: BulkResult | ImportResult | None = None
        self.idempotency_key: str | None = None


class WebhookSignatureError(CstarError):
    """A webhook delivery is not proven to come from cStar, or is an old one; the message says what to check."""


class WebhookPayloadError(CstarError):
    """A webhook delivery comes from cStar, but is not a JSON object, or is nested too deeply."""


class APIError(CstarError):
    """A call was sent and did not succeed.

    Attributes:
        attempts: How many times the call was sent.
        idempotency_key: The Idempotency-Key that was sent, `None` for a read. Sending the same call with it later is
            safe: the server acts on it once at most within 24 hours.
        partial: The result so far, if the error ended a bulk call; otherwise `None`. The same bulk call with the same
            `idempotency_key` and input goes on, and repeats nothing.
    """

    def __init__(self, message: str, *, attempts: int = 1, idempotency_key: str | None = None) -> None:
        super().__init__(message)
        self.attempts: int = attempts
        self.idempotency_key: str | None = idempotency_key
        self.partial: BulkResult | ImportResult | None = None


class APIConnectionError(APIError):
    """No response was received: the server could not be reached, or the connection was lost.

    Attributes:
        was_sent: Whether an attempt may have reached the server: then a write may have been carried out. `False` means
            that no attempt got as far as sending anything.
    """

    def __init__(
        self, message: str, *, was_sent: bool = True, attempts: int = 1, idempotency_key: str | None = None
    ) -> None:
        super().__init__(message, attempts=attempts, idempotency_key=idempotency_key)
        self.was_sent: bool = was_sent


class APITimeoutError(APIConnectionError):
    """No response was received within `timeout` or `deadline`; the message says which.

    A write may have been carried out: see `was_sent`.
    """


class APIResponseValidationError(APIError):
    """The response cannot be read: it is not JSON, or not what the call returns. A write was probably carried out.

    Attributes:
        status_code: The HTTP status.
        headers: The HTTP headers, with their names in lower case.
        body: The answer: JSON where it was JSON, otherwise text.
        request_id: The server's name for this request, for a support ticket.
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
        self.headers: dict[str, str] = dict(headers or {})
        self.body: pydantic.JsonValue = body
        self.request_id: str | None = request_id


class APIStatusError(APIError):
    """The server answered with an error status. Statuses without a class of their own raise this one.

    Attributes:
        status_code: The HTTP status.
        type: The server's kind of error, such as `"invalid_request_error"`.
        code: The server's code, such as `"parameter_missing"`.
        message: What the server said (`str(error)` says what failed as well).
        param: The parameter the server objects to, in the API's spelling (`"customFields"`): its `param` or `field`.
        doc_url: The page about this code.
        request_id: The server's name for this request, for a support ticket.
        headers: The HTTP headers, with their names in lower case.
        body: The answer: JSON where it was JSON, otherwise text.
        retry_after: Seconds that the server asks to wait before the next attempt: its Retry-After, or until the reset
            of the rate limit if that is used up; `None` where it asks for no wait.
    """

    status_code: int = 0

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
        self.code: str | None = code
        if server_message is not None:
            self.message = server_message
        self.param: str | None = param
        self.doc_url: str | None = doc_url
        self.request_id: str | None = request_id
        self.headers: dict[str, str] = dict(headers or {})
        self.body: pydantic.JsonValue = body
        self.retry_after: float | None = retry_after


class BadRequestError(APIStatusError):
    """400: the server refused a parameter; `param` says which."""

    status_code = 400


class AuthenticationError(APIStatusError):
    """401: the API key is missing, unknown or expired."""

    status_code = 401


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this: it is publishable (read-only), of another team, or lacks the permission."""

    status_code = 403


class NotFoundError(APIStatusError):
    """404: there is no such resource, or no such endpoint."""

    status_code = 404


class ConflictError(APIStatusError):
    """409: another resource has the value, such as an email address, or another call had the idempotency key."""

    status_code = 409


class UnprocessableEntityError(APIStatusError):
    """422: the request was understood and cannot be carried out as it is."""

    status_code = 422


class RateLimitError(APIStatusError):
    """429: the key's requests for this window are used up; `retry_after` says for how long."""

    status_code = 429


class InternalServerError(APIStatusError):
    """5xx: the server, or a proxy before it, failed. A write may have been carried out."""

    status_code = 500
