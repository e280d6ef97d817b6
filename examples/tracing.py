"""Trace a call that is retried: its spans, its log records as JSON, and its number of retries.

    python examples/tracing.py     # against a sandbox that fails twice

cstar does not depend on OpenTelemetry. It sends its requests with httpx, so `opentelemetry-instrumentation-httpx`
records a CLIENT span for each attempt, with the status or the exception. The delay before a retry is the gap between
two spans. A span around the call groups them. The URL of a span contains the search terms. No span contains the API
key, unless the instrumentation captures the header `authorization`.

The rate limit counts attempts, so the number of CLIENT spans is the number of requests that the key has used.
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

STANDARD_FIELDS = vars(logging.makeLogRecord({})).keys()


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON: the message, the fields of `extra`, and the id of the trace."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD_FIELDS}
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
    """Counts the retries of all calls, for a metric."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.retries = 0

    def emit(self, record: logging.LogRecord) -> None:
        # docs/observability.md lists the fields of the records.
        self.retries += hasattr(record, "retry_wait")


def describe(span: ReadableSpan) -> str:
    attributes = span.attributes or {}
    outcome = attributes.get("http.response.status_code") or attributes.get("error.type") or dict(attributes)
    seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    return f"{'  ' if span.parent else ''}{span.kind.name} {span.name}: {outcome}, {seconds:.3f} s"


def main() -> None:
    exporter = InMemorySpanExporter()  # in production, the exporter of your tracing backend
    provider = TracerProvider()
    # Use OpenTelemetry's stable attribute names. The variable must be set before instrument().
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
    logging.getLogger("cstar.sandbox").setLevel(logging.WARNING)  # it logs each request at INFO

    with Sandbox() as box, Cstar(api_key=box.api_key, base_url=box.url) as client:
        box.faults.add("drop", when="after", method="POST")
        box.faults.add("status", status=503, method="POST")
        with tracer.start_as_current_span("create Ada") as span:
            raw = client.customers.with_raw_response.create(box.team_id, name="Ada", email="ada@example.com")
            span.set_attribute("retries", raw.attempts - 1)
        for finished in sorted(exporter.get_finished_spans(), key=lambda each: each.start_time or 0):
            print(describe(finished))
        print(f"Retries of this call: {raw.attempts - 1}, of all calls: {counter.retries}.")

        box.faults.add("status", status=503, times=2)
        try:
            client.with_options(max_retries=1).customers.list(box.team_id)
        except APIError as error:  # a failed call has its number of attempts in the error
            print(f"Retries of this call: {error.attempts - 1}, of all calls: {counter.retries}.")


if __name__ == "__main__":
    main()
