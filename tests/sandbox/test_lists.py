import pytest


@pytest.fixture(scope="module")
def found(api):
    """A function giving the names of the customers that a query finds, in their order."""

    def found(**params):
        answer = api.get("/customers", params=params)
        assert answer.status_code == 200, answer.text
        return [customer["name"] for customer in answer.json()["data"]]

    return found


def test_rows_are_whole_customers(api, create):
    customer = create(tags=["whole"], notes="n", customFields={"a": [1]}, metadata={"k": "v"})
    assert api.get("/customers", params={"tag": "whole"}).json()["data"] == [customer]


def test_without_parameters_it_is_the_first_page_of_20(seeded):
    body = seeded.get("/customers").json()
    assert len(body["data"]) == 20
    assert body["pagination"] == {"total": 60, "page": 1, "pageSize": 20, "hasMore": True}


def test_the_last_page_has_no_more(seeded):
    body = seeded.get("/customers", params={"page": 3}).json()
    assert len(body["data"]) == 20
    assert body["pagination"] == {"total": 60, "page": 3, "pageSize": 20, "hasMore": False}


@pytest.mark.parametrize("page", [4, 1_000_000_000])
def test_a_page_past_the_end_is_empty(seeded, page):
    body = seeded.get("/customers", params={"page": page}).json()
    assert body["data"] == []
    assert body["pagination"] == {"total": 60, "page": page, "pageSize": 20, "hasMore": False}


@pytest.mark.parametrize("size", [1, 7, 60, 100])
def test_pages_of_any_size_give_every_customer_once_newest_first(seeded, size):
    walked, page, more = [], 1, True
    while more:
        body = seeded.get("/customers", params={"page": page, "pageSize": size}).json()
        walked += body["data"]
        page, more = page + 1, body["pagination"]["hasMore"]
    assert len({customer["id"] for customer in walked}) == len(walked) == 60
    assert walked == sorted(walked, key=lambda customer: customer["createdAt"], reverse=True)


def test_the_newest_customer_comes_first_and_an_update_does_not_move_it(api, create, found):
    customers = [create(name=f"Number {number}", tags=["order"]) for number in range(5)]
    api.patch(f"/customers/{customers[1]['id']}", json={"notes": "changed"})
    assert found(tag="order") == ["Number 4", "Number 3", "Number 2", "Number 1", "Number 0"]


def test_status_and_sentiment_filter_and_combine(create, found):
    for status in ("active", "inactive"):
        for sentiment in ("happy", "neutral", "frustrated", "angry"):
            create(name=f"{status} {sentiment}", status=status, sentiment=sentiment, tags=["moods"])
    assert len(found(tag="moods", status="inactive")) == 4
    assert found(tag="moods", sentiment="angry") == ["inactive angry", "active angry"]
    assert found(tag="moods", status="active", sentiment="happy") == ["active happy"]


def test_totals_count_what_the_filter_finds(seeded):
    everyone = seeded.get("/customers", params={"pageSize": 100}).json()["data"]
    for name in ("status", "sentiment"):
        for value in {customer[name] for customer in everyone}:
            body = seeded.get("/customers", params={name: value, "pageSize": 1}).json()
            assert body["pagination"]["total"] == sum(customer[name] == value for customer in everyone)


def test_tag_is_the_whole_tag_and_nothing_else(create, found):
    create(name="One", tags=["gold-star"])
    create(name="Two", tags=["gold", "gold"])
    create(name="Three", tags=["GOLD"])
    create(name="Four", tags=['"gold"', "go"])
    assert found(tag="gold") == ["Two"]
    assert found(tag='"gold"') == ["Four"]
    assert found(tag="gol_") == found(tag="%") == []


def test_tags_follow_an_update(api, create, found):
    customer = create(name="Moved", tags=["before"])
    api.patch(f"/customers/{customer['id']}", json={"tags": ["after"]})
    assert found(tag="before") == []
    assert found(tag="after") == ["Moved"]


@pytest.mark.parametrize("text", ["quirin", "QUIRIN", "uiri", "Quirin Zobel", "q.zobel@search", "SEARCH.example"])
def test_search_finds_a_part_of_name_or_email_in_any_letter_case(api, create, found, text):
    if not found(search="quirin"):
        create(name="Quirin Zobel", email="q.zobel@search.example")
    assert found(search=text) == ["Quirin Zobel"]


def test_search_knows_letter_case_beyond_ascii(create, found):
    create(name="ÇAĞLA Öztürk")
    assert found(search="çağla ÖZTÜRK") == ["ÇAĞLA Öztürk"]


@pytest.mark.parametrize("character", ["%", "_", "\\", "'", '"', "*", "?", "[", ";", "\n"])
def test_search_takes_every_character_plainly(create, found, character):
    name = f"plain{character}plain"
    create(name=name)
    create(name="plainXplain")
    assert found(search=f"plain{character}plain") == [name]


def test_search_follows_an_update(api, create, found):
    customer = create(name="Firstname")
    api.patch(f"/customers/{customer['id']}", json={"name": "Renamed-at-last"})
    assert found(search="renamed-AT") == ["Renamed-at-last"]


def test_search_does_not_look_at_notes_or_span_name_and_email(create, found):
    create(name="Nothing", email="here@nowhere.example", notes="hidden-word")
    assert found(search="hidden-word") == found(search="nothinghere") == []


def test_an_empty_search_finds_everyone(seeded):
    assert seeded.get("/customers", params={"search": ""}).json()["pagination"]["total"] == 60
