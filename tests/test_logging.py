"""What the `cstar` logger tells: a line for each attempt, a line for each retry, and nothing that is private."""

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
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="cstar"):
        yield caplog


def test_each_attempt_is_a_debug_line_and_each_retry_an_info_line(
    api_mock: respx.Router, run: Runner, lines: pytest.LogCaptureFixture
) -> None:
    answer = httpx.Response(200, json=ok(DETAIL), headers={"X-Request-Id": "req_2"})
    api_mock.get(GET).mock(side_effect=[httpx.ReadTimeout("slow"), httpx.Response(503), answer])
    run(lambda client: client.customers.get(TEAM, ID))
    told = [(record.levelname, record.getMessage()) for record in lines.records if record.name == "cstar"]
    assert [level for level, _ in told] == ["DEBUG", "INFO", "DEBUG", "INFO", "DEBUG"]
    assert told[0][1].startswith(f"GET {GET}: attempt 1: ReadTimeout")
    assert told[1][1].startswith(f"GET {GET}: attempt 1 got no response (ReadTimeout: slow); retrying in 0.")
    assert told[2][1].startswith(f"GET {GET}: attempt 2: 503")
    assert told[3][1].startswith(f"GET {GET}: attempt 2 returned 503; retrying in 1.")
    assert told[4][1].startswith(f"GET {GET}: attempt 3: 200, request req_2, ")


def test_records_carry_as_attributes_what_they_tell(
    api_mock: respx.Router, run: Runner, lines: pytest.LogCaptureFixture
) -> None:
    answer = httpx.Response(200, json=ok(DETAIL), headers={"X-Request-Id": "req_2"})
    api_mock.get(GET).mock(side_effect=[httpx.ReadTimeout("slow"), httpx.Response(503), answer])
    run(lambda client: client.customers.get(TEAM, ID))
    plain = {*vars(logging.makeLogRecord({})), "message"}
    told = [
        {name: value for name, value in vars(record).items() if name not in plain}
        for record in lines.records
        if record.name == "cstar"
    ]
    measured = [fields.pop("duration", fields.pop("retry_wait", None)) for fields in told]
    assert all(isinstance(seconds, float) for seconds in measured)
    assert measured[1::2] == pytest.approx(run.sleeps)
    what = {"method": "GET", "path": GET}
    assert told == [
        {**what, "attempt": 1, "error_type": "ReadTimeout"},
        {**what, "attempt": 1, "error_type": "ReadTimeout"},
        {**what, "attempt": 2, "status_code": 503, "request_id": None},
        {**what, "attempt": 2, "status_code": 503},
        {**what, "attempt": 3, "status_code": 200, "request_id": "req_2"},
    ]


def test_what_is_searched_for_and_sent_is_not_logged(
    api_mock: respx.Router, run: Runner, lines: pytest.LogCaptureFixture
) -> None:
    api_mock.get(CUSTOMERS).respond(500)
    api_mock.post(CUSTOMERS).respond(500)
    for action in (
        lambda client: client.customers.list(TEAM, search="private"),
        lambda client: client.customers.create(TEAM, name="private", email="private@x.io"),
    ):
        with pytest.raises(Exception, match="500"):
            run(action)
    assert "private" not in "".join(record.getMessage() for record in lines.records if record.name == "cstar")
    assert KEY not in lines.text


SCRIPT = f"""
import logging
{{before}}
from cstar import Cstar, APIConnectionError
for _ in range(2):
    client = Cstar({KEY!r}, base_url="http://127.0.0.1:9", max_retries=1, max_retry_wait=0)
try:
    client.whoami()
except APIConnectionError:
    pass
"""


def run_program(setting: str | None, before: str = "") -> list[str]:
    environment = {**os.environ, **({} if setting is None else {"CSTAR_LOG": setting})}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before)],
        env=environment, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return [line for line in done.stderr.splitlines() if "cstar" in line.lower()]


def test_a_script_is_silent_by_default() -> None:
    assert run_program(None) == []


def test_cstar_log_debug_turns_on_everything_once() -> None:
    told = run_program("debug")
    assert len(told) == 3
    assert "DEBUG GET /auth/whoami: attempt 1: ConnectError" in told[0]
    assert "INFO GET /auth/whoami: attempt 1 got no response" in told[1]


def test_cstar_log_info_turns_on_the_retries() -> None:
    [told] = run_program("INFO")
    assert "cstar INFO GET /auth/whoami: attempt 1 got no response" in told


def test_cstar_log_does_not_double_a_logging_setup_of_your_own() -> None:
    assert len(run_program("info", before="logging.basicConfig()")) == 1


def test_a_wrong_cstar_log_says_what_is_allowed() -> None:
    assert "CSTAR_LOG must be one of 'debug', 'info', not 'loud'" in run_program("loud")[0]


@pytest.mark.parametrize(
    ("setting", "before", "is_enabled"),
    [
        (None, "", True),
        ("info", "", False),
        ("debug", "", False),
        ("info", "logging.getLogger('httpx').setLevel(logging.DEBUG)", True),
    ],
)
def test_cstar_log_silences_httpx_which_logs_search_terms(setting: str | None, before: str, is_enabled: bool) -> None:
    code = f"""
import logging
logging.basicConfig(level=logging.INFO)
{before}
from cstar import Cstar
Cstar({KEY!r})
print(logging.getLogger("httpx").isEnabledFor(logging.INFO))
"""
    environment = {**os.environ, **({} if setting is None else {"CSTAR_LOG": setting})}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == f"{is_enabled}\n"
