"""The base class of the public models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetPydanticSchema, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core.core_schema import plain_serializer_function_ser_schema

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

# Validates `Literal[…] | str` as `str`: the literals are for readers and type checkers. Comparing with each literal
# would take 10% of the time to parse a page of customers.
OpenEnum = GetPydanticSchema(lambda _source, handler: handler(str))


class Model(BaseModel):
    """A frozen model: snake_case attributes, camelCase JSON. It accepts both spellings and keeps unknown fields."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - pydantic's signature
        # `cstar._lenient` keeps invalid values as received. pydantic would warn about them when the model is dumped.
        schema: Any = handler(source)
        fields = schema
        while "fields" not in fields:
            fields = fields["schema"]
        for field in fields["fields"].values():
            field["schema"].setdefault("serialization", plain_serializer_function_ser_schema(_unchanged))
        return cast("CoreSchema", schema)

    if not TYPE_CHECKING:  # type checkers would allow assignment to any name

        def __setattr__(self, name: str, value: object) -> None:
            try:
                super().__setattr__(name, value)
            except ValidationError:
                raise AttributeError(self._frozen_message(name)) from None

        def __delattr__(self, name: str) -> None:
            try:
                super().__delattr__(name)
            except ValidationError:
                raise AttributeError(self._frozen_message(name)) from None

    def _frozen_message(self, name: str) -> str:
        return f"{name} cannot be changed: a {type(self).__name__} is a read-only snapshot"


def _unchanged(value: object) -> object:
    return value


def format_validation_error(invalid: ValidationError, *location: str) -> str:
    """Format at most three errors with their locations and reasons, but without the values, which are private.

    Args:
        invalid: The errors.
        location: The location of the validated value, for errors in a part of a response.
    """
    found = invalid.errors(include_url=False, include_input=False, include_context=False)
    reasons: list[str] = []
    for each in found[:3]:
        place = ".".join(map(str, (*location, *each["loc"])))
        reasons.append(f"{place}: {each['msg']}" if place else each["msg"])
    return "; ".join(reasons) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
