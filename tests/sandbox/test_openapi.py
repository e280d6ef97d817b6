"""The OpenAPI document is true: of what may be asked, of what is refused, and of everything that is answered."""

import uuid

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from cstar.sandbox import Sandbox
from cstar.sandbox._errors import ERROR_CODES, ApiError
from cstar.sandbox._openapi import document
from cstar.sandbox._parsing import MAX_BODY_SIZE

# What HTTP itself adds to an answer.
PLAIN_HEADERS = {"content-length", "content-type", "date"}

NOBODY = f"cus_{'0' * 32}"
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
def contract(box):
    return document(box.team_id, url=box.url)


@pytest.fixture
def customer(create):
    return create()


def resolve(contract, definition):
    while "$ref" in definition:
        names = definition["$ref"].removeprefix("#/").split("/")
        definition = contract
        for name in names:
            definition = definition[name]
    return definition


def violations(contract, schema, value):
    validator = Draft202012Validator(
        {**schema, "components": contract["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def header_violations(contract, definitions, headers):
    """What is wrong with these headers, among them each that is required and missing."""
    found = []
    for name, definition in definitions.items():
        if name in headers:
            text, schema = headers[name], definition["schema"]
            found += violations(contract, schema, int(text) if schema.get("type") == "integer" else text)
        elif definition.get("required"):
            found.append(f"{name} is missing")
    return found


def operations(contract):
    return {
        operation["operationId"]: operation
        for methods in contract["paths"].values()
        for method, operation in methods.items()
        if method != "parameters"
    }


def assert_is(contract, response, answer):
    """The answer is what the response describes: its content type, its body and each of its headers."""
    response = resolve(contract, response)
    assert answer.headers["Content-Type"] == "application/json"
    assert violations(contract, response["content"]["application/json"]["schema"], answer.json()) == []
    headers = {name: resolve(contract, header) for name, header in response["headers"].items()}
    assert header_violations(contract, headers, answer.headers) == []
    assert set(answer.headers) <= {name.lower() for name in headers} | PLAIN_HEADERS


def assert_is_documented(contract, operation, status, answer):
    assert answer.status_code == status, answer.text
    assert_is(contract, operations(contract)[operation]["responses"][str(status)], answer)


def test_it_is_served_at_the_root_to_everyone(box, contract, stranger):
    answer = stranger.get(httpx.URL(box.url).join("/openapi.json"))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == contract


def test_it_is_valid_openapi_3_1(contract):
    assert contract["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(contract).validate()


def test_it_is_about_this_sandbox_and_its_team(box, contract):
    assert contract["servers"] == [{"url": box.url}]
    assert contract["components"]["parameters"]["teamId"]["schema"]["enum"] == [box.team_id]


def test_it_has_the_paths_and_methods_of_the_api(contract):
    assert {path: methods.keys() - {"parameters"} for path, methods in contract["paths"].items()} == {
        "/auth/whoami": {"get"},
        "/teams/{teamId}/customers": {"get", "post"},
        "/teams/{teamId}/customers/{customerId}": {"get", "patch", "delete"},
        "/teams/{teamId}/bulk": {"post"},
        "/teams/{teamId}/import": {"post"},
        "/teams/{teamId}/export": {"post"},
    }


@pytest.mark.parametrize("code", ERROR_CODES)
def test_every_error_code_is_documented_under_its_status_and_no_other(contract, code):
    responses = {
        status: response for each in operations(contract).values() for status, response in each["responses"].items()
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
        if not violations(contract, resolve(contract, response)["content"]["application/json"]["schema"], failure)
    ]
    assert allowing == [str(error.status)]


EXPORT = {"resources": [{"type": "customers", "filters": {"status": "active"}}], "format": "json"}


def bulk(customer, other_id, **further):
    return {"action": "update", "resource": "customers", "ids": [customer["id"], other_id], **further}


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
        ("createCustomer", 401, lambda api, customer: api.post("/customers", headers={"Authorization": "Basic dTpw"})),
        ("createCustomer", 403, lambda api, customer: api.post(f"/../{uuid.uuid4()}/customers")),
        (
            "createCustomer",
            409,
            lambda api, customer: api.post("/customers", json={"name": "Jane Doe", "email": customer["email"]}),
        ),
        ("createCustomer", 413, lambda api, customer: api.post("/customers", **TOO_LARGE)),
        ("getCustomer", 200, lambda api, customer: api.get(f"/customers/{customer['id']}")),
        ("getCustomer", 200, lambda api, customer: api.get(f"/customers/{customer['id']}?expand=customer")),
        (
            "getCustomer",
            400,
            lambda api, customer: api.get(f"/customers/{customer['id']}", headers={"CStar-Version": "latest"}),
        ),
        (
            "getCustomer",
            401,
            lambda api, customer: api.get(f"/customers/{NOBODY}", headers={"Authorization": "Bearer x"}),
        ),
        ("getCustomer", 404, lambda api, customer: api.get(f"/customers/{NOBODY}")),
        ("updateCustomer", 200, lambda api, customer: api.patch(f"/customers/{customer['id']}", json=ALL_FIELDS)),
        ("updateCustomer", 400, lambda api, customer: api.patch(f"/customers/{customer['id']}", json={"id": "cus_1"})),
        ("updateCustomer", 404, lambda api, customer: api.patch(f"/customers/{NOBODY}", json={})),
        ("updateCustomer", 413, lambda api, customer: api.patch(f"/customers/{customer['id']}", **TOO_LARGE)),
        ("deleteCustomer", 200, lambda api, customer: api.delete(f"/customers/{customer['id']}")),
        ("deleteCustomer", 400, lambda api, customer: api.delete(f"/customers/{customer['id']}?force=1")),
        ("deleteCustomer", 404, lambda api, customer: api.delete(f"/customers/{NOBODY}")),
        ("bulk", 200, lambda api, customer: api.post("/bulk", json=bulk(customer, NOBODY, data={"notes": "x"}))),
        ("bulk", 200, lambda api, customer: api.post("/bulk", json=bulk(customer, "x", action="delete"))),
        ("bulk", 400, lambda api, customer: api.post("/bulk", json={"action": "update"})),
        ("import", 200, lambda api, customer: api.post("/import", json=records(customer, {}, {"email": "x"}))),
        ("import", 400, lambda api, customer: api.post("/import", json=records())),
        ("export", 200, lambda api, customer: api.post("/export", json=EXPORT)),
        ("export", 400, lambda api, customer: api.post("/export", json={**EXPORT, "format": "xml"})),
    ],
)
def test_an_answer_is_the_one_documented(contract, api, customer, operation, status, send):
    assert_is_documented(contract, operation, status, send(api, customer))


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (200, {"url": "/auth/whoami"}),
        (400, {"url": "/auth/whoami?expand=team"}),
        (401, {"url": "/auth/whoami", "headers": {"Authorization": f"Bearer sk_test_{'0' * 32}"}}),
    ],
)
def test_an_answer_about_a_key_is_the_one_documented(contract, box, status, request_):
    with httpx.Client(base_url=box.url, headers={"Authorization": f"Bearer {box.publishable_key}"}) as reader:
        assert_is_documented(contract, "whoami", status, reader.get(**request_))


