"""What a run's record means for the exit code."""

from __future__ import annotations

from collections.abc import Iterator

from runner.cli.exit_codes import ExitCode
from runner.records import ErrorInfo, PipelineRun, Status

_UNKNOWN = frozenset({"unavailable", "auth", "quota"})


def exit_code_of_run(
    run: PipelineRun, *, signal_code: ExitCode | None = None, fail_on_regression: bool = False
) -> ExitCode:
    """Return the exit code of a finished run. `signal_code` is that of a signal that came meanwhile, if
    one did; with `fail_on_regression` a run that succeeded with a step that got slower has a code of its own.

    A run that a signal found already done is what it is; the signal then cancelled nothing.
    """
    if run.status is Status.SUCCESS:
        return ExitCode.SLOWER if fail_on_regression and run.regressions else ExitCode.OK
    if signal_code is not None and run.status is Status.CANCELLED:
        return signal_code
    if any(error.category == "timeout" for error in run.errors):
        return ExitCode.RUN_TIMEOUT
    categories = {error.category for error in failures(run)}
    if "bug" in categories:
        return ExitCode.BUG
    if categories and categories <= _UNKNOWN:
        return ExitCode.COULD_NOT_TELL
    if categories == {"locked"}:
        return ExitCode.HELD
    return ExitCode.FAILED


def failures(run: PipelineRun) -> Iterator[ErrorInfo]:
    """Yield the errors of a run and of its jobs that are causes: not those of what was skipped or
    cancelled for them.
    """
    yield from run.errors
    for job in run.jobs:
        if job.status is not Status.SKIPPED:
            yield from (error for error in job.errors if error.category != "cancelled")
