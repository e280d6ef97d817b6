"""`/bulk`, `/import` and `/export`: many customers in one request."""

import csv
import io
import json
import uuid

import pytest

from cstar.sandbox import Sandbox
from support import team_client


@pytest.fixture(scope="module")
def module_box():
    with Sandbox(webhook_url="http://127.0.0.1:9/") as box:
        yield box


@pytest.fixture
def empty_box(module_box):
    module_box.reset()
    return module_box


@pytest.fixture
def team(empty_box):
    """An HTTP client with the secret key, at the URL of the team of an empty sandbox."""
    with team_client(empty_box) as client:
        yield client


def data(response, status=200):
    assert response.status_code == status, response.text
    return response.json()["data"]


def error(response):
    assert response.status_code == 400, response.text
    return response.json()["error"]


def bulk(team, action, ids, **fields):
    return team.post("/bulk", json={"action": action, "resource": "customers", "ids": ids, **fields})


def import_(team, records, headers=None, **fields):
    return team.post("/import", json={"resource": "customers", "records": records, **fields}, headers=headers)


def export(team, *, format="json", **filters):
    resources = [{"type": "customers", "filters": filters}]
    return team.post("/export", json={"resources": resources, "format": format})


def record(number, **fields):
    return {"name": f"Customer {number}", "email": f"customer.{number}@example.com", **fields}


def create_customers(team, count):
    """Create a number of customers and return their ids."""
    data(import_(team, [record(number) for number in range(count)]))
    return [customer["id"] for customer in data(export(team))["resources"]["customers"]]


def customers_by_email(team):
    return {customer["email"]: customer for customer in data(export(team))["resources"]["customers"]}


def events(box):
    return [(delivery.event_type, delivery.customer_id) for delivery in box.deliveries]


# ── /bulk ──


def test_a_bulk_update_changes_each_customer(team):
    ids = create_customers(team, 3)
    result = data(bulk(team, "update", ids[:2], data={"status": "inactive", "tags": ["left"]}))
    assert result == {
        "object": "bulk_result",
        "action": "update",
        "resource": "customers",
        "total": 2,
        "succeeded": 2,
        "failed": 0,
        "errors": [],
    }
    assert [customers_by_email(team)[f"customer.{number}@example.com"]["status"] for number in (0, 1, 2)] == [
        "active",
        "inactive",
        "inactive",
    ]


def test_a_bulk_delete_deletes_each_customer(team):
    ids = create_customers(team, 3)
    result = data(bulk(team, "delete", ids[:2]))
    assert (result["total"], result["succeeded"], result["failed"]) == (2, 2, 0)
    assert [customer["id"] for customer in customers_by_email(team).values()] == ids[2:]


@pytest.mark.parametrize("action", ["update", "delete"])
def test_each_failed_id_of_a_bulk_request_has_an_error(team, action):
    [customer_id] = create_customers(team, 1)
    unknown = f"cus_{uuid.uuid4().hex}"
    fields = {"data": {"notes": "changed"}} if action == "update" else {}
    result = data(bulk(team, action, [unknown, customer_id, "42"], **fields))
    assert (result["total"], result["succeeded"], result["failed"]) == (3, 1, 2)
    assert result["errors"] == [
        {"index": 0, "id": unknown, "code": "resource_missing", "message": f"There is no customer '{unknown}'."},
        {"index": 2, "id": "42", "code": "resource_missing", "message": "There is no customer '42'."},
    ]


def test_a_bulk_update_gives_an_email_only_to_the_first_customer(team):
    ids = create_customers(team, 2)
    result = data(bulk(team, "update", ids, data={"email": "shared@example.com"}))
    assert (result["succeeded"], [each["code"] for each in result["errors"]]) == (1, ["resource_already_exists"])
    assert customers_by_email(team)["shared@example.com"]["id"] == ids[0]


def test_a_duplicate_id_in_a_bulk_delete_fails_the_second_time(team):
    [customer_id] = create_customers(team, 1)
    result = data(bulk(team, "delete", [customer_id, customer_id]))
    assert (result["succeeded"], [each["index"] for each in result["errors"]]) == (1, [1])


@pytest.mark.parametrize(
    ("changes", "param", "message"),
    [
        ({"ids": []}, "ids", "'ids' must have at least 1 item."),
        ({"ids": ["cus_"] * 101}, "ids", "'ids' must have at most 100 items."),
        ({"ids": [1]}, "ids", "'ids.0' must be a valid string"),
        ({"action": "create"}, "action", "'action' must be 'update' or 'delete'."),
        ({"resource": "tickets"}, "resource", "'resource' must be 'customers'"),
        ({"data": None}, "data", "'data' must be a valid dictionary"),
        ({"data": {"status": "gone"}}, "data", "'data.status' must be 'active' or 'inactive'"),
        ({"data": {"nmae": "X"}}, "data", "'data.nmae' is not a field or parameter here"),
        ({"data": {"update": "X"}}, "data", "'data.update' is not a field or parameter here"),
    ],
)
def test_an_invalid_bulk_request_changes_nothing(team, changes, param, message):
    ids = create_customers(team, 2)
    body = {"action": "update", "resource": "customers", "ids": ids, "data": {"status": "inactive"}, **changes}
    rejected = error(team.post("/bulk", json=body))
    assert (rejected["param"], rejected["message"].startswith(message)) == (param, True), rejected
    assert {customer["status"] for customer in customers_by_email(team).values()} == {"active"}


