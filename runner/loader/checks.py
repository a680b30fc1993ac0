"""References of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.loader.declarations import LoadedJob, Reading
from runner.specs import ReadSpec, WriteSpec

if TYPE_CHECKING:
    from runner.settings import Settings


def check_job(job: LoadedJob, reading: Reading, settings: Settings) -> None:
    """Check one job."""
    del settings
    for number, step in enumerate(job.spec.steps):
        refs = [step.ref] if isinstance(step, ReadSpec | WriteSpec) else []
        if incremental := getattr(step, "incremental", None):
            refs.append(incremental.target)
        for ref in refs:
            if reading.table(ref) is None:
                reading.report.add(job.document, ("steps", number, "table"), f"no table {ref}")
