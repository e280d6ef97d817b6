"""The `Idempotency-Key` header: replays, conflicts and expiry."""

import itertools
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from cstar.sandbox import Sandbox
from support import error_of, team_client


@pytest.fixture
def key():
    return {"Idempotency-Key": str(uuid.uuid4())}


def test_a_repeated_create_replays_the_first_response_and_acts_once(api, new_email, key):
    body = {"name": "Once", "email": new_email()}
    first, second = (api.post("/customers", json=body, headers=key) for _ in range(2))
    assert (second.status_code, second.content) == (201, first.content)
    assert second.headers["X-Request-Id"] == first.headers["X-Request-Id"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert api.get("/customers", params={"search": body["email"]}).json()["pagination"]["total"] == 1


def test_a_repeated_update_does_not_undo_a_later_one(api, create, key):
    path = f"/customers/{create()['id']}"
    first = api.patch(path, json={"name": "First"}, headers=key)
    api.patch(path, json={"name": "Second"})
    assert api.patch(path, json={"name": "First"}, headers=key).content == first.content
    assert api.get(path).json()["data"]["name"] == "Second"


def test_a_repeated_delete_replays_the_first_response(api, create, key):
    path = f"/customers/{create()['id']}"
    first = api.delete(path, headers=key)
    again = api.delete(path, headers=key)
    assert (again.status_code, again.content) == (200, first.content)
    assert api.delete(path).status_code == 404


def test_a_read_ignores_a_key(api, create, key):
    path = f"/customers/{create()['id']}"
    api.get(path, headers=key)
    api.patch(path, json={"name": "Changed"})
    assert api.get(path, headers=key).json()["data"]["name"] == "Changed"


@pytest.mark.parametrize("change", ["method", "path", "query", "body"])
def test_a_key_of_another_request_is_a_conflict_and_changes_nothing(api, create, key, change):
    customer, other = create(), create()
    path = f"/customers/{customer['id']}"
    api.patch(path, json={"notes": "first"}, headers=key)
    response = {
        "method": lambda: api.delete(path, headers=key),
        "path": lambda: api.patch(f"/customers/{other['id']}", json={"notes": "first"}, headers=key),
        "query": lambda: api.patch(path, params={"x": "y"}, json={"notes": "first"}, headers=key),
        "body": lambda: api.patch(path, json={"notes": "second"}, headers=key),
    }[change]()
    assert error_of(response) == (409, "invalid_request_error", "idempotency_key_reused", "Idempotency-Key")
    assert "Idempotent-Replayed" not in response.headers
    assert api.get(path).json()["data"]["notes"] == "first"
    assert api.get(f"/customers/{other['id']}").json()["data"]["notes"] is None


def test_a_conflict_is_replayed_even_after_its_cause_was_deleted(api, create, key):
    customer = create()
    body = {"name": "Late", "email": customer["email"]}
    first = api.post("/customers", json=body, headers=key)
    api.delete(f"/customers/{customer['id']}")
    again = api.post("/customers", json=body, headers=key)
    assert (again.status_code, again.content) == (409, first.content)
    assert api.post("/customers", json=body).status_code == 201


def test_a_404_is_replayed(api, key):
    first, again = (api.delete(f"/customers/cus_{'0' * 32}", headers=key) for _ in range(2))
    assert (again.status_code, again.content) == (404, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"


def test_an_invalid_request_does_not_use_up_its_key(api, new_email, key):
    email = new_email()
    assert api.post("/customers", json={"name": "", "email": email}, headers=key).status_code == 400
    assert api.post("/customers", json={"name": "Valid", "email": email}, headers=key).status_code == 201


def test_a_rejected_request_does_not_replace_the_recorded_response(api, create, key):
    path = f"/customers/{create()['id']}"
    first = api.patch(path, json={"notes": "first"}, headers=key)
    api.patch(path, json={"notes": "second"}, headers=key)
    assert api.patch(path, json={"notes": "first"}, headers=key).content == first.content


@pytest.mark.parametrize("keys", [[""], ["k" * 256], ["cl\u00e9".encode("latin-1")], [b"a\tb"], [b"\xa0"], ["a", "b"]])
def test_a_key_is_sent_once_and_has_1_to_255_printable_ascii_characters(api, keys):
    response = api.post("/customers", json={}, headers=[("Idempotency-Key", key) for key in keys])
    assert error_of(response) == (400, "invalid_request_error", "parameter_invalid", "Idempotency-Key")


def test_a_key_may_have_255_characters(api, new_email):
    headers = {"Idempotency-Key": "k" * 255}
    assert api.post("/customers", json={"name": "Long", "email": new_email()}, headers=headers).status_code == 201


def test_a_key_expires_after_24_hours(key, monkeypatch):
    hours = 3600 * 1_000_000
    clock = iter([0, 24 * hours, 24 * hours + 1])
    request = {"json": {"name": "Jane", "email": "jane@example.com"}, "headers": key}
    with Sandbox() as box, team_client(box) as api:
        monkeypatch.setattr("cstar.sandbox._clock.now", lambda: next(clock))
        responses = [api.post("/customers", **request) for _ in range(3)]
    assert [response.status_code for response in responses] == [201, 201, 409]
    assert [response.headers.get("Idempotent-Replayed") for response in responses] == [None, "true", None]


def send_concurrently(api, requests):
    with ThreadPoolExecutor(32) as threads:
        return list(threads.map(lambda request: api.post("/customers", **request), requests))


def test_concurrent_creates_with_the_same_email_create_one_customer(api, new_email):
    email = new_email()
    responses = send_concurrently(api, [{"json": {"name": f"Thread {n}", "email": email}} for n in range(32)])
    assert sorted(response.status_code for response in responses) == [201] + [409] * 31
    assert api.get("/customers", params={"search": email}).json()["pagination"]["total"] == 1


def test_concurrent_creates_with_the_same_key_get_the_same_response(api, new_email, key):
    request = {"json": {"name": "Same", "email": new_email()}, "headers": key}
    responses = send_concurrently(api, itertools.repeat(request, 32))
    assert {response.content for response in responses} == {responses[0].content}
    assert [response.status_code for response in responses] == [201] * 32
    assert sum("Idempotent-Replayed" not in response.headers for response in responses) == 1
