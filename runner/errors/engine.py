"""What the engine itself says: configuration, locks, limits, records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class RunPipelineError(Exception):
    """Root of the tree. `category` and `retryable` are facts of the class. `retry_after`: seconds that whoever refused
    asked us to wait before the next try; None where nothing was said.
    """

    category: ClassVar[str] = "bug"
    retryable: ClassVar[bool] = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a configuration: where, what, and what was expected.

    `line` and `column` count from 1; 0 means that the file as a whole is meant.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""
    expected: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}:{self.column}"
        text = f"{place}: " if place else ""
        text += f"{self.path}: {self.message}" if self.path else self.message
        if self.expected:
            text += f"; expected {self.expected}"
        if self.hint:
            text += f" ({self.hint})"
        return text


class ConfigurationError(RunPipelineError):
    """Configuration that cannot be run. Carries every problem that was found, in file order."""

    category = "config"

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("a ConfigurationError needs at least one problem")
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class UsageError(RunPipelineError):
    """A name, option or argument that does not exist or does not fit."""

    category = "config"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class HeldByAnother(RunPipelineError):
    """A lock that another runner holds. `resource` is what is locked, `holder` who has it (as far as is known)."""

    category = "locked"

    def __init__(self, resource: str, holder: str = "another process") -> None:
        super().__init__(resource, holder)
        self.resource = resource
        self.holder = holder

    def __str__(self) -> str:
        return f"{self.resource} is held by {self.holder}"


class TimeLimitExceeded(RunPipelineError):
    """Work that was stopped at its limit. `subject`: query, step, job or run; `limit` in seconds."""

    category = "timeout"

    def __init__(self, subject: str, limit: float) -> None:
        super().__init__(subject, limit)
        self.subject = subject
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.subject} stopped at its time limit of {self.limit:g} s"


class TableMismatch(RunPipelineError):
    """A table of the warehouse is not what its declaration says. `repair` is the statement that would mend it."""

    category = "config"

    def __init__(self, table: str, difference: str, repair: str) -> None:
        super().__init__(table, difference, repair)
        self.table = table
        self.difference = difference
        self.repair = repair

    def __str__(self) -> str:
        return f"table {self.table}: {self.difference}; to mend it: {self.repair}"


class RunNotFound(RunPipelineError):
    """No run of the store answers to this id, prefix or word."""

    category = "not_found"

    def __init__(self, reference: str, *, hint: str = "") -> None:
        super().__init__(reference, hint)
        self.reference = reference
        self.hint = hint

    def __str__(self) -> str:
        return f"no run {self.reference!r} in the run store" + (f" ({self.hint})" if self.hint else "")


class DamagedRecord(RunPipelineError):
    """A file of the run store that cannot be read back. The file is left as it is."""

    category = "damaged"

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file = file
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class UncleanCancel(RunPipelineError):
    """A thread that did not stop within its grace period (seconds) after cancellation and still runs."""

    category = "cancelled"

    def __init__(self, subject: str, grace: float) -> None:
        super().__init__(subject, grace)
        self.subject = subject
        self.grace = grace

    def __str__(self) -> str:
        return f"{self.subject} was still running {self.grace:g} s after it was cancelled"


class RunFailed(RunPipelineError):
    """A run that did not succeed, raised on demand. `run` is the `PipelineRun`."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self.run = run

    def __str__(self) -> str:
        failures = [f"{job.job_id}: {job.errors[0].message}" for job in self.run.jobs if job.errors]
        return f"run {self.run.pipeline_run_id} of {self.run.pipeline_id}: {self.run.status}" + (
            "; " + "; ".join(failures) if failures else ""
        )
