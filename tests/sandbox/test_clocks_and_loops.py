"""The sandbox in programs that freeze the time, use another event loop, fork, or stop it during a request."""

import asyncio
import subprocess
import sys
from datetime import datetime, timezone

import freezegun
import httpx
import pytest
import time_machine

from cstar.sandbox import Sandbox
from support import team_client

THEN = datetime(2020, 2, 29, 12, tzinfo=timezone.utc)
DEADLINE = 10


@pytest.fixture(
    params=[
        lambda: freezegun.freeze_time(THEN),
        lambda: time_machine.travel(THEN, tick=False),
    ],
    ids=["freezegun", "time-machine"],
)
def frozen(request):
    """A context manager that freezes the time."""
    return request.param


def create(box):
    with team_client(box) as api:
        response = api.post("/customers", json={"name": "Jane", "email": "jane@example.com"})
    assert response.status_code == 201
    return response.json()["data"]


# Time


def test_the_sandbox_starts_serves_and_stops_while_the_time_is_frozen(frozen):
    with frozen(), Sandbox() as box:
        assert create(box)["createdAt"] == "2020-02-29T12:00:00.000000Z"


def test_the_sandbox_stops_if_the_time_was_frozen_only_during_the_start(frozen):
    with frozen():
        box = Sandbox()
        box.start()
    create(box)
    box.stop()
    assert not box.is_running


def test_the_sandbox_serves_and_stops_if_the_time_is_frozen_after_the_start(frozen):
    box = Sandbox()
    box.start()
    with frozen():
        assert create(box)["createdAt"] == "2020-02-29T12:00:00.000000Z"
        box.stop()


def test_a_latency_elapses_while_the_time_is_frozen(frozen):
    with frozen(), Sandbox() as box:
        box.faults.add("latency", seconds=0.05)
        create(box)
        assert 0.05 <= box.requests[0].duration < DEADLINE


def test_webhooks_are_delivered_while_the_time_is_frozen(frozen, receiver):
    with frozen(), Sandbox(webhook_url=receiver.url) as box:
        create(box)
        [delivery] = box.wait_for_deliveries(DEADLINE)
        assert delivery.outcome == "delivered"
        assert [attempt.at for attempt in delivery.attempts] == [THEN]


def test_webhooks_are_retried_while_the_time_is_frozen(frozen, receiver, monkeypatch):
    monkeypatch.setattr("cstar.sandbox._webhooks.RETRY_DELAYS", (0.01, 0.01))
    receiver.respond = lambda post: 500
    with frozen(), Sandbox(webhook_url=receiver.url) as box:
        create(box)
        [delivery] = box.wait_for_deliveries(DEADLINE)
        assert (delivery.outcome, len(delivery.attempts)) == ("failed", 3)


def test_waiting_for_deliveries_times_out_while_the_time_is_frozen(frozen, receiver):
    receiver.respond = lambda post: 500
    with frozen(), Sandbox(webhook_url=receiver.url) as box:
        create(box)
        with pytest.raises(TimeoutError, match=r"1 webhook delivery is still pending after 0\.05 s"):
            box.wait_for_deliveries(0.05)


# Event loops


@pytest.fixture
def uvloop():
    return pytest.importorskip("uvloop")


@pytest.mark.filterwarnings("ignore:.*(uvloop.install|event_loop_policy|EventLoopPolicy).*:DeprecationWarning")
def test_the_sandbox_serves_with_the_event_loop_policy_of_uvloop(uvloop, receiver):
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        with Sandbox(webhook_url=receiver.url) as box:
            box.faults.add("drop")
            with pytest.raises(httpx.RemoteProtocolError):
                create(box)
            create(box)
            [delivery] = box.wait_for_deliveries(DEADLINE)
            assert delivery.outcome == "delivered"
    finally:
        asyncio.set_event_loop_policy(before)


def test_the_sandbox_serves_clients_on_a_running_loop_of_uvloop(uvloop):
    async def main():
        with Sandbox() as box:
            async with httpx.AsyncClient(headers={"Authorization": f"Bearer {box.api_key}"}) as client:
                return await client.get(f"{box.url}/auth/whoami")

    loop = uvloop.new_event_loop()
    try:
        assert loop.run_until_complete(main()).status_code == 200
    finally:
        loop.close()


# Processes


def output_of(program):
    """Run a program, which must succeed and print nothing to stderr; return its output."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_forked_child_uses_the_sandbox_only_through_clients_and_does_not_stop_it():
    program = """if True:
        import os, sys, warnings
        import httpx
        from cstar.sandbox import Sandbox
        warnings.simplefilter("ignore", DeprecationWarning)  # for a fork with threads, from Python 3.12

        def rejected(use):
            try:
                use()
            except RuntimeError as error:
                return f"runs in process {os.getppid()}, from which this process was forked" in str(error)

        with Sandbox() as box:
            child = os.fork()
            if child == 0:
                uses = {
                    "start": box.start,
                    "stop": box.stop,
                    "reset": box.reset,
                    "faults": lambda: box.faults,
                    "requests": lambda: box.requests,
                    "deliveries": lambda: box.deliveries,
                    "wait": box.wait_for_deliveries,
                }
                print([name for name, use in uses.items() if not rejected(use)])
            else:
                os.waitpid(child, 0)
            print(httpx.get(f"{box.url}/auth/whoami").status_code, flush=True)
        if child:
            print(box.is_running)
        """
    assert output_of(program).split("\n") == ["[]", "401", "401", "False", ""]


def test_stopping_during_a_request_is_fast_and_logs_nothing():
    program = """if True:
        import logging, threading, time
        import httpx
        from cstar.sandbox import Sandbox
        logging.basicConfig(level=logging.WARNING)

        def request():
            try:
                httpx.get(f"{box.url}/auth/whoami")
            except httpx.TransportError as error:
                print(type(error).__name__)

        with Sandbox() as box:
            box.faults.add("latency", seconds=30)
            thread = threading.Thread(target=request)
            thread.start()
            while list(box.faults):
                time.sleep(0.01)
            began = time.monotonic()
            box.stop()
            assert time.monotonic() - began < 10
            thread.join()
        """
    assert output_of(program) in {"ReadError\n", "RemoteProtocolError\n"}
