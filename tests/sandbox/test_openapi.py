"""The OpenAPI document: it is valid, and requests, responses and errors conform to it."""

import json
import uuid

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from cstar.sandbox import Sandbox
from cstar.sandbox._errors import ERROR_CODES, ApiError
from cstar.sandbox._openapi import document
from cstar.sandbox._parsing import MAX_BODY_SIZE
from support import team_client

# Headers of the HTTP server.
HTTP_HEADERS = {"content-length", "content-type", "date"}

UNKNOWN_ID = f"cus_{'0' * 32}"
TOO_LARGE = {"content": b" " * (MAX_BODY_SIZE + 1), "headers": {"Content-Type": "application/json"}}
ALL_FIELDS = {
    "name": "Grace Hopper",
    "sentiment": "angry",
    "status": "inactive",
    "tags": ["vip", "vip"],
    "notes": "",
    "customFields": {"deep": [{"er": None}], "seats": 12.5},
    "metadata": {"k" * 40: "v" * 500},
}


@pytest.fixture(scope="module")
def openapi(box):
    return document(box.team_id, url=box.url)


@pytest.fixture
def customer(create):
    return create()


def resolve(openapi, definition):
    while "$ref" in definition:
        names = definition["$ref"].removeprefix("#/").split("/")
        definition = openapi
        for name in names:
            definition = definition[name]
    return definition


