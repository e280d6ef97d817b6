"""The command line: `python -m cstar.sandbox`."""

import json
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest

from cstar.sandbox.__main__ import main

# Seconds for a stop, which takes 0.2. If it waited for idle connections, it would take 30.
STOP_TIMEOUT = 15


@contextmanager
def running(*options):
    process = subprocess.Popen(
        [sys.executable, "-m", "cstar.sandbox", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def first_lines(process, count):
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        return [process.stdout.readline() for _ in range(count)]
    finally:
        watchdog.cancel()
        watchdog.join()


def read_json(process):
    """Return the document that `--json` prints once the sandbox is running."""
    return json.loads(first_lines(process, 1)[0])


def create(box):
    return httpx.post(
        f"{box['url']}/teams/{box['team_id']}/customers",
        json={"name": "Jane", "email": "jane@example.com"},
        headers={"Authorization": f"Bearer {box['api_key']}"},
    )


def test_json_prints_one_line_with_the_url_and_the_keys():
    with running("--json", "--port", "0") as process:
        box = read_json(process)
        assert list(box) == ["url", "api_key", "publishable_key", "team_id", "webhook_secret"]
        assert create(box).status_code == 201
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=STOP_TIMEOUT)[0] == ""
        assert process.returncode == 0


def test_the_command_prints_exports_and_logs_one_line_per_request_until_ctrl_c():
    with running("--port", "0") as process:
        lines = "".join(first_lines(process, 8))
        exported = dict(re.findall(r"export (\w+)=(\S+)\n", lines))
        assert list(exported) == [
            "CSTAR_BASE_URL",
            "CSTAR_API_KEY",
            "CSTAR_TEAM_ID",
            "CSTAR_PUBLISHABLE_KEY",
            "CSTAR_WEBHOOK_SECRET",
        ]
        [page] = re.findall(r"Watch it at (\S+)", lines)
        assert httpx.get(page).headers["Content-Type"].startswith("text/html")
        key = exported["CSTAR_PUBLISHABLE_KEY"]
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}) as idle:
            identity = idle.get(f"{exported['CSTAR_BASE_URL']}/auth/whoami").json()["data"]
            assert identity["teamId"] == exported["CSTAR_TEAM_ID"]
            idle.get(f"{exported['CSTAR_BASE_URL']}/nowhere?search=jane%40example.com")
            process.send_signal(signal.SIGINT)
            _, log = process.communicate(timeout=STOP_TIMEOUT)
    assert process.returncode == 0
    first, second = log.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d 200 GET    /api/v1/auth/whoami \d+\.\d ms", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d 404 GET    /api/v1/nowhere \d+\.\d ms, resource_missing", second)


def test_the_options_configure_the_sandbox():
    options = ["--rate-limit", "3/3600", "--latency", "0.01", "--webhook-url", "http://127.0.0.1:9/a"]
    options += ["--webhook-url", "http://127.0.0.1:9/b", "--fault", '{"kind": "status", "status": 418}']
    options += ["--fault-rate", "1", "--seed", "1", "--allow-host", "cstar", "--allow-host", "cstar.local"]
    with running("--json", "--port", "0", *options) as process:
        box = read_json(process)
        control = httpx.URL(box["url"]).join("/_sandbox/")
        assert httpx.get(control.join("faults")).json()["data"] == [
            {"kind": "latency", "seconds": 0.01, "probability": 1},
            {"kind": "flaky", "probability": 1.0, "seed": 1},
            {"kind": "status", "status": 418},
        ]
        httpx.delete(control.join("faults"))
        created = create(box)
        assert (created.status_code, created.headers["X-RateLimit-Limit"]) == (201, "3")
        deliveries = httpx.get(control.join("deliveries")).json()["data"]
        assert {delivery["url"] for delivery in deliveries} == {"http://127.0.0.1:9/a", "http://127.0.0.1:9/b"}
        hosts = {"cstar": 200, "cstar.local": 200, "other": 403}
        for host, status in hosts.items():
            assert httpx.get(control.join("faults"), headers={"Host": host}).status_code == status
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=STOP_TIMEOUT) == 0


def test_ctrl_c_stops_the_command_despite_delayed_responses_and_pending_webhooks():
    latency = '{"kind": "latency", "seconds": 60, "method": "GET", "probability": 1}'
    with running("--json", "--port", "0", "--webhook-url", "http://127.0.0.1:9/", "--fault", latency) as process:
        box = read_json(process)
        create(box)
        [delivery] = httpx.get(httpx.URL(box["url"]).join("/_sandbox/deliveries")).json()["data"]
        assert delivery["outcome"] == "pending"
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{box['url']}/auth/whoami", timeout=httpx.Timeout(10, read=0.5))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=STOP_TIMEOUT) == 0


@pytest.fixture
def fails(monkeypatch, capsys):
    """A function that runs the command with invalid options and returns its one-line error."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def fails(*options):
        assert main(["--port", "0", *options]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        [line] = output.err.splitlines()
        return line

    return fails


def test_a_port_in_use_is_a_one_line_error(box, fails):
    line = fails("--port", str(httpx.URL(box.url).port))
    assert re.fullmatch(r"cstar\.sandbox: cannot listen on 127\.0\.0\.1:\d+: .* in use; --port 0 .*", line)


def test_a_database_that_cannot_be_opened_is_a_one_line_error(fails, tmp_path):
    database = str(tmp_path / "no" / "folder.db")
    line = f"cstar.sandbox: The database {database!r} cannot be opened: unable to open database file."
    assert fails("--database", database) == line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--webhook-url", "localhost:8000"], "The webhook URL 'localhost:8000' is not an absolute URL"),
        (["--latency", "-1"], "--latency: seconds must be greater than or equal to 0, not -1.0."),
        (["--fault-rate", "2"], "--fault-rate: probability must be less than or equal to 1, not 2.0."),
        (["--fault", '{"kind": "explode"}'], "--fault: kind must be 'latency', "),
    ],
)
def test_an_invalid_value_is_a_one_line_error(fails, options, message):
    assert fails(*options).startswith(f"cstar.sandbox: {message}")


@pytest.mark.parametrize(
    "options",
    [
        ["--port", "http"],
        ["--rate-limit", "1000"],
        ["--rate-limit", "0/60"],
        ["--fault", "drop"],
        ["--nonsense"],
    ],
)
def test_the_error_for_an_invalid_option_names_the_option(options, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(options)
    assert options[0] in capsys.readouterr().err
