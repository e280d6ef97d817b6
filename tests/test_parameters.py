"""Invalid parameters: rejected with the allowed values, before a request is sent."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import uuid
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import to_json

from cstar import Customer, InvalidParameterError
from cstar._call import merge_body
from cstar._check import check_id, check_path
from support import CUSTOMER, CUSTOMERS, ID, TEAM, Runner, created, ok, page_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import respx


SYNC = Runner("sync")


def rejection(api_mock: respx.Router, run: Runner, action: Callable[[Any], Any]) -> InvalidParameterError:
    """Return the error of a call that is rejected before a request is sent."""
    route = api_mock.route().respond(json=ok(CUSTOMER))
    with pytest.raises(InvalidParameterError) as raised:
        run(action)
    assert not route.called
    assert isinstance(raised.value, ValueError)
    return raised.value


# ── Ids ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

ACTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "list": lambda customers, team, customer: customers.list(team),
    "find": lambda customers, team, customer: customers.find(team, "j@x.io"),
    "create": lambda customers, team, customer: customers.create(team, name="J", email="jane@example.com"),
    "get": lambda customers, team, customer: customers.get(team, customer),
    "update": lambda customers, team, customer: customers.update(team, customer, name="J"),
    "delete": lambda customers, team, customer: customers.delete(team, customer),
}


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "a/b", "../x", "a b", "a\n", "ä", "%2e%2e", "a?b", "a#b", "a\\b", "a:b", "\0"]
)
def test_an_id_that_could_lead_to_another_path_is_rejected(api_mock: respx.Router, bad: str) -> None:
    error = rejection(api_mock, SYNC, lambda client: client.customers.get(TEAM, bad))
    assert error.param == "customer_id"
    assert "an id made of A-Z a-z 0-9 _ -" in str(error)


TEAM_ACTIONS = ACTIONS | {
    "upsert": lambda customers, team, customer: customers.upsert(team, email="j@x.io", name="J"),
    "bulk_update": lambda customers, team, customer: customers.bulk_update(team, [customer], name="J"),
    "bulk_delete": lambda customers, team, customer: customers.bulk_delete(team, [customer]),
    "bulk_import": lambda customers, team, customer: customers.bulk_import(team, [{"name": "J", "email": "j@x.io"}]),
    "export": lambda customers, team, customer: customers.export(team),
}


@pytest.mark.parametrize("action", TEAM_ACTIONS.values(), ids=TEAM_ACTIONS)
def test_every_method_checks_the_team_id(api_mock: respx.Router, run: Runner, action: Any) -> None:
    assert rejection(api_mock, run, lambda client: action(client.customers, "../x", ID)).param == "team_id"


@pytest.mark.parametrize("method", ["get", "update", "delete"])
def test_every_method_checks_the_customer_id(api_mock: respx.Router, run: Runner, method: str) -> None:
    error = rejection(api_mock, run, lambda client: ACTIONS[method](client.customers, TEAM, "../x"))
    assert error.param == "customer_id"


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_an_id_may_be_a_uuid(api_mock: respx.Router, run: Runner, action: Any) -> None:
    customer = uuid.UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
    row = {**CUSTOMER, "id": str(customer), "email": "jane@example.com"}
    api_mock.get(CUSTOMERS).respond(json=page_of([row], has_more=False))
    api_mock.route(path__regex=f"{CUSTOMERS}(/{customer})?$").respond(json=ok(row))
    run(lambda client: action(client.customers, uuid.UUID(TEAM), customer))
    assert api_mock.calls.call_count == 1


@pytest.mark.parametrize("bad", [42, None, b"cus_1"])
def test_an_id_of_another_type_is_rejected(api_mock: respx.Router, run: Runner, bad: Any) -> None:
    error = rejection(api_mock, run, lambda client: client.customers.get(TEAM, bad))
    assert str(error).startswith("customer_id must be a string (")
    assert "or a uuid.UUID, not " in str(error)


def test_a_customer_passed_as_an_id_is_rejected_with_a_hint(api_mock: respx.Router, run: Runner) -> None:
    jane = Customer.model_validate(CUSTOMER)
    error = rejection(api_mock, run, lambda client: client.customers.delete(TEAM, jane))
    assert str(error).endswith("not a Customer: pass its .id")
    assert "jane@example.com" not in str(error)


@pytest.mark.parametrize("key", ["sk_test_abc", "pk_live_abc"])
def test_an_api_key_passed_as_an_id_is_rejected_and_not_shown(api_mock: respx.Router, run: Runner, key: str) -> None:
    error = rejection(api_mock, run, lambda client: client.customers.list(key))
    assert str(error) == "team_id must be an id, not an API key"


@given(st.text())
@example("cus_x9Y8z7W6v5U4")
@example("3f2b8c1e-5d4a-4e6f-9a7b-1c2d3e4f5a6b")
def test_an_accepted_id_is_one_plain_path_segment(text: str) -> None:
    try:
        accepted = check_id("customer_id", text)
    except InvalidParameterError:
        return
    assert accepted == text
    assert accepted.isascii()
    assert not set(accepted) & set("/.%?#\\ \n")


# ── Fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE = {"name": "J", "email": "j@x.io"}
CIRCULAR: dict[str, Any] = {}
CIRCULAR["self"] = CIRCULAR
BAD_FIELDS = [
    ("name", "  ", "not blank"),
    ("name", 7, "a string"),
    ("name", "\ud800", "surrogates"),
    ("email", "", "not blank"),
    ("email", b"j@x.io", "a string"),
    ("sentiment", "positive", "'happy', 'neutral', 'frustrated', 'angry'"),
    ("status", "archived", "'active', 'inactive', not 'archived'"),
    ("status", ["active"], "'active', 'inactive'"),
    ("tags", "vip", "a list or tuple of strings, not 'vip'"),
    ("tags", [1], "tags[0] must be a string"),
    ("tags", {"vip"}, "a list or tuple"),
    ("notes", 7, "a string"),
    ("custom_fields", "x", "a mapping"),
    ("custom_fields", {1: "x"}, "a key of custom_fields must be a string"),
    ("custom_fields", {"a": {"b": [dt.date(2026, 1, 1)]}}, "custom_fields.a.b[0] must be JSON"),
    ("custom_fields", {"a": decimal.Decimal(1)}, "not a value of type Decimal"),
    ("custom_fields", {"a": math.nan}, "a number that JSON can represent: finite"),
    ("custom_fields", {"a": "\ud800"}, "surrogates"),
    ("custom_fields", CIRCULAR, "contains itself"),
    ("metadata", ["x"], "a mapping"),
    ("metadata", {"k": 1}, "metadata['k'] must be a string"),
    ("metadata", {1: "v"}, "a key of metadata must be a string"),
    ("metadata", {"k" * 41: "v"}, "at most 40 characters"),
    ("metadata", {"k": "v" * 501}, "at most 500 characters"),
    ("metadata", {str(n): "v" for n in range(51)}, "at most 50 keys, not 51"),
    ("extra_body", ["x"], "a mapping"),
    ("extra_body", {"x": object()}, "extra_body.x must be JSON"),
    ("extra_body", {"name": "K", "email": "k@x.io", "plan": "pro"}, "extra_body may not repeat 'email', 'name': "),
    ("idempotency_key", "", "1 to 255 printable ASCII"),
    ("idempotency_key", " a", "1 to 255 printable ASCII"),
    ("idempotency_key", "a\r\nX: 1", "1 to 255 printable ASCII"),
    ("idempotency_key", "é", "1 to 255 printable ASCII"),
    ("idempotency_key", "k" * 256, "1 to 255 printable ASCII"),
    ("idempotency_key", 7, "1 to 255 printable ASCII"),
]


@pytest.mark.parametrize(("param", "bad", "allowed"), BAD_FIELDS)
@pytest.mark.parametrize("method", ["create", "update"])
def test_an_invalid_field_is_rejected(api_mock: respx.Router, method: str, param: str, bad: Any, allowed: str) -> None:
    ids = (TEAM,) if method == "create" else (TEAM, ID)
    error = rejection(api_mock, SYNC, lambda client: getattr(client.customers, method)(*ids, **{**CREATE, param: bad}))
    assert allowed in str(error)
    assert param in str(error)


@pytest.mark.parametrize("changes", [{}, {"extra_body": {}}, {"idempotency_key": "k"}])
def test_an_update_without_changes_is_rejected(api_mock: respx.Router, run: Runner, changes: Any) -> None:
    error = rejection(api_mock, run, lambda client: client.customers.update(TEAM, ID, **changes))
    assert str(error).startswith("an update must change something: pass at least one of name, email, ")


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"name": None}, "name"), ({"email": None}, "email"), ({"metadata": {"k": None}}, "metadata['k']")],
)
def test_create_rejects_none_where_a_string_is_required(
    api_mock: respx.Router, run: Runner, fields: dict[str, Any], param: str
) -> None:
    error = rejection(api_mock, run, lambda client: client.customers.create(TEAM, **{**CREATE, **fields}))
    assert str(error) == f"{param} must be a string, not None"


def test_removed_metadata_keys_do_not_count_towards_the_limit(api_mock: respx.Router, run: Runner) -> None:
    api_mock.patch(f"{CUSTOMERS}/{ID}").respond(json=ok(CUSTOMER))
    metadata = {**{f"set{n}": "v" for n in range(50)}, **{f"removed{n}": None for n in range(50)}}
    run(lambda client: client.customers.update(TEAM, ID, metadata=metadata))


def test_metadata_at_its_limits_is_sent(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(CUSTOMERS).mock(side_effect=created)
    metadata = {f"{n:040}": "v" * 500 for n in range(50)}
    run(lambda client: client.customers.create(TEAM, **CREATE, metadata=metadata))


@pytest.mark.parametrize(
    ("param", "bad", "allowed"),
    [
        *(("page", bad, "a whole number from 1 to 1000000000") for bad in [0, 1.0, "1", None, True]),
        *(("page_size", bad, "a whole number from 1 to 100") for bad in [0, 101]),
        *(("prefetch", bad, "a whole number from 0 to 100") for bad in [-1, 101, 1.5]),
        *(("gapless", bad, "True or False") for bad in [0, 1, "yes", None]),
        ("status", "archived", "one of 'active', 'inactive'"),
        ("sentiment", "", "one of 'happy'"),
        ("search", 7, "a string"),
        ("search", "\ud800", "surrogates"),
        ("tag", ["vip"], "a string"),
        ("extra_query", "x=1", "a mapping"),
        ("extra_query", {"x": object()}, "a string"),
        ("extra_query", {"x": [{}]}, "a string"),
        ("extra_query", {"x": math.nan}, "extra_query['x'] must be a string, a finite number"),
        ("extra_query", {1: "x"}, "a key of extra_query must be a string"),
        ("extra_query", {"page": 2}, "may not repeat 'page'"),
        ("extra_query", {"pageSize": 2}, "may not repeat 'pageSize'"),
    ],
)
def test_list_rejects_an_invalid_parameter(
    api_mock: respx.Router, run: Runner, param: str, bad: Any, allowed: str
) -> None:
    error = rejection(api_mock, run, lambda client: client.customers.list(TEAM, **{param: bad}))
    assert allowed in str(error)
    assert param in str(error)


def test_get_rejects_an_expand_that_is_not_a_string(api_mock: respx.Router, run: Runner) -> None:
    error = rejection(api_mock, run, lambda client: client.customers.get(TEAM, ID, expand=["tickets"]))
    assert error.param == "expand"


# ── Other endpoints ──────────────────────────────────────────────────────────────────────────────────────────────────

BAD_PATHS = ["", "tickets", "//evil.test/x", "https://evil.test", "/a/../b", "/./a", "/a//b", "/%2e%2E/x", "/a?b=1"]
BAD_PATHS += ["/a#b", "/a b", "/a\n", "/ä", "/a\\..\\b", "/a%5c..%5Cb"]
# A proxy may decode a path twice, or remove the parameters of its segments.
BAD_PATHS += ["/a/%252e%252e/b", "/a/..;/b", "/a/.;x=1/b"]


@pytest.mark.parametrize("bad", [*BAD_PATHS, None, 7])
def test_request_rejects_a_path_that_could_leave_the_api(api_mock: respx.Router, bad: Any) -> None:
    assert rejection(api_mock, SYNC, lambda client: client.request("GET", bad)).param == "path"


@given(st.text(alphabet=st.sampled_from("/.%2eEfF5cC\\ab?#@:")))
def test_an_accepted_path_stays_below_the_base_url(text: str) -> None:
    try:
        accepted = check_path("path", "/" + text)
    except InvalidParameterError:
        return
    assert accepted == "/" + text
    assert ".." not in unquote(accepted).replace("\\", "/").split("/")
    assert not accepted.startswith("//")


@pytest.mark.parametrize("bad", ["HEAD", "GET /x", "get\n", None])
def test_request_rejects_an_unknown_method(api_mock: respx.Router, run: Runner, bad: Any) -> None:
    error = rejection(api_mock, run, lambda client: client.request(bad, "/x"))
    assert "'GET', 'POST', 'PUT', 'PATCH', 'DELETE'" in str(error)


@pytest.mark.parametrize("argument", [{"json": {}}, {"idempotency_key": "k"}], ids=str)
def test_request_rejects_a_body_and_an_idempotency_key_for_get(
    api_mock: respx.Router, run: Runner, argument: Any
) -> None:
    error = rejection(api_mock, run, lambda client: client.request("GET", "/x", **argument))
    assert error.param in argument


class Opaque: ...


class Unfinished(BaseModel):
    x: Undefined  # noqa: F821 - on purpose


@pytest.mark.parametrize("cast_to", [Opaque, Unfinished, "Undefined", list["Undefined"]])  # noqa: F821
def test_request_rejects_a_cast_to_that_pydantic_cannot_validate(
    api_mock: respx.Router, run: Runner, cast_to: Any
) -> None:
    error = rejection(api_mock, run, lambda client: client.request("POST", "/x", json={}, cast_to=cast_to))
    assert error.param == "cast_to"


def test_request_rejects_a_body_that_json_cannot_represent(api_mock: respx.Router, run: Runner) -> None:
    error = rejection(api_mock, run, lambda client: client.request("POST", "/x", json={"when": dt.date(2026, 1, 1)}))
    assert str(error).startswith("json.when must be JSON")


# ── Any parameter ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_truncates_a_long_value(api_mock: respx.Router, run: Runner) -> None:
    error = rejection(api_mock, run, lambda client: client.customers.get(TEAM, "x/" * 5000))
    assert len(str(error)) < 200


def test_the_fields_of_create_are_keyword_only(run: Runner) -> None:
    with pytest.raises(TypeError, match="positional"):
        run(lambda client: client.customers.create(TEAM, "Jane", "jane@example.com"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    )
)
def test_any_json_in_extra_body_is_encoded_unchanged(value: Any) -> None:
    assert json.loads(to_json(merge_body({"x": 1}, {"value": value}))) == {"x": 1, "value": value}


class Word(str):
    """A string whose `str()` differs from its value, as with the members of an enum."""

    __slots__ = ()

    def __str__(self) -> str:
        return "../../elsewhere"

    def __format__(self, spec: str) -> str:
        return "../../elsewhere"


class Choice(str, Enum):
    ACTIVE = "active"
    KEY = "order-7"
    TEAM = TEAM
    TEXT = "some text"


class Number(IntEnum):
    SEVEN = 7


@pytest.mark.parametrize("text", [Choice.TEAM, Word(TEAM)])
def test_a_string_subclass_is_sent_by_its_value(api_mock: respx.Router, run: Runner, text: str) -> None:
    route = api_mock.get(f"{CUSTOMERS}/{TEAM}").respond(json=ok(CUSTOMER))
    run(lambda client: client.customers.get(text, text, expand=text, extra_query={text: text}))
    request = route.calls.last.request
    assert request.url.path == f"/api/v1{CUSTOMERS}/{TEAM}"
    assert request.url.params.multi_items() == [("expand", TEAM), (TEAM, TEAM)]


def test_the_members_of_a_custom_enum_are_sent_by_value(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=created)
    run(
        lambda client: client.customers.create(
            TEAM,
            name=Choice.TEXT,
            email=Choice.TEXT,
            status=Choice.ACTIVE,
            tags=[Choice.TEXT],
            custom_fields={Choice.KEY: Choice.TEXT, "number": Number.SEVEN},
            metadata={Choice.KEY: Choice.TEXT},
            idempotency_key=Choice.KEY,
        )
    )
    request = route.calls.last.request
    assert request.headers["Idempotency-Key"] == "order-7"
    assert json.loads(request.content) == {
        "name": "some text",
        "email": "some text",
        "status": "active",
        "tags": ["some text"],
        "customFields": {"order-7": "some text", "number": 7},
        "metadata": {"order-7": "some text"},
    }


@pytest.mark.parametrize("depth", [101, 5000])
def test_json_nested_too_deeply_is_rejected(api_mock: respx.Router, run: Runner, depth: int) -> None:
    deep: dict[str, Any] = {}
    for _ in range(depth):
        deep = {"x": deep}
    error = rejection(api_mock, run, lambda client: client.customers.create(TEAM, **CREATE, custom_fields=deep))
    assert "nested more than 100 levels" in str(error)


def test_json_nested_to_the_limit_is_sent(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=created)
    deep: dict[str, Any] = {}
    for _ in range(98):
        deep = {"x": deep}
    run(lambda client: client.customers.create(TEAM, **CREATE, custom_fields=deep))
    assert json.loads(route.calls.last.request.content)["customFields"] == deep


@pytest.mark.parametrize(
    "action",
    [
        lambda client: client.customers.list(TEAM, search="x" * 70_000),
        lambda client: client.customers.get(TEAM, "a" * 70_000),
        lambda client: client.request("GET", "/" + "a" * 70_000),
    ],
)
def test_a_url_that_is_too_long_is_rejected(api_mock: respx.Router, run: Runner, action: Any) -> None:
    error = rejection(api_mock, run, action)
    assert "URL" in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    "action",
    [
        lambda client: client.customers.list(TEAM, page=10**5000),
        lambda client: client.customers.list(TEAM, extra_query={"n": 10**5000}),
        lambda client: client.customers.create(TEAM, **CREATE, custom_fields={"n": 10**5000}),
        lambda client: client.customers.get(TEAM, 10**5000),
    ],
)
def test_an_integer_of_5000_digits_is_rejected(api_mock: respx.Router, run: Runner, action: Any) -> None:
    rejection(api_mock, run, action)
