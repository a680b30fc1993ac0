"""`run-pipeline report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.completion import RunReference
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.page.reading import LAST

if TYPE_CHECKING:
    from runner.cli.page.markup import Html

EXAMPLE = """run-pipeline report
run-pipeline report daily -o daily.html
run-pipeline report last-failed -o failed.html
run-pipeline report 01KH4SATJ0 --runs 100 -o - > run.html"""


@click.command(name="report", cls=RunnerCommand, example=EXAMPLE)
@click.argument("run", type=RunReference(), default="last")
@click.option("-o", "--output", "file", type=click.Path(dir_okay=False, allow_dash=True), default="report.html",
              show_default=True, help="The file to write; - is stdout. One that is there is replaced.")  # fmt: skip
@click.option("--runs", type=click.IntRange(min=1, max=1000), default=LAST, show_default=True, metavar="N",
              help="Tell of the last N runs of the same name.")  # fmt: skip
@click.pass_obj
def command(invocation: Invocation, run: str, file: str, runs: int) -> None:
    """Write one HTML file that tells of a run and those before it.

    RUN is an id, the beginning of one, `last` (the default), `last-failed`, or the name of a pipeline or job, whose
    last run is meant. The file needs nothing but itself: no network, no scripts. It has the last runs side by side, the
    timeline with waits and the critical path, each step over time, failures by cause, and what the warehouse billed.
    Reads the run store only, also while the run goes on.
    """
    if file in ("table", "json", "jsonl"):  # the -o of other commands
        raise click.BadParameter(
            f"report writes a page: -o FILE.html; ./{file} would be a file of that name", param_hint="-o"
        )
    from runner.cli.page.markup import redacting
    from runner.cli.page.reading import Reading
    from runner.cli.page.report import report
    from runner.cli.page.view import view_of
    from runner.clock import utc_now

    reading = Reading(invocation.store)
    found = reading.run(invocation.store.resolve(run))
    before = reading.before(found, last=runs)
    now = utc_now()
    with redacting(invocation.console.redact):
        page = report(view_of(found, before, now=now), made_at=now)
    _write(invocation, file, page)


def _write(invocation: Invocation, file: str, page: Html) -> None:
    content = page.encode("utf-8")
    if file == "-":
        import sys

        sys.stdout.buffer.write(content)
        return
    from pathlib import Path

    from runner.cli.wording import size

    path = Path(file)
    try:
        path.write_bytes(content)
    except OSError as error:  # that of a full disk names no file
        raise OSError(error.errno, error.strerror, file) from error
    invocation.console.say(f"wrote {path} ({size(len(content))})")
