"""A collector on loopback: takes what is sent by OTLP over HTTP, and reads the protobuf as the specification has it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it came. Ids are hexadecimal, `parent_id` "" for none; times are nanoseconds since 1970."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: tuple[tuple[str, dict[str, Any]], ...]
    links: tuple[str, ...]
    failed: bool
    message: str


@dataclass(frozen=True, slots=True)
class Point:
    """A measurement as it came: a sum's value, or a histogram's count and sum."""

    metric: str
    unit: str
    attributes: dict[str, Any]
    value: float
    count: int = 0


@dataclass
class Collector:
    """What came. `answer` is the status of its answers."""

    answer: int = 200
    url: str = ""
    spans: list[Span] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def named(self, name: str) -> Span:
        """Return the only span of a name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def below(self, span: Span) -> list[Span]:
        """Return the children of a span, in the order of their start."""
        found = [other for other in self.spans if other.parent_id == span.span_id]
        return sorted(found, key=lambda other: (other.start_ns, other.end_ns))

    def measured(self, metric: str) -> list[Point]:
        """Return the points of a metric."""
        return [point for point in self.points if point.metric == metric]

    def take(self, path: str, body: bytes) -> None:
        """Read one request."""
        self.paths.append(path)
        if path.endswith("/v1/traces"):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(_plain(resource.resource.attributes))
                self.spans += [_span(span) for scope in resource.scope_spans for span in scope.spans]
        else:
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in measured.scope_metrics:
                    for metric in scope.metrics:
                        self.points += _points(metric)


def _span(span: SpanMessage) -> Span:
    return Span(
        name=span.name,
        kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_plain(span.attributes),
        events=tuple((event.name, _plain(event.attributes)) for event in span.events),
        links=tuple(link.span_id.hex() for link in span.links),
        failed=span.status.code == 2,
        message=span.status.message,
    )


def _points(metric: Any) -> Iterator[Point]:
    data = getattr(metric, metric.WhichOneof("data"))
    for point in data.data_points:
        attributes = _plain(point.attributes)
        if metric.WhichOneof("data") == "histogram":
            yield Point(metric.name, metric.unit, attributes, point.sum, point.count)
        else:
            yield Point(metric.name, metric.unit, attributes, getattr(point, point.WhichOneof("value")))


def _plain(attributes: Sequence[Any]) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting(answer: int = 200) -> Iterator[Collector]:
    """Open a collector's address for as long as the context lasts."""
    collector = Collector(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.take(self.path, body)
            self.send_response(collector.answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
