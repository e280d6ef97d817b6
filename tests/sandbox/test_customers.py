"""Creating, reading, updating and deleting one customer."""

import json
import uuid

import pytest

from support import error_of

FIELDS = [
    "id",
    "object",
    "name",
    "email",
    "sentiment",
    "status",
    "tags",
    "notes",
    "customFields",
    "ticketCount",
    "metadata",
    "createdAt",
    "updatedAt",
]


def plain_uuid(prefixed):
    return str(uuid.UUID(prefixed.removeprefix("cus_")))


def test_a_customer_needs_only_a_name_and_an_email(api, new_email):
    email = new_email()
    response = api.post("/customers", json={"name": "Jane Doe", "email": email})
    assert response.status_code == 201
    customer = response.json()["data"]
    assert list(customer) == FIELDS
    assert customer["id"].startswith("cus_")
    assert customer["createdAt"] == customer["updatedAt"]
    assert customer == {
        **customer,
        "object": "customer",
        "name": "Jane Doe",
        "email": email,
        "sentiment": "neutral",
        "status": "active",
        "tags": [],
        "notes": None,
        "customFields": {},
        "ticketCount": 0,
        "metadata": {},
    }


def test_every_field_of_a_create_is_returned_unchanged(api, create):
    given = {
        "name": "  Žofia 🦊 O'Brien \u0000\n",
        "sentiment": "angry",
        "status": "inactive",
        "tags": ["vip", "vip", "", "größer"],
        "notes": "Line one\nline two",
        "customFields": {"plan": "pro", "seats": 3, "ratio": 0.5, "nested": {"list": [1, None, True]}, "": ""},
        "metadata": {"crm": "42", "": ""},
    }
    customer = create(**given)
    assert {name: customer[name] for name in given} == given
    assert api.get(f"/customers/{customer['id']}").json()["data"] == {**customer, "recentTickets": []}


@pytest.mark.parametrize("spell", [str, str.upper, str.lower])
def test_an_email_of_another_customer_is_a_conflict_in_any_case(api, create, new_email, spell):
    email = new_email().title()
    assert create(email=email)["email"] == email
    response = api.post("/customers", json={"name": "Another", "email": spell(email)})
    assert error_of(response) == (409, "invalid_request_error", "resource_already_exists", "email")


