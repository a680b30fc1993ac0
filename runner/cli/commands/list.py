"""`run-pipeline list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.tables import table
from runner.cli.wording import queue_text

if TYPE_CHECKING:
    from runner.loader import JobSummary, PipelineSummary

EXAMPLE = """run-pipeline list
run-pipeline list -o json"""


@click.command(name="list", cls=RunnerCommand, example=EXAMPLE)
@click.pass_obj
def command(invocation: Invocation) -> None:
    """List the pipelines and jobs of the project.

    Reads the YAML only: no function of the project is imported, no warehouse opened.
    """
    project, console = invocation.loaded, invocation.console
    pipelines, jobs = project.pipelines(), project.jobs()
    if invocation.output == "json":
        console.json(
            {"pipelines": [_pipeline(each) for each in pipelines], "jobs": [_job(each) for each in jobs]}
        )
    elif invocation.output == "jsonl":
        for entry in (*map(_pipeline, pipelines), *map(_job, jobs)):
            console.json(entry, indent=None)
    elif pipelines or jobs:
        _print(invocation, pipelines, jobs)
    else:
        console.say(f"no pipelines and no jobs in {project.root / 'configs'}")


def _print(invocation: Invocation, pipelines: list[PipelineSummary], jobs: list[JobSummary]) -> None:
    if pipelines:
        rows = [[each.pipeline_id, ", ".join(each.members), each.description] for each in pipelines]
        for line in table(("pipeline", "runs", "description"), rows):
            invocation.console.data(*line)
    if pipelines and jobs:
        invocation.console.data()
    if jobs:
        rows = [
            [
                each.job_id,
                each.folder,
                queue_text(each.queue, each.priority),
                ", ".join(each.params),
                each.description,
            ]
            for each in jobs
        ]
        for line in table(("job", "folder", "queue", "parameters", "description"), rows):
            invocation.console.data(*line)


def _pipeline(summary: PipelineSummary) -> dict[str, Any]:
    return {
        "kind": "pipeline",
        "pipeline_id": summary.pipeline_id,
        "description": summary.description,
        "members": list(summary.members),
        "file": str(summary.file),
    }


def _job(summary: JobSummary) -> dict[str, Any]:
    return {
        "kind": "job",
        "job_id": summary.job_id,
        "description": summary.description,
        "folder": summary.folder,
        "queue": summary.queue,
        "priority": summary.priority,
        "params": list(summary.params),
        "file": str(summary.file),
    }
