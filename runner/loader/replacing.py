"""Jobs that replace a table: what comes in must be all of its rows, and one landing must bring them."""

from __future__ import annotations

from collections.abc import Sequence

from runner.loader.declarations import LoadedJob
from runner.loader.documents import Report
from runner.specs import ExtractSpec, ReadSpec, Step, WriteSpec


def check_replacing(job: LoadedJob, report: Report) -> None:
    """Refuse what would leave a replaced table with a part of its rows: a source that brings only what is new, a
    second write to the table, a landing in pieces.
    """
    writes = [(number, step) for number, step in enumerate(job.spec.steps) if isinstance(step, WriteSpec)]
    replacing = {step.ref: step for _, step in reversed(writes) if step.mode == "replace"}
    for number, step in writes:
        first = replacing.get(step.ref)
        if first is not None and first is not step:
            message = f"step {first.step_id!r} replaces {first.ref}, so no other write to it would count"
            expected = "one write to a table that is replaced"
            report.add(job.document, ("steps", number, "table"), message, expected=expected)
        if step.mode == "replace":
            _check_source(job, number, step, report)
        if step.commit_every and replacing:
            one = next(iter(replacing.values()))
            message = f"step {one.step_id!r} replaces {one.ref}, so the job lands once"
            report.add(
                job.document,
                ("steps", number, "commit_every"),
                message,
                expected="no commit_every in this job",
            )


def _check_source(job: LoadedJob, number: int, write: WriteSpec, report: Report) -> None:
    source = _origin(job.spec.steps, number)
    if isinstance(source, ReadSpec | ExtractSpec) and source.incremental:
        how = "incremental"
    elif isinstance(source, ExtractSpec) and source.cursor:
        how = "cursor"
    else:
        return
    report.add(
        job.document,
        ("steps", number, "mode"),
        f"{write.ref} would keep nothing but new rows: step {source.step_id!r} brings in no others",
        expected=f"mode upsert, or no {how} in step {source.step_id!r}",
    )


def _origin(steps: Sequence[Step], number: int) -> Step | None:
    """Return the step that brings in the rows of a step; None where the flow is broken, which is told elsewhere."""
    places = {step.step_id: place for place, step in reversed(list(enumerate(steps)))}
    while steps[number].consumes:
        above = steps[number].input
        source = places.get(above, -1) if above else number - 1
        if not 0 <= source < number:
            return None
        number = source
    return steps[number]
