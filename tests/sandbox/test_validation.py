import json

import pytest


def refusal(answer):
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["code"], error["param"]


def invalid(param):
    return (400, "invalid_request_error", "parameter_invalid", param)


BAD_FIELDS = [
    ("name", None),
    ("name", 5),
    ("name", ""),
    ("name", " \t\n"),
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
    ("email", "jane@example.com\n"),
    ("email", "jane\x00@example.com"),
    ("email", "jane@exam\x7fple.com"),
    ("email", "jane@exam_ple.com"),
    ("email", "jane@doe@example.com"),
    ("email", ".jane@example.com"),
    ("email", "jane..doe@example.com"),
    ("email", "Jane <jane@example.com>"),
    ("email", f"{'j' * 250}@example.com"),
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
    ("metadata", {str(number): "v" for number in range(51)}),
    ("id", "cus_1"),
    ("createdAt", "2026-01-01T00:00:00Z"),
    ("custom_fields", {}),
    ("ticketCount", 1),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_a_create_with_a_bad_field_is_refused_by_the_name_of_the_field(api, new_email, field, value):
    body = {"name": "Jane Doe", "email": new_email(), field: value}
    assert refusal(api.post("/customers", json=body)) == invalid(field)


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_an_update_with_a_bad_field_is_refused_and_changes_nothing(api, create, field, value):
    customer = create()
    body = {"notes": "changed", field: value}
    assert refusal(api.patch(f"/customers/{customer['id']}", json=body)) == invalid(field)
    assert api.get(f"/customers/{customer['id']}?expand=none").json()["data"] == customer


@pytest.mark.parametrize("field", ["name", "email"])
def test_a_create_without_a_required_field_is_refused_by_its_name(api, new_email, field):
    body = {"name": "Jane Doe", "email": new_email()}
    del body[field]
    assert refusal(api.post("/customers", json=body)) == (400, "invalid_request_error", "parameter_missing", field)


@pytest.mark.parametrize(
    "email",
    ["a@b.co", "jane+tag@sub.example.com", "o'brien@example.com", "jörg@müller.example", "{x}!#$@xn--mller-kva.de"],
)
def test_unusual_emails_are_emails(create, email):
    assert create(email=email)["email"] == email


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("notes", None),
        ("notes", ""),
        ("tags", []),
        ("customFields", {}),
        ("customFields", {"deep": json.loads("[" * 98 + "]" * 98)}),
        ("metadata", {"k" * 40: "v" * 500}),
        ("metadata", {str(number): "" for number in range(50)}),
        ("name", "N" * 5000),
    ],
)
def test_what_is_at_the_limit_is_allowed(create, field, value):
    assert create(**{field: value})[field] == value


def test_a_create_cannot_set_a_metadata_key_to_null(api, new_email):
    body = {"name": "Jane Doe", "email": new_email(), "metadata": {"k": None}}
    assert refusal(api.post("/customers", json=body)) == invalid("metadata")


def test_the_metadata_limit_holds_after_the_merge(api, create):
    customer = create(metadata={f"old{number}": "" for number in range(49)})
    path = f"/customers/{customer['id']}"
    assert refusal(api.patch(path, json={"metadata": {"new1": "", "new2": ""}})) == invalid("metadata")
    replaced = {"metadata": {"new1": "", "new2": "", "old0": None}}
    assert len(api.patch(path, json=replaced).json()["data"]["metadata"]) == 50


def test_a_removal_may_name_more_keys_than_a_customer_can_have(api, create):
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
def test_a_body_that_is_not_a_json_object_is_refused(api, create, method, body):
    path = "/customers" if method == "POST" else f"/customers/{create()['id']}"
    answer = api.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer) == invalid(None)
    assert "JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""]
)
def test_a_body_of_another_content_type_is_refused(api, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = api.post("/customers", content=b'{"name": "Jane", "email": "type@example.com"}', headers=headers)
    assert refusal(answer) == invalid("Content-Type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"]
)
def test_a_json_content_type_may_have_parameters(api, create, content_type):
    answer = api.patch(f"/customers/{create()['id']}", content=b"{}", headers={"Content-Type": content_type})
    assert answer.status_code == 200


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "", "one", " 1", "+1", "1e3", "٣", "9" * 5000])
@pytest.mark.parametrize("name", ["page", "pageSize"])
def test_paging_takes_only_whole_numbers_from_one(api, name, value):
    assert refusal(api.get("/customers", params={name: value})) == invalid(name)


