"""The request that each method sends, and the value that it returns for the documented response."""

from __future__ import annotations

import json
import platform
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import cstar
from cstar import (
    APIResponseValidationError,
    Customer,
    CustomerDetail,
    DeletedCustomer,
    Identity,
    InvalidParameterError,
)
from rawserver import IDENTITY
from support import (
    CUSTOMER,
    CUSTOMERS,
    DELETE_SAMPLE,
    DETAIL,
    GET_SAMPLE,
    ID,
    KEY,
    LIST_SAMPLE,
    TEAM,
    URL,
    Runner,
    created,
    customer,
    ok,
    page_of,
)

if TYPE_CHECKING:
    import respx


def only_request(route: respx.Route) -> httpx.Request:
    assert route.call_count == 1
    return route.calls.last.request


def body(request: httpx.Request) -> object:
    return json.loads(request.content)


def test_every_request_has_the_key_version_and_user_agent(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(f"{CUSTOMERS}/{ID}").respond(json=ok(DETAIL))
    run(lambda client: client.customers.get(TEAM, ID))
    headers = only_request(route).headers
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["CStar-Version"] == "2026-03-01"
    assert headers["Accept"] == "application/json"
    library = f"{httpx.__name__}/{httpx.__version__}"
    assert headers["User-Agent"] == f"cstar-python/{cstar.__version__} python/{platform.python_version()} {library}"


def test_list_requests_page_1_of_size_100(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(CUSTOMERS).respond(text=LIST_SAMPLE)
    page = run(lambda client: client.customers.list(TEAM))
    request = only_request(route)
    assert str(request.url) == f"{URL}{CUSTOMERS}?page=1&pageSize=100"
    assert request.content == b""
    assert "Idempotency-Key" not in request.headers
    assert "Content-Type" not in request.headers
    assert [type(row) for row in page.data] == [Customer]
    assert (page.total, page.page, page.page_size, page.has_more) == (156, 1, 20, True)


def test_list_sends_every_filter_by_its_api_name(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(CUSTOMERS).respond(text=LIST_SAMPLE)
    run(
        lambda client: client.customers.list(
            TEAM,
            status="active",
            sentiment="happy",
            search="jané & co",
            tag="v i p",
            page=3,
            page_size=20,
            extra_query={"createdAfter": "2026", "flag": True, "n": [1, 2], "none": None},
        )
    )
    assert only_request(route).url.params.multi_items() == [
        ("page", "3"),
        ("pageSize", "20"),
        ("status", "active"),
        ("sentiment", "happy"),
        ("search", "jané & co"),
        ("tag", "v i p"),
        ("createdAfter", "2026"),
        ("flag", "true"),
        ("n", "1"),
        ("n", "2"),
    ]


def test_create_sends_only_the_given_fields(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=created)
    customer = run(lambda client: client.customers.create(TEAM, name="Jane Doe", email="jane@example.com"))
    request = only_request(route)
    assert body(request) == {"name": "Jane Doe", "email": "jane@example.com"}
    assert request.headers["Content-Type"] == "application/json"
    assert isinstance(customer, Customer)
    assert customer.id == ID


def test_create_sends_every_field_by_its_api_name(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=created)
    run(
        lambda client: client.customers.create(
            TEAM,
            name="Zoë",
            email="zoe@example.com",
            sentiment="angry",
            status="inactive",
            tags=("a", "b"),
            notes="",
            custom_fields={"plan": {"seats": [1, 2.5, None, True]}},
            metadata={"crm": "42"},
            extra_body={"preferredLanguage": "fr"},
        )
    )
    assert body(only_request(route)) == {
        "name": "Zoë",
        "email": "zoe@example.com",
        "sentiment": "angry",
        "status": "inactive",
        "tags": ["a", "b"],
        "notes": "",
        "customFields": {"plan": {"seats": [1, 2.5, None, True]}},
        "metadata": {"crm": "42"},
        "preferredLanguage": "fr",
    }


def test_create_omits_fields_that_are_none(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.post(CUSTOMERS).mock(side_effect=created)
    run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io", notes=None, tags=None, status=None))
    assert body(only_request(route)) == {"name": "J", "email": "j@x.io"}


def test_get_returns_a_customer_with_recent_tickets(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(f"{CUSTOMERS}/{ID}").respond(text=GET_SAMPLE)
    found = run(lambda client: client.customers.get(TEAM, ID))
    assert str(only_request(route).url) == f"{URL}{CUSTOMERS}/{ID}"
    assert isinstance(found, CustomerDetail)
    assert found.recent_tickets is not None
    assert [ticket.title for ticket in found.recent_tickets] == ["Login issue"]


def test_get_sends_expand_and_extra_query(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get(f"{CUSTOMERS}/{ID}").respond(json=ok(CUSTOMER))
    found = run(lambda client: client.customers.get(TEAM, ID, expand="customer", extra_query={"locale": "fr"}))
    assert only_request(route).url.params.multi_items() == [("expand", "customer"), ("locale", "fr")]
    assert found.recent_tickets is None


def test_update_sends_only_the_given_fields(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.patch(f"{CUSTOMERS}/{ID}").respond(json=ok(CUSTOMER))
    run(lambda client: client.customers.update(TEAM, ID, custom_fields={"a": 1}, extra_body={"x": None}))
    assert body(only_request(route)) == {"customFields": {"a": 1}, "x": None}


@pytest.mark.parametrize(
    ("param", "name"),
    [
        ("name", "name"),
        ("email", "email"),
        ("sentiment", "sentiment"),
        ("status", "status"),
        ("tags", "tags"),
        ("notes", "notes"),
        ("custom_fields", "customFields"),
        ("metadata", "metadata"),
    ],
)
def test_update_sends_none_as_null(api_mock: respx.Router, run: Runner, param: str, name: str) -> None:
    route = api_mock.patch(f"{CUSTOMERS}/{ID}").respond(json=ok(CUSTOMER))
    run(lambda client: client.customers.update(TEAM, ID, **{param: None}))
    assert body(only_request(route)) == {name: None}


def test_update_sends_a_removed_metadata_key_as_null(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.patch(f"{CUSTOMERS}/{ID}").respond(json=ok(CUSTOMER))
    run(lambda client: client.customers.update(TEAM, ID, metadata={"keep": "1", "drop": None}))
    assert body(only_request(route)) == {"metadata": {"keep": "1", "drop": None}}


def test_delete_sends_no_body_and_returns_the_receipt(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.delete(f"{CUSTOMERS}/{ID}").respond(text=DELETE_SAMPLE)
    assert run(lambda client: client.customers.delete(TEAM, ID)) == DeletedCustomer(deleted=True, id=ID)
    request = only_request(route)
    assert request.content == b""
    assert "Content-Type" not in request.headers


WRITES = {
    "POST": lambda client, **key: client.customers.create(TEAM, name="J", email=CUSTOMER["email"], **key),
    "PATCH": lambda client, **key: client.customers.update(TEAM, ID, name="J", **key),
    "DELETE": lambda client, **key: client.customers.delete(TEAM, ID, **key),
}


@pytest.mark.parametrize("method", WRITES)
def test_a_write_has_a_new_uuid_as_idempotency_key(api_mock: respx.Router, run: Runner, method: str) -> None:
    text = DELETE_SAMPLE if method == "DELETE" else json.dumps(ok(CUSTOMER))
    route = api_mock.route(method=method).respond(text=text)
    for _ in range(2):
        run(WRITES[method])
    keys = [uuid.UUID(call.request.headers["Idempotency-Key"]) for call in route.calls]
    assert [key.version for key in keys] == [4, 4]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("method", WRITES)
def test_a_write_has_the_callers_idempotency_key(api_mock: respx.Router, run: Runner, method: str) -> None:
    text = DELETE_SAMPLE if method == "DELETE" else json.dumps(ok(CUSTOMER))
    route = api_mock.route(method=method).respond(text=text)
    run(lambda client: WRITES[method](client, idempotency_key="order 7 / jane"))
    assert only_request(route).headers["Idempotency-Key"] == "order 7 / jane"


def test_whoami_returns_the_keys_identity(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.get("/auth/whoami").respond(json=ok(IDENTITY))
    identity = run(lambda client: client.whoami())
    assert str(only_request(route).url) == f"{URL}/auth/whoami"
    assert identity == Identity(team_id=TEAM, team_name="T", team_slug="t", key_type="secret", environment="test")


def test_request_returns_the_json_of_the_response(api_mock: respx.Router, run: Runner) -> None:
    response = ok([{"id": "tkt_1"}], pagination={"total": 1})
    route = api_mock.get(f"/teams/{TEAM}/tickets").respond(json=response)
    assert run(lambda client: client.request("GET", f"/teams/{TEAM}/tickets", params={"status": "open"})) == response
    request = only_request(route)
    assert request.url.params.multi_items() == [("status", "open")]
    assert "Idempotency-Key" not in request.headers


@pytest.mark.parametrize(
    ("cast_to", "locations"),
    [(int, ["data: Input should be a valid integer"]), (list[int], ["data.0: Input should", "; data.2: Input should"])],
)
def test_the_error_for_data_of_another_type_has_the_location_of_each_value(
    api_mock: respx.Router, run: Runner, cast_to: Any, locations: list[str]
) -> None:
    api_mock.get("/things").respond(json=ok(["a", 1, "b"]))
    with pytest.raises(APIResponseValidationError) as raised:
        run(lambda client: client.request("GET", "/things", cast_to=cast_to))
    assert [text for text in locations if text not in str(raised.value)] == []


def test_request_converts_data_to_cast_to(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get("/things").respond(json=ok([CUSTOMER]))
    things = run(lambda client: client.request("GET", "/things", cast_to=list[Customer]))
    assert [type(thing) for thing in things] == [Customer]


def test_request_sends_json_with_an_idempotency_key(api_mock: respx.Router, run: Runner) -> None:
    route = api_mock.put("/things/1").respond(json=ok({}))
    run(lambda client: client.request("put", "/things/1", json={"a": [1]}, idempotency_key="k1"))
    request = only_request(route)
    assert body(request) == {"a": [1]}
    assert request.headers["Idempotency-Key"] == "k1"


def test_request_returns_none_for_status_204(api_mock: respx.Router, run: Runner) -> None:
    api_mock.delete("/things/1").respond(204)
    assert run(lambda client: client.request("DELETE", "/things/1")) is None


def test_rate_limit_is_from_the_latest_response_that_has_one(api_mock: respx.Router, run: Runner) -> None:
    headers = {
        "X-RateLimit-Limit": "1000",
        "X-RateLimit-Remaining": "998",
        "X-RateLimit-Reset": "1774864800",
        "X-RateLimit-Window": "3600",
    }
    api_mock.get(f"{CUSTOMERS}/{ID}").mock(
        side_effect=[
            httpx.Response(200, json=ok(DETAIL), headers=headers),
            httpx.Response(200, json=ok(DETAIL)),
        ]
    )

    def get(client: Any) -> Any:
        return client.customers.get(TEAM, ID)

    def rate_limit(client: Any) -> cstar.RateLimit | None:
        return client.with_options(timeout=1).rate_limit

    before, _, first, _, second = run.in_order(rate_limit, get, rate_limit, get, rate_limit)
    assert before is None
    assert (
        first
        == second
        == cstar.RateLimit(
            limit=1000, remaining=998, reset_at=datetime(2026, 3, 30, 10, tzinfo=timezone.utc), window=3600.0
        )
    )


def test_the_receipt_of_a_delete_keeps_unknown_fields(api_mock: respx.Router, run: Runner) -> None:
    api_mock.delete(f"{CUSTOMERS}/{ID}").respond(
        json=ok({"deleted": True, "id": ID, "purgedAt": "2026-04-01T00:00:00Z"})
    )
    receipt = run(lambda client: client.customers.delete(TEAM, ID))
    assert receipt.model_dump(by_alias=True)["purgedAt"] == "2026-04-01T00:00:00Z"


@pytest.mark.parametrize("status", [200, 203, 299])
def test_every_2xx_status_is_a_success(api_mock: respx.Router, run: Runner, status: int) -> None:
    api_mock.get(f"{CUSTOMERS}/{ID}").respond(status, json=ok(DETAIL))
    assert run(lambda client: client.customers.get(TEAM, ID)).id == ID


# ── Find ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def mock_search(api_mock: respx.Router, *pages: list[dict[str, Any]]) -> respx.Route:
    """Mock a search whose result is these pages."""
    total = sum(map(len, pages))
    responses = [
        httpx.Response(200, json=page_of(rows, number, size=100, total=total, has_more=number < len(pages)))
        for number, rows in enumerate(pages, 1)
    ]
    return api_mock.get(CUSTOMERS).mock(side_effect=responses)


@pytest.mark.parametrize("email", ["jane@example.com", "Jane@Example.COM", "  jane@example.com "])
def test_find_ignores_case_and_surrounding_blanks(api_mock: respx.Router, run: Runner, email: str) -> None:
    route = mock_search(api_mock, [customer(1, email="mary.jane@example.com"), customer(2, email="JANE@example.com")])
    found = run(lambda client: client.customers.find(TEAM, email))
    assert (found.id, type(found)) == ("cus_2", Customer)
    assert only_request(route).url.params["search"] == email.strip()


@pytest.mark.parametrize(
    ("stored", "email"),
    [("straße@example.com", "STRASSE@example.com"), ("rene\u0301@example.com", "Ren\u00e9@example.com")],
)
def test_find_compares_addresses_case_folded_and_normalized(
    api_mock: respx.Router, run: Runner, stored: str, email: str
) -> None:
    mock_search(api_mock, [customer(1, email=stored)])
    assert run(lambda client: client.customers.find(TEAM, email)).id == "cus_1"


def test_find_searches_every_page(api_mock: respx.Router, run: Runner) -> None:
    others = [customer(number, email=f"{number}.jane@example.com") for number in range(100)]
    route = mock_search(api_mock, others, [customer(100, email="jane@example.com")])
    assert run(lambda client: client.customers.find(TEAM, "jane@example.com")).id == "cus_100"
    assert route.call_count == 2


def test_find_stops_at_the_page_with_the_match(api_mock: respx.Router, run: Runner) -> None:
    route = mock_search(api_mock, [customer(number) for number in range(100)], [customer(100)])
    assert run(lambda client: client.customers.find(TEAM, "5@example.com")).id == "cus_5"
    assert route.call_count == 1


@pytest.mark.parametrize("rows", [[], [customer(1)], [customer(1, email=None)]])
def test_find_returns_none_without_a_match(api_mock: respx.Router, run: Runner, rows: list[dict[str, Any]]) -> None:
    mock_search(api_mock, rows)
    assert run(lambda client: client.customers.find(TEAM, "jane@example.com")) is None


@pytest.mark.parametrize("email", ["", " ", None, 7, "jane"])
def test_find_rejects_an_invalid_email_address(api_mock: respx.Router, run: Runner, email: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"^email must be a "):
        run(lambda client: client.customers.find(TEAM, email))
