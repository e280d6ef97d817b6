"""The pytest fixtures, used by the tests of another project."""

pytest_plugins = ["pytester"]

PLUGIN_TESTS = """
import asyncio
import pytest

urls = set()


@pytest.mark.parametrize("round", range(2))
def test_the_sandbox_is_empty_and_without_faults_each_time(cstar_sandbox, cstar_client, round):
    urls.add(cstar_sandbox.url)
    customers = cstar_client.customers
    assert customers.list(cstar_sandbox.team_id).total == 0
    customers.create(cstar_sandbox.team_id, name="Jane", email="jane@example.com", idempotency_key="k")
    cstar_sandbox.faults.add("status", status=503, times=100)
    assert len(cstar_sandbox.requests) == 2


@pytest.mark.parametrize("round", range(2))
def test_the_async_client_works_in_any_event_loop_without_a_warning(cstar_sandbox, async_cstar_client, round):
    async def run():
        assert (await async_cstar_client.whoami()).team_id == cstar_sandbox.team_id
        return [customer async for customer in async_cstar_client.customers.list(cstar_sandbox.team_id)]

    assert asyncio.run(run()) == []


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_async_client_works_with_the_anyio_plugin(async_cstar_client, cstar_sandbox, anyio_backend):
    assert (await async_cstar_client.customers.list(cstar_sandbox.team_id)).total == 0


def test_a_test_can_stop_the_server(cstar_sandbox):
    cstar_sandbox.stop()


def test_the_next_test_has_a_server_again(cstar_client):
    assert cstar_client.whoami()


def test_the_tests_before_the_stop_had_the_same_server(cstar_sandbox):
    assert len(urls) == 1


def test_both_clients_use_the_same_sandbox(cstar_sandbox, cstar_client, async_cstar_client):
    assert cstar_client.whoami() == asyncio.run(async_cstar_client.whoami())
    assert [request.headers["host"] in cstar_sandbox.url for request in cstar_sandbox.requests] == [True, True]
"""


def test_the_fixtures_work_in_other_projects_without_a_warning(pytester):
    pytester.makepyfile(PLUGIN_TESTS)
    result = pytester.runpytest_inprocess("-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=10)


def test_the_plugin_imports_nothing_before_a_fixture_is_used(pytester, monkeypatch):
    pytester.makepyfile(
        """
        import sys

        def test_it():
            loaded = {name.partition(".")[0] for name in sys.modules}
            assert "pytest_cstar" in loaded
            assert not {"cstar", "httpx", "pydantic", "tenacity", "starlette", "uvicorn"} & loaded
        """
    )
    # Without other plugins, some of which import httpx.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "pytest_cstar").assert_outcomes(passed=1)


def test_the_fixtures_are_listed_with_their_docstrings(pytester):
    shown = pytester.runpytest_inprocess("--fixtures", "-p", "no:cacheprovider").stdout.str()
    for line in ("cstar_sandbox -- ", "cstar_client -- ", "async_cstar_client -- "):
        assert line in shown
    assert "A sandbox, which is a local cStar API" in shown
