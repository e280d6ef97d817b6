"""A parameter that cannot be right is refused with what is allowed, and nothing is sent."""

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

from cstar import Customer, InvalidParameterError
from cstar._call import encode, merge_body
from cstar._check import check_id, check_path
from support import CUSTOMER, CUSTOMERS, ID, TEAM, Runner, created, ok, page_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import respx


def rejected(api_mock: respx.Router, run: Runner, action: Callable[[Any], Any]) -> InvalidParameterError:
    everything = api_mock.route().respond(json=ok(CUSTOMER))
    with pytest.raises(InvalidParameterError) as caught:
        run(action)
    assert not everything.called
    assert isinstance(caught.value, ValueError)
    return caught.value


BAD_IDS = ["", ".", "..", "a/b", "../x", "a b", "a\n", "ä", "%2e%2e", "a?b", "a#b", "a\\b", "a:b", "\0", None, 7, b"a"]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize(
    "action",
    [
        lambda client, team, customer: client.customers.list(team),
        lambda client, team, customer: client.customers.create(team, name="J", email="j@x.io"),
        lambda client, team, customer: client.customers.get(team, customer),
        lambda client, team, customer: client.customers.update(team, customer, name="J"),
        lambda client, team, customer: client.customers.delete(team, customer),
    ],
    ids=["list", "create", "get", "update", "delete"],
)
def test_an_id_that_could_lead_elsewhere_never_leaves_the_process(
    api_mock: respx.Router, action: Any, bad: Any
) -> None:
    run = Runner("sync")
    caught = rejected(api_mock, run, lambda client: action(client, bad, ID))
    assert caught.param == "team_id"
    assert "an id made of A-Z a-z 0-9 _ -" in str(caught)


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("method", ["get", "update", "delete"])
def test_a_customer_id_is_checked_as_well(api_mock: respx.Router, run: Runner, method: str, bad: Any) -> None:
    caught = rejected(api_mock, run, lambda client: getattr(client.customers, method)(TEAM, bad))
    assert caught.param == "customer_id"


IDS = {
    "list": lambda customers, team, customer: customers.list(team),
    "find": lambda customers, team, customer: customers.find(team, "j@x.io"),
    "create": lambda customers, team, customer: customers.create(team, name="J", email="jane@example.com"),
    "get": lambda customers, team, customer: customers.get(team, customer),
    "update": lambda customers, team, customer: customers.update(team, customer, name="J"),
    "delete": lambda customers, team, customer: customers.delete(team, customer),
}


@pytest.mark.parametrize("action", IDS.values(), ids=IDS)
def test_an_id_may_be_a_uuid(api_mock: respx.Router, run: Runner, action: Any) -> None:
    customer = uuid.UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
    row = {**CUSTOMER, "id": str(customer), "email": "jane@example.com"}
    api_mock.get(CUSTOMERS).respond(json=page_of([row], has_more=False))
    route = api_mock.route(path__regex=f"{CUSTOMERS}(/{customer})?$").respond(json=ok(row))
    run(lambda client: action(client.customers, uuid.UUID(TEAM), customer))
    assert len(route.calls) + len(api_mock.calls) > 0


@pytest.mark.parametrize("bad", [42, None, b"cus_1", 4.2, ["cus_1"]])
def test_an_id_that_is_no_string_is_refused_as_that(api_mock: respx.Router, run: Runner, bad: Any) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.get(TEAM, bad))
    assert str(caught).startswith("customer_id must be a string (")
    assert "or a uuid.UUID, not " in str(caught)


def test_a_customer_passed_for_its_id_is_told_to_pass_its_id(api_mock: respx.Router, run: Runner) -> None:
    jane = Customer.model_validate(CUSTOMER)
    caught = rejected(api_mock, run, lambda client: client.customers.delete(TEAM, jane))
    assert str(caught).endswith("not a Customer: pass its .id")
    assert "jane@example.com" not in str(caught)


@pytest.mark.parametrize("nothing", [{}, {"extra_body": {}}, {"idempotency_key": "k"}])
def test_an_update_that_changes_nothing_is_refused(api_mock: respx.Router, run: Runner, nothing: Any) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.update(TEAM, ID, **nothing))
    assert str(caught).startswith("an update must change something: pass at least one of name, email, ")


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


CREATE = {"name": "J", "email": "j@x.io"}
CIRCULAR: dict[str, Any] = {}
CIRCULAR["self"] = CIRCULAR
BAD_FIELDS = [
    ("name", "", "not blank"),
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
    ("custom_fields", {"a": math.inf}, "finite"),
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
    ("extra_body", {"name": "K"}, "may not repeat 'name'"),
    ("idempotency_key", "", "1 to 255 printable ASCII"),
    ("idempotency_key", " a", "1 to 255 printable ASCII"),
    ("idempotency_key", "a\r\nX: 1", "1 to 255 printable ASCII"),
    ("idempotency_key", "é", "1 to 255 printable ASCII"),
    ("idempotency_key", "k" * 256, "1 to 255 printable ASCII"),
    ("idempotency_key", 7, "1 to 255 printable ASCII"),
]


