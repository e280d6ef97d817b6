"""The base of the models that callers receive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetPydanticSchema, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core.core_schema import plain_serializer_function_ser_schema

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

# Marks `Literal[…] | str`: the known values are for readers and type checkers, while any string will do. To try each of
# them first would take a tenth of the time that a page of customers does.
OpenEnum = GetPydanticSchema(lambda _source, handler: handler(str))


class Model(BaseModel):
    """snake_case attributes over camelCase JSON, both accepted; fields that the server adds later are kept."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - pydantic's signature
        # A value that makes no sense is kept as received. pydantic would warn of it whenever the model is dumped.
        schema: Any = handler(source)
        fields = schema
        while "fields" not in fields:
            fields = fields["schema"]
        for field in fields["fields"].values():
            field["schema"].setdefault("serialization", plain_serializer_function_ser_schema(_unchanged))
        return cast("CoreSchema", schema)

    if not TYPE_CHECKING:  # to a type checker, any name could be assigned

        def __setattr__(self, name: str, value: object) -> None:
            try:
                super().__setattr__(name, value)
            except ValidationError:
                raise AttributeError(self._why_frozen(name)) from None

        def __delattr__(self, name: str) -> None:
            try:
                super().__delattr__(name)
            except ValidationError:
                raise AttributeError(self._why_frozen(name)) from None

    def _why_frozen(self, name: str) -> str:
        return f"{name} cannot be changed here: a {type(self).__name__} is a snapshot of what the server had"


def _unchanged(value: object) -> object:
    return value


def format_validation_error(invalid: ValidationError) -> str:
    """Where and why something is not what it should be: places and reasons only, since what stands there is private."""
    found = invalid.errors(include_url=False, include_input=False, include_context=False)
    reasons = [": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"]])) for each in found[:3]]
    return "; ".join(reasons) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
