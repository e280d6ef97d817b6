"""The control endpoints, below `/_sandbox`."""

import httpx
import pytest


@pytest.fixture
def control(cstar_sandbox):
    with httpx.Client(base_url=httpx.URL(cstar_sandbox.url).join("/_sandbox")) as client:
        yield client


FAULT = {"kind": "status", "status": 429, "retryAfter": 3, "times": 2}


def test_faults_can_be_added_listed_and_cleared(control, cstar_sandbox):
    added = control.post("/faults", json=FAULT)
    assert (added.status_code, added.json()) == (201, {"data": FAULT})
    assert [(fault.kind, fault.retry_after) for fault in cstar_sandbox.faults] == [("status", 3)]
    assert control.get("/faults").json() == {"data": [FAULT]}
    assert control.delete("/faults").status_code == 204
    assert control.get("/faults").json() == {"data": []}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body must be JSON, such as"),
        (b"{", "The body must be JSON, such as"),
        (b"\xff", "The body must be JSON, such as"),
        (b"[" * 100_000, "The body must be JSON, such as"),
        (b"[]", "A fault is a JSON object such as"),
        (b'{"times": 2}', "kind must be 'latency', 'status'"),
        (b'{"kind": "explode"}', "kind must be 'latency', 'status'"),
        (b'{"kind": "drop", "method": "\\ud800"}', "method must be "),
    ],
    ids=["empty", "incomplete", "not UTF-8", "deep", "a list", "no kind", "unknown kind", "surrogate"],
)
def test_an_invalid_fault_is_a_400_with_the_reason(control, cstar_sandbox, body, message):
    response = control.post("/faults", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(message)
    assert not list(cstar_sandbox.faults)


def test_received_requests_are_listed(control, empty_api, cstar_sandbox):
    empty_api.post("/customers", content='{"name":"Jürgen"}'.encode(), params={"a": "b"})
    [received] = control.get("/requests").json()["data"]
    assert received.pop("at").endswith("Z")
    assert received.pop("duration") > 0
    assert received.pop("headers")["authorization"] == "Bearer ***"
    assert received == {
        "method": "POST",
        "path": f"/api/v1/teams/{cstar_sandbox.team_id}/customers",
        "query": "a=b",
        "body": '{"name":"Jürgen"}',
        "status": 400,
        "requestId": cstar_sandbox.requests[0].request_id,
        "replayed": False,
        "fault": None,
    }


def test_the_sandbox_can_be_reset(control, empty_api, cstar_sandbox):
    empty_api.post("/customers", json={"name": "Jane", "email": "jane@example.com"})
    assert control.post("/reset").status_code == 204
    assert not cstar_sandbox.requests
    assert empty_api.get("/customers").json()["pagination"]["total"] == 0


@pytest.mark.parametrize(("method", "path"), [("POST", "/faults"), ("DELETE", "/faults"), ("POST", "/reset")])
def test_requests_from_web_pages_are_rejected(control, empty_api, cstar_sandbox, method, path):
    cstar_sandbox.faults.add("latency", seconds=0)
    empty_api.get("/customers")
    cstar_sandbox.faults.add("status", status=503)
    response = control.request(method, path, json=FAULT, headers={"Origin": "https://evil.example"})
    assert response.status_code == 403
    assert [fault.kind for fault in cstar_sandbox.faults] == ["status"]
    assert len(cstar_sandbox.requests) == 1


def test_faults_and_the_request_log_ignore_control_requests(control, cstar_sandbox):
    control.get("/faults")
    control.post("/faults", json={**FAULT, "path": "*"})
    assert control.get("/faults").status_code == 200
    assert not cstar_sandbox.requests


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/"), ("GET", "/fault"), ("PUT", "/faults"), ("GET", "/reset")]
)
def test_an_unknown_path_is_a_404_that_lists_the_endpoints(control, cstar_sandbox, method, path):
    response = control.request(method, path)
    assert response.status_code == 404
    assert "POST /_sandbox/faults" in response.json()["error"]["message"]
    assert not cstar_sandbox.requests


def test_a_bug_in_the_sandbox_is_a_500_and_is_logged(control, monkeypatch, caplog):
    monkeypatch.setattr("cstar.sandbox._request_log.RequestLog.requests", lambda _: 1 / 0)
    response = control.get("/requests")
    assert (response.status_code, response.json()["error"]["message"]) == (
        500,
        "The sandbox failed to handle this request; see its log.",
    )
    assert "GET /_sandbox/requests failed in the sandbox itself" in caplog.text
    assert "ZeroDivisionError" in caplog.text
