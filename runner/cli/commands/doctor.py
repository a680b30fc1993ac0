"""`run-pipeline doctor JOB`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from runner.cli.commands.run import parameters
from runner.cli.completion import RunnableName, Setting
from runner.cli.console import BOLD, GREEN, RED, YELLOW, Part, Styled
from runner.cli.exit_codes import ExitCode
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.wording import count

if TYPE_CHECKING:
    from runner.operations.doctor import ReadReport
    from runner.pipeline_runner import PipelineRunner
    from runner.ports import KeyProfile

EXAMPLE = "run-pipeline doctor form_obs_intake_01"
_STYLES = {"ok": GREEN, "warning": YELLOW, "error": RED}


@click.command(name="doctor", cls=RunnerCommand, example=EXAMPLE)
@click.argument("job", type=RunnableName(only_jobs=True))
@click.option(
    "--set", "settings", type=Setting("job"), metavar="NAME=VALUE", multiple=True, help="As for run."
)
@click.pass_obj
def command(invocation: Invocation, job: str, settings: tuple[str, ...]) -> int:
    """Explain a job's incremental reads and name what would mend them.

    Measures the keys of both sides in the warehouse: how many match, are NULL or repeated, and whether
    type or format differ. Changes nothing. Exit code 1 if something should be mended.
    """
    given = parameters(settings)
    from runner.cli.loop import with_runner
    from runner.operations.doctor import examine

    async def work(pipelines: PipelineRunner) -> list[ReadReport]:
        return await examine(pipelines, pipelines.plan(job, params=given))

    reports = with_runner(invocation, work)
    if invocation.output == "json":
        invocation.console.json([asdict(report) for report in reports])
    elif invocation.output == "jsonl":
        for report in reports:
            invocation.console.json(asdict(report), indent=None)
    elif reports:
        for line in report_lines(reports):
            invocation.console.data(*line)
    else:
        invocation.console.say(f"{job} has no incremental read or extract: there are no keys to measure")
    return ExitCode.OK if all(report.is_healthy for report in reports) else ExitCode.FAILED


def report_lines(reports: list[ReadReport]) -> Iterator[list[Part]]:
    """Yield what was found, step by step: figures, verdicts, and the repair as YAML."""
    for number, report in enumerate(reports):
        if number:
            yield [""]
        against = f" against {report.target}" if report.target else ""
        yield [Styled(report.step_id, BOLD), f": {report.source}{against}"]
        if report.profile is not None:
            yield from _figures(report.profile)
        for finding in report.findings:
            yield ["  ", Styled(f"{finding.level}:", _STYLES.get(finding.level, "")), f" {finding.text}"]
            if finding.repair:
                yield ["    incremental:"]
            for line in finding.repair.splitlines():
                yield [Styled(f"      {line}", BOLD)]


def _figures(profile: KeyProfile) -> Iterator[list[Part]]:
    sides = (
        ("source", profile.source_rows, profile.source_distinct, profile.source_nulls, profile.source_type),
        ("target", profile.target_rows, profile.target_distinct, profile.target_nulls, profile.target_type),
    )
    for name, rows, distinct, nulls, kind in sides:
        figures = f"{count(rows, 'row')}, {count(distinct, 'key')}, {count(nulls)} without a key"
        yield [f"  {name}: {figures}, {kind}"]
    yield [f"  {count(profile.matched, 'key')} in both"]
