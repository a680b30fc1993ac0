"""`run-pipeline list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runner.cli.completion import RunnableName
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.tables import table
from runner.cli.wording import queue_text

if TYPE_CHECKING:
    from runner.loader import JobSummary, PipelineSummary

EXAMPLE = """run-pipeline list
run-pipeline list --graph daily
run-pipeline list --graph daily --format mermaid
run-pipeline list -o json"""


@click.command(name="list", cls=RunnerCommand, example=EXAMPLE)
@click.option(
    "--graph",
    metavar="[NAME]",
    type=RunnableName(),
    is_flag=False,
    flag_value="",
    help="Show the graph of a pipeline (of all that no other holds): stages, jobs, order, workers.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tree", "mermaid", "dot"]),
    default="tree",
    show_default=True,
    help="Form of the graph.",
)
@click.pass_obj
def command(invocation: Invocation, graph: str | None, form: str) -> None:
    """List the pipelines and jobs of the project.

    Reads the YAML only: no function of the project is imported, no warehouse opened. In a graph, the number
    behind a job is its level: jobs of one level wait for nothing but lower levels.
    """
    if graph is not None:
        _print_graphs(invocation, graph, form)
        return
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


def _print_graphs(invocation: Invocation, name: str, form: str) -> None:
    from runner.cli import graph_text

    project, console = invocation.loaded, invocation.console
    graphs = [project.graph(each) for each in ([name] if name else _roots(project.pipelines()))]
    if invocation.output != "table":
        rows = [graph_text.as_data(graph) for graph in graphs]
        for row in [rows[0] if name else rows] if invocation.output == "json" else rows:
            console.json(row, indent=2 if invocation.output == "json" else None)
        return
    for number, graph in enumerate(graphs):
        if number:
            console.data()
        if form == "tree":
            for line in graph_text.tree(graph):
                console.data(*line)
        else:
            for text in graph_text.mermaid(graph) if form == "mermaid" else graph_text.dot(graph):
                console.data(text)


def _roots(pipelines: list[PipelineSummary]) -> list[str]:
    held = {member for each in pipelines for member in each.members}
    return [each.pipeline_id for each in pipelines if each.pipeline_id not in held]


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
