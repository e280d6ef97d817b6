"""See what a call really did when it had to be tried again: its spans, its log lines as JSON, its number of retries.

    python examples/tracing.py     # against a sandbox that fails twice

cstar knows nothing of OpenTelemetry. It sends through httpx, so `opentelemetry-instrumentation-httpx` shows one CLIENT
span for each attempt, with its status or its exception, and the wait before a retry as the gap between two spans. A
span of your own around the call holds them together. A span's URL tells what you search for. The key is in no span,
unless you have the instrumentation capture the header `authorization`.

The hourly limit counts attempts: the number of CLIENT spans, not of calls, is what a key has used.
"""

from __future__ import annotations

import json
import logging
import os

from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cstar import APIError, Cstar
from cstar.sandbox import Sandbox

ALWAYS_THERE = vars(logging.makeLogRecord({})).keys()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: the message, whatever `extra` brought, and the trace that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in ALWAYS_THERE}
        line = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "trace_id": trace.format_trace_id(trace.get_current_span().get_span_context().trace_id),
            **extra,
        }
        return json.dumps(line, default=str)


class RetryCounter(logging.Handler):
    """Counts the retries of all calls of the program: what to give to a metric."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.retries = 0

    def emit(self, record: logging.LogRecord) -> None:
        # Documented: docs/observability.md lists what the records carry.
        self.retries += hasattr(record, "retry_wait")


def describe(span: ReadableSpan) -> str:
    attributes = span.attributes or {}
    outcome = attributes.get("http.response.status_code") or attributes.get("error.type") or dict(attributes)
    seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    return f"{'  ' if span.parent else ''}{span.kind.name} {span.name}: {outcome}, {seconds:.3f} s"


def main() -> None:
    exporter = InMemorySpanExporter()  # in a program of yours, the exporter of where your traces go
    provider = TracerProvider()
    # The names of attributes that OpenTelemetry has settled on, rather than those before; say so before instrument().
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    tracer = provider.get_tracer("examples.tracing")

    json_lines, counter = logging.StreamHandler(), RetryCounter()
    json_lines.setFormatter(JsonFormatter())
    logger = logging.getLogger("cstar")
    logger.setLevel(logging.INFO)
    logger.addHandler(json_lines)
    logger.addHandler(counter)
    logging.getLogger("cstar.sandbox").setLevel(logging.WARNING)  # which tells of every request otherwise

    with Sandbox() as box, Cstar(api_key=box.api_key, base_url=box.url) as client:
        box.faults.add("drop", when="after", method="POST")
        box.faults.add("status", status=503, method="POST")
        with tracer.start_as_current_span("create Ada") as span:
            raw = client.customers.with_raw_response.create(box.team_id, name="Ada", email="ada@example.com")
            span.set_attribute("retries", raw.attempts - 1)
        for finished in sorted(exporter.get_finished_spans(), key=lambda each: each.start_time or 0):
            print(describe(finished))
        print(f"This call: {raw.attempts - 1} retries. All calls: {counter.retries}.")

        box.faults.add("status", status=503, times=2)
        try:
            client.with_options(max_retries=1).customers.list(box.team_id)
        except APIError as error:  # and where a call fails, the error knows
            print(f"This call: {error.attempts - 1} retries. All calls: {counter.retries}.")


if __name__ == "__main__":
    main()
