"""Lists of customers: pages, filters and their order."""

import pytest


@pytest.fixture(scope="module")
def found(api):
    """A function that returns the names of the customers that a query finds, in order, and checks the total."""

    def found(**params):
        response = api.get("/customers", params=params)
        assert response.status_code == 200, response.text
        customers = response.json()["data"]
        assert response.json()["pagination"]["total"] == len(customers)
        return [customer["name"] for customer in customers]

    return found


@pytest.mark.parametrize(
    ("params", "page", "rows", "has_more"),
    [
        ({}, 1, 20, True),
        ({"page": 3}, 3, 20, False),
        ({"page": 4}, 4, 0, False),
        ({"page": 1_000_000_000}, 1_000_000_000, 0, False),
    ],
    ids=["default", "last", "past the end", "far past the end"],
)
def test_a_page_has_20_rows_by_default_and_none_past_the_end(demo_api, params, page, rows, has_more):
    body = demo_api.get("/customers", params=params).json()
    assert len(body["data"]) == rows
    assert body["pagination"] == {"total": 60, "page": page, "pageSize": 20, "hasMore": has_more}


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


def test_a_tag_matches_only_the_whole_tag(create, found):
    create(name="One", tags=["gold-star"])
    create(name="Two", tags=["gold", "gold"])
    create(name="Three", tags=["GOLD"])
    create(name="Four", tags=['"gold"', "go"])
    assert found(tag="gold") == ["Two"]
    assert found(tag='"gold"') == ["Four"]
    assert found(tag="gol_") == found(tag="%") == []


def test_search_matches_parts_of_names_and_emails_in_any_case_but_not_notes(create, found):
    create(name="Quirin Zobel", email="q.zobel@search.example", notes="hidden-word")
    for text in ("quirin", "QUIRIN", "uiri", "Quirin Zobel", "q.zobel@search", "SEARCH.example"):
        assert found(search=text) == ["Quirin Zobel"]
    assert found(search="hidden-word") == []


def test_an_empty_search_finds_all_customers(demo_api):
    assert demo_api.get("/customers", params={"search": ""}).json()["pagination"]["total"] == 60