@pytest.mark.parametrize(("param", "bad", "allowed"), BAD_FIELDS)
def test_create_refuses(api_mock: respx.Router, run: Runner, param: str, bad: Any, allowed: str) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.create(TEAM, **{**CREATE, param: bad}))
    assert allowed in str(caught)
    assert param in str(caught)


@pytest.mark.parametrize(("param", "bad", "allowed"), BAD_FIELDS)
def test_update_refuses(api_mock: respx.Router, run: Runner, param: str, bad: Any, allowed: str) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.update(TEAM, ID, **{**CREATE, param: bad}))
    assert allowed in str(caught)
    assert param in str(caught)


@pytest.mark.parametrize("param", ["name", "email"])
def test_create_refuses_none_where_something_is_required(api_mock: respx.Router, run: Runner, param: str) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.create(TEAM, **{**CREATE, param: None}))
    assert str(caught) == f"{param} must be a string, not None"


def test_create_refuses_to_remove_metadata(api_mock: respx.Router, run: Runner) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.create(TEAM, **CREATE, metadata={"k": None}))
    assert str(caught) == "metadata['k'] must be a string, not None"


def test_removed_keys_do_not_count_towards_the_50(api_mock: respx.Router, run: Runner) -> None:
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
        *(("page", bad, "a whole number from 1 to 1000000000") for bad in [0, -1, 1.0, "1", None, True]),
        *(("page_size", bad, "a whole number from 1 to 100") for bad in [0, 101, 20.0, "20", None, True]),
        ("status", "archived", "one of 'active', 'inactive'"),
        ("sentiment", "", "one of 'happy'"),
        ("search", 7, "a string"),
        ("search", "\ud800", "surrogates"),
        ("tag", ["vip"], "a string"),
        ("extra_query", "x=1", "a mapping"),
        ("extra_query", {"x": object()}, "a string"),
        ("extra_query", {"x": [{}]}, "a string"),
        ("extra_query", {1: "x"}, "a key of extra_query must be a string"),
        ("extra_query", {"page": 2}, "may not repeat 'page'"),
        ("extra_query", {"pageSize": 2}, "may not repeat 'pageSize'"),
    ],
)
def test_list_refuses(api_mock: respx.Router, run: Runner, param: str, bad: Any, allowed: str) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.list(TEAM, **{param: bad}))
    assert allowed in str(caught)
    assert param in str(caught)


def test_get_refuses_an_expand_that_is_no_text(api_mock: respx.Router, run: Runner) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.get(TEAM, ID, expand=["tickets"]))
    assert caught.param == "expand"


NO_PATHS = ["", "tickets", "//evil.test/x", "https://evil.test", "/a/../b", "/./a", "/a//b", "/%2e%2E/x", "/a?b=1"]
NO_PATHS += ["/a#b", "/a b", "/a\n", "/ä", "/a\\..\\b", "/a%5c..%5Cb"]


@pytest.mark.parametrize("bad", [*NO_PATHS, None, 7])
def test_request_refuses_a_path_that_leaves_the_api(api_mock: respx.Router, run: Runner, bad: Any) -> None:
    assert rejected(api_mock, run, lambda client: client.request("GET", bad)).param == "path"


@given(st.text(alphabet=st.sampled_from("/.%2eEfF5cC\\ab?#@:")))
def test_an_accepted_path_stays_below_the_base_url(text: str) -> None:
    try:
        accepted = check_path("path", "/" + text)
    except InvalidParameterError:
        return
    assert accepted == "/" + text
    assert ".." not in unquote(accepted).replace("\\", "/").split("/")
    assert not accepted.startswith("//")


@pytest.mark.parametrize("bad", ["", "HEAD", "GET /x", "get\n", None])
def test_request_refuses_other_methods(api_mock: respx.Router, run: Runner, bad: Any) -> None:
    caught = rejected(api_mock, run, lambda client: client.request(bad, "/x"))
    assert "'GET', 'POST', 'PUT', 'PATCH', 'DELETE'" in str(caught)


def test_request_refuses_an_idempotency_key_for_a_read(api_mock: respx.Router, run: Runner) -> None:
    assert (
        rejected(api_mock, run, lambda client: client.request("GET", "/x", idempotency_key="k")).param
        == "idempotency_key"
    )


def test_request_refuses_a_cast_that_pydantic_cannot_do(api_mock: respx.Router, run: Runner) -> None:
    class Opaque: ...

    assert rejected(api_mock, run, lambda client: client.request("GET", "/x", cast_to=Opaque)).param == "cast_to"