def test_a_page_has_at_most_100_rows(api):
    assert api.get("/customers", params={"pageSize": 100}).status_code == 200
    assert refusal(api.get("/customers", params={"pageSize": 101})) == invalid("pageSize")


@pytest.mark.parametrize(
    ("name", "value"), [("status", "archived"), ("status", ""), ("sentiment", "positive"), ("sentiment", "HAPPY")]
)
def test_a_filter_takes_only_the_documented_values(api, name, value):
    answer = api.get("/customers", params={name: value})
    assert refusal(answer) == invalid(name)


@pytest.mark.parametrize("name", ["page_size", "limit", "Status", "expand", "tags", "_"])
def test_an_unknown_query_parameter_of_a_list_is_refused(api, name):
    assert refusal(api.get("/customers", params={name: "1"})) == invalid(name)


def test_a_query_parameter_given_twice_is_refused(api):
    assert refusal(api.get("/customers?status=active&status=inactive")) == invalid("status")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_query_parameter_of_one_customer_is_refused(api, create, method):
    path = f"/customers/{create()['id']}"
    body = {"json": {}} if method == "PATCH" else {}
    assert refusal(api.request(method, path, params={"force": "1"}, **body)) == invalid("force")
    assert api.get(path).status_code == 200


def test_whoami_and_create_take_no_query_parameters(box, api, new_email):
    assert refusal(api.get(f"{box.url}/auth/whoami?expand=team")) == invalid("expand")
    answer = api.post("/customers?dry_run=1", json={"name": "Jane", "email": new_email()})
    assert refusal(answer) == invalid("dry_run")


MEBIBYTE = 1024 * 1024
JANE = {"name": "Jane", "email": "jane.large@example.com"}


def sized(length):
    """The JSON of a customer, with as many bytes."""
    body = json.dumps({**JANE, "notes": ""}).encode()
    return body.replace(b'"notes": ""', b'"notes": "%s"' % (b"x" * (length - len(body))))


def in_pieces(body):
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


@pytest.mark.parametrize("arrange", [bytes, in_pieces], ids=["at once", "in pieces"])
@pytest.mark.parametrize("length", [MEBIBYTE + 1, 20 * MEBIBYTE])
def test_a_body_of_more_than_a_mebibyte_is_refused(api, length, arrange):
    answer = api.post("/customers", content=arrange(sized(length)), headers={"Content-Type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (413, "invalid_request_error", "request_too_large")
    assert "1,048,576 bytes" in error["message"]


def test_a_body_of_a_mebibyte_is_taken(api):
    answer = api.post("/customers", content=sized(MEBIBYTE), headers={"Content-Type": "application/json"})
    assert answer.status_code == 201


def test_even_a_read_may_not_have_a_larger_body(api):
    assert api.request("GET", "/customers", content=b"x" * (MEBIBYTE + 1)).status_code == 413


def test_a_stranger_with_a_large_body_is_told_to_authenticate(stranger, box):
    path = f"/teams/{box.team_id}/customers"
    assert stranger.post(path, content=b"x" * (MEBIBYTE + 1)).status_code == 401


@pytest.mark.parametrize("key", ["cl\u00e9".encode("latin-1"), b"a\tb", b"\xa0"])
def test_an_idempotency_key_is_printable_ascii(api, key):
    assert refusal(api.post("/customers", json={}, headers={"Idempotency-Key": key})) == invalid("Idempotency-Key")


@pytest.mark.parametrize("version", ["2026-02-30", "0000-01-01", "20260301", "2026-W10-1", "2026-03-01T00:00"])
def test_a_version_is_a_day_of_the_calendar(api, version):
    assert refusal(api.get("/customers", headers={"CStar-Version": version})) == invalid("CStar-Version")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "body", [b'{"notes": "a", "notes": "a"}', b'{"customFields": {"deep": [{"\\ud800": 1, "\\ud800": 2}]}}']
)
def test_a_json_key_given_twice_is_refused(api, create, method, body):
    path = "/customers" if method == "POST" else f"/customers/{create()['id']}"
    answer = api.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer) == invalid(None)
    assert "twice" in answer.json()["error"]["message"]
