import pytest


def refusal(answer):
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["code"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic dXNlcjpwYXNz"])
def test_a_call_without_a_bearer_key_must_authenticate(stranger, header):
    headers = {} if header is None else {"Authorization": header}
    answer = stranger.get("/auth/whoami", headers=headers)
    assert refusal(answer) == (401, "authentication_error", "authentication_required")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "key", ["secret", "sk_test_short", "sk_prod_" + "a" * 32, "sk_test_" + "a" * 33, "sk_test_" + "!" * 32]
)
def test_what_is_not_of_the_form_of_a_key_is_called_that(stranger, key):
    answer = stranger.get("/auth/whoami", headers={"Authorization": f"Bearer {key}"})
    assert refusal(answer) == (401, "authentication_error", "invalid_key_format")


@pytest.mark.parametrize("prefix", ["sk_test_", "sk_live_", "pk_test_", "pk_live_"])
def test_an_unknown_key_is_called_invalid(stranger, prefix):
    answer = stranger.get("/auth/whoami", headers={"Authorization": f"Bearer {prefix}{'a' * 32}"})
    assert refusal(answer) == (401, "authentication_error", "invalid_api_key")


def test_the_scheme_is_read_in_any_case(box, stranger):
    answer = stranger.get("/auth/whoami", headers={"Authorization": f"bearer {box.api_key}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("team", ["00000000-0000-4000-8000-000000000000", "not-a-uuid"])
@pytest.mark.parametrize("path", ["customers", "customers/cus_1"])
def test_another_team_is_denied(box, api, team, path):
    answer = api.get(f"{box.url}/teams/{team}/{path}")
    assert refusal(answer) == (403, "authentication_error", "team_access_denied")


def test_a_publishable_key_reads(box, create, stranger):
    customer = create()
    headers = {"Authorization": f"Bearer {box.publishable_key}"}
    customers = f"/teams/{box.team_id}/customers"
    assert stranger.get(customers, headers=headers).status_code == 200
    assert stranger.get(f"{customers}/{customer['id']}", headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_publishable_key_does_not_write(box, api, create, method):
    customer = create(name="As before")
    path = "/customers" if method == "POST" else f"/customers/{customer['id']}"
    headers = {"Authorization": f"Bearer {box.publishable_key}"}
    answer = api.request(method, path, headers=headers, content=b'{"name": "Changed"}')
    assert refusal(answer) == (403, "authentication_error", "publishable_key_write")
    assert api.get(f"/customers/{customer['id']}").json()["data"]["name"] == "As before"


@pytest.mark.parametrize(("attribute", "kind"), [("api_key", "secret"), ("publishable_key", "publishable")])
def test_whoami_tells_whose_key_it_is_and_of_what_kind(box, stranger, attribute, kind):
    headers = {"Authorization": f"Bearer {getattr(box, attribute)}"}
    assert stranger.get("/auth/whoami", headers=headers).json()["data"] == {
        "teamId": box.team_id,
        "teamName": "Sandbox",
        "teamSlug": "sandbox",
        "keyType": kind,
        "environment": "test",
    }
