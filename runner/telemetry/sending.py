"""Providers of our own, which send by OTLP over HTTP from threads of their own.

A run never waits for them: spans are queued, and a queue that is full drops them. At the end of a runner what is left
is sent, within `timeout` seconds and at the first try: a collector that refuses, or does not answer, is given up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from runner.settings import TelemetrySettings
from runner.telemetry.quietly import Complaints, heard_by, keep_quiet

MAX_QUEUE = 16_384
"""Spans that wait to be sent; further ones are dropped."""


class _Try:
    """The exports of one signal. `failed_or_over` is set by the first try that fails, and by the end of the last."""

    def __init__(self, what: str, address: str, complaints: Complaints) -> None:
        self._what = what
        self._address = address
        self._complaints = complaints
        self._reason = ""
        self._lock = threading.Lock()
        self._ended = False
        self.failed_or_over = threading.Event()

    def hear(self, reason: str) -> None:
        """Take why a try failed: the first reason is it, what comes after tells of its being given up."""
        if not self.failed_or_over.is_set():
            self._reason = reason
        self.failed_or_over.set()

    def claim_end(self) -> bool:
        """Take the end of the exporter upon oneself; False where somebody has: it would complain about a second one."""
        with self._lock:
            is_first, self._ended = not self._ended, True
        return is_first

    def failed(self) -> None:
        """Warn that an export was given up."""
        self._complaints.warn(self._what, self._address, self._reason)


class _Spans(OTLPSpanExporter):
    def __init__(self, attempt: _Try, **options: Any) -> None:
        super().__init__(**options)
        self._attempt = attempt

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with heard_by(self._attempt.hear):
            result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self._attempt.failed_or_over.clear()
        else:
            self._attempt.failed()
        return result

    def shutdown(self) -> None:
        """End, once: who gives up does so before the provider does."""
        if self._attempt.claim_end():
            super().shutdown()  # type: ignore[no-untyped-call]


class _Metrics(OTLPMetricExporter):
    def __init__(self, attempt: _Try, **options: Any) -> None:
        super().__init__(**options)
        self._attempt = attempt

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        with heard_by(self._attempt.hear):
            result = super().export(metrics_data, timeout_millis=timeout_millis, **kwargs)
        if result is MetricExportResult.SUCCESS:
            self._attempt.failed_or_over.clear()
        else:
            self._attempt.failed()
        return result

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """End, once."""
        if self._attempt.claim_end():
            super().shutdown(timeout_millis, **kwargs)


class Sending:
    """The providers that these settings ask for (None: not sent), and their end. Making it blocks: it imports."""

    def __init__(self, settings: TelemetrySettings, version: str) -> None:
        keep_quiet()
        self.tracer_provider: TracerProvider | None = None
        self.meter_provider: MeterProvider | None = None
        self._timeout = settings.timeout
        self._complaints = Complaints()
        self._ends: list[tuple[_Try, Callable[[], object], Callable[[], object]]] = []
        self._resource = _resource(version)
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        if address := settings.address("traces"):
            self._trace(endpoint=address, headers=headers or None, timeout=settings.timeout)
        if address := settings.address("metrics"):
            self._measure(endpoint=address, headers=headers or None, timeout=settings.timeout)

    def _trace(self, **options: Any) -> None:
        attempt = _Try("traces", options["endpoint"], self._complaints)
        exporter = _Spans(attempt, **options)
        self.tracer_provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=MAX_QUEUE))
        self._ends.append((attempt, self.tracer_provider.shutdown, exporter.shutdown))

    def _measure(self, **options: Any) -> None:
        attempt = _Try("metrics", options["endpoint"], self._complaints)
        exporter = _Metrics(attempt, **options)
        reader = PeriodicExportingMetricReader(exporter)
        self.meter_provider = MeterProvider([reader], resource=self._resource, shutdown_on_exit=False)
        self._ends.append((attempt, self.meter_provider.shutdown, exporter.shutdown))

    def close(self) -> None:
        """Send what is left, at most for `timeout` seconds. Blocks; raises nothing."""
        deadline = time.monotonic() + self._timeout
        threads = []
        for attempt, end, _ in self._ends:
            attempt.failed_or_over.clear()
            threads.append(threading.Thread(target=_ended, args=(attempt, end), daemon=True))
        for thread in threads:
            thread.start()
        for (attempt, _, give_up), thread in zip(self._ends, threads, strict=True):
            attempt.failed_or_over.wait(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                thread.join(0.01)
            if thread.is_alive():
                give_up()
                attempt.failed()


def _ended(attempt: _Try, end: Callable[[], object]) -> None:
    try:
        end()
    finally:
        attempt.failed_or_over.set()


def _resource(version: str) -> Resource:
    """Return what OpenTelemetry's variables say of this process; it is called run-pipeline if they say nothing."""
    found = Resource.create({SERVICE_VERSION: version})
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "run-pipeline"}))
    return found
