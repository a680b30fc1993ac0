"""The steps that the run itself found slower than in the runs before, beyond their noise."""

from __future__ import annotations

from runner.cli.page import words
from runner.cli.page.markup import Html, join
from runner.cli.page.tables import section, table
from runner.cli.page.view import RunView
from runner.cli.wording import count, fine_duration

HEAD = ("step", "of job", "took", "usual", "times", "of runs")


def slower_section(view: RunView) -> Html:
    """Return what got slower, the most first; nothing where nothing did."""
    found = view.run.regressions
    if not found:
        return join()
    rows = [
        [
            words.name(each.step_id), words.name(each.job_id), fine_duration(each.is_ms), fine_duration(each.was_ms),
            f"{each.ratio:.1f}", count(each.runs),
        ]
        for each in found
    ]  # fmt: skip
    said = (
        f"{count(len(found), 'step')} took longer than in the runs before, beyond the noise of their times."
    )
    return section(
        "Slower than usual", said, table(HEAD, rows, label="Slower steps", numbers=HEAD[2:]), id_="slower"
    )
