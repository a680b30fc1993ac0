"""Compares a run that is about to end with those before it in the run store."""

from __future__ import annotations

from collections.abc import Sequence

from runner.analysis.regression import LATEST, RunTimes, regressions
from runner.events import REGRESSION, Noticed
from runner.logs import get_logger
from runner.records import PipelineRun, StepRegression
from runner.run_store import FileRunStore

logger = get_logger(__name__)


def slower_steps(run: PipelineRun, store: FileRunStore) -> Sequence[Noticed]:
    """Return a notice for each step that got slower. Blocks: it reads files. Never raises: a run has ended as it has,
    whatever is wrong with those before it.
    """
    try:
        times = RunTimes.from_dict(run.to_dict()).long_enough()
        before = store.step_times(run.pipeline_id, before=run.pipeline_run_id, of=times.steps)
        return [_notice(run, regression) for regression in regressions(times, before)]
    except Exception:
        logger.exception("run %s is not compared with those before it", run.pipeline_run_id)
        return []


def _notice(run: PipelineRun, slower: StepRegression) -> Noticed:
    job_run_id = next(job.run_id for job in run.jobs if job.job_id == slower.job_id)
    return Noticed(
        run_id=run.pipeline_run_id,
        level="warning",
        code=REGRESSION,
        message=(
            f"{slower.ratio:g} times as slow as usual: {slower.is_ms:,.0f} ms instead of {slower.was_ms:,.0f} ms,"
            f" the median of {slower.runs} runs; the {LATEST - 1} runs before this one were slow, too"
        ),
        job_run_id=job_run_id,
        job_id=slower.job_id,
        step_id=slower.step_id,
        details=slower.to_dict(),
    )
