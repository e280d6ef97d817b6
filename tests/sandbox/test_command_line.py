import json
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import httpx
import pytest

from cstar.sandbox import Sandbox
from cstar.sandbox.__main__ import main


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
    watchdog = threading.Timer(20, process.kill)
    watchdog.start()
    try:
        return [process.stdout.readline() for _ in range(count)]
    finally:
        watchdog.cancel()
        watchdog.join()


def test_json_is_one_line_that_says_everything_about_a_running_server(tmp_path):
    with running("--json", "--port", "0", "--customers", "3", "--database", str(tmp_path / "cstar.db")) as process:
        told = json.loads(first_lines(process, 1)[0])
        assert list(told) == ["url", "api_key", "publishable_key", "team_id", "webhook_secret"]
        answer = httpx.get(
            f"{told['url']}/teams/{told['team_id']}/customers", headers={"Authorization": f"Bearer {told['api_key']}"}
        )
        assert answer.json()["pagination"]["total"] == 3
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=5)[0] == ""
        assert process.returncode == 0
    with Sandbox(database=tmp_path / "cstar.db") as box:
        assert (box.api_key, box.team_id) == (told["api_key"], told["team_id"])


def test_it_prints_what_to_export_logs_each_request_in_a_line_and_ends_at_ctrl_c():
    with running("--port", "0") as process:
        printed = "".join(first_lines(process, 8))
        exported = dict(re.findall(r"export (\w+)=(\S+)\n", printed))
        assert list(exported) == [
            "CSTAR_BASE_URL",
            "CSTAR_API_KEY",
            "CSTAR_TEAM_ID",
            "CSTAR_PUBLISHABLE_KEY",
            "CSTAR_WEBHOOK_SECRET",
        ]
        [page] = re.findall(r"Watch it at (\S+)", printed)
        assert httpx.get(page).headers["Content-Type"].startswith("text/html")
        key = exported["CSTAR_PUBLISHABLE_KEY"]
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}) as idle:
            identity = idle.get(f"{exported['CSTAR_BASE_URL']}/auth/whoami").json()["data"]
            assert identity["teamId"] == exported["CSTAR_TEAM_ID"]
            idle.get(f"{exported['CSTAR_BASE_URL']}/nowhere")
            process.send_signal(signal.SIGINT)
            _, log = process.communicate(timeout=2)
    assert process.returncode == 0
    first, second = log.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d 200 GET    /api/v1/auth/whoami \d+\.\d ms", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d 404 GET    /api/v1/nowhere \d+\.\d ms, resource_missing", second)


def test_its_options_limit_it_slow_it_down_have_it_fail_and_tell_others(tmp_path):
    options = ["--rate-limit", "3/3600", "--latency", "0.01", "--webhook-url", "http://127.0.0.1:9/a"]
    options += ["--webhook-url", "http://127.0.0.1:9/b", "--fault", '{"kind": "status", "status": 418}']
    options += ["--fault-rate", "1", "--seed", "1"]
    with running("--json", "--port", "0", *options) as process:
        told = json.loads(first_lines(process, 1)[0])
        control = httpx.URL(told["url"]).join("/_sandbox/")
        assert httpx.get(control.join("faults")).json()["data"] == [
            {"kind": "latency", "seconds": 0.01, "probability": 1},
            {"kind": "flaky", "probability": 1.0, "seed": 1},
            {"kind": "status", "status": 418},
        ]
        httpx.delete(control.join("faults"))
        created = httpx.post(
            f"{told['url']}/teams/{told['team_id']}/customers",
            json={"name": "Jane", "email": "jane@example.com"},
            headers={"Authorization": f"Bearer {told['api_key']}"},
        )
        assert (created.status_code, created.headers["X-RateLimit-Limit"]) == (201, "3")
        deliveries = httpx.get(control.join("deliveries")).json()["data"]
        assert {delivery["url"] for delivery in deliveries} == {"http://127.0.0.1:9/a", "http://127.0.0.1:9/b"}


def test_ctrl_c_ends_it_within_a_second_though_answers_are_held_up_and_webhooks_pending():
    latency = '{"kind": "latency", "seconds": 60, "method": "GET", "probability": 1}'
    with running("--json", "--port", "0", "--webhook-url", "http://127.0.0.1:9/", "--fault", latency) as process:
        told = json.loads(first_lines(process, 1)[0])
        httpx.post(
            f"{told['url']}/teams/{told['team_id']}/customers",
            json={"name": "Jane", "email": "jane@example.com"},
            headers={"Authorization": f"Bearer {told['api_key']}"},
        )
        [delivery] = httpx.get(httpx.URL(told["url"]).join("/_sandbox/deliveries")).json()["data"]
        assert delivery["outcome"] == "pending"
        threading.Thread(target=lambda: attempt(told), daemon=True).start()
        process.send_signal(signal.SIGINT)
        # A second where the machine has nothing else to do; what is held up would take a minute.
        assert process.wait(timeout=5) == 0


def attempt(told):
    with suppress(httpx.TransportError):
        httpx.get(f"{told['url']}/auth/whoami")


@pytest.fixture
def signals_untouched(monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)


def test_a_busy_port_is_one_line_and_exit_code_2(box, signals_untouched, capsys):
    assert main(["--port", str(httpx.URL(box.url).port)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(
        r"cstar\.sandbox: cannot listen on 127\.0\.0\.1:\d+: Address already in use; --port 0 .*\n", told.err
    )


def test_an_unusable_database_is_one_line_and_exit_code_2(tmp_path, signals_untouched, capsys):
    assert main(["--port", "0", "--database", str(tmp_path / "no" / "such" / "folder.db")]) == 2
    assert re.fullmatch(r"cstar\.sandbox: cannot use the database .*folder\.db: .*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--webhook-url", "localhost:8000"], "The webhook URL 'localhost:8000' is not an absolute URL"),
        (["--latency", "-1"], "seconds must be a number from 0 to 3600, not -1.0."),
        (["--fault-rate", "2"], "probability must be above 0 and at most 1, not 2.0."),
        (["--fault", '{"kind": "explode"}'], "kind must be one of"),
        (["--rate-limit", "0/60"], "rate_limit must be a whole number of requests and a number of seconds"),
        (["--rate-limit", "5/inf"], "rate_limit must be a whole number of requests and a number of seconds"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_line_and_exit_code_2(signals_untouched, capsys, option, message):
    assert main(["--port", "0", *option]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"cstar.sandbox: {message}")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    "option",
    [
        ["--port", "65536"],
        ["--port", "http"],
        ["--customers", "-1"],
        ["--rate-limit", "1000"],
        ["--rate-limit", "many/60"],
        ["--latency", "long"],
        ["--fault-rate", "often"],
        ["--fault", "drop"],
        ["--seed", "x"],
        ["--nonsense"],
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(option)
    assert option[0] in capsys.readouterr().err