def violations(openapi, schema, value):
    validator = Draft202012Validator(
        {**schema, "components": openapi["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def header_violations(openapi, definitions, headers):
    """List the invalid headers, and the required ones that are missing."""
    found = []
    for name, definition in definitions.items():
        if name in headers:
            text, schema = headers[name], definition["schema"]
            found += violations(openapi, schema, int(text) if schema.get("type") == "integer" else text)
        elif definition.get("required"):
            found.append(f"{name} is missing")
    return found


def operations(openapi):
    return {
        operation["operationId"]: operation
        for methods in openapi["paths"].values()
        for method, operation in methods.items()
        if method != "parameters"
    }


def assert_conforms(openapi, response, definition):
    """Check the content type, the body and the headers of a response."""
    definition = resolve(openapi, definition)
    assert response.headers["Content-Type"] == "application/json"
    assert violations(openapi, definition["content"]["application/json"]["schema"], response.json()) == []
    headers = {name: resolve(openapi, header) for name, header in definition["headers"].items()}
    assert header_violations(openapi, headers, response.headers) == []
    assert set(response.headers) <= {name.lower() for name in headers} | HTTP_HEADERS


def assert_is_documented(openapi, operation, status, response):
    assert response.status_code == status, response.text
    assert_conforms(openapi, response, operations(openapi)[operation]["responses"][str(status)])


def test_the_document_is_served_at_the_root_without_a_key(box, openapi, anonymous):
    response = anonymous.get(httpx.URL(box.url).join("/openapi.json"))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == openapi
    assert openapi["components"]["parameters"]["teamId"]["schema"]["enum"] == [box.team_id]


def test_the_document_is_valid_openapi_3_1(openapi):
    assert openapi["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(openapi).validate()


def test_the_document_has_the_paths_and_methods_of_the_api(openapi):
    assert {path: methods.keys() - {"parameters"} for path, methods in openapi["paths"].items()} == {
        "/auth/whoami": {"get"},
        "/teams/{teamId}/customers": {"get", "post"},
        "/teams/{teamId}/customers/{customerId}": {"get", "patch", "delete"},
        "/teams/{teamId}/bulk": {"post"},
        "/teams/{teamId}/import": {"post"},
        "/teams/{teamId}/export": {"post"},
    }


@pytest.mark.parametrize("code", ERROR_CODES)
def test_each_error_code_is_documented_only_under_its_status(openapi, code):
    responses = {
        status: response for each in operations(openapi).values() for status, response in each["responses"].items()
    }
    responses["405"] = {"$ref": "#/components/responses/Error405"}
    error = ApiError(code, "Something is wrong.")
    failure = {
        "success": False,
        "error": {
            "type": error.type,
            "code": code,
            "message": error.message,
            "param": None,
            "doc_url": error.doc_url,
            "request_id": f"req_{'0' * 24}",
        },
        "meta": {"requestId": f"req_{'0' * 24}", "timestamp": "2026-03-01T00:00:00Z"},
    }
    allowing = [
        status
        for status, response in responses.items()
        if not violations(openapi, resolve(openapi, response)["content"]["application/json"]["schema"], failure)
    ]
    assert allowing == [str(error.status)]


EXPORT = {"resources": [{"type": "customers", "filters": {"status": "active"}}], "format": "json"}


def bulk(customer, other_id, **fields):
    return {"action": "update", "resource": "customers", "ids": [customer["id"], other_id], **fields}


def records(*customers):
    known = [{name: each[name] for name in ("name", "email") if name in each} for each in customers]
    return {"resource": "customers", "records": known, "mergeStrategy": "update"}


@pytest.mark.parametrize(
    ("operation", "status", "send"),
    [
        ("listCustomers", 200, lambda api, customer: api.get("/customers")),
        (
            "listCustomers",
            200,
            lambda api, customer: api.get("/customers?page=7&pageSize=3&status=active&search=a&tag=b"),
        ),
        ("listCustomers", 400, lambda api, customer: api.get("/customers?pageSize=0")),
        ("listCustomers", 401, lambda api, customer: api.get("/customers", headers={"Authorization": ""})),
        ("listCustomers", 403, lambda api, customer: api.get(f"/../{uuid.uuid4()}/customers")),
        ("listCustomers", 413, lambda api, customer: api.request("GET", "/customers", **TOO_LARGE)),
        (
            "createCustomer",
            201,
            lambda api, customer: api.post("/customers", json={**ALL_FIELDS, "email": f"new.{customer['email']}"}),
        ),
        ("createCustomer", 400, lambda api, customer: api.post("/customers", json={"name": "Jane Doe"})),
        (
            "createCustomer",
            409,
            lambda api, customer: api.post("/customers", json={"name": "Jane Doe", "email": customer["email"]}),
        ),
        ("getCustomer", 200, lambda api, customer: api.get(f"/customers/{customer['id']}")),
        ("getCustomer", 200, lambda api, customer: api.get(f"/customers/{customer['id']}?expand=customer")),
        (
            "getCustomer",
            400,
            lambda api, customer: api.get(f"/customers/{customer['id']}", headers={"CStar-Version": "latest"}),
        ),
        ("getCustomer", 404, lambda api, customer: api.get(f"/customers/{UNKNOWN_ID}")),
        ("updateCustomer", 200, lambda api, customer: api.patch(f"/customers/{customer['id']}", json=ALL_FIELDS)),
        ("updateCustomer", 400, lambda api, customer: api.patch(f"/customers/{customer['id']}", json={"id": "cus_1"})),
        ("updateCustomer", 404, lambda api, customer: api.patch(f"/customers/{UNKNOWN_ID}", json={})),
        ("deleteCustomer", 200, lambda api, customer: api.delete(f"/customers/{customer['id']}")),
        ("deleteCustomer", 400, lambda api, customer: api.delete(f"/customers/{customer['id']}?force=1")),
        ("deleteCustomer", 404, lambda api, customer: api.delete(f"/customers/{UNKNOWN_ID}")),
        ("bulk", 200, lambda api, customer: api.post("/bulk", json=bulk(customer, UNKNOWN_ID, data={"notes": "x"}))),
        ("bulk", 200, lambda api, customer: api.post("/bulk", json=bulk(customer, "x", action="delete"))),
        ("bulk", 400, lambda api, customer: api.post("/bulk", json={"action": "update"})),
        ("import", 200, lambda api, customer: api.post("/import", json=records(customer, {}, {"email": "x"}))),
        ("import", 400, lambda api, customer: api.post("/import", json=records())),
        ("export", 200, lambda api, customer: api.post("/export", json=EXPORT)),
        ("export", 400, lambda api, customer: api.post("/export", json={**EXPORT, "format": "xml"})),
    ],
)
def test_a_response_is_as_documented(openapi, api, customer, operation, status, send):
    assert_is_documented(openapi, operation, status, send(api, customer))


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (200, {"url": "/auth/whoami"}),
        (400, {"url": "/auth/whoami?expand=team"}),
        (401, {"url": "/auth/whoami", "headers": {"Authorization": f"Bearer sk_test_{'0' * 32}"}}),
    ],
)
def test_a_response_of_whoami_is_as_documented(openapi, box, status, request_):
    with httpx.Client(base_url=box.url, headers={"Authorization": f"Bearer {box.publishable_key}"}) as reader:
        assert_is_documented(openapi, "whoami", status, reader.get(**request_))


def test_the_error_for_a_publishable_key_is_as_documented(openapi, box, api):
    headers = {"Authorization": f"Bearer {box.publishable_key}"}
    for operation, method, path in [
        ("createCustomer", "POST", "/customers"),
        ("updateCustomer", "PATCH", f"/customers/{UNKNOWN_ID}"),
        ("deleteCustomer", "DELETE", f"/customers/{UNKNOWN_ID}"),
    ]:
        assert_is_documented(openapi, operation, 403, api.request(method, path, headers=headers))


def test_replays_and_conflicts_of_keys_are_as_documented(openapi, api, customer):
    key = {"Idempotency-Key": customer["id"]}
    body = {"name": "Once", "email": f"once.{customer['email']}"}
    for _ in range(2):
        assert_is_documented(openapi, "createCustomer", 201, api.post("/customers", json=body, headers=key))
    path = f"/customers/{customer['id']}"
    assert_is_documented(openapi, "updateCustomer", 409, api.patch(path, json={}, headers=key))
    assert_is_documented(openapi, "deleteCustomer", 409, api.delete(path, headers=key))
    key = {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(2):
        assert_is_documented(openapi, "deleteCustomer", 404, api.delete(f"/customers/{UNKNOWN_ID}", headers=key))


def test_demo_customers_and_their_tickets_are_as_documented(openapi, demo_api):
    customers = demo_api.get("/customers?pageSize=100")
    assert_is_documented(openapi, "listCustomers", 200, customers)
    with_tickets = [customer for customer in customers.json()["data"] if customer["ticketCount"]]
    for customer in with_tickets:
        assert_is_documented(openapi, "getCustomer", 200, demo_api.get(f"/customers/{customer['id']}"))
    assert with_tickets


def test_the_errors_for_an_unknown_method_and_path_are_as_documented(openapi, api):
    responses = openapi["components"]["responses"]
    unknown_method = api.put("/customers")
    assert unknown_method.status_code == 405
    assert_conforms(openapi, unknown_method, responses["Error405"])
    unknown_path = api.get("/tickets")
    assert unknown_path.status_code == 404
    assert_conforms(openapi, unknown_path, responses["Error404"])


def test_a_rate_limit_error_is_as_documented(openapi):
    with Sandbox(rate_limit=(1, 60)) as box, httpx.Client(headers={"Authorization": f"Bearer {box.api_key}"}) as client:
        client.get(f"{box.url}/auth/whoami")
        assert_is_documented(openapi, "whoami", 429, client.get(f"{box.url}/auth/whoami"))


def test_the_error_for_a_bug_in_the_sandbox_is_as_documented(openapi, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    with Sandbox() as box, team_client(box) as api:
        monkeypatch.setattr("cstar.sandbox._store.Store.customers", fail)
        response = api.get("/customers")
    assert_is_documented(openapi, "listCustomers", 500, response)


def list_parameters(openapi):
    return {each["name"]: each["schema"] for each in operations(openapi)["listCustomers"]["parameters"]}


@pytest.mark.parametrize("name", ["page", "pageSize"])
def test_the_bounds_of_page_and_page_size_are_as_documented(openapi, api, name):
    minimum, maximum = (list_parameters(openapi)[name][bound] for bound in ("minimum", "maximum"))
    values = (minimum - 1, minimum, maximum, maximum + 1)
    statuses = [api.get("/customers", params={name: value}).status_code for value in values]
    assert statuses == [400, 200, 200, 400]


def test_the_defaults_of_page_and_page_size_are_as_documented(openapi, api):
    pagination = api.get("/customers").json()["pagination"]
    assert pagination["page"] == list_parameters(openapi)["page"]["default"]
    assert pagination["pageSize"] == list_parameters(openapi)["pageSize"]["default"]


INVALID_FIELDS = [
    ("name", None),
    ("name", 5),
    ("name", ""),
    ("name", " \t\n"),
    ("name", "\x1c"),
    ("name", "\u2003\ufeff\x00"),
    ("email", None),
    ("email", ["jane@example.com"]),
    ("email", ""),
    ("email", "jane"),
    ("email", "jane@"),
    ("email", "@example.com"),
    ("email", "jane@localhost"),
    ("email", "jane@example..com"),
    ("email", "jane@-example.com"),
    ("email", "jane@exa mple.com"),
    ("email", " jane@example.com"),
    ("email", "jane\x00@example.com"),
    ("email", "jane@exam\x7fple.com"),
    ("email", "jane@exam_ple.com"),
    ("email", "jane@doe@example.com"),
    ("email", ".jane@example.com"),
    ("email", "jane..doe@example.com"),
    ("email", "Jane <jane@example.com>"),
    ("email", f"{'j' * 243}@example.com"),
    ("sentiment", None),
    ("sentiment", "positive"),
    ("sentiment", "Happy"),
    ("sentiment", 1),
    ("status", None),
    ("status", "archived"),
    ("status", ""),
    ("status", True),
    ("tags", None),
    ("tags", "vip"),
    ("tags", {"vip": True}),
    ("tags", ["vip", 1]),
    ("tags", [None]),
    ("notes", 5),
    ("notes", ["note"]),
    ("customFields", None),
    ("customFields", []),
    ("customFields", "plan"),
    ("metadata", None),
    ("metadata", []),
    ("metadata", {"k": 1}),
    ("metadata", {"k": ["v"]}),
    ("metadata", {"k" * 41: "v"}),
    ("metadata", {"k": "v" * 501}),
    ("id", "cus_1"),
    ("createdAt", "2026-01-01T00:00:00Z"),
    ("custom_fields", {}),
    ("ticketCount", 1),
]


@pytest.mark.parametrize(("field", "value"), INVALID_FIELDS)
def test_an_invalid_field_is_rejected_and_the_document_forbids_it(openapi, api, customer, new_email, field, value):
    created, changed = {"name": "Jane Doe", "email": new_email(), field: value}, {"notes": "changed", field: value}
    path = f"/customers/{customer['id']}"
    for response in (api.post("/customers", json=created), api.patch(path, json=changed)):
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (400, "parameter_invalid", field)
    assert api.get(f"{path}?expand=none").json()["data"] == customer
    assert violations(openapi, openapi["components"]["schemas"]["NewCustomer"], created)
    assert violations(openapi, openapi["components"]["schemas"]["CustomerUpdate"], changed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "N" * 5000),
        ("name", "a\x00b"),
        ("email", "a@b.co"),
        ("email", "jane+tag@sub.example.com"),
        ("email", "o'brien@example.com"),
        ("email", "jörg@müller.example"),
        ("email", "{x}!#$@xn--mller-kva.de"),
        ("email", f"{'j' * 242}@example.com"),
        ("tags", []),
        ("tags", ["", "vip", "vip"]),
        ("notes", None),
        ("notes", ""),
        ("customFields", {}),
        ("customFields", {"deep": json.loads("[" * 98 + "]" * 98)}),
        ("metadata", {"": ""}),
        ("metadata", {"k" * 40: "v" * 500}),
        ("metadata", {str(number): "" for number in range(50)}),
    ],
)
def test_an_unusual_field_is_accepted_and_the_document_allows_it(openapi, api, new_email, field, value):
    created, changed = {"name": "Jane Doe", "email": new_email(), field: value}, {field: value}
    customer = api.post("/customers", json=created).json()["data"]
    updated = api.patch(f"/customers/{customer['id']}", json=changed).json()["data"]
    assert customer[field] == updated[field] == value
    assert not violations(openapi, openapi["components"]["schemas"]["NewCustomer"], created)
    assert not violations(openapi, openapi["components"]["schemas"]["CustomerUpdate"], changed)


def test_a_metadata_key_can_be_null_only_in_an_update(openapi, api, customer, new_email):
    created, changed = {"name": "Jane", "email": new_email(), "metadata": {"k": None}}, {"metadata": {"k": None}}
    assert api.post("/customers", json=created).json()["error"]["param"] == "metadata"
    assert api.patch(f"/customers/{customer['id']}", json=changed).json()["data"] == customer
    assert violations(openapi, openapi["components"]["schemas"]["NewCustomer"], created)
    assert not violations(openapi, openapi["components"]["schemas"]["CustomerUpdate"], changed)


def test_a_new_customer_has_at_most_50_metadata_keys(openapi, api, new_email):
    body = {"name": "Jane", "email": new_email(), "metadata": {str(number): "v" for number in range(51)}}
    assert api.post("/customers", json=body).json()["error"]["param"] == "metadata"
    assert violations(openapi, openapi["components"]["schemas"]["NewCustomer"], body)


def test_a_created_customer_has_links_to_the_operations_on_it(openapi, api, customer):
    links = operations(openapi)["createCustomer"]["responses"]["201"]["links"].values()
    calls = {
        operation["operationId"]: method
        for method, operation in openapi["paths"]["/teams/{teamId}/customers/{customerId}"].items()
        if method != "parameters"
    }
    assert [link["operationId"] for link in links] == list(calls)
    for link in links:
        assert link["parameters"] == {"teamId": "$request.path.teamId", "customerId": "$response.body#/data/id"}
        body = {"json": {}} if link["operationId"] == "updateCustomer" else {}
        response = api.request(calls[link["operationId"]], f"/customers/{customer['id']}", **body)
        assert response.status_code == 200
