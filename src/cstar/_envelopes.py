"""What the API wraps its answers in, as pydantic models. Loaded with the first call: see `cstar.models`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from cstar.models._base import Model
from cstar.models.bulk import BulkError
from cstar.models.customer import Customer

T = TypeVar("T")


class _Envelope(BaseModel):
    # pydantic would keep every short string for the next one that is the same, which few in a list of customers are.
    model_config: ClassVar[ConfigDict] = ConfigDict(cache_strings="keys")

    success: Literal[True] = True


class ObjectEnvelope(_Envelope, Generic[T]):
    """`{"success": true, "data": …}`."""

    data: T


class Paging(Model):
    """Where a page stands in its list: with `hasMore`, or with `totalPages` or nothing instead."""

    total: int
    page: int | None = None
    page_size: int | None = None
    has_more: bool | None = None
    total_pages: int | None = None

    @property
    def is_followed(self) -> bool:
        """Whether there is another page.

        Raises:
            ValueError: It does not say.
        """
        if self.has_more is not None:
            return self.has_more
        if self.page is not None and self.total_pages is not None:
            return self.page < self.total_pages
        if self.page is not None and self.page_size is not None:
            return self.page * self.page_size < self.total
        raise ValueError("pagination: it does not tell whether this is the last page")


class _Meta(Model):
    pagination: Paging | None = None


class ListEnvelope(_Envelope, Generic[T]):
    """`{"success": true, "data": […], "pagination": …}`, or with the paging in `meta`."""

    data: list[T]
    pagination: Paging | None = None
    meta: _Meta | None = None

    @property
    def paging(self) -> Paging:
        """The paging, wherever it stands.

        Raises:
            ValueError: There is none. Taking this for the last page would lose the rest in silence.
        """
        paging = self.pagination or (self.meta and self.meta.pagination)
        if not paging:
            raise ValueError("pagination: Field required")
        return paging


class BulkData(Model):
    """The data of a response to a bulk update, delete or import. Counts may be missing."""

    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    created: int | None = None
    updated: int | None = None
    skipped: int | None = None
    errors: list[BulkError] | None = None


class _ExportedResources(Model):
    customers: list[Customer] | None = None


class ExportData(Model):
    """The data of a response to an export: `{"totalRows": …, "resources": {"customers": […]}}`."""

    total_rows: int | None = None
    resources: _ExportedResources | None = None


def object_adapter(model: type[T]) -> TypeAdapter[ObjectEnvelope[T]]:
    """What validates an object's envelope."""
    return _adapter(ObjectEnvelope, cast("object", model))


def list_adapter(model: type[T]) -> TypeAdapter[ListEnvelope[T]]:
    """What validates a list's envelope."""
    return _adapter(ListEnvelope, cast("object", model))


def _adapter(envelope: Any, model: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - a generic class has no type to name
    adapter: TypeAdapter[Any] = TypeAdapter(envelope[model])
    # Some types turn out to be unfinished only when they are used: then now, not after something was sent.
    with suppress(ValidationError):
        adapter.validate_json(b"null")
    return adapter
