"""`run-pipeline logs`."""

from __future__ import annotations

from collections.abc import Iterable

import click

from runner import events
from runner.cli.completion import RunnableName, RunReference
from runner.cli.console import DIM, RED, YELLOW, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.sentences import sentence
from runner.cli.wording import clock
from runner.records import Status

EXAMPLE = """run-pipeline logs
run-pipeline logs last-failed --job form_obs_intake_01
run-pipeline logs 01KH4SATJ0 -o jsonl | jq .event_type"""


@click.command(name="logs", cls=RunnerCommand, example=EXAMPLE)
@click.argument("run", type=RunReference(), default="last")
@click.option("--job", type=RunnableName(only_jobs=True), help="Only the events of this job.")
@click.pass_obj
def command(invocation: Invocation, run: str, job: str | None) -> None:
    """Print the events of a run.

    RUN is an id, the beginning of one, `last` or `last-failed`. Times are UTC. With -o json or jsonl: the
    events themselves.
    """
    store = invocation.store
    stored = store.read_events(store.resolve(run))
    found = [event for event in stored.events if job is None or getattr(event, "job_id", "") == job]
    if invocation.output == "json":
        invocation.console.json([events.to_dict(event) for event in found])
        return
    for event in found:
        if invocation.output == "jsonl":
            invocation.console.json(events.to_dict(event), indent=None)
        else:
            invocation.console.data(*log_line(event))
    if job is not None and not found:
        invocation.console.say(
            f"no events of {job!r} in this run; its jobs: {', '.join(_jobs(stored.events))}"
        )
    if stored.torn:
        invocation.console.say("the last line was cut off: the runner was killed while it wrote")


def _jobs(found: Iterable[events.Event]) -> list[str]:
    return [job_id for event in found if isinstance(event, events.RunStarted) for job_id, _ in event.jobs]


def log_line(event: events.Event) -> list[Part]:
    """Return an event as a line: UTC time, job, sentence."""
    job_id = getattr(event, "job_id", "")
    text = f"{job_id}: {sentence(event)}" if job_id else sentence(event)
    return [Styled(clock(event.timestamp), DIM), "  ", Styled(text, _style(event)) if _style(event) else text]


def _style(event: events.Event) -> str:
    if isinstance(event, events.Noticed):
        return {"warning": YELLOW, "error": RED}.get(event.level, "")
    if isinstance(event, events.JobFinished) and event.record.status is Status.FAILURE:
        return RED
    return ""
