"""Jobs that land in pieces: `commit_every` beside an incremental read must not part the rows of one key."""

from __future__ import annotations

from runner.loader.declarations import LoadedJob, Reading
from runner.specs import ReadSpec, WriteSpec


def check_pieces(job: LoadedJob, reading: Reading) -> None:
    """Refuse `commit_every` where rows of one source key may come in two pieces.

    Were the run to end between the two, the key would stand in the target, and no later run would read the rest.
    """
    reads = [step for step in job.spec.steps if isinstance(step, ReadSpec) and step.incremental]
    for number, step in enumerate(job.spec.steps):
        if isinstance(step, WriteSpec) and step.commit_every:
            for read in reads:
                _check(job, reading, number, read)


def _check(job: LoadedJob, reading: Reading, number: int, read: ReadSpec) -> None:
    table, spec = reading.table(read.ref), read.incremental
    if table is None or spec is None or (table.key and set(table.key) <= set(spec.source_key)):
        return
    key = ", ".join(table.key) or "none"
    reading.report.add(
        job.document,
        ("steps", number, "commit_every"),
        f"rows of one {', '.join(spec.source_key)} may come in two pieces, and if a run ends between them no later one"
        f" reads the rest: the key of {read.ref} is {key}",
        expected="no commit_every, or a source_key that holds the key of the table",
    )
