"""The check of the `Host` header, which prevents DNS rebinding."""

import httpx
import pytest

from cstar.sandbox import Sandbox


@pytest.fixture(scope="module")
def box():
    with Sandbox(customers=1, allow_hosts=["sandbox", "cstar.internal"]) as box:
        yield box


def get(box, path, host):
    headers = {"Host": host, "Authorization": f"Bearer {box.api_key}"}
    return httpx.get(box.page_url + path, headers=headers)


@pytest.mark.parametrize("path", ["", "api/v1/auth/whoami", "_sandbox/requests", "openapi.json", "nothing"])
def test_another_host_is_rejected_on_every_path(box, path):
    response = get(box, path, "evil.example:4010")
    assert response.status_code == 403
    message = response.json()["error"]["message"]
    assert message.startswith("The sandbox does not serve the host 'evil.example:4010'.")
    assert "--allow-host" in message


def test_a_rejected_request_is_not_in_the_request_log(box):
    before = len(box.requests)
    get(box, "api/v1/auth/whoami", "evil.example")
    assert len(box.requests) == before


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:4010", "127.0.0.1", "127.8.9.10:80", "[::1]:4010", "a.localhost"]
)
def test_loopback_names_are_served(box, host):
    assert get(box, "api/v1/auth/whoami", host).status_code == 200


@pytest.mark.parametrize("host", ["sandbox", "Sandbox:4010", "cstar.internal", "cstar.internal.:4010"])
def test_an_allowed_host_is_served(box, host):
    assert get(box, "api/v1/auth/whoami", host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["", "localhost.evil.example", "evil-localhost", "192.168.1.5", "0.0.0.0", "127.0.0.1@evil.example", "[::1", "a b"],
)
def test_a_name_similar_to_a_loopback_name_is_rejected(box, host):
    assert get(box, "api/v1/auth/whoami", host).status_code in {400, 403}


def test_the_address_to_listen_on_is_served():
    with Sandbox(host="127.0.0.2") as box:
        assert httpx.get(box.page_url).status_code == 200


@pytest.mark.parametrize("allow_hosts", ["sandbox", [5], [""], None])
def test_allow_hosts_is_a_list_of_names(allow_hosts):
    with pytest.raises(ValueError, match="allow_hosts must be a list of host names"):
        Sandbox(allow_hosts=allow_hosts)


def test_the_openapi_document_has_the_url_of_an_allowed_host(box):
    assert get(box, "openapi.json", "sandbox:4010").json()["servers"] == [{"url": "http://sandbox:4010/api/v1"}]