def test_what_a_publishable_key_is_refused_is_documented(contract, box, api):
    headers = {"Authorization": f"Bearer {box.publishable_key}"}
    for operation, method, path in [
        ("createCustomer", "POST", "/customers"),
        ("updateCustomer", "PATCH", f"/customers/{NOBODY}"),
        ("deleteCustomer", "DELETE", f"/customers/{NOBODY}"),
    ]:
        assert_is_documented(contract, operation, 403, api.request(method, path, headers=headers))


def test_replayed_answers_and_refused_keys_are_documented(contract, api, customer):
    key = {"Idempotency-Key": customer["id"]}
    body = {"name": "Once", "email": f"once.{customer['email']}"}
    for _ in range(2):
        assert_is_documented(contract, "createCustomer", 201, api.post("/customers", json=body, headers=key))
    path = f"/customers/{customer['id']}"
    assert_is_documented(contract, "updateCustomer", 409, api.patch(path, json={}, headers=key))
    assert_is_documented(contract, "deleteCustomer", 409, api.delete(path, headers=key))
    key = {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(2):
        assert_is_documented(contract, "deleteCustomer", 404, api.delete(f"/customers/{NOBODY}", headers=key))


def test_demo_customers_and_their_tickets_are_as_documented(contract, seeded):
    customers = seeded.get("/customers?pageSize=100")
    assert_is_documented(contract, "listCustomers", 200, customers)
    with_tickets = [customer for customer in customers.json()["data"] if customer["ticketCount"]]
    for customer in with_tickets:
        assert_is_documented(contract, "getCustomer", 200, seeded.get(f"/customers/{customer['id']}"))
    assert with_tickets


def test_a_wrong_method_and_a_wrong_path_are_answered_as_documented(contract, api):
    responses = contract["components"]["responses"]
    wrong_method = api.put("/customers")
    assert wrong_method.status_code == 405
    assert_is(contract, responses["Error405"], wrong_method)
    wrong_path = api.get("/tickets")
    assert wrong_path.status_code == 404
    assert_is(contract, responses["Error404"], wrong_path)


def test_a_used_up_budget_is_answered_as_documented(contract):
    with Sandbox(rate_limit=(1, 60)) as box, httpx.Client(headers={"Authorization": f"Bearer {box.api_key}"}) as client:
        client.get(f"{box.url}/auth/whoami")
        assert_is_documented(contract, "whoami", 429, client.get(f"{box.url}/auth/whoami"))


def test_a_failure_of_the_sandbox_itself_is_answered_as_documented(contract, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    with Sandbox() as box, httpx.Client(headers={"Authorization": f"Bearer {box.api_key}"}) as client:
        monkeypatch.setattr("cstar.sandbox._store.Store.customers", fail)
        answer = client.get(f"{box.url}/teams/{box.team_id}/customers")
    assert_is_documented(contract, "listCustomers", 500, answer)


def list_parameters(contract):
    return {each["name"]: each["schema"] for each in operations(contract)["listCustomers"]["parameters"]}


@pytest.mark.parametrize("name", ["page", "pageSize"])
def test_the_bounds_of_a_whole_number_are_the_documented_ones(contract, api, name):
    least, most = list_parameters(contract)[name]["minimum"], list_parameters(contract)[name]["maximum"]
    statuses = [api.get("/customers", params={name: value}).status_code for value in (least - 1, least, most, most + 1)]
    assert statuses == [400, 200, 200, 400]


def test_the_documented_defaults_are_those_of_a_plain_list(contract, api):
    pagination = api.get("/customers").json()["pagination"]
    assert pagination["page"] == list_parameters(contract)["page"]["default"]
    assert pagination["pageSize"] == list_parameters(contract)["pageSize"]["default"]


def lengths_of(contract, *, beyond):
    """Values as long as the document allows, or longer by one."""
    schemas = contract["components"]["schemas"]["NewCustomer"]["properties"]
    metadata = schemas["metadata"]
    keys, key, value = (
        bound + beyond
        for bound in (
            metadata["maxProperties"],
            metadata["propertyNames"]["maxLength"],
            metadata["additionalProperties"]["maxLength"],
        )
    )
    email = schemas["email"]["maxLength"] + beyond
    return [
        {"metadata": {str(number): "" for number in range(keys)}},
        {"metadata": {"k" * key: ""}},
        {"metadata": {"k": "v" * value}},
        {"email": f"{uuid.uuid4().hex}@{'d.' * 100}".ljust(email, "x")},
    ]


def test_what_is_as_large_as_documented_is_taken_and_what_is_larger_by_one_is_not(contract, api, create, new_email):
    for fields in lengths_of(contract, beyond=0):
        create(**fields)
    for fields in lengths_of(contract, beyond=1):
        assert api.post("/customers", json={"name": "Jane", "email": new_email(), **fields}).status_code == 400


def test_an_idempotency_key_has_at_most_255_characters(api, customer):
    statuses = [
        api.patch(f"/customers/{customer['id']}", json={}, headers={"Idempotency-Key": customer["id"].ljust(n, "k")})
        for n in (255, 256)
    ]
    assert [answer.status_code for answer in statuses] == [200, 400]


@pytest.mark.parametrize(("schema", "method"), [("NewCustomer", "POST"), ("CustomerUpdate", "PATCH")])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", " \t\u2003\ufeff"),
        ("name", "\x1c"),
        ("name", "a\x00b"),
        ("name", None),
        ("email", "jane\x00@example.com"),
        ("email", "zoë@weiß.example"),
        ("email", "jane@exam_ple.com"),
        ("email", "jane@-example.com"),
        ("email", "jane@localhost"),
        ("tags", ["", "vip", "vip"]),
        ("tags", [None]),
        ("notes", None),
        ("customFields", []),
        ("metadata", {"": ""}),
        ("metadata", {"k": 1}),
        ("metadata", {"k": None}),
        ("id", "cus_1"),
    ],
)
def test_the_document_and_the_api_agree_on_a_field(contract, api, customer, schema, method, field, value):
    body = {"name": "Jane Doe", "email": f"{uuid.uuid4().hex}@example.com", field: value}
    path = "/customers" if method == "POST" else f"/customers/{customer['id']}"
    valid = not violations(contract, contract["components"]["schemas"][schema], body)
    # The address may be taken by the time of the second try, but it is an address all the same.
    assert (api.request(method, path, json=body).status_code in {200, 201, 409}) is valid


def test_a_created_customer_leads_to_the_operations_on_it(contract, api, customer):
    links = operations(contract)["createCustomer"]["responses"]["201"]["links"].values()
    calls = {
        operation["operationId"]: method
        for method, operation in contract["paths"]["/teams/{teamId}/customers/{customerId}"].items()
        if method != "parameters"
    }
    assert [link["operationId"] for link in links] == list(calls)
    for link in links:
        assert link["parameters"] == {"teamId": "$request.path.teamId", "customerId": "$response.body#/data/id"}
        body = {"json": {}} if link["operationId"] == "updateCustomer" else {}
        answer = api.request(calls[link["operationId"]], f"/customers/{customer['id']}", **body)
        assert answer.status_code == 200
