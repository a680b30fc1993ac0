"""A run as a tree of spans: run > job > step > statement, made from its events and its statements.

The span of a job is made when the job is over, with everything in it, from the record: its times are those of the
record, to the microsecond. A step's span reaches from the step's first activity to its last, statements included. The
steps of a job take turns, batch by batch, so the spans of steps overlap, and their lengths do not add up to the job;
what does is the step's own time, `run_pipeline.step.duration_ms`. (Of a step that lands, it holds what its staging area
took to open and close, around the span.) So with a query whose rows are taken bit by bit: its span is as long as it was
open, `run_pipeline.query.duration_ms` what was waited for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, Tracer

from runner.clock import monotonic_ns, utc_now
from runner.events import Event, JobFinished, JobRetrying, Landed, Noticed, RunFinished, RunStarted
from runner.ids import Trace, trace_of
from runner.records import ErrorInfo, RunRecord, StepTiming
from runner.statement_log import SentStatement
from runner.telemetry import conventions as words
from runner.telemetry.attributes import of_job, of_run, of_statement, of_step
from runner.telemetry.instruments import Instruments

KEPT_STATEMENTS = 200
"""Of a job so many statements become spans, the first ones; how many more there were is an attribute."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Moment(NamedTuple):
    """Something that happened in a job, kept until its span is made."""

    name: str
    at_ns: int
    attributes: dict[str, Any]
    step_id: str = ""


class _Sent(NamedTuple):
    """A statement and when it was under way, in nanoseconds since 1970."""

    statement: SentStatement
    start_ns: int
    end_ns: int