def test_the_email_of_a_deleted_customer_can_be_used_again(api, create):
    customer = create()
    api.delete(f"/customers/{customer['id']}")
    create(email=customer["email"])


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_customer_is_found_by_its_id_or_its_uuid(api, create, method):
    for address in (str, plain_uuid, lambda prefixed: plain_uuid(prefixed).upper()):
        customer = create()
        body = {"json": {}} if method == "PATCH" else {}
        response = api.request(method, f"/customers/{address(customer['id'])}", **body)
        assert response.status_code == 200
        assert response.json()["data"]["id"] == customer["id"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("id", ["cus_nobody", f"cus_{'0' * 32}", "00000000-0000-4000-8000-000000000000", "%00", "jane"])
def test_an_unknown_customer_is_a_404(api, method, id):
    body = {"json": {}} if method == "PATCH" else {}
    response = api.request(method, f"/customers/{id}", **body)
    assert error_of(response) == (404, "not_found_error", "resource_missing", None)


def test_an_update_changes_only_the_given_fields(api, create):
    customer = create(notes="Old", tags=["a"], metadata={"k": "v"})
    response = api.patch(f"/customers/{customer['id']}", json={"name": "Janet", "status": "inactive"})
    updated = response.json()["data"]
    assert response.status_code == 200
    assert updated["updatedAt"] > customer["updatedAt"]
    assert updated == {**customer, "name": "Janet", "status": "inactive", "updatedAt": updated["updatedAt"]}
    assert api.get(f"/customers/{customer['id']}").json()["data"] == {**updated, "recentTickets": []}


@pytest.mark.parametrize("body", [{}, {"name": "Jane Doe"}, {"metadata": {}}, {"metadata": {"absent": None}}])
def test_an_update_without_a_difference_does_not_change_updated_at(api, create, body):
    customer = create(metadata={"k": "v"})
    assert api.patch(f"/customers/{customer['id']}", json=body).json()["data"] == customer


def test_notes_tags_and_custom_fields_are_replaced(api, create):
    customer = create(notes="Something", tags=["a", "b"], customFields={"a": 1, "b": 2})
    change = {"notes": None, "tags": ["c"], "customFields": {"c": 3}}
    updated = api.patch(f"/customers/{customer['id']}", json=change).json()["data"]
    assert {name: updated[name] for name in change} == change


def test_metadata_is_merged_and_null_removes_a_key(api, create):
    customer = create(metadata={"keep": "1", "change": "2", "remove": "3"})
    change = {"metadata": {"change": "two", "remove": None, "absent": None, "add": "4"}}
    updated = api.patch(f"/customers/{customer['id']}", json=change).json()["data"]
    assert updated["metadata"] == {"keep": "1", "change": "two", "add": "4"}


def test_an_update_to_the_email_of_another_customer_is_a_conflict(api, create):
    customer, other = create(), create()
    response = api.patch(f"/customers/{customer['id']}", json={"email": other["email"], "name": "Changed"})
    assert error_of(response) == (409, "invalid_request_error", "resource_already_exists", "email")
    assert api.get(f"/customers/{customer['id']}").json()["data"]["name"] == "Jane Doe"


def test_an_update_may_repeat_its_email_or_change_the_case(api, create):
    customer = create()
    upper = customer["email"].upper()
    assert api.patch(f"/customers/{customer['id']}", json={"email": customer["email"]}).status_code == 200
    updated = api.patch(f"/customers/{customer['id']}", json={"email": upper}).json()["data"]
    assert updated["email"] == upper


def test_a_delete_returns_the_id_and_removes_the_customer(api, create):
    customer = create(tags=["deleted"])
    response = api.delete(f"/customers/{customer['id']}")
    assert response.status_code == 200
    assert response.json()["data"] == {"deleted": True, "id": customer["id"]}
    assert api.get(f"/customers/{customer['id']}").status_code == 404
    assert api.delete(f"/customers/{customer['id']}").status_code == 404
    assert api.get("/customers", params={"tag": "deleted"}).json()["data"] == []


def test_a_customer_has_its_ten_newest_tickets_newest_first(demo_api):
    customers = demo_api.get("/customers", params={"pageSize": 100}).json()["data"]
    assert {0, 14} <= {customer["ticketCount"] for customer in customers}
    for customer in customers:
        tickets = demo_api.get(f"/customers/{customer['id']}").json()["data"]["recentTickets"]
        assert len(tickets) == min(10, customer["ticketCount"])
        assert all(list(ticket) == ["id", "title", "status", "createdAt"] for ticket in tickets)
        assert tickets == sorted(tickets, key=lambda ticket: ticket["createdAt"], reverse=True)


@pytest.mark.parametrize(
    ("query", "embedded"), [("", True), ("?expand=tickets", True), ("?expand=customer", False), ("?expand=", False)]
)
def test_tickets_are_omitted_if_expand_does_not_name_them(demo_api, query, embedded):
    customer = demo_api.get("/customers").json()["data"][0]
    data = demo_api.get(f"/customers/{customer['id']}{query}").json()["data"]
    assert ("recentTickets" in data) is embedded
    assert {name: data[name] for name in FIELDS} == customer


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, 1.0), ([1], [True])])
def test_values_that_are_equal_only_in_python_are_a_change(api, create, before, after):
    customer = create(customFields={"value": before})
    updated = api.patch(f"/customers/{customer['id']}", json={"customFields": {"value": after}}).json()["data"]
    assert json.dumps(updated["customFields"]) == json.dumps({"value": after})
    assert updated["updatedAt"] > customer["updatedAt"]


def test_the_order_of_keys_is_not_a_change(api, create):
    customer = create(customFields={"a": 1, "b": 2})
    updated = api.patch(f"/customers/{customer['id']}", json={"customFields": {"b": 2, "a": 1}}).json()["data"]
    assert updated == customer


@pytest.mark.parametrize("name", ["update", "delete", "nmae"])
def test_the_error_for_an_unknown_field_names_the_field(api, create, name):
    error = api.patch(f"/customers/{create()['id']}", json={name: 1}).json()["error"]
    assert error["param"] == name
    assert error["message"].startswith(f"'{name}' is not a field or parameter here; allowed are name, email,")
