"""The envelope and the headers of every response."""

import re
import time
from datetime import datetime, timezone

import pytest

from cstar.sandbox import Sandbox
from support import error_of, team_client

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module")
def responses(api, anonymous):
    """One response of each kind."""
    return [
        api.get("/customers"),
        api.get("/customers/cus_nobody"),
        api.get("/customers?page=0"),
        api.get("/nowhere"),
        api.put("/customers"),
        anonymous.get("/auth/whoami"),
    ]


def test_every_response_has_its_request_id_and_time(responses):
    for response in responses:
        meta = response.json()["meta"]
        assert meta["requestId"] == response.headers["X-Request-Id"]
        assert meta["requestId"].startswith("req_")
        assert TIMESTAMP.fullmatch(meta["timestamp"])


def test_the_timestamp_is_the_current_time_in_utc(api):
    stamp = api.get("/customers").json()["meta"]["timestamp"]
    moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - moment).total_seconds()) < 5


def test_every_request_has_a_different_id(responses):
    ids = [response.headers["X-Request-Id"] for response in responses]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("missing", ["name", "email"])
def test_an_error_response_has_every_field(api, missing):
    fields = {"name": "Jane", "email": "jane@example.com"}
    del fields[missing]
    response = api.post("/customers", json=fields)
    body = response.json()
    assert list(body) == ["success", "error", "meta"]
    assert body["success"] is False
    assert body["error"] == {
        "type": "invalid_request_error",
        "code": "parameter_missing",
        "message": f"The '{missing}' field is required.",
        "param": missing,
        "doc_url": "https://www.cstar.help/docs/api/errors#parameter_missing",
        "request_id": response.headers["X-Request-Id"],
    }


@pytest.mark.parametrize("path", ["", "/", "/customers/", "/customers/cus_1/tickets", "/tickets", "/../../../etc"])
def test_an_unknown_path_is_a_missing_resource(api, path):
    response = api.get(f"{str(api.base_url).rstrip('/')}{path}")
    assert error_of(response) == (404, "not_found_error", "resource_missing", None)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/customers", "GET, POST"),
        ("DELETE", "/customers", "GET, POST"),
        ("POST", "/customers/cus_1", "GET, PATCH, DELETE"),
        ("OPTIONS", "/customers/cus_1", "GET, PATCH, DELETE"),
    ],
)
def test_an_unsupported_method_is_a_405_that_lists_the_supported_ones(api, method, path, allowed):
    response = api.request(method, path)
    assert error_of(response) == (405, "invalid_request_error", "method_not_allowed", None)
    assert response.headers["Allow"] == allowed


def test_the_default_version_is_the_latest(responses):
    for response in responses:
        assert response.headers["CStar-Version"] == "2026-03-01"


def test_the_response_has_the_version_of_the_request(api):
    response = api.get("/customers", headers={"CStar-Version": "2025-11-15"})
    assert response.headers["CStar-Version"] == "2025-11-15"


def test_every_response_has_the_rate_limit_headers(responses):
    for response in responses:
        assert response.headers["X-RateLimit-Limit"] == "1000000"
        assert response.headers["X-RateLimit-Window"] == "3600"
        assert 0 < int(response.headers["X-RateLimit-Remaining"]) <= 1_000_000
        assert time.time() < int(response.headers["X-RateLimit-Reset"]) <= time.time() + 3601


def test_a_bug_in_the_sandbox_is_a_500_and_changes_nothing(monkeypatch, caplog):
    def fail(*_, **__):
        raise ZeroDivisionError

    with Sandbox() as box, team_client(box) as api:
        request = {"json": {"name": "Jane", "email": "jane@example.com"}, "headers": {"Idempotency-Key": "k"}}
        with monkeypatch.context() as patch:
            patch.setattr("cstar.sandbox._store.Store.add_idempotency_record", fail)
            response = api.post("/customers", **request)
        assert error_of(response) == (500, "api_error", "internal_error", None)
        assert api.get("/customers").json()["pagination"]["total"] == 0
        assert api.post("/customers", **request).status_code == 201
    assert "ZeroDivisionError" in caplog.text
