"""Lists of customers: pages, filters and their order."""

import pytest


@pytest.fixture(scope="module")
def found(api):
    """A function that returns the names of the customers that a query finds, in order."""

    def found(**params):
        response = api.get("/customers", params=params)
        assert response.status_code == 200, response.text
        return [customer["name"] for customer in response.json()["data"]]

    return found


def test_rows_have_every_field_of_a_customer(api, create):
    customer = create(tags=["whole"], notes="n", customFields={"a": [1]}, metadata={"k": "v"})
    assert api.get("/customers", params={"tag": "whole"}).json()["data"] == [customer]


def test_the_default_is_the_first_page_of_20_rows(demo_api):
    body = demo_api.get("/customers").json()
    assert len(body["data"]) == 20
    assert body["pagination"] == {"total": 60, "page": 1, "pageSize": 20, "hasMore": True}


def test_the_last_page_has_no_more(demo_api):
    body = demo_api.get("/customers", params={"page": 3}).json()
    assert len(body["data"]) == 20
    assert body["pagination"] == {"total": 60, "page": 3, "pageSize": 20, "hasMore": False}


@pytest.mark.parametrize("page", [4, 1_000_000_000])
def test_a_page_past_the_end_is_empty(demo_api, page):
    body = demo_api.get("/customers", params={"page": page}).json()
    assert body["data"] == []
    assert body["pagination"] == {"total": 60, "page": page, "pageSize": 20, "hasMore": False}


@pytest.mark.parametrize("size", [1, 7, 60, 100])
def test_pages_of_any_size_have_every_customer_once_newest_first(demo_api, size):
    customers, page, more = [], 1, True
    while more:
        body = demo_api.get("/customers", params={"page": page, "pageSize": size}).json()
        customers += body["data"]
        page, more = page + 1, body["pagination"]["hasMore"]
    assert len({customer["id"] for customer in customers}) == len(customers) == 60
    assert customers == sorted(customers, key=lambda customer: customer["createdAt"], reverse=True)


def test_an_update_does_not_change_the_order(api, create, found):
    customers = [create(name=f"Number {number}", tags=["order"]) for number in range(5)]
    api.patch(f"/customers/{customers[1]['id']}", json={"notes": "changed"})
    assert found(tag="order") == ["Number 4", "Number 3", "Number 2", "Number 1", "Number 0"]


def test_filters_can_be_combined(create, found):
    for status in ("active", "inactive"):
        for sentiment in ("happy", "neutral", "frustrated", "angry"):
            create(name=f"{status} {sentiment}", status=status, sentiment=sentiment, tags=["moods"])
    assert len(found(tag="moods", status="inactive")) == 4
    assert found(tag="moods", sentiment="angry") == ["inactive angry", "active angry"]
    assert found(tag="moods", status="active", sentiment="happy") == ["active happy"]


def test_the_total_counts_the_rows_that_match(demo_api):
    customers = demo_api.get("/customers", params={"pageSize": 100}).json()["data"]
    for name in ("status", "sentiment"):
        for value in {customer[name] for customer in customers}:
            body = demo_api.get("/customers", params={name: value, "pageSize": 1}).json()
            assert body["pagination"]["total"] == sum(customer[name] == value for customer in customers)


def test_a_tag_matches_only_the_whole_tag(create, found):
    create(name="One", tags=["gold-star"])
    create(name="Two", tags=["gold", "gold"])
    create(name="Three", tags=["GOLD"])
    create(name="Four", tags=['"gold"', "go"])
    assert found(tag="gold") == ["Two"]
    assert found(tag='"gold"') == ["Four"]
    assert found(tag="gol_") == found(tag="%") == []


@pytest.mark.parametrize("text", ["quirin", "QUIRIN", "uiri", "Quirin Zobel", "q.zobel@search", "SEARCH.example"])
def test_search_finds_part_of_a_name_or_email_ignoring_case(api, create, found, text):
    if not found(search="quirin"):
        create(name="Quirin Zobel", email="q.zobel@search.example")
    assert found(search=text) == ["Quirin Zobel"]


def test_search_ignores_notes_and_does_not_span_name_and_email(create, found):
    create(name="Nothing", email="here@nowhere.example", notes="hidden-word")
    assert found(search="hidden-word") == found(search="nothinghere") == []


def test_an_empty_search_finds_all_customers(demo_api):
    assert demo_api.get("/customers", params={"search": ""}).json()["pagination"]["total"] == 60
