"""What callers receive: pydantic models, one file for each resource."""

from cstar.models.customer import (
    Customer,
    CustomerDetail,
    CustomerSentiment,
    CustomerStatus,
    DeletedCustomer,
    RecentTicket,
)
from cstar.models.identity import Identity
from cstar.models.rate_limit import RateLimit

__all__ = [
    "Customer",
    "CustomerDetail",
    "CustomerSentiment",
    "CustomerStatus",
    "DeletedCustomer",
    "Identity",
    "RateLimit",
    "RecentTicket",
]
