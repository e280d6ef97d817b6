"""Invalid requests: their bodies, fields, query parameters and headers."""

import json

import pytest

from support import error_of


def invalid(param):
    return (400, "invalid_request_error", "parameter_invalid", param)


def test_metadata_has_at_most_50_keys_after_an_update(api, create):
    customer = create(metadata={f"old{number}": "" for number in range(49)})
    path = f"/customers/{customer['id']}"
    assert error_of(api.patch(path, json={"metadata": {"new1": "", "new2": ""}})) == invalid("metadata")
    replaced = {"metadata": {"new1": "", "new2": "", "old0": None}}
    assert len(api.patch(path, json=replaced).json()["data"]["metadata"]) == 50


def test_an_update_may_remove_more_than_50_metadata_keys(api, create):
    customer = create(metadata={"stays": "v"})
    removal = {"metadata": {str(number): None for number in range(60)}}
    updated = api.patch(f"/customers/{customer['id']}", json=removal)
    assert updated.json()["data"]["metadata"] == {"stays": "v"}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"name=Jane",
        b'{"name": NaN}',
        b'{"customFields": {"n": 1e999}}',
        b'{"customFields": {"n": ' + b"9" * 5000 + b"}}",
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": ' + b"[" * 100_000,
        b'{"customFields": {"deep": ' + b"[" * 500 + b"]" * 500 + b"}}",
        '{"name": "Jane"}'.encode("utf-16"),
        b"[]",
        b'"name"',
        b"null",
        b"5",
    ],
    ids=lambda body: repr(body[:25]),
)
def test_a_body_that_is_not_a_json_object_is_rejected(api, create, method, body):
    path = "/customers" if method == "POST" else f"/customers/{create()['id']}"
    response = api.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert error_of(response) == invalid(None)
    assert "JSON" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""]
)
def test_a_body_of_another_content_type_is_rejected(api, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = api.post("/customers", content=b'{"name": "Jane", "email": "type@example.com"}', headers=headers)
    assert error_of(response) == invalid("Content-Type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"]
)
def test_a_json_content_type_may_have_parameters(api, create, content_type):
    response = api.patch(f"/customers/{create()['id']}", content=b"{}", headers={"Content-Type": content_type})
    assert response.status_code == 200


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "", "one", " 1", "+1", "1e3", "٣", "9" * 5000])
@pytest.mark.parametrize("name", ["page", "pageSize"])
def test_page_and_page_size_must_be_positive_whole_numbers(api, name, value):
    assert error_of(api.get("/customers", params={name: value})) == invalid(name)


@pytest.mark.parametrize(
    ("name", "value"), [("status", "archived"), ("status", ""), ("sentiment", "positive"), ("sentiment", "HAPPY")]
)
def test_a_filter_must_have_a_documented_value(api, name, value):
    response = api.get("/customers", params={name: value})
    assert error_of(response) == invalid(name)


@pytest.mark.parametrize("name", ["page_size", "limit", "Status", "expand", "tags", "_"])
def test_an_unknown_query_parameter_of_a_list_is_rejected(api, name):
    assert error_of(api.get("/customers", params={name: "1"})) == invalid(name)


def test_a_duplicate_query_parameter_is_rejected(api):
    assert error_of(api.get("/customers?status=active&status=inactive")) == invalid("status")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "{url}/auth/whoami"),
        ("POST", "/customers"),
        ("GET", "/customers/{id}"),
        ("PATCH", "/customers/{id}"),
        ("DELETE", "/customers/{id}"),
    ],
)
def test_an_unknown_query_parameter_is_rejected(box, api, create, method, path):
    customer = create()
    response = api.request(method, path.format(url=box.url, **customer), params={"force": "1"}, json={})
    assert error_of(response) == invalid("force")
    assert api.get(f"/customers/{customer['id']}").status_code == 200


def test_an_email_does_not_end_with_a_newline(api):
    assert error_of(api.post("/customers", json={"name": "Jane", "email": "jane@example.com\n"})) == invalid("email")


MEBIBYTE = 1024 * 1024
JANE = {"name": "Jane", "email": "jane.large@example.com"}


def sized(length):
    """Return the JSON of a customer, with a length in bytes."""
    body = json.dumps({**JANE, "notes": ""}).encode()
    return body.replace(b'"notes": ""', b'"notes": "%s"' % (b"x" * (length - len(body))))


def in_chunks(body):
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


@pytest.mark.parametrize("send", [bytes, in_chunks], ids=["at once", "in chunks"])
@pytest.mark.parametrize("length", [MEBIBYTE + 1, 20 * MEBIBYTE])
def test_a_body_of_more_than_1_mib_is_rejected(api, length, send):
    response = api.post("/customers", content=send(sized(length)), headers={"Content-Type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == (413, "invalid_request_error", "request_too_large")
    assert "1,048,576 bytes" in error["message"]


def test_a_body_of_1_mib_is_accepted(api):
    response = api.post("/customers", content=sized(MEBIBYTE), headers={"Content-Type": "application/json"})
    assert response.status_code == 201


def test_a_missing_key_is_reported_before_a_large_body(anonymous, box):
    path = f"/teams/{box.team_id}/customers"
    assert anonymous.post(path, content=b"x" * (MEBIBYTE + 1)).status_code == 401


@pytest.mark.parametrize("version", ["", "latest", "2026-3-1", "2026-02-30", "0000-01-01", "20260301", "2026-W10-1"])
def test_a_version_must_be_a_date(api, version):
    assert error_of(api.get("/customers", headers={"CStar-Version": version})) == invalid("CStar-Version")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "body", [b'{"notes": "a", "notes": "a"}', b'{"customFields": {"deep": [{"\\ud800": 1, "\\ud800": 2}]}}']
)
def test_a_duplicate_json_key_is_rejected(api, create, method, body):
    path = "/customers" if method == "POST" else f"/customers/{create()['id']}"
    response = api.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert error_of(response) == invalid(None)
    assert "twice" in response.json()["error"]["message"]
