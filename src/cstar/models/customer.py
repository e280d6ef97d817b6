"""Customers, as on the API page "Customers"."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, cast

from pydantic import AliasChoices, AwareDatetime, Field, JsonValue

from cstar.models._base import Model, OpenEnum

CustomerSentiment: TypeAlias = Literal["happy", "neutral", "frustrated", "angry"]
"""The sentiments accepted in requests (API page "Customers")."""

CustomerStatus: TypeAlias = Literal["active", "inactive"]
"""The statuses accepted in requests (API page "Customers")."""


class Customer(Model):
    """A customer of a team."""

    id: str
    """The prefixed id, `cus_…`."""

    object: str = "customer"
    """Always `"customer"`."""

    name: str
    """The display name."""

    email: str
    """The email address, unique in the team."""

    sentiment: Annotated[CustomerSentiment | str, OpenEnum]
    """A `CustomerSentiment`, or a value unknown to this version."""

    status: Annotated[CustomerStatus | str, OpenEnum]
    """A `CustomerStatus`, or a value unknown to this version."""

    tags: list[str] = Field(default_factory=list)
    """The tags, in the server's order."""

    notes: str | None = None
    """Internal notes."""

    custom_fields: dict[str, JsonValue] = Field(default_factory=dict)
    """Custom data: any JSON values."""

    ticket_count: int = 0
    """The number of tickets."""

    metadata: dict[str, str] = Field(default_factory=dict)
    """Developer metadata: at most 50 keys of at most 40 characters, values of at most 500 characters."""

    created_at: AwareDatetime
    """The time of creation, with its time zone."""

    # Typed as the API documents it: always present.
    updated_at: AwareDatetime = Field(default=cast("AwareDatetime", None))
    """The time of the last change, with its time zone. Some responses omit it: then it is `None`."""

    def _frozen_message(self, name: str) -> str:
        return f"{super()._frozen_message(name)}. To change it, call customers.update(team_id, customer.id, …)"


class RecentTicket(Model):
    """A ticket in a `CustomerDetail`."""

    id: str
    """The prefixed id, `tkt_…`."""

    title: str
    """The title."""

    status: str
    """The status."""

    created_at: AwareDatetime
    """The time of creation, with its time zone."""


class CustomerDetail(Customer):
    """A `Customer` with the newest tickets, as returned by `customers.get`."""

    recent_tickets: list[RecentTicket] | None = Field(
        default=None,
        # `tickets` is the name in older documentation.
        validation_alias=AliasChoices("recentTickets", "recent_tickets", "tickets"),
        serialization_alias="recentTickets",
    )
    """The 10 newest tickets; `None` if `expand` excludes them."""


class DeletedCustomer(Model):
    """The receipt of a deletion."""

    deleted: bool = True
    """Always `True`."""

    id: str
    """The id of the deleted customer."""
