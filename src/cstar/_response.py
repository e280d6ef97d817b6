"""An answer with its status and headers, for those who need more than the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from cstar._codec import rate_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from cstar._codec import Answer
    from cstar.models import RateLimit

T = TypeVar("T")


class RawResponse(Generic[T]):
    """What `with_raw_response` returns: the answer as it came, and `parse()` for the model.

    Attributes:
        status_code: The HTTP status.
        headers: The HTTP headers; names in any case.
        content: The body's bytes, decompressed.
        attempts: How many times the call was sent.
    """

    def __init__(self, answer: Answer, parse: Callable[[Answer], T]) -> None:
        self.status_code: int = answer.status_code
        self.headers: httpx.Headers = answer.headers
        self.content: bytes = answer.content
        self.attempts: int = answer.attempts
        self._answer = answer
        self._parse = parse

    @property
    def request_id(self) -> str | None:
        """The server's name for this request, for a support ticket."""
        return self._answer.request_id

    @property
    def rate_limit(self) -> RateLimit | None:
        """Where the key stood at this answer; `None` where the answer does not say."""
        return rate_limit(self.headers)

    def parse(self) -> T:
        """What the call without `with_raw_response` would have returned.

        Returns:
            The model, or the page.

        Raises:
            APIResponseValidationError: The body is not what the API documents.

        Example:
            ```python
            response = client.customers.with_raw_response.get(team_id, customer_id)
            print(response.request_id, response.parse().name)
            ```
        """
        return self._parse(self._answer)

    def __repr__(self) -> str:
        return f"<RawResponse {self.status_code}, request {self.request_id}, attempts {self.attempts}>"
