"""The log of the logger `cstar`: a line for each attempt and each retry, without private data."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from support import CUSTOMERS, DETAIL, ID, KEY, TEAM, Runner, ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    import respx

GET = f"{CUSTOMERS}/{ID}"


@pytest.fixture
def debug_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="cstar"):
        yield caplog


@pytest.fixture
def records(api_mock: respx.Router, run: Runner, debug_log: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The log records of a call with three attempts: a timeout, a 503 and a success."""
    success = httpx.Response(200, json=ok(DETAIL), headers={"X-Request-Id": "req_2"})
    api_mock.get(GET).mock(side_effect=[httpx.ReadTimeout("slow"), httpx.Response(503), success])
    run(lambda client: client.customers.get(TEAM, ID))
    return [record for record in debug_log.records if record.name == "cstar"]


def test_attempts_are_logged_at_debug_and_retries_at_info(records: list[logging.LogRecord]) -> None:
    assert [record.levelname for record in records] == ["DEBUG", "INFO", "DEBUG", "INFO", "DEBUG"]
    messages = [record.getMessage() for record in records]
    assert messages[0].startswith(f"GET {GET}: attempt 1: ReadTimeout")
    assert messages[1].startswith(f"GET {GET}: attempt 1 got no response (ReadTimeout: slow); retrying in 0.")
    assert messages[2].startswith(f"GET {GET}: attempt 2: 503")
    assert messages[3].startswith(f"GET {GET}: attempt 2 returned 503; retrying in 1.")
    assert messages[4].startswith(f"GET {GET}: attempt 3: 200, request req_2, ")


def test_log_records_have_their_fields_as_attributes(records: list[logging.LogRecord], run: Runner) -> None:
    standard = {*vars(logging.makeLogRecord({})), "message"}
    extras = [{name: value for name, value in vars(record).items() if name not in standard} for record in records]
    seconds = [fields.pop("duration", fields.pop("retry_wait", None)) for fields in extras]
    assert all(isinstance(each, float) for each in seconds)
    assert seconds[1::2] == pytest.approx(run.sleeps)
    call = {"method": "GET", "path": GET}
    assert extras == [
        {**call, "attempt": 1, "error_type": "ReadTimeout"},
        {**call, "attempt": 1, "error_type": "ReadTimeout"},
        {**call, "attempt": 2, "status_code": 503, "request_id": None},
        {**call, "attempt": 2, "status_code": 503},
        {**call, "attempt": 3, "status_code": 200, "request_id": "req_2"},
    ]


def test_search_terms_and_bodies_are_not_logged(
    api_mock: respx.Router, run: Runner, debug_log: pytest.LogCaptureFixture
) -> None:
    api_mock.get(CUSTOMERS).respond(500)
    api_mock.post(CUSTOMERS).respond(500)
    for action in (
        lambda client: client.customers.list(TEAM, search="private"),
        lambda client: client.customers.create(TEAM, name="private", email="private@x.io"),
    ):
        with pytest.raises(Exception, match="500"):
            run(action)
    assert "private" not in "".join(record.getMessage() for record in debug_log.records if record.name == "cstar")
    assert KEY not in debug_log.text


# ── The environment variable CSTAR_LOG ───────────────────────────────────────────────────────────────────────────────


def run_script(script: str, cstar_log: str | None) -> subprocess.CompletedProcess[str]:
    variables = {} if cstar_log is None else {"CSTAR_LOG": cstar_log}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **variables}, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip


def log_lines(cstar_log: str | None, setup: str = "") -> list[str]:
    """Return the lines that a script logs: it creates two clients, and its call fails after one retry."""
    script = f"""
import logging
{setup}
from cstar import Cstar, APIConnectionError
for _ in range(2):
    client = Cstar({KEY!r}, base_url="http://127.0.0.1:9", max_retries=1, max_retry_wait=0)
try:
    client.whoami()
except APIConnectionError:
    pass
"""
    return [line for line in run_script(script, cstar_log).stderr.splitlines() if "cstar" in line.lower()]


def test_nothing_is_logged_by_default() -> None:
    assert log_lines(None) == []


def test_cstar_log_debug_logs_attempts_and_retries_once() -> None:
    lines = log_lines("debug")
    assert len(lines) == 3
    assert "DEBUG GET /auth/whoami: attempt 1: ConnectError" in lines[0]
    assert "INFO GET /auth/whoami: attempt 1 got no response" in lines[1]


def test_cstar_log_info_logs_retries() -> None:
    [line] = log_lines("INFO")
    assert "cstar INFO GET /auth/whoami: attempt 1 got no response" in line


def test_cstar_log_adds_no_handler_if_logging_is_configured() -> None:
    assert len(log_lines("info", setup="logging.basicConfig()")) == 1


def test_an_invalid_cstar_log_is_reported_with_the_allowed_values() -> None:
    assert "CSTAR_LOG must be one of 'debug', 'info', not 'loud'" in log_lines("loud")[0]


@pytest.mark.parametrize(
    ("cstar_log", "setup", "is_enabled"),
    [(None, "", True), ("info", "", False), ("info", "logging.getLogger('httpx').setLevel(logging.DEBUG)", True)],
)
def test_cstar_log_disables_the_info_lines_of_httpx(cstar_log: str | None, setup: str, is_enabled: bool) -> None:
    """They contain URLs with search terms. A level that the program has set is kept."""
    script = f"""
import logging
logging.basicConfig(level=logging.INFO)
{setup}
from cstar import Cstar
Cstar({KEY!r})
print(logging.getLogger("httpx").isEnabledFor(logging.INFO))
"""
    assert run_script(script, cstar_log).stdout == f"{is_enabled}\n"
