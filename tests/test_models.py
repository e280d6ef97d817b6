"""The models: the samples of the documentation, unknown fields and values, and immutability."""

from __future__ import annotations

import json
import pickle
from datetime import datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from cstar import Customer, CustomerDetail, Identity, RateLimit, RecentTicket
from support import CUSTOMER, DETAIL, LIST_SAMPLE


def test_the_list_sample_parses() -> None:
    [row] = [Customer.model_validate(each) for each in json.loads(LIST_SAMPLE)["data"]]
    assert row.id == "cus_x9Y8z7W6v5U4"
    assert row.object == "customer"
    assert row.name == "Jane Doe"
    assert row.email == "jane@example.com"
    assert row.sentiment == "happy"
    assert row.status == "active"
    assert row.tags == ["vip", "enterprise"]
    assert row.notes == "Enterprise customer since 2024"
    assert row.custom_fields == {"company": "Acme Corp", "plan": "enterprise"}
    assert row.ticket_count == 5
    assert row.metadata == {}
    assert row.created_at == datetime(2025, 1, 15, 10, tzinfo=timezone.utc)
    assert row.updated_at == datetime(2026, 3, 30, 10, 30, tzinfo=timezone.utc)


def test_the_get_sample_parses_with_defaults_for_omitted_fields() -> None:
    customer = CustomerDetail.model_validate(DETAIL)
    assert customer.recent_tickets == [
        RecentTicket(
            id="tkt_abc123",
            title="Login issue",
            status="resolved",
            created_at=datetime(2026, 3, 29, 14, tzinfo=timezone.utc),
        )
    ]
    assert (customer.notes, customer.custom_fields, customer.metadata) == (None, {}, {})


def test_dumping_by_alias_restores_the_json() -> None:
    assert Customer.model_validate(CUSTOMER).model_dump(mode="json", by_alias=True) == CUSTOMER
    detail = CustomerDetail.model_validate(DETAIL)
    assert detail.model_dump(mode="json", by_alias=True, exclude_unset=True) == DETAIL


def test_an_unknown_field_is_kept_and_dumped_back() -> None:
    data = {**CUSTOMER, "loyaltyTier": {"name": "gold", "since": 2024}}
    row = Customer.model_validate(data)
    assert row.model_extra == {"loyaltyTier": {"name": "gold", "since": 2024}}
    assert row.model_dump(mode="json", by_alias=True) == data


def test_an_unknown_enum_value_parses() -> None:
    row = Customer.model_validate({**CUSTOMER, "sentiment": "positive", "status": "archived"})
    assert (row.sentiment, row.status) == ("positive", "archived")
    data = {"teamId": "t", "teamName": "n", "teamSlug": "s", "keyType": "restricted", "environment": "staging"}
    assert Identity.model_validate(data).key_type == "restricted"


@pytest.mark.parametrize("missing", ["id", "name", "email", "sentiment", "status", "createdAt"])
def test_a_required_field_must_be_present(missing: str) -> None:
    with pytest.raises(ValidationError):
        Customer.model_validate({name: value for name, value in CUSTOMER.items() if name != missing})


def test_fields_are_accepted_by_name_and_by_alias() -> None:
    now = datetime.now(timezone.utc)
    named = Customer(id="c", name="J", email="e", sentiment="happy", status="active", created_at=now, updated_at=now)
    assert named == Customer.model_validate(named.model_dump(by_alias=True))


def test_a_datetime_requires_a_zone_and_keeps_it() -> None:
    row = Customer.model_validate({**CUSTOMER, "createdAt": "2025-01-15T10:00:00.123+02:00"})
    assert row.created_at.utcoffset() == timedelta(hours=2)
    with pytest.raises(ValidationError):
        Customer.model_validate({**CUSTOMER, "createdAt": "2025-01-15T10:00:00"})


def test_custom_fields_may_be_any_json() -> None:
    fields = {"a": [1, 2.5, None, True, {"b": "c"}], "d": {}, "e": 10**20}
    row = Customer.model_validate_json(json.dumps({**CUSTOMER, "customFields": fields}))
    assert row.custom_fields == fields


def test_a_rate_limit_can_be_pickled() -> None:
    limit = RateLimit(limit=1, remaining=0, reset_at=datetime.now(timezone.utc))
    assert pickle.loads(pickle.dumps(limit)) == limit


@pytest.mark.parametrize("name", ["name", "tags", "nickname"])
def test_a_model_is_read_only_and_its_error_names_the_method_to_call(name: str) -> None:
    jane = Customer.model_validate(CUSTOMER)
    for change in (lambda: setattr(jane, name, "x"), lambda: delattr(jane, name)):
        with pytest.raises(
            AttributeError, match=rf"^{name} cannot be changed: a Customer is a read-only snapshot.*update\("
        ):
            change()
    assert jane == Customer.model_validate(CUSTOMER)


def test_a_model_can_be_copied_with_a_change() -> None:
    jane = Customer.model_validate(CUSTOMER)
    assert jane.model_copy(update={"name": "Mary"}).name == "Mary"
