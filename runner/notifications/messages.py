"""What a message says: JSON for programs, one text for people. Nothing secret is in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from runner.clock import format_utc
from runner.errors import RunPipelineError
from runner.events import Event, JobFinished, JobRetrying, Noticed, RunFinished, RunStarted, StepFinished
from runner.jsonl import dumps
from runner.notifications.transitions import FAILED, Owed
from runner.records import ErrorInfo, PipelineRun

if TYPE_CHECKING:
    from runner.ports import RunStore
    from runner.redaction import Redactor

NOTIFICATION_SCHEMA = "run-pipeline/notification.v1"
MAX_REASONS = 5
MAX_LOG_LINES = 20
MAX_TEXT = 500
_WORDS = {"failure": "failed", "recovery": "succeeded again", "late": "is late", "test": "sends a test"}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who tells: the host's name, the project's folder, and the program that shows more."""

    host: str
    project: str
    program: str = "run-pipeline"


def message_of(
    owed: Owed, store: RunStore, sender: Sender, now: datetime, redact: Redactor
) -> dict[str, Any]:
    """Return a message as JSON-ready data. A run whose record cannot be read is told with what there is."""
    run, lines, host = _whole(owed.run, store)
    reason = list(_reason(run)) if owed.event == "failure" and run else []
    data: dict[str, Any] = {
        "schema": NOTIFICATION_SCHEMA,
        "id": owed.id,
        "event": owed.event,
        "pipeline": owed.name,
        "run_id": run.pipeline_run_id if run else None,
        "status": run.status.value if run else None,
        "started_at": format_utc(run.started_at) if run else None,
        "completed_at": format_utc(run.completed_at) if run and run.completed_at else None,
        "duration_ms": run.duration_ms if run else None,
        "reason": reason,
        "log": lines if owed.event == "failure" else [],
        "host": host or sender.host,
        "project": sender.project,
        "link": _link(owed, sender),
        "made_at": format_utc(now),
    }
    data["text"] = _text(data)
    told: dict[str, Any] = redact.data(data)
    return told


def slack(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as Slack's incoming webhooks (and those that imitate them) take it."""
    lines = [message["text"], *message["log"][-MAX_REASONS:], f"`{message['link']}`"]
    return {"text": "\n".join(lines)}


def encoded(message: dict[str, Any], form: str) -> bytes:
    """Return the body that is sent: `form` json or slack."""
    return dumps(slack(message) if form == "slack" else message).encode("ascii")


def _whole(run: PipelineRun | None, store: RunStore) -> tuple[PipelineRun | None, list[str], str]:
    """Return the run with its jobs, its last events as lines, and the host that it ran on."""
    if run is None:
        return None, [], ""
    try:
        whole = store.load(run.pipeline_run_id)
        events = store.events(run.pipeline_run_id)
    except (RunPipelineError, OSError) as error:
        return run, [_cut(f"the events of the run cannot be read: {error}")], ""
    host = next((event.host for event in events if isinstance(event, RunStarted)), "")
    lines = [line for line in map(_line, events) if line]
    return whole, lines[-MAX_LOG_LINES:], host


def _reason(run: PipelineRun) -> Iterator[dict[str, Any]]:
    """Yield the first causes: not those of what was skipped or cancelled for them."""
    found: list[tuple[str, ErrorInfo]] = [("", error) for error in run.errors]
    for job in run.jobs:
        if job.status in FAILED:
            found += [(job.job_id, error) for error in job.errors if error.category != "cancelled"]
    for job_id, error in found[:MAX_REASONS]:
        yield {
            "category": error.category,
            "job_id": job_id,
            "step_id": error.step_id,
            "message": _cut(error.message),
        }


def _line(event: Event) -> str:
    """Return an event as a line for people; "" for those that say little."""
    match event:
        case RunStarted():
            said = f"run {event.name} started"
        case JobFinished():
            job = event.record
            said = f"{job.job_id} {job.status}, {job.rows_read} read, {job.rows_written} written"
            said = ": ".join([said, *(error.message for error in job.errors[:2])])
        case JobRetrying():
            said = f"{event.job_id} tries again: {event.error.message}"
        case StepFinished():
            said = f"{event.job_id}.{event.timing.step_id} {event.timing.status}"
        case Noticed():
            said = f"{event.level}: {event.message}"
        case RunFinished():
            said = ": ".join([f"run {event.status}", *(error.message for error in event.errors[:2])])
        case _:
            return ""
    return f"{format_utc(event.timestamp)[11:23]}Z {_cut(' '.join(said.split()))}"


def _link(owed: Owed, sender: Sender) -> str:
    import shlex

    words = ["show", owed.run.pipeline_run_id] if owed.run else ["runs", "--name", owed.name]
    return f"{sender.program} {shlex.join([*words, '--project', sender.project])}"


def _text(data: dict[str, Any]) -> str:
    text = f"{data['pipeline']} {_WORDS[data['event']]} on {data['host']}"
    reasons: Sequence[dict[str, Any]] = data["reason"]
    if reasons:
        first = reasons[0]
        text += f": {first['job_id'] or 'run'}: {first['message']}"
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