def test_a_bulk_request_needs_an_action(team):
    rejected = error(team.post("/bulk", json={}))
    assert (rejected["code"], rejected["message"]) == ("parameter_missing", "The 'action' field is required.")


def test_a_bulk_request_may_have_100_ids(team):
    assert data(bulk(team, "delete", create_customers(team, 100)))["succeeded"] == 100


# ── /import ──


def test_an_import_creates_each_customer_with_all_its_fields(team):
    fields = {
        "sentiment": "happy",
        "status": "inactive",
        "tags": ["vip"],
        "notes": "Met in Rome.",
        "customFields": {"plan": {"seats": 5}},
        "metadata": {"crm_id": "7"},
    }
    result = data(import_(team, [record(1, **fields), record(2)]))
    assert result == {
        "object": "import_result",
        "resource": "customers",
        "total": 2,
        "created": 2,
        "updated": 0,
        "skipped": 0,
        "errors": [],
    }
    imported = customers_by_email(team)["customer.1@example.com"]
    assert {name: imported[name] for name in fields} == fields


def test_the_last_imported_record_is_the_newest(team):
    data(import_(team, [record(number) for number in range(3)]))
    names = [customer["name"] for customer in data(team.get("/customers"))]
    assert names == ["Customer 2", "Customer 1", "Customer 0"]


@pytest.mark.parametrize("strategy", [{}, {"mergeStrategy": "skip"}])
def test_an_import_skips_existing_customers_ignoring_case(team, strategy):
    data(import_(team, [record(1, notes="first")]))
    again = [record(1, email="CUSTOMER.1@Example.COM", notes="second"), record(2), record(2)]
    result = data(import_(team, again, **strategy))
    assert (result["created"], result["skipped"], result["updated"], result["errors"]) == (1, 2, 0, [])
    assert customers_by_email(team)["customer.1@example.com"]["notes"] == "first"


def test_an_import_with_update_changes_only_the_given_fields(team):
    data(import_(team, [record(1, notes="kept", tags=["a"], metadata={"one": "1"})]))
    changed = record(1, name="New name", tags=["b"], metadata={"two": "2"})
    result = data(import_(team, [changed, record(2)], mergeStrategy="update"))
    assert (result["created"], result["updated"], result["skipped"]) == (1, 1, 0)
    customer = customers_by_email(team)["customer.1@example.com"]
    assert (customer["name"], customer["notes"], customer["tags"], customer["metadata"]) == (
        "New name",
        "kept",
        ["b"],
        {"one": "1", "two": "2"},
    )


def test_an_update_by_an_import_with_too_much_metadata_is_an_error(team):
    data(import_(team, [record(1, metadata={f"key {n}": "" for n in range(50)})]))
    changed = record(1, metadata={"one more": ""})
    result = data(import_(team, [changed, record(2)], mergeStrategy="update"))
    assert (result["created"], result["updated"], len(result["errors"])) == (1, 0, 1)
    assert result["errors"][0]["message"] == "'metadata' must have at most 50 keys after the change."


def test_each_invalid_record_of_an_import_has_an_error(team):
    result = data(import_(team, [record(1), {"email": "ada@example.com"}, record(2, email="nobody"), record(3, x=1)]))
    assert (result["total"], result["created"]) == (4, 1)
    assert [(each["index"], each.get("email"), each["code"]) for each in result["errors"]] == [
        (1, "ada@example.com", "parameter_missing"),
        (2, "nobody", "parameter_invalid"),
        (3, "customer.3@example.com", "parameter_invalid"),
    ]
    assert result["errors"][1]["message"] == "'email' must be an email address."


@pytest.mark.parametrize(
    ("changes", "param", "message"),
    [
        ({"records": []}, "records", "'records' must have at least 1 item."),
        ({"records": [{}] * 501}, "records", "'records' must have at most 500 items."),
        ({"records": ["Ada"]}, "records", "'records.0' must be a valid dictionary"),
        ({"resource": "tickets"}, "resource", "'resource' must be 'customers'"),
        ({"mergeStrategy": "replace"}, "mergeStrategy", "'mergeStrategy' must be 'skip' or 'update'"),
    ],
)
def test_an_invalid_import_request_creates_nothing(team, changes, param, message):
    rejected = error(team.post("/import", json={"resource": "customers", "records": [record(1)], **changes}))
    assert (rejected["param"], rejected["message"].startswith(message)) == (param, True), rejected
    assert not customers_by_email(team)


def test_an_import_may_have_500_records(team):
    assert data(import_(team, [record(number) for number in range(500)]))["created"] == 500


# ── /export ──


