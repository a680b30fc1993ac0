"""Events and outcomes as sentences; the same ones for a run that is under way and for its log."""

from __future__ import annotations

from collections.abc import Sequence

from runner.cli.amounts import money
from runner.cli.wording import count, duration, fine_duration, short_id, size
from runner.events import (
    Event,
    JobFinished,
    JobPerformance,
    JobRetrying,
    JobStarted,
    Landed,
    Noticed,
    PipelineFinished,
    RunFinished,
    RunStarted,
    StagePerformance,
    StepFinished,
    StepProgress,
)
from runner.records import (
    ErrorInfo,
    PipelineRun,
    RunRecord,
    Status,
    StepRegression,
    StepTiming,
    WarningInfo,
)


def sentence(event: Event) -> str:
    """Return what an event says, without the name of its job."""
    match event:
        case RunStarted():
            workers = f", at most {count(event.max_workers, 'worker')}" if event.max_workers else ""
            jobs = count(len(event.jobs), "job")
            retry = f", a retry of {short_id(event.retry_of)}" if event.retry_of else ""
            return f"run {short_id(event.run_id)} {event.name}: started, {jobs}{workers}{retry}"
        case JobStarted():
            waited = f" after {duration(event.queue_ms)} of waiting" if event.queue_ms >= 100 else ""
            return f"started{waited}"
        case StepProgress():
            return f"{event.step_id}: {count(event.rows, 'row')} so far"
        case StepFinished():
            return step_outcome(event.timing)
        case JobRetrying():
            again = f"attempt {event.attempt} failed, next one in {duration(event.delay_ms)}"
            return f"{again}: {error_text(event.error)}"
        case Landed():
            rows = ", ".join(f"{count(number)} into {table}" for table, number in event.rows.items())
            return f"landed {rows or 'no rows'}"
        case JobFinished():
            return job_outcome(event.record) + _reasons(event.record)
        case Noticed():
            step = f"step {event.step_id}: " if event.step_id else ""
            return f"{step}{event.message} [{event.code}]"
        case JobPerformance():
            parts = {"queries": event.query_ms, "transforms": event.transform_ms, "writes": event.write_ms}
            return f"time: {', '.join(f'{part} {duration(spent)}' for part, spent in parts.items())}"
        case StagePerformance():
            jobs = f"{count(event.job_count, 'job')} in {duration(event.duration_ms)}"
            return f"stage {event.group}: {jobs}{_gain(event)}"
        case PipelineFinished():
            jobs = count(event.job_count, "job")
            return (
                f"{jobs} in {duration(event.duration_ms)}, {rows_text(event.rows_read, event.rows_written)}"
            )
        case RunFinished():
            outcome = f"{event.status} in {duration(event.duration_ms)}{_texts(event.errors)}"
            return f"run {short_id(event.run_id)}: {outcome}"
        case _:
            return event.event_type


def _gain(event: StagePerformance) -> str:
    """What running jobs at once gained, where it could. Of different lengths they can gain more than equal ones."""
    if event.speedup_potential <= 1:
        return ", one after the other" if event.job_count > 1 else ""
    actual, equal = f"{event.actual_speedup:.1f}", f"{event.speedup_potential:.3g}"
    return f", {actual} times as fast as one after the other (jobs of equal length: {equal})"


def _reasons(record: RunRecord) -> str:
    """Why a job failed; that of one which was skipped stands in its outcome."""
    return "" if record.status is Status.SKIPPED else _texts(record.errors)


def _texts(errors: Sequence[ErrorInfo]) -> str:
    return "".join(f"; {error_text(error)}" for error in errors)


def job_outcome(record: RunRecord) -> str:
    """Return how a job went: `success in 0.8 s, 60 rows read, 429 written`."""
    if record.status is Status.SKIPPED:
        return f"skipped ({record.errors[0].message})" if record.errors else "skipped"
    rows = rows_text(record.rows_read, record.rows_written)
    text = f"{record.status} in {duration(record.duration_ms)}, {rows}"
    if record.rows_quarantined:
        text += f", {count(record.rows_quarantined)} quarantined"
    return text


def step_outcome(timing: StepTiming) -> str:
    """Return how a step went: `score: success in 0.3 s, 60 rows in, 429 out`."""
    if timing.status is Status.SKIPPED:
        return f"{timing.step_id}: skipped"
    text = f"{timing.step_id}: {timing.status} in {duration(timing.duration_ms)}"
    if timing.rows_read is not None:
        text += f", {count(timing.rows_read, 'row')} read"
    elif timing.rows_written is not None:
        text += f", {count(timing.rows_written, 'row')} written"
    else:
        text += f", {count(timing.rows_in, 'row')} in, {count(timing.rows_out)} out"
    return text


def rows_text(read: int, written: int) -> str:
    """Return `60 rows read, 429 written`."""
    return f"{count(read, 'row')} read, {count(written)} written"


def error_text(error: ErrorInfo) -> str:
    """Return `step score: function: jobs.x:f raised …`, the step only where there is one."""
    step = f"step {error.step_id}: " if error.step_id else ""
    return f"{step}{error.category}: {error.message}"


def warning_text(warning: WarningInfo) -> str:
    """Return `step fit: lab.out: not_null n: … [check.failed]`, the step only where there is one."""
    step = f"step {warning.step_id}: " if warning.step_id else ""
    return f"{step}{warning.message} [{warning.code}]"


def slower_text(regressions: Sequence[StepRegression]) -> str:
    """Return `form_obs.score 1.5 times (1.8 s, else 1.2 s)`, of three steps at most."""
    told = [
        f"{each.job_id}.{each.step_id} {each.ratio:g} times"
        f" ({fine_duration(each.is_ms)}, else {fine_duration(each.was_ms)})"
        for each in regressions[:3]
    ]
    more = [f"{len(regressions) - 3} more"] if len(regressions) > 3 else []
    return ", ".join(told + more)


def result_line(run: PipelineRun, details: str) -> str:
    """Return the last line of a run: which one, how it went, and the command that shows more."""
    result = f"{run.status} in {duration(run.duration_ms)}, {rows_text(run.rows_read, run.rows_written)}"
    quarantined = sum(job.rows_quarantined for job in run.jobs)
    if quarantined:
        result += f", {count(quarantined)} quarantined"
    # What went to the quarantine has just been said.
    warned = sum(warning.code != "rows.quarantined" for job in run.jobs for warning in job.warnings)
    if warned:
        result += f", {count(warned, 'warning')}"
    if (used := run.warehouse) and "bytes_billed" in used:
        result += f", {size(used['bytes_billed'])} billed"
    if used and "cost" in used:
        result += f", cost {money(used['cost'])}"
    if run.regressions:
        result += f"; slower: {slower_text(run.regressions)}"
    return f"run {short_id(run.pipeline_run_id)} {run.pipeline_id}: {result}; details: {details}"