class RunTrace:
    """One run. `on_event` is for its events, on the event loop; `on_statement` for its statements, in any thread."""

    def __init__(
        self,
        tracer: Tracer,
        instruments: Instruments,
        redact: Callable[[str], str],
        name: str,
        parent: Context,
    ) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._redact = redact
        self._name = name
        attributes = {words.PIPELINE_NAME: name, words.PIPELINE_ACTION: words.ACTION}
        self._start_ns = unix_ns(utc_now())
        self._span = tracer.start_span(
            f"{words.ACTION} {name}", parent, SpanKind.SERVER, attributes, start_time=self._start_ns
        )
        self._started: RunStarted | None = None
        self._finished = False
        self._jobs: dict[str, SpanContext] = {}
        self._errors: list[ErrorInfo] = []
        self._moments: dict[str, list[_Moment]] = {}
        self._lock = threading.Lock()
        self._sent: dict[str, list[_Sent]] = {}
        self._dropped: dict[str, int] = {}
        self.trace = _trace(self._span, parent)

    def on_event(self, event: Event) -> None:
        """Take one event of the run."""
        match event:
            case RunStarted():
                self._started = event
                self._span.set_attributes(of_run(event))
            case JobRetrying():
                attributes = {"run_pipeline.attempt": event.attempt, **words.exception(event.error)}
                self._note(event.job_id, _Moment("job.retrying", unix_ns(event.timestamp), attributes))
            case Landed():
                rows = {f"run_pipeline.rows.{table}": count for table, count in event.rows.items()}
                self._note(event.job_id, _Moment("job.landed", unix_ns(event.timestamp), rows))
            case Noticed():
                attributes = {"run_pipeline.message": event.message, "run_pipeline.level": event.level}
                self._note(
                    event.job_id, _Moment(event.code, unix_ns(event.timestamp), attributes, event.step_id)
                )
            case JobFinished():
                self._job(event.record, event.timestamp)
            case RunFinished():
                self._end(event)

    def on_statement(self, statement: SentStatement) -> None:
        """Take one statement, just after its end."""
        self._instruments.statement(statement)
        end_ns, now = unix_ns(utc_now()), monotonic_ns()
        begun_ns = (
            now - int(statement.duration_ms * 1e6) if statement.begun_ns is None else statement.begun_ns
        )
        with self._lock:
            sent = self._sent.setdefault(statement.job_id, [])
            if len(sent) < KEPT_STATEMENTS:
                sent.append(_Sent(statement, max(self._start_ns, end_ns - max(0, now - begun_ns)), end_ns))
            else:
                self._dropped[statement.job_id] = self._dropped.get(statement.job_id, 0) + 1

    def close(self) -> None:
        """End the span of a run that ended without saying so: it could not even be recorded."""
        if not self._finished:
            self._span.set_attribute(words.PIPELINE_RESULT, "error")
            self._span.set_status(StatusCode.ERROR, "the run could not be recorded")
            self._span.end()

    def _note(self, job_id: str, moment: _Moment) -> None:
        if job_id:
            self._moments.setdefault(job_id, []).append(moment)
        else:
            self._span.add_event(moment.name, moment.attributes, moment.at_ns)

    def _end(self, event: RunFinished) -> None:
        self._finished = True
        started_ns = unix_ns(self._started.timestamp) if self._started else self._start_ns
        end_ns = started_ns + int(event.duration_ms * 1e6)
        for sent in self._taken("")[0]:
            self._statement(sent, self._span, self._start_ns, end_ns)
        errors = event.errors or tuple(self._errors)
        result = words.result_of_run(event.status, errors)
        self._span.set_attributes(
            words.given(
                {
                    words.PIPELINE_RESULT: result,
                    "run_pipeline.status": event.status.value,
                    "run_pipeline.peak_memory_bytes": event.peak_memory_bytes,
                }
            )
        )
        _complain(self._span, event.errors, end_ns)
        _judge(self._span, result, errors)
        self._span.end(end_ns)
        self._instruments.run(self._name, event, result, errors[0].category if errors else "")

    def _job(self, record: RunRecord, ended_at: datetime) -> None:
        self._instruments.job(self._name, record)
        moments = self._moments.pop(record.job_id, [])
        if record.started_at is None:
            reason = record.errors[0].message if record.errors else ""
            attributes = words.given({words.TASK_NAME: record.job_id, "run_pipeline.message": reason})
            self._span.add_event("job.skipped", attributes, unix_ns(ended_at))
            return
        start_ns = unix_ns(record.started_at)
        end_ns = start_ns + int(record.duration_ms * 1e6)
        statements, dropped = self._taken(record.job_id)
        span = self._child(
            record.job_id,
            self._span,
            start_ns,
            of_job(record, dropped),
            links=self._links(record),
        )
        self._jobs[record.job_id] = span.get_span_context()
        steps = {timing.step_id for timing in record.step_timings if timing.first_ms is not None}
        for timing in record.step_timings:
            if timing.first_ms is not None:
                own = [sent for sent in statements if sent.statement.step_id == timing.step_id]
                told = [moment for moment in moments if moment.step_id == timing.step_id]
                self._step(timing, record, span, (start_ns, end_ns), own, told)
        for sent in statements:
            if sent.statement.step_id not in steps:
                self._statement(sent, span, start_ns, end_ns)
        _tell(span, [moment for moment in moments if moment.step_id not in steps])
        _complain(span, record.errors, end_ns)
        self._errors.extend(record.errors)
        _judge(span, words.result_of(record.status, record.errors), record.errors)
        span.end(end_ns)

    def _step(
        self,
        timing: StepTiming,
        record: RunRecord,
        job: Span,
        job_ns: tuple[int, int],
        statements: Sequence[_Sent],
        moments: Sequence[_Moment],
    ) -> None:
        first_ns = job_ns[0] + int((timing.first_ms or 0) * 1e6)
        last_ns = job_ns[0] + int((timing.last_ms or 0) * 1e6)
        start_ns = max(job_ns[0], min([first_ns, *(sent.start_ns for sent in statements)]))
        end_ns = min(job_ns[1], max([last_ns, *(sent.end_ns for sent in statements)]))
        span = self._child(timing.step_id, job, start_ns, of_step(timing))
        for sent in statements:
            self._statement(sent, span, start_ns, end_ns)
        _tell(span, moments)
        errors = [error for error in record.errors if error.step_id == timing.step_id]
        _complain(span, errors, end_ns)
        _judge(span, words.result_of(timing.status, errors), errors)
        span.end(end_ns)

    def _statement(self, sent: _Sent, parent: Span, earliest_ns: int, latest_ns: int) -> None:
        """Make the span of a statement. Its times are of the wall clock, those of its step are not: what differs by
        microseconds is fitted in.
        """
        summary = words.summary_of(sent.statement.text)
        attributes = of_statement(sent.statement, summary, self._redact)
        end_ns = max(earliest_ns, min(sent.end_ns, latest_ns))
        start_ns = min(max(sent.start_ns, earliest_ns), end_ns)
        name = summary or str(attributes[words.DB_SYSTEM])
        span = self._child(name, parent, start_ns, attributes, kind=SpanKind.CLIENT)
        if sent.statement.error:
            span.set_status(StatusCode.ERROR)  # no text: what the warehouse says may hold values
        span.end(end_ns)

    def _child(
        self,
        name: str,
        parent: Span,
        start_ns: int,
        attributes: dict[str, Any],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
    ) -> Span:
        context = trace.set_span_in_context(parent, Context())
        return self._tracer.start_span(name, context, kind, attributes, links, start_time=start_ns)

    def _taken(self, job_id: str) -> tuple[list[_Sent], int]:
        """Return the statements of a job, and how many more there were."""
        with self._lock:
            return self._sent.pop(job_id, []), self._dropped.pop(job_id, 0)

    def _links(self, record: RunRecord) -> list[Link]:
        """Return links to the jobs that this one came after, also through the ends of stages."""
        barriers = self._started.barriers if self._started else {}
        found: dict[str, None] = {}
        seen = set()
        waiting = list(record.waits_for)
        while waiting:
            name = waiting.pop()
            if name in self._jobs:
                found[name] = None
            elif name in barriers and name not in seen:
                seen.add(name)
                waiting.extend(barriers[name])
        return [Link(self._jobs[name], {words.TASK_NAME: name}) for name in sorted(found)]


def unix_ns(moment: datetime) -> int:
    """Return an aware time as nanoseconds since 1970, exact to the microsecond."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def _trace(span: Span, parent: Context) -> Trace:
    """Return the trace of a run's span; a new one where there is no tracer that would know."""
    context = span.get_span_context()
    if not context.is_valid:
        return trace_of(None)
    before = trace.get_current_span(parent).get_span_context()
    parent_id = trace.format_span_id(before.span_id) if before.is_valid else ""
    return Trace(trace.format_trace_id(context.trace_id), parent_id)


def _tell(span: Span, moments: Sequence[_Moment]) -> None:
    for moment in moments:
        span.add_event(moment.name, moment.attributes, moment.at_ns)


def _complain(span: Span, errors: Sequence[ErrorInfo], at_ns: int) -> None:
    for error in errors:
        span.add_event("exception", words.exception(error), at_ns)


def _judge(span: Span, result: str, errors: Sequence[ErrorInfo]) -> None:
    """Give a span the status of its result."""
    if words.is_bad(result):
        span.set_status(StatusCode.ERROR, errors[0].message if errors else None)
        if errors:
            span.set_attribute(words.ERROR_TYPE, errors[0].category)