def test_an_export_has_the_customers_in_the_order_of_a_list(team):
    create_customers(team, 25)
    result = data(export(team))
    assert (result["object"], result["format"], result["totalRows"]) == ("export", "json", 25)
    assert result["resources"]["customers"] == data(team.get("/customers", params={"pageSize": 100}))


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [({"status": "inactive"}, [1]), ({"tag": "vip"}, [2]), ({"search": "CUSTOMER.0"}, [0]), ({}, [2, 1, 0])],
)
def test_an_export_takes_the_filters_of_a_list(team, filters, numbers):
    data(import_(team, [record(0), record(1, status="inactive"), record(2, tags=["vip"])]))
    customers = data(export(team, **filters))["resources"]["customers"]
    assert [customer["name"] for customer in customers] == [f"Customer {number}" for number in numbers]


def test_an_export_has_at_most_10_000_rows():
    with Sandbox(customers=10_001) as box, team_client(box) as team:
        result = data(export(team))
        newest = data(team.get("/customers", params={"pageSize": 1}))
    assert (result["totalRows"], len(result["resources"]["customers"])) == (10_000, 10_000)
    assert result["resources"]["customers"][:1] == newest


def test_a_csv_export_has_a_header_and_a_row_for_each_customer(team):
    data(import_(team, [record(1, tags=["a", "b"], notes='says "hi",\ntwice', metadata={"k": "v"}), record(2)]))
    response = export(team, format="csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [row["name"] for row in rows] == ["Customer 2", "Customer 1"]
    row, customer = rows[1], customers_by_email(team)["customer.1@example.com"]
    parsed = {name: json.loads(row[name]) for name in ("tags", "customFields", "metadata", "ticketCount")}
    assert {**row, **parsed} == customer


def test_an_empty_csv_export_has_only_the_header(team):
    response = export(team, format="csv")
    assert response.text.startswith("id,object,name,email,")
    assert response.text.count("\n") == 1


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({}, "resources", "The 'resources' field is required."),
        ({"resources": []}, "resources", "'resources' must have at least 1 item."),
        ({"resources": [{"type": "customers"}] * 2}, "resources", "'resources' must have at most 1 item."),
        ({"resources": [{"type": "tickets"}]}, "resources", "'resources.0.type' must be 'customers'"),
        ({"resources": [{"type": "customers", "filters": {"page": 1}}]}, "resources", "'resources.0.filters.page' is"),
        ({"resources": [{"type": "customers"}], "format": "xml"}, "format", "'format' must be 'json' or 'csv'"),
    ],
)
def test_an_invalid_export_request_is_rejected_with_the_reason(team, body, param, message):
    rejected = error(team.post("/export", json=body))
    assert (rejected["param"], rejected["message"].startswith(message)) == (param, True), rejected


# ── All three endpoints ──


def test_a_bulk_request_repeated_with_its_key_acts_once(team):
    ids, key = create_customers(team, 2), {"Idempotency-Key": "delete-7"}
    body = {"action": "delete", "resource": "customers", "ids": ids}
    first, second = (team.post("/bulk", json=body, headers=key) for _ in range(2))
    assert (first.json()["data"]["succeeded"], second.content) == (2, first.content)
    assert second.headers["Idempotent-Replayed"] == "true"


def test_a_csv_export_repeated_with_its_key_returns_the_same_file(team):
    create_customers(team, 1)
    body = {"resources": [{"type": "customers"}], "format": "csv"}
    first = team.post("/export", json=body, headers={"Idempotency-Key": "export-7"})
    create_customers(team, 2)
    second = team.post("/export", json=body, headers={"Idempotency-Key": "export-7"})
    assert (second.content, second.headers["Content-Type"]) == (first.content, "text/csv; charset=utf-8")


def test_each_customer_changed_by_a_bulk_request_has_an_event(empty_box, team):
    first, second, third = create_customers(team, 3)
    assert sorted(events(empty_box)) == sorted(("customer.created", each) for each in (first, second, third))
    data(bulk(team, "update", [first, second], data={"notes": "changed"}))
    data(bulk(team, "update", [first, second], data={"notes": "changed"}))
    data(bulk(team, "delete", [third, "cus_unknown"]))
    assert events(empty_box)[3:] == [
        ("customer.updated", first),
        ("customer.updated", second),
        ("customer.deleted", third),
    ]


def test_an_import_has_events_only_for_changed_customers(empty_box, team):
    [first] = create_customers(team, 1)
    data(import_(team, [record(0, notes="changed"), record(0, notes="changed")], mergeStrategy="update"))
    data(import_(team, [record(0, notes="skipped"), {}]))
    assert events(empty_box) == [("customer.created", first), ("customer.updated", first)]


def test_a_bulk_request_counts_once_against_the_rate_limit(team):
    before = import_(team, [record(number) for number in range(50)])
    after = bulk(team, "delete", ["cus_unknown"])
    remaining = [int(response.headers["X-RateLimit-Remaining"]) for response in (before, after)]
    assert remaining[0] - remaining[1] == 1
