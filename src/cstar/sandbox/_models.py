"""The types of requests and responses, for validation and for the OpenAPI document.

Requests are typed dictionaries, in which an omitted field is absent. Unknown fields and parameters are rejected: they
are nearly always spelling mistakes.
"""

from __future__ import annotations

import contextlib
import re
from datetime import date, datetime
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, with_config
from pydantic.alias_generators import to_camel
from pydantic.functional_serializers import PlainSerializer
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import NotRequired, Required, TypedDict

from cstar.sandbox import _clock

Json: TypeAlias = JsonValue
JsonObject: TypeAlias = dict[str, JsonValue]

LATEST_VERSION = "2026-03-01"
MAX_METADATA_KEYS = 50
MAX_PAGE = 1_000_000_000
MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20
MAX_BULK_IDS = 100
MAX_IMPORT_RECORDS = 500
MAX_EXPORT_ROWS = 10_000
RECENT_TICKETS = 10

# The patterns are in the OpenAPI document, too. They avoid \s, \w and \d, which differ between Python and ECMAScript.
_SPACES_AND_CONTROLS = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_ATOM = rf"""[^{_SPACES_AND_CONTROLS}@.()<>\[\],;:"\\]+"""
_NOT_IN_LABELS = rf"{_SPACES_AND_CONTROLS}!-,./:-@\[-`{{-~"
_LABEL = rf"[^\-{_NOT_IN_LABELS}](?:[^{_NOT_IN_LABELS}]*[^\-{_NOT_IN_LABELS}])?"
# Dotted atoms, an @, and a domain of at least two labels. Quoted local parts are legal in email but nearly always a
# mistake in an API call.
_EMAIL = rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}"
UUID_PATTERN = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
ID_PATTERN = "cus_[0-9a-f]{32}"
REQUEST_ID_PATTERN = "^req_[0-9a-f]{24}$"

_request = with_config(ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, regex_engine="python-re"))


