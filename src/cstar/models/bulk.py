"""The records and results of bulk calls, upserts and exports."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from pydantic import Field, model_validator
from typing_extensions import NotRequired, TypedDict

from cstar._types import Json
from cstar.models._base import Model
from cstar.models.customer import Customer, CustomerSentiment, CustomerStatus


class BulkError(Model):
    """The error of one id or record in a bulk call. The API does not document its fields, so each may be `None`."""

    index: int | None = None
    """The index of the id or record in the input of the bulk call, from 0."""

    id: str | None = None
    """The id of the customer."""

    email: str | None = None
    """The email address of the customer."""

    code: str | None = None
    """The server's error code, such as `"resource_missing"`."""

    message: str | None = None
    """The server's message."""

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:  # noqa: ANN401 - JSON of any kind
        return {"message": value} if isinstance(value, str) else value


class BulkResult(Model):
    """The result of `bulk_update` or `bulk_delete`, summed over all its requests."""

    total: int = 0
    """The number of ids."""

    succeeded: int = 0
    """The number of customers that were changed or deleted."""

    failed: int = 0
    """The number of ids that failed."""

    errors: list[BulkError] = Field(default_factory=list[BulkError])
    """The errors of the ids that failed."""


class ImportResult(Model):
    """The result of `bulk_import`, summed over all its requests."""

    total: int = 0
    """The number of records."""

    created: int = 0
    """The number of customers that were created."""

    updated: int = 0
    """The number of existing customers that were updated."""

    skipped: int = 0
    """The number of existing customers that were not changed."""

    errors: list[BulkError] = Field(default_factory=list[BulkError])
    """The errors of the records that failed."""


class CustomerExport(Model):
    """The result of `export`."""

    total_rows: int = 0
    """The number of customers, as counted by the server."""

    customers: list[Customer] = Field(default_factory=list[Customer])
    """The customers, newest first; at most 10,000."""

    def __iter__(self) -> NoReturn:
        raise TypeError("an export is not iterable: iterate over its .customers")


class CustomerRecord(TypedDict):
    """A record of `bulk_import`: the fields of `create`."""

    name: str
    """The display name."""

    email: str
    """The email address, unique in the team."""

    sentiment: NotRequired[CustomerSentiment | None]
    """`"happy"`, `"neutral"` (the server's default), `"frustrated"` or `"angry"`."""

    status: NotRequired[CustomerStatus | None]
    """`"active"` (the server's default) or `"inactive"`."""

    tags: NotRequired[list[str] | tuple[str, ...] | None]
    """The tags."""

    notes: NotRequired[str | None]
    """Internal notes."""

    custom_fields: NotRequired[dict[str, Json] | None]
    """Custom data: any JSON values."""

    metadata: NotRequired[dict[str, str] | None]
    """Developer metadata: at most 50 keys of at most 40 characters, values of at most 500 characters."""


class Upserted(NamedTuple):
    """The result of `upsert`."""

    customer: Customer
    """The customer after the call."""

    created: bool
    """`True` if the customer was created, `False` if it existed and was updated."""
