"""The customer, as the API's Customers page describes it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, cast

from pydantic import AliasChoices, AwareDatetime, Field, JsonValue

from cstar.models._base import Model, OpenEnum

CustomerSentiment: TypeAlias = Literal["happy", "neutral", "frustrated", "angry"]
"""The sentiments that a request may name (API page "Customers")."""

CustomerStatus: TypeAlias = Literal["active", "inactive"]
"""The statuses that a request may name (API page "Customers")."""


class Customer(Model):
    """A customer of a team.

    Attributes:
        id: The prefixed id, `cus_…`.
        object: Always `"customer"`.
        name: Display name.
        email: Email address, unique in the team.
        sentiment: One of `CustomerSentiment`, or a value the server has added since.
        status: One of `CustomerStatus`, or a value the server has added since.
        tags: Tags, in the server's order.
        notes: Internal notes.
        custom_fields: Custom data: any JSON values.
        ticket_count: How many tickets the customer has.
        metadata: Developer metadata: at most 50 keys of at most 40 characters, values of at most 500.
        created_at: When the customer was created, with its time zone.
        updated_at: When the customer was last changed, with its time zone. Some responses leave it out; then it is
            `None`.
    """

    id: str
    object: str = "customer"
    name: str
    email: str
    sentiment: Annotated[CustomerSentiment | str, OpenEnum]
    status: Annotated[CustomerStatus | str, OpenEnum]
    tags: list[str] = Field(default_factory=list)
    notes: str | None = None
    custom_fields: dict[str, JsonValue] = Field(default_factory=dict)
    ticket_count: int = 0
    metadata: dict[str, str] = Field(default_factory=dict)
    created_at: AwareDatetime
    updated_at: AwareDatetime = Field(default=cast("AwareDatetime", None))  # the API documents it as always there

    def _why_frozen(self, name: str) -> str:
        return f"{super()._why_frozen(name)}. To change the customer, call customers.update(team_id, customer.id, …)"


class RecentTicket(Model):
    """A ticket as it is embedded in a `CustomerDetail`.

    Attributes:
        id: The prefixed id, `tkt_…`.
        title: The ticket's title.
        status: The ticket's status.
        created_at: When the ticket was opened, with its time zone.
    """

    id: str
    title: str
    status: str
    created_at: AwareDatetime


class CustomerDetail(Customer):
    """A `Customer` with the newest tickets, as `customers.get` returns it.

    Attributes:
        recent_tickets: The 10 newest tickets; `None` where `expand` asked to leave them out.
    """

    recent_tickets: list[RecentTicket] | None = Field(
        default=None,
        # `tickets` is its name in older documentation.
        validation_alias=AliasChoices("recentTickets", "recent_tickets", "tickets"),
        serialization_alias="recentTickets",
    )


class DeletedCustomer(Model):
    """The receipt for a deletion.

    Attributes:
        deleted: Always `True`.
        id: The id of the customer that is gone.
    """

    deleted: bool = True
    id: str
