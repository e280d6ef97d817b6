"""Whose key this is, as the API's Authentication page describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from cstar.models._base import Model, OpenEnum


class Identity(Model):
    """What an API key stands for, as `client.whoami()` returns it.

    Attributes:
        team_id: The UUID of the key's team: the `team_id` of every other call.
        team_name: The team's name.
        team_slug: The team's name in URLs.
        key_type: `"secret"` (reads and writes) or `"publishable"` (reads only).
        environment: `"live"` or `"test"`: which data the key sees.
    """

    team_id: str
    team_name: str
    team_slug: str
    key_type: Annotated[Literal["secret", "publishable"] | str, OpenEnum]
    environment: Annotated[Literal["live", "test"] | str, OpenEnum]
