"""API keys: which requests they authenticate, and the errors of all others."""

import pytest

from support import error_of


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic dXNlcjpwYXNz"])
def test_a_request_without_a_bearer_token_is_rejected(anonymous, header):
    headers = {} if header is None else {"Authorization": header}
    response = anonymous.get("/auth/whoami", headers=headers)
    assert error_of(response) == (401, "authentication_error", "authentication_required", None)
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "key", ["secret", "sk_test_short", "sk_prod_" + "a" * 32, "sk_test_" + "a" * 33, "sk_test_" + "!" * 32]
)
def test_a_malformed_key_is_rejected_as_malformed(anonymous, key):
    response = anonymous.get("/auth/whoami", headers={"Authorization": f"Bearer {key}"})
    assert error_of(response) == (401, "authentication_error", "invalid_key_format", None)


@pytest.mark.parametrize("prefix", ["sk_test_", "sk_live_", "pk_test_", "pk_live_"])
def test_an_unknown_key_is_rejected_as_invalid(anonymous, prefix):
    response = anonymous.get("/auth/whoami", headers={"Authorization": f"Bearer {prefix}{'a' * 32}"})
    assert error_of(response) == (401, "authentication_error", "invalid_api_key", None)


def test_the_scheme_ignores_case(box, anonymous):
    response = anonymous.get("/auth/whoami", headers={"Authorization": f"bearer {box.api_key}"})
    assert response.status_code == 200


@pytest.mark.parametrize("team", ["00000000-0000-4000-8000-000000000000", "not-a-uuid"])
@pytest.mark.parametrize("path", ["customers", "customers/cus_1"])
def test_the_key_of_another_team_is_rejected(box, api, team, path):
    response = api.get(f"{box.url}/teams/{team}/{path}")
    assert error_of(response) == (403, "authentication_error", "team_access_denied", None)


def test_a_publishable_key_can_read(box, create, anonymous):
    customer = create()
    headers = {"Authorization": f"Bearer {box.publishable_key}"}
    customers = f"/teams/{box.team_id}/customers"
    assert anonymous.get(customers, headers=headers).status_code == 200
    assert anonymous.get(f"{customers}/{customer['id']}", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/customers"),
        ("PATCH", "/customers/{id}"),
        ("DELETE", "/customers/{id}"),
        ("POST", "/bulk"),
        ("POST", "/import"),
        ("POST", "/export"),
    ],
)
def test_a_publishable_key_cannot_write(box, api, create, method, path):
    customer = create(name="Unchanged")
    headers = {"Authorization": f"Bearer {box.publishable_key}"}
    response = api.request(method, path.format(**customer), headers=headers, json={"name": "Changed"})
    assert error_of(response) == (403, "authentication_error", "publishable_key_write", None)
    assert api.get(f"/customers/{customer['id']}").json()["data"]["name"] == "Unchanged"


@pytest.mark.parametrize(("attribute", "kind"), [("api_key", "secret"), ("publishable_key", "publishable")])
def test_whoami_returns_the_team_and_the_type_of_the_key(box, anonymous, attribute, kind):
    headers = {"Authorization": f"Bearer {getattr(box, attribute)}"}
    assert anonymous.get("/auth/whoami", headers=headers).json()["data"] == {
        "teamId": box.team_id,
        "teamName": "Sandbox",
        "teamSlug": "sandbox",
        "keyType": kind,
        "environment": "test",
    }