def _digits(value: object) -> object:
    """Convert decimal digits to a number; int() alone would also accept " 5" and "1_000"."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value) else value


def matching(pattern: str, meaning: str) -> AfterValidator:
    # Not pydantic's own pattern, whose error message contains the pattern.
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.search(value):
            raise PydanticCustomError("pattern", "Input should be {meaning}", {"meaning": meaning})
        return value

    return AfterValidator(check)


_VISIBLE = f"[^{_SPACES_AND_CONTROLS}]"
Name = Annotated[
    str,
    Field(description="A string that is not blank.", json_schema_extra={"pattern": _VISIBLE}),
    matching(_VISIBLE, "a string that is not blank"),
]
_UNIQUE = "An email address, unique in the team regardless of letter case."
Email = Annotated[
    str,
    Field(max_length=254, description=_UNIQUE, json_schema_extra={"pattern": f"^{_EMAIL}$"}),
    matching(rf"\A{_EMAIL}\Z", "an email address"),
]
Sentiment: TypeAlias = Literal["happy", "neutral", "frustrated", "angry"]
Status: TypeAlias = Literal["active", "inactive"]
CustomFields = Annotated[JsonObject, Field(description="Any JSON values.")]
_MetadataValue = Annotated[str, Field(max_length=500)]
_MetadataKey = Annotated[str, Field(max_length=40)]
_KEYS: dict[str, Json] = {"propertyNames": {"maxLength": 40}}
Metadata = Annotated[dict[_MetadataKey, _MetadataValue], Field(max_length=MAX_METADATA_KEYS, json_schema_extra=_KEYS)]
_REMOVAL = f"Null removes a key. After the change, there are at most {MAX_METADATA_KEYS} keys."
MetadataUpdate = Annotated[
    dict[_MetadataKey, _MetadataValue | None], Field(description=_REMOVAL, json_schema_extra=_KEYS)
]
Time = Annotated[
    datetime,
    PlainSerializer(lambda moment: _clock.iso(_clock.instant(moment)), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
_Count = Annotated[int, Field(ge=0)]
_PageNumber = Annotated[int, Field(ge=1, le=MAX_PAGE)]
_PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)]


def _default(value: Json, description: str | None = None) -> object:
    return Field(description=description, json_schema_extra={"default": value})


def _date(value: str) -> str:
    with contextlib.suppress(ValueError):
        # From Python 3.11 on, fromisoformat() also takes 20260301 and 2026-W09-7.
        if date.fromisoformat(value).isoformat() == value:
            return value
    raise PydanticCustomError("date", "Input should be a date such as 2026-03-01")


_VERSION = Field(
    description="The version of the API; without it, the latest.",
    json_schema_extra={"format": "date", "examples": [LATEST_VERSION]},
)
_IDEMPOTENCY_KEY = "[!-~](?:[ -~]{0,253}[!-~])?"
_REPLAY = "For 24 hours, the same request with this key gets the first response again; any other is a conflict."
IdempotencyKey = Annotated[
    str,
    Field(description=_REPLAY, json_schema_extra={"pattern": f"^{_IDEMPOTENCY_KEY}$"}),
    matching(rf"\A{_IDEMPOTENCY_KEY}\Z", "from 1 to 255 printable ASCII characters"),
]
# In the functional syntax, because their names have hyphens.
Headers = TypedDict("Headers", {"CStar-Version": Annotated[str, _VERSION, AfterValidator(_date)]}, total=False)
WriteHeaders = TypedDict("WriteHeaders", {"Idempotency-Key": IdempotencyKey}, total=False)


@_request
class NoParameters(TypedDict):
    pass


@_request
class Filters(TypedDict, total=False):
    status: Annotated[Status, Field(description="Only customers with this status.")]
    sentiment: Annotated[Sentiment, Field(description="Only customers with this sentiment.")]
    search: Annotated[str, Field(description="Only customers with this text in their name or email, ignoring case.")]
    tag: Annotated[str, Field(description="Only customers with exactly this tag.")]


@_request
class Paging(TypedDict, total=False):
    page: Annotated[_PageNumber, BeforeValidator(_digits), _default(1)]
    page_size: Annotated[_PageSize, BeforeValidator(_digits), _default(DEFAULT_PAGE_SIZE)]


class ListParameters(Filters, Paging):
    pass


@_request
class GetParameters(TypedDict, total=False):
    expand: Annotated[str, _default("tickets", "The resource to embed. Any other value omits the tickets.")]


@_request
class _Fields(TypedDict, total=False):
    name: Name
    email: Email
    sentiment: Sentiment
    status: Status
    tags: list[str]
    notes: str | None
    custom_fields: CustomFields


class NewCustomer(_Fields):
    name: Required[Name]  # type: ignore[misc]
    email: Required[Email]  # type: ignore[misc]
    metadata: NotRequired[Metadata]


class CustomerUpdate(_Fields):
    metadata: NotRequired[MetadataUpdate]


_IDS = "The ids of customers, or the UUIDs in them."
_Ids = Annotated[list[str], Field(min_length=1, max_length=MAX_BULK_IDS, description=_IDS)]


@_request
class BulkUpdate(TypedDict):
    action: Literal["update"]
    resource: Literal["customers"]
    ids: _Ids
    data: CustomerUpdate


@_request
class BulkDelete(TypedDict):
    action: Literal["delete"]
    resource: Literal["customers"]
    ids: _Ids


Bulk = Annotated[BulkUpdate | BulkDelete, Field(discriminator="action")]
_RECORDS = "Customers, with the fields of a create. An invalid record adds an entry to `errors`."
_STRATEGY = "If the email address exists: `skip` the record or, an assumption of this sandbox, `update` the customer."


@_request
class Import(TypedDict):
    resource: Literal["customers"]
    records: Annotated[list[JsonObject], Field(min_length=1, max_length=MAX_IMPORT_RECORDS, description=_RECORDS)]
    merge_strategy: NotRequired[Annotated[Literal["skip", "update"], _default("skip", _STRATEGY)]]


@_request
class ExportedResource(TypedDict):
    type: Literal["customers"]
    filters: NotRequired[Filters]


@_request
class Export(TypedDict):
    resources: Annotated[list[ExportedResource], Field(min_length=1, max_length=1)]
    format: NotRequired[Annotated[Literal["json", "csv"], _default("json")]]


class _Response(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Customer(_Response):
    """A customer. Lists are sorted by `created_at`, which is unique."""

    id: Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]
    object: Literal["customer"] = "customer"
    name: Name
    email: Email
    sentiment: Sentiment = "neutral"
    status: Status = "active"
    tags: list[str] = Field(default_factory=list[str])
    notes: str | None = None
    custom_fields: CustomFields = Field(default_factory=dict[str, Json])
    ticket_count: _Count = 0
    metadata: Metadata = Field(default_factory=dict[str, str])
    created_at: Time
    updated_at: Time


class Ticket(_Response):
    """A support ticket, as a customer's details embed it."""

    id: str
    title: str
    status: str
    created_at: Time


