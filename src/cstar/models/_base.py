from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, GetPydanticSchema
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from pydantic import ValidationError

# Marks `Literal[…] | str`: the known values are for readers and type checkers, while any string will do. To try each of
# them first would take a tenth of the time that a page of customers does.
AnyString = GetPydanticSchema(lambda _source, handler: handler(str))


class Model(BaseModel):
    """snake_case attributes over camelCase JSON, both accepted; fields that the server adds later are kept."""

    model_config: ClassVar[ConfigDict] = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")


def why_invalid(invalid: ValidationError) -> str:
    """Where and why something is not what it should be: places and reasons only, since what stands there is private."""
    found = invalid.errors(include_url=False, include_input=False, include_context=False)
    reasons = [": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"]])) for each in found[:3]]
    return "; ".join(reasons) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