def test_request_refuses_a_body_that_is_no_json(api_mock: respx.Router, run: Runner) -> None:
    caught = rejected(api_mock, run, lambda client: client.request("POST", "/x", json={"when": dt.date(2026, 1, 1)}))
    assert str(caught).startswith("json.when must be JSON")


def test_a_long_value_is_shown_shortened(api_mock: respx.Router, run: Runner) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.get(TEAM, "x/" * 5000))
    assert len(str(caught)) < 200


def test_a_misspelt_parameter_is_a_type_error_naming_it(api_mock: respx.Router, run: Runner) -> None:
    with pytest.raises(TypeError, match="staus"):
        run(lambda client: client.customers.list(TEAM, staus="active"))


def test_no_parameter_can_be_given_by_position_where_it_would_be_a_riddle(run: Runner) -> None:
    with pytest.raises(TypeError, match="positional"):
        run(lambda client: client.customers.create(TEAM, "Jane", "jane@example.com"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    )
)
def test_any_json_a_caller_passes_arrives_as_it_was(value: Any) -> None:
    assert json.loads(encode(merge_body({"x": 1}, {"value": value}))) == {"x": 1, "value": value}


class Word(str):
    """A string that is shown as another one than it is, as an enum's members are."""

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


@pytest.mark.parametrize("text", [Choice.TEAM, Word(TEAM)])
def test_a_string_is_sent_by_its_value_and_not_by_how_it_is_shown(
    api_mock: respx.Router, run: Runner, text: str
) -> None:
    route = api_mock.get(f"{CUSTOMERS}/{TEAM}").respond(json=ok(CUSTOMER))
    run(lambda client: client.customers.get(text, text, expand=text, extra_query={text: text}))
    request = route.calls.last.request
    assert request.url.path == f"/api/v1{CUSTOMERS}/{TEAM}"
    assert request.url.params.multi_items() == [("expand", TEAM), (TEAM, TEAM)]


def test_an_enum_of_your_own_is_sent_by_its_values(api_mock: respx.Router, run: Runner) -> None:
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


class Number(IntEnum):
    SEVEN = 7


@pytest.mark.parametrize("depth", [101, 300, 5000])
def test_json_nested_too_deeply_is_refused(api_mock: respx.Router, run: Runner, depth: int) -> None:
    deep: dict[str, Any] = {}
    for _ in range(depth):
        deep = {"x": deep}
    caught = rejected(api_mock, run, lambda client: client.customers.create(TEAM, **CREATE, custom_fields=deep))
    assert "nested more than 100 levels" in str(caught)


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
def test_what_is_too_long_for_a_url_is_refused(api_mock: respx.Router, run: Runner, action: Any) -> None:
    caught = rejected(api_mock, run, action)
    assert "URL" in str(caught)
    assert len(str(caught)) < 300


@pytest.mark.parametrize(
    "action",
    [
        lambda client: client.customers.list(TEAM, page=10**5000),
        lambda client: client.customers.list(TEAM, extra_query={"n": 10**5000}),
        lambda client: client.customers.create(TEAM, **CREATE, custom_fields={"n": 10**5000}),
        lambda client: client.customers.get(TEAM, 10**5000),
    ],
)
def test_a_number_too_long_to_write_down_is_refused(api_mock: respx.Router, run: Runner, action: Any) -> None:
    rejected(api_mock, run, action)


@pytest.mark.parametrize("key", ["sk_test_abc", "pk_live_abc"])
def test_an_api_key_in_the_place_of_an_id_is_refused_and_not_shown(
    api_mock: respx.Router, run: Runner, key: str
) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.list(key))
    assert str(caught) == "team_id must be an id, not an API key"


@pytest.mark.parametrize("bad", ["/a/%252e%252e/b", "/a/..;/b", "/a/.;x=1/b"])
def test_request_refuses_paths_that_a_proxy_may_read_differently(api_mock: respx.Router, run: Runner, bad: str) -> None:
    assert rejected(api_mock, run, lambda client: client.request("GET", bad)).param == "path"


class Unfinished(BaseModel):
    x: Nope  # noqa: F821 - that is the point


@pytest.mark.parametrize("cast_to", ["Nope", list["Nope"], Unfinished])  # noqa: F821
def test_request_refuses_an_unfinished_type_before_it_sends(api_mock: respx.Router, run: Runner, cast_to: Any) -> None:
    caught = rejected(api_mock, run, lambda client: client.request("POST", "/x", json={}, cast_to=cast_to))
    assert caught.param == "cast_to"


def test_request_refuses_a_body_for_a_read(api_mock: respx.Router, run: Runner) -> None:
    assert rejected(api_mock, run, lambda client: client.request("GET", "/x", json={})).param == "json"


def test_a_query_number_that_is_none_is_refused(api_mock: respx.Router, run: Runner) -> None:
    caught = rejected(api_mock, run, lambda client: client.customers.list(TEAM, extra_query={"x": math.nan}))
    assert "extra_query['x'] must be a string, a finite number" in str(caught)
