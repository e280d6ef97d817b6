import re
import time
from datetime import datetime, timezone

import httpx
import pytest

from cstar.sandbox import Sandbox

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module")
def answers(api, stranger):
    """An answer of every kind."""
    return [
        api.get("/customers"),
        api.get("/customers/cus_nobody"),
        api.get("/customers?page=0"),
        api.get("/nowhere"),
        api.put("/customers"),
        stranger.get("/auth/whoami"),
    ]


def test_every_answer_names_its_request_and_time_in_header_and_body(answers):
    for answer in answers:
        meta = answer.json()["meta"]
        assert meta["requestId"] == answer.headers["X-Request-Id"]
        assert meta["requestId"].startswith("req_")
        assert TIMESTAMP.fullmatch(meta["timestamp"])


def test_the_timestamp_is_now_in_utc(api):
    stamp = api.get("/customers").json()["meta"]["timestamp"]
    moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - moment).total_seconds()) < 5


def test_every_request_has_an_id_of_its_own(answers):
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(ids)) == len(ids)


def test_a_list_has_data_and_pagination(api):
    body = api.get("/customers").json()
    assert list(body) == ["success", "data", "pagination", "meta"]
    assert body["success"] is True
    assert list(body["pagination"]) == ["total", "page", "pageSize", "hasMore"]


def test_a_refusal_has_every_field_of_an_error(api):
    answer = api.post("/customers", json={"email": "jane@example.com"})
    body = answer.json()
    assert list(body) == ["success", "error", "meta"]
    assert body["success"] is False
    assert body["error"] == {
        "type": "invalid_request_error",
        "code": "parameter_missing",
        "message": "The 'name' field is required.",
        "param": "name",
        "doc_url": "https://www.cstar.help/docs/api/errors#parameter_missing",
        "request_id": answer.headers["X-Request-Id"],
    }


@pytest.mark.parametrize("path", ["", "/", "/customers/", "/customers/cus_1/tickets", "/tickets", "/../../../etc"])
def test_an_unknown_path_is_a_missing_resource(api, path):
    answer = api.get(f"{str(api.base_url).rstrip('/')}{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"
    assert answer.json()["error"]["code"] == "resource_missing"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/customers", "GET, POST"),
        ("DELETE", "/customers", "GET, POST"),
        ("POST", "/customers/cus_1", "GET, PATCH, DELETE"),
        ("OPTIONS", "/customers/cus_1", "GET, PATCH, DELETE"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has(api, method, path, allowed):
    answer = api.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == allowed
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_it_answers_in_the_latest_version_unless_told_otherwise(answers):
    for answer in answers:
        assert answer.headers["CStar-Version"] == "2026-03-01"


def test_it_echoes_the_version_it_is_asked_for(api):
    answer = api.get("/customers", headers={"CStar-Version": "2025-11-15"})
    assert answer.headers["CStar-Version"] == "2025-11-15"


@pytest.mark.parametrize("version", ["latest", "2026-3-1", "2026-13-01", ""])
def test_a_version_that_is_no_date_is_refused(api, version):
    answer = api.get("/customers", headers={"CStar-Version": version})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "CStar-Version"


def test_every_answer_says_what_is_left_of_the_hour(answers):
    for answer in answers:
        assert answer.headers["X-RateLimit-Limit"] == "1000000"
        assert answer.headers["X-RateLimit-Window"] == "3600"
        assert 0 < int(answer.headers["X-RateLimit-Remaining"]) <= 1_000_000
        assert time.time() < int(answer.headers["X-RateLimit-Reset"]) <= time.time() + 3601


def test_each_key_has_a_budget_of_its_own_and_every_request_takes_one_from_it(stranger):
    with Sandbox() as box:

        def remaining(key, path="/auth/whoami"):
            answer = stranger.get(f"{box.url}{path}", headers={"Authorization": f"Bearer {key}"})
            return int(answer.headers["X-RateLimit-Remaining"])

        assert [remaining(box.api_key), remaining(box.api_key, "/nowhere")] == [999_999, 999_998]
        assert remaining(box.publishable_key) == 999_999
        # Who has no key has no budget to use up either.
        assert [remaining("sk_test_" + letter * 32) for letter in "abc"] == [1_000_000] * 3


def test_a_failure_of_the_sandbox_itself_is_a_500_in_the_envelope_and_rolls_back(monkeypatch, caplog):
    def fail(*_, **__):
        raise ZeroDivisionError

    with Sandbox() as box, httpx.Client(headers={"Authorization": f"Bearer {box.api_key}"}) as client:
        customers = f"{box.url}/teams/{box.team_id}/customers"
        request = {"json": {"name": "Jane", "email": "jane@example.com"}, "headers": {"Idempotency-Key": "k"}}
        with monkeypatch.context() as patch:
            patch.setattr("cstar.sandbox._store.Store.add_idempotency_record", fail)
            answer = client.post(customers, **request)
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "api_error"
        assert answer.json()["error"]["code"] == "internal_error"
        assert client.get(customers).json()["pagination"]["total"] == 0
        assert client.post(customers, **request).status_code == 201
    assert "ZeroDivisionError" in caplog.text
