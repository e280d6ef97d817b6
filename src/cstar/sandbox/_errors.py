"""Errors of the API, and the table of their codes."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

# The status and the type of each code.
ERROR_CODES: dict[str, tuple[int, str]] = {
    "authentication_required": (401, "authentication_error"),
    "idempotency_key_reused": (409, "invalid_request_error"),
    "insufficient_permissions": (403, "authentication_error"),
    "internal_error": (500, "api_error"),
    "invalid_api_key": (401, "authentication_error"),
    "invalid_key_format": (401, "authentication_error"),
    "method_not_allowed": (405, "invalid_request_error"),
    "parameter_invalid": (400, "invalid_request_error"),
    "parameter_missing": (400, "invalid_request_error"),
    "publishable_key_write": (403, "authentication_error"),
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "request_too_large": (413, "invalid_request_error"),
    "resource_already_exists": (409, "invalid_request_error"),
    "resource_missing": (404, "not_found_error"),
    "service_unavailable": (503, "api_error"),
    "team_access_denied": (403, "authentication_error"),
}

# The codes of injected errors; other statuses have a general one.
_CODE_OF_STATUS: dict[int, str] = {
    401: "invalid_api_key",
    403: "insufficient_permissions",
    404: "resource_missing",
    405: "method_not_allowed",
    409: "resource_already_exists",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
}


class ApiError(Exception):
    """A request is rejected; the API makes the response from it."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})
        self.status, self.type = ERROR_CODES[code]
        self.doc_url = f"https://www.cstar.help/docs/api/errors#{code}"


def injected(status: int, headers: Mapping[str, str]) -> ApiError:
    """The error that the API would respond with for a status from 400 on."""
    code = _CODE_OF_STATUS.get(status, "internal_error" if status >= 500 else "parameter_invalid")
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    error = ApiError(code, f"The sandbox was told to respond with {status} {phrase}".rstrip() + ".", headers=headers)
    error.status = status
    return error
