"""Errors of the API, and the table of their codes."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

# The status and the type of each code. An injected error has the first code with its status.
ERROR_CODES: dict[str, tuple[int, str]] = {
    "parameter_invalid": (400, "invalid_request_error"),
    "parameter_missing": (400, "invalid_request_error"),
    "invalid_api_key": (401, "authentication_error"),
    "authentication_required": (401, "authentication_error"),
    "invalid_key_format": (401, "authentication_error"),
    "insufficient_permissions": (403, "authentication_error"),
    "publishable_key_write": (403, "authentication_error"),
    "team_access_denied": (403, "authentication_error"),
    "resource_missing": (404, "not_found_error"),
    "method_not_allowed": (405, "invalid_request_error"),
    "resource_already_exists": (409, "invalid_request_error"),
    "idempotency_key_reused": (409, "invalid_request_error"),
    "request_too_large": (413, "invalid_request_error"),
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "internal_error": (500, "api_error"),
    "service_unavailable": (503, "api_error"),
}


class ApiError(Exception):
    """Raised to reject a request. The API converts it to the response."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.status, self.type = ERROR_CODES[code]
        challenge = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        self.headers = {**(headers or {}), **challenge}
        self.doc_url = f"https://www.cstar.help/docs/api/errors#{code}"


def injected_error(status: int, headers: Mapping[str, str]) -> ApiError:
    """Return the error for a fault with a status of 400 or more."""
    default = "internal_error" if status >= 500 else "parameter_invalid"
    code = next((code for code, (code_status, _) in ERROR_CODES.items() if code_status == status), default)
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    error = ApiError(code, f"The sandbox injected this error: {status} {phrase}".rstrip() + ".", headers=headers)
    error.status = status
    return error