class CustomerDetails(Customer):
    """A customer with its newest tickets, newest first."""

    recent_tickets: Annotated[list[Ticket], Field(max_length=RECENT_TICKETS)]


class DeletedCustomer(_Response):
    deleted: Literal[True] = True
    id: Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]


class Pagination(_Response):
    total: _Count
    page: _PageNumber
    page_size: _PageSize
    has_more: bool


@with_config(ConfigDict(extra="forbid"))
class RowError(TypedDict):
    """The error of one row of a bulk request or an import."""

    index: _Count
    id: NotRequired[str]
    email: NotRequired[str]
    code: str
    message: str


class BulkResult(_Response):
    object: Literal["bulk_result"] = "bulk_result"
    action: Literal["update", "delete"]
    resource: Literal["customers"] = "customers"
    total: _Count
    succeeded: _Count
    failed: _Count
    errors: list[RowError]


class ImportResult(_Response):
    object: Literal["import_result"] = "import_result"
    resource: Literal["customers"] = "customers"
    total: _Count
    created: _Count
    updated: _Count
    skipped: _Count
    errors: list[RowError]


class ExportedResources(_Response):
    customers: Annotated[list[Customer], Field(max_length=MAX_EXPORT_ROWS)]


class ExportResult(_Response):
    object: Literal["export"] = "export"
    format: Literal["json"] = "json"
    total_rows: Annotated[int, Field(ge=0, le=MAX_EXPORT_ROWS)]
    resources: ExportedResources


class Identity(_Response):
    team_id: Annotated[str, Field(json_schema_extra={"format": "uuid"})]
    team_name: str = "Sandbox"
    team_slug: str = "sandbox"
    key_type: Literal["secret", "publishable"]
    environment: Literal["live", "test"] = "test"


_T = TypeVar("_T")


class Meta(_Response):
    request_id: Annotated[str, Field(pattern=REQUEST_ID_PATTERN)]
    timestamp: Time


class Success(_Response, Generic[_T]):
    success: Literal[True] = True
    data: _T
    meta: Meta


class ListResponse(_Response, Generic[_T]):
    success: Literal[True] = True
    data: list[_T]
    pagination: Pagination
    meta: Meta


class Error(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: str
    code: str
    message: Annotated[str, Field(min_length=1)]
    param: Annotated[str | None, Field(description="The invalid field, query parameter or header.")]
    doc_url: Annotated[str, Field(json_schema_extra={"format": "uri"})]
    request_id: Annotated[str, Field(pattern=REQUEST_ID_PATTERN)]


class Failure(_Response):
    success: Literal[False] = False
    error: Error
    meta: Meta
