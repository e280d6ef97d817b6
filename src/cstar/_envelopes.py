"""The envelopes of responses as pydantic models. Imported with the first call: see `cstar.models`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from cstar.models._base import Model
from cstar.models.bulk import BulkError
from cstar.models.customer import Customer

T = TypeVar("T")


class _Envelope(BaseModel):
    # pydantic caches short strings by default. In a list of customers, few strings are equal.
    model_config: ClassVar[ConfigDict] = ConfigDict(cache_strings="keys")

    success: Literal[True] = True


class ObjectEnvelope(_Envelope, Generic[T]):
    """`{"success": true, "data": …}`."""

    data: T


class Paging(Model):
    """The `pagination` object: with `hasMore`, with `totalPages`, or with neither."""

    total: int
    page: int | None = None
    page_size: int | None = None
    has_more: bool | None = None
    total_pages: int | None = None

    @property
    def has_next(self) -> bool:
        """Whether another page follows.

        Raises:
            ValueError: The fields do not show it.
        """
        if self.has_more is not None:
            return self.has_more
        if self.page is not None and self.total_pages is not None:
            return self.page < self.total_pages
        if self.page is not None and self.page_size is not None:
            return self.page * self.page_size < self.total
        raise ValueError("pagination: it does not show whether this is the last page")


class _Meta(Model):
    pagination: Paging | None = None


class ListEnvelope(_Envelope, Generic[T]):
    """`{"success": true, "data": […], "pagination": …}`, or with `pagination` in `meta`."""

    data: list[T]
    pagination: Paging | None = None
    meta: _Meta | None = None

    @property
    def paging(self) -> Paging:
        """The `pagination` object, at the top level or in `meta`.

        Raises:
            ValueError: It is missing. Assuming the last page would silently lose the remaining rows.
        """
        paging = self.pagination or (self.meta and self.meta.pagination)
        if not paging:
            raise ValueError("pagination: Field required")
        return paging


class BulkData(Model):
    """The data of a response to a bulk update, delete or import."""

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
    """Return the validator of an object's envelope."""
    return _adapter(ObjectEnvelope, cast("object", model))


def list_adapter(model: type[T]) -> TypeAdapter[ListEnvelope[T]]:
    """Return the validator of a list's envelope."""
    return _adapter(ListEnvelope, cast("object", model))


def _adapter(envelope: Any, model: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - generic classes as values
    adapter: TypeAdapter[Any] = TypeAdapter(envelope[model])
    # pydantic finds some errors in a type only when it validates. Find them now, before a request is sent.
    with suppress(ValidationError):
        adapter.validate_json(b"null")
    return adapter
