"""`run-pipeline validate`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from runner.cli.completion import RunnableName
from runner.cli.console import GREEN, RED, Styled
from runner.cli.escaping import lines
from runner.cli.exit_codes import ExitCode
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.wording import count
from runner.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLE = """run-pipeline validate
run-pipeline validate daily -o json"""


@click.command(name="validate", cls=RunnerCommand, example=EXAMPLE)
@click.argument("name", type=RunnableName(), required=False)
@click.pass_obj
def command(invocation: Invocation, name: str | None) -> int:
    """Find everything that is wrong in the configuration.

    Checks all files, or those that a run of NAME needs: keys, types, tables, columns, functions and their
    arguments, parameters, cycles. Every problem is named with file:line:column. Exit code 2 if there is one.
    """
    problems: Sequence[Problem] = ()
    counts: dict[str, int] = {}
    try:
        if name is None:
            problems = invocation.loaded.check()
        counts = _counts(invocation, name) if not problems else {}
    except ConfigurationError as error:
        problems = error.problems
    _report(invocation, problems, counts)
    return ExitCode.USAGE if problems else ExitCode.OK


def _counts(invocation: Invocation, name: str | None) -> dict[str, int]:
    """Count what was found to be right: of a plan, or of the whole project."""
    project = invocation.loaded
    if name is not None:
        from runner.clock import utc_now

        plan = project.plan(name, as_of=utc_now())
        return {"job": len(plan.jobs), "table": len(plan.tables)}
    return {"pipeline": len(project.pipelines()), "job": len(project.jobs()), "table": len(project.tables())}


def _report(invocation: Invocation, problems: Sequence[Problem], counts: dict[str, int]) -> None:
    console = invocation.console
    if invocation.output == "json":
        result: dict[str, Any] = {
            "valid": not problems,
            "problems": [asdict(problem) for problem in problems],
        }
        console.json(result | {f"{noun}s": number for noun, number in counts.items()})
    elif invocation.output == "jsonl":
        for problem in problems:
            console.json(asdict(problem), indent=None)
    elif problems:
        for problem in problems:
            for line in lines(str(problem)):
                console.data(line)
        console.flush()
        console.say(Styled("error:", RED), f" {count(len(problems), 'problem')} in the configuration")
    else:
        console.data(
            Styled("ok:", GREEN), " " + ", ".join(count(number, noun) for noun, number in counts.items())
        )
