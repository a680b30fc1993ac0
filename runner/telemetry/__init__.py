"""Traces and metrics of runs, by OpenTelemetry: an observer of events, as the display of the command line is one.

Nothing of this is imported unless someone asked for it: settings that name an address (extra `otel`), or an application
that hands its own providers in. No global provider is set, and none is looked for.

    conventions   names of attributes, by the semantic conventions
    spans         a run as a tree of spans: run > job > step > statement
    attributes    what they say
    instruments   durations, waits, rows
    sending       providers of our own, which send by OTLP and never hold anything up
    quietly       what the library says about failed exports, as one warning
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from runner.telemetry.conventions import SCHEMA_URL
from runner.telemetry.instruments import Instruments
from runner.telemetry.spans import RunTrace

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from runner.redaction import Redactor

__all__ = ["RunTrace", "Telemetry"]

SCOPE = "run-pipeline"


class Telemetry:
    """Where the runs of a runner are told of: a provider of tracers, one of meters, either of them or both."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None,
        meter_provider: metrics.MeterProvider | None,
        *,
        version: str,
        redact: Redactor,
    ) -> None:
        """`redact` is applied to the texts of statements; events come without secrets."""
        tracers = tracer_provider or trace.NoOpTracerProvider()
        meters = meter_provider or metrics.NoOpMeterProvider()
        self._tracer = tracers.get_tracer(SCOPE, version, schema_url=SCHEMA_URL)
        self._instruments = Instruments(meters.get_meter(SCOPE, version, schema_url=SCHEMA_URL))
        self._redact = redact

    def begin(self, name: str, traceparent: str | None) -> RunTrace:
        """Begin the span of a run of the pipeline or job `name`, just before the run itself.

        It belongs to the trace of `traceparent` (W3C), else to that of the span that is current here, else to its own.
        """
        return RunTrace(self._tracer, self._instruments, self._redact, name, _parent(traceparent))


def _parent(traceparent: str | None) -> Context:
    current = otel_context.get_current()
    if not traceparent:
        return current
    given = TraceContextTextMapPropagator().extract({"traceparent": traceparent.strip()}, context=current)
    return given if trace.get_current_span(given).get_span_context().is_valid else current
