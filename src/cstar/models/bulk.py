"""The results of calls about many resources at a time."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from pydantic import Field, model_validator
from typing_extensions import NotRequired, TypedDict

from cstar._types import Json
from cstar.models._base import Model
from cstar.models.customer import Customer, CustomerSentiment, CustomerStatus


class BulkError(Model):
    """Why one id or record of a bulk call failed. The API does not document these fields, so each may be `None`.

    Attributes:
        index: The position of the id or record in your input, from 0.
        id: The id of the customer.
        email: The email address of the customer.
        code: The server's code, such as `"resource_missing"`.
        message: What the server said.
    """

    index: int | None = None
    id: str | None = None
    email: str | None = None
    code: str | None = None
    message: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the server sent
        return {"message": value} if isinstance(value, str) else value


class BulkResult(Model):
    """The result of `bulk_update` or `bulk_delete`: the sum over all requests.

    Attributes:
        total: The number of ids.
        succeeded: The number of customers that were changed or deleted.
        failed: The number of ids that failed.
        errors: Why they failed.
    """

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    errors: list[BulkError] = Field(default_factory=list[BulkError])


class ImportResult(Model):
    """The result of `bulk_import`: the sum over all requests.

    Attributes:
        total: The number of records.
        created: The number of customers that were created.
        updated: The number of customers that existed and were changed.
        skipped: The number of customers that existed and were left as they were.
        errors: Why the other records failed.
    """

    total: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    errors: list[BulkError] = Field(default_factory=list[BulkError])


class CustomerExport(Model):
    """The result of `export`.

    Attributes:
        total_rows: The number of customers, as the server counts them.
        customers: The customers, newest first; at most 10,000.
    """

    total_rows: int = 0
    customers: list[Customer] = Field(default_factory=list[Customer])

    def __iter__(self) -> NoReturn:
        raise TypeError("an export is not iterable: iterate its .customers")


class CustomerRecord(TypedDict):
    """A record of `bulk_import`: the fields of `create`.

    Attributes:
        name: Display name.
        email: Email address, unique in the team.
        sentiment: `"happy"`, `"neutral"` (the server's default), `"frustrated"` or `"angry"`.
        status: `"active"` (the server's default) or `"inactive"`.
        tags: Tags.
        notes: Internal notes.
        custom_fields: Custom data: any JSON values.
        metadata: Developer metadata: at most 50 keys of at most 40 characters, values of at most 500.
    """

    name: str
    email: str
    sentiment: NotRequired[CustomerSentiment | None]
    status: NotRequired[CustomerStatus | None]
    tags: NotRequired[list[str] | tuple[str, ...] | None]
    notes: NotRequired[str | None]
    custom_fields: NotRequired[dict[str, Json] | None]
    metadata: NotRequired[dict[str, str] | None]


class Upserted(NamedTuple):
    """The result of `upsert`.

    Attributes:
        customer: The customer as it is now.
        created: Whether it was created; `False` if it existed and was updated.
    """

    customer: Customer
    created: bool
