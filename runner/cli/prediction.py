"""`stats NAME --what-if max_workers=N`: the option, and what is printed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from runner.cli.console import BOLD, GREEN, RED, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.no_runs import no_runs_of
from runner.cli.tables import table
from runner.cli.wording import count, duration

if TYPE_CHECKING:
    from runner.operations.what_if import Prediction, WhatIf
    from runner.specs.plan import RunPlan


class Workers(click.ParamType[int]):
    """`max_workers=N`."""

    name = "change"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        if isinstance(value, int):
            return value
        name, _, number = value.partition("=")
        if name != "max_workers" or not number.isdecimal() or not 1 <= int(number) <= 1000:
            self.fail(
                f"{value!r} cannot be predicted; expected max_workers=1 to max_workers=1000", param, ctx
            )
        return int(number)


def print_prediction(
    invocation: Invocation, name: str, workers: tuple[int, ...], *, since: datetime | None, runs: int | None
) -> None:
    """Predict from the recorded runs and print it. Reads the YAML as it is now; opens no warehouse."""
    from runner.clock import utc_now
    from runner.operations.what_if import what_if

    newest_first = islice(invocation.store.scan(name=name, since=since, jobs=True), runs)
    newest = next(newest_first, None)
    if newest is None:
        raise no_runs_of(invocation.store, name, since=since)
    given = dict(newest.params)

    def plan_with(max_workers: int | None) -> RunPlan:
        return invocation.loaded.plan(name, given_params=given, as_of=utc_now(), max_workers=max_workers)

    recorded = chain((newest,), newest_first)
    found = what_if(name, recorded, plan_with, invocation.settings.queues, workers)
    if invocation.output != "table":
        invocation.console.json(found.to_dict(), indent=2 if invocation.output == "json" else None)
        return
    for line in lines_of(found):
        invocation.console.data(*line)


def lines_of(found: WhatIf) -> Iterator[list[Part]]:
    """Yield a prediction as lines: a column for each number of workers, a line for each stage, and what limits."""
    yield [
        Styled(found.name, BOLD),
        f"  predicted from the medians of {count(found.runs, 'run')}; the order and limits are those of now",
    ]
    yield [""]
    columns = (found.declared, *found.asked, found.unlimited)
    head = (
        "",
        "recorded",
        "declared",
        *(count(each.max_workers or 0, "worker") for each in found.asked),
        "unlimited",
    )
    rows: list[list[Part]] = [
        [Styled("run", BOLD), duration(found.recorded_ms), *(duration(each.duration_ms) for each in columns)]
    ]
    for group in found.declared.stages_ms:
        recorded = found.recorded_stages_ms.get(group)
        rows.append(
            [
                group,
                "-" if recorded is None else duration(recorded),
                *(duration(each.stages_ms.get(group, 0)) for each in columns),
            ]
        )
    yield from table(head, rows, right=head[1:])
    yield [""]
    for each in found.asked:
        yield _sentence(found, each)
    yield [f"without a limit {duration(found.unlimited.duration_ms)}: {_chain(found.unlimited)}"]
    if found.unknown:
        yield ["never recorded, so taken to last no time: " + ", ".join(found.unknown)]


def _sentence(found: WhatIf, prediction: Prediction) -> list[Part]:
    change = prediction.duration_ms / found.declared.duration_ms - 1 if found.declared.duration_ms else 0.0
    text = f"{100 * change:+.0f} %" if abs(change) >= 0.005 else "no change"
    style = GREEN if change < 0 else RED
    behind = prediction.path.behind_slots_ms
    return [
        f"with {count(prediction.max_workers or 0, 'worker')} {duration(prediction.duration_ms)}, ",
        Styled(text, style) if abs(change) >= 0.005 else text,
        f"; for {duration(behind)} of it the next job only waits for a slot" if behind else "",
    ]


def _chain(prediction: Prediction) -> str:
    jobs = prediction.path.jobs
    shown = jobs if len(jobs) <= 6 else (*jobs[:3], f"{len(jobs) - 5} more", *jobs[-2:])
    return ", then ".join(shown)
