"""`run-pipeline logs`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from runner import events
from runner.cli.completion import RunnableName, RunReference, StepName
from runner.cli.console import DIM, RED, YELLOW, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.sentences import sentence
from runner.cli.wording import clock
from runner.records import Status

SHOWN = 20
"""So many names are told where one is not there."""
EXAMPLE = """run-pipeline logs
run-pipeline logs -f
run-pipeline logs last-failed --job form_obs_intake_01 --grep 'error|retry'
run-pipeline logs 01KH4SATJ0 -o jsonl | jq .event_type"""


class Pattern(click.ParamType[re.Pattern[str]]):
    """A regular expression of Python."""

    name = "regex"

    def convert(
        self, value: str | re.Pattern[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> re.Pattern[str]:
        """Return it compiled."""
        try:
            return re.compile(value)
        except re.error as error:
            self.fail(f"{value!r} is no regular expression: {error}", param, ctx)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are asked for."""

    job: str | None
    step: str | None
    pattern: re.Pattern[str] | None

    def takes(self, event: events.Event) -> bool:
        """Whether an event is of this job and step, and its line (without the time) has what is searched for."""
        return (
            (self.job is None or getattr(event, "job_id", "") == self.job)
            and (self.step is None or self.step in steps_of(event))
            and (self.pattern is None or self.pattern.search(line_text(event)) is not None)
        )


@click.command(name="logs", cls=RunnerCommand, example=EXAMPLE)
@click.argument("run", type=RunReference(), default="last")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
@click.option("--job", type=RunnableName(only_jobs=True), help="Only the events of this job.")
@click.option("--step", type=StepName(), metavar="STEP_ID", help="Only the events of this step.")
@click.option(
    "--grep", type=Pattern(), metavar="REGEX", help="Only events whose line has this; (?i) ignores case."
)
@click.pass_obj
def command(
    invocation: Invocation,
    run: str,
    follow: bool,
    job: str | None,
    step: str | None,
    grep: re.Pattern[str] | None,
) -> None:
    """Print the events of a run, also as they happen.

    RUN is an id, the beginning of one, `last` (the default), `last-failed`, or the name of a pipeline or job, whose
    last run is meant. Times are UTC. With -o json or jsonl: the events themselves. With -f those that are there, and
    then each as it happens, until the run is over.
    """
    if follow and invocation.output == "json":
        raise click.UsageError("an array has an end only when the run has: with -f take -o jsonl")
    run_id = invocation.store.resolve(run)
    wanted = Filter(job, step, grep)
    if follow:
        _follow(invocation, run_id, wanted)
    else:
        _print_all(invocation, run_id, wanted)


def _print_all(invocation: Invocation, run_id: str, wanted: Filter) -> None:
    stored = invocation.store.read_events(run_id)
    found = [event for event in stored.events if wanted.takes(event)]
    if invocation.output == "json":
        invocation.console.json([events.to_dict(event) for event in found])
        return
    for event in found:
        _print(invocation, event)
    if not found and stored.events:
        _nothing_of(invocation, wanted, stored.events)
    if stored.torn:
        invocation.console.say("the last line was cut off: the runner was killed while it wrote")


def _nothing_of(invocation: Invocation, wanted: Filter, all_of_them: Sequence[events.Event]) -> None:
    """Say that no event was like that; of a job or step that the run does not have, what it has."""
    jobs = _jobs(all_of_them)
    steps = dict.fromkeys(
        step
        for event in all_of_them
        if Filter(wanted.job, None, None).takes(event)
        for step in steps_of(event)
    )
    if wanted.job is not None and wanted.job not in jobs:
        invocation.console.say(f"no events of {wanted.job!r} in this run; its jobs: {_some(jobs)}")
    elif wanted.step is not None and wanted.step not in steps:
        invocation.console.say(
            f"no events of step {wanted.step!r} in this run; there are {_some(list(steps))}"
        )
    else:
        invocation.console.say("no such events in this run")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _follow(invocation: Invocation, run_id: str, wanted: Filter) -> None:
    from runner.cli.loop import on_loop

    async def follow() -> bool:
        ended = False
        async for event in invocation.store.follow(run_id):
            ended = ended or isinstance(event, events.RunFinished)
            if wanted.takes(event):
                _print(invocation, event)
                invocation.console.flush()
        return ended

    if not on_loop(invocation, follow):
        invocation.console.say("the run ended without recording its end: its runner was killed")


def _print(invocation: Invocation, event: events.Event) -> None:
    if invocation.output == "jsonl":
        invocation.console.json(events.to_dict(event), indent=None)
    else:
        invocation.console.data(*log_line(event))


def steps_of(event: events.Event) -> set[str]:
    """Return the ids of the steps that an event is about: also those that made an attempt or a job fail."""
    match event:
        case events.StepFinished():
            found = {event.timing.step_id}
        case events.JobRetrying():
            found = {event.error.step_id}
        case events.JobFinished():
            found = {error.step_id for error in event.record.errors}
        case _:
            found = {str(getattr(event, "step_id", ""))}
    return found - {""}


def _jobs(found: Iterable[events.Event]) -> list[str]:
    return [job_id for event in found if isinstance(event, events.RunStarted) for job_id, _ in event.jobs]


def line_text(event: events.Event) -> str:
    """Return what the line of an event says: its job, if it has one, and a sentence."""
    job_id = getattr(event, "job_id", "")
    return f"{job_id}: {sentence(event)}" if job_id else sentence(event)


def log_line(event: events.Event) -> list[Part]:
    """Return an event as a line: UTC time, job, sentence."""
    text = line_text(event)
    return [Styled(clock(event.timestamp), DIM), "  ", Styled(text, _style(event)) if _style(event) else text]


def _style(event: events.Event) -> str:
    if isinstance(event, events.Noticed):
        return {"warning": YELLOW, "error": RED}.get(event.level, "")
    if isinstance(event, events.JobFinished) and event.record.status is Status.FAILURE:
        return RED
    return ""
