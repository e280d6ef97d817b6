"""examples/tracing.py, with OpenTelemetry's instrumentation of httpx."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING

import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cstar import Cstar
from tracing import JsonFormatter, RetryCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cstar.sandbox import Sandbox


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    yield exporter
    HTTPXClientInstrumentor().uninstrument()


def test_the_program_shows_a_child_span_per_attempt_and_counts_retries(demo: Callable) -> None:
    done = demo("tracing.py")
    assert done.returncode == 0
    assert re.sub(r", \d+\.\d{3} s", "", done.stdout).splitlines() == [
        "INTERNAL create Ada: {'retries': 2}",
        "  CLIENT POST: RemoteProtocolError",
        "  CLIENT POST: 503",
        "  CLIENT POST: 201",
        "Retries of this call: 2, of all calls: 2.",
        "Retries of this call: 1, of all calls: 3.",
    ]
    first, second, third = (json.loads(line) for line in done.stderr.splitlines())
    assert first["message"].startswith("POST /teams/")
    assert (first["logger"], first["level"]) == ("cstar", "INFO")
    assert first["trace_id"] == second["trace_id"]
    assert int(first["trace_id"], 16) != 0 == int(third["trace_id"], 16)


def test_no_span_contains_the_key(box: Sandbox, client: Cstar, spans: InMemorySpanExporter) -> None:
    box.faults.add("drop")
    client.customers.list(box.team_id, search="jane")
    documents = [span.to_json() for span in spans.get_finished_spans()]
    assert len(documents) == 2
    assert all("search=jane" in span and box.api_key not in span for span in documents)


def test_a_log_line_is_one_json_object_with_the_extra_fields() -> None:
    record = logging.makeLogRecord({"name": "cstar", "msg": "two\nlines: %d", "args": (2,), "attempt": 3})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    document = json.loads(line)
    assert (document["message"], document["attempt"], document["logger"]) == ("two\nlines: 2", 3, "cstar")
    assert not {"args", "msg", "pathname"} & document.keys()


def test_only_retries_are_counted(box: Sandbox, sleeps: list[float]) -> None:
    counter, logger = RetryCounter(), logging.getLogger("cstar")
    level = logger.level
    logger.addHandler(counter)
    logger.setLevel(logging.DEBUG)
    try:
        logger.info("the rate limit of %d requests is used up; waiting %.2f s", 1000, 7)
        box.faults.add("status", status=503, times=2)
        with Cstar() as client:  # created after `sleeps` replaced the sleep
            raw = client.customers.with_raw_response.list(box.team_id)
    finally:
        logger.removeHandler(counter)
        logger.setLevel(level)
    assert counter.retries == raw.attempts - 1 == 2
