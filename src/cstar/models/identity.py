"""The identity of an API key, as on the API page "Authentication"."""

from __future__ import annotations

from typing import Annotated, Literal

from cstar.models._base import Model, OpenEnum


class Identity(Model):
    """The team and the kind of an API key, as returned by `client.whoami()`."""

    team_id: str
    """The UUID of the key's team: the `team_id` of every other call."""

    team_name: str
    """The name of the team."""

    team_slug: str
    """The name of the team in URLs."""

    key_type: Annotated[Literal["secret", "publishable"] | str, OpenEnum]
    """`"secret"` (may read and write) or `"publishable"` (may only read)."""

    environment: Annotated[Literal["live", "test"] | str, OpenEnum]
    """`"live"` or `"test"`: the data that the key can access."""
