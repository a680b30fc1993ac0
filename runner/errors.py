"""Everything the engine raises on purpose.

    RunPipelineError
    ├── ConfigurationError      one or more `Problem`s, each with file:line:column     config        exit 2
    ├── UsageError              the command line or an API call was wrong              config        exit 2
    ├── HeldByAnother           a lock is held by another runner                       locked        exit 75
    ├── TimeLimitExceeded       a query, step, job or run took longer than it may      timeout
    ├── FunctionFailed          a project's function raised                            function
    ├── WorkerFailed            a worker process could not start, or ended too early       resource
    ├── BadRows                 rows that cannot be written, more than allowed         data
    ├── CheckFailed             rows or a table are not as a check expects             data
    ├── WarehouseError          what a warehouse said                                  query
    │   ├── WarehouseUnavailable                                                       unavailable   retry
    │   ├── WriteConflict                                                              conflict      retry
    │   ├── AuthenticationFailed                                                       auth
    │   ├── QuotaExceeded                                                              quota         retry
    │   ├── ResourceExhausted   out of memory                                          resource
    │   └── DiskFull                                                                   disk_full
    ├── SourceError             what a source outside answered (mail server, HTTP API) source
    │   ├── SourceUnavailable                                                          unavailable   retry
    │   ├── SourceDenied        it does not know us, or does not let us                auth
    │   └── SourceBusy          a rate limit that did not end in time                  quota         retry
    ├── TableMismatch           a table is not what its declaration says               config
    ├── RunNotFound, DamagedRecord                                                     not_found, damaged
    ├── UncleanCancel           a function kept running past its grace period          cancelled
    └── RunFailed               raised by `PipelineRun.raise_for_status`               as its first failure

`category` is a stable word: it stands in records, events and exit codes. `retryable` says whether the same
call may succeed a moment later; what is unknown is terminal. Errors carry fields and make their text from them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from errno import EDQUOT, EFBIG, ENOSPC
from typing import Any, ClassVar

_OTHERS_CODE = (os.path.dirname(os.__file__) + os.sep, os.path.dirname(__file__) + os.sep, "<")
"""Where code lives that is not the project's: the standard library, the engine, generated code."""


class RunPipelineError(Exception):
    """Root of the tree. `category` and `retryable` are facts of the class."""

    category: ClassVar[str] = "bug"
    retryable: ClassVar[bool] = False


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


class FunctionFailed(RunPipelineError):
    """A project's function raised an exception that is not about one row. The original is `__cause__`."""

    category = "function"

    def __init__(self, function: str, error: BaseException, *, location: str = "") -> None:
        super().__init__(function, error)
        self.function = function
        self.error = error
        self._location = location  # of an error that comes from another process, without its traceback

    @property
    def location(self) -> str:
        """Where the project's code was when it raised, as `file:line, in name`; "" when it is not known.

        The deepest frame that belongs neither to the standard library nor to a package nor to the engine.
        """
        place = self._location
        trace = None if place else self.error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if not code.co_filename.startswith(_OTHERS_CODE) and "-packages" not in code.co_filename:
                place = f"{code.co_filename}:{trace.tb_lineno}, in {code.co_name}"
            trace = trace.tb_next
        return place

    def __str__(self) -> str:
        text = f"{self.function} raised {type(self.error).__name__}: {self.error}"
        return f"{text} ({self.location})" if self.location else text


class WorkerFailed(RunPipelineError):
    """A worker process that could not be started, or ended in the middle of a batch: `reason` says how."""

    category = "resource"

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(function, reason)
        self.function = function
        self.reason = reason

    def __str__(self) -> str:
        return f"the worker process of {self.function} {self.reason}"


class BadRows(RunPipelineError):
    """Rows that cannot land, more of them than the step allows.

    `samples` are sentences that name key, column and reason of the first few; `count` how many there were
    when the step gave up, `limit` how many it allows.
    """

    category = "data"

    def __init__(self, step_id: str, count: int, limit: int, samples: Sequence[str]) -> None:
        super().__init__(step_id, count, limit, samples)
        self.step_id = step_id
        self.count = count
        self.limit = limit
        self.samples = tuple(samples)

    def __str__(self) -> str:
        allowed = f"more than max_bad_rows {self.limit}" if self.limit else "none is allowed"
        noun = "row" if self.count == 1 else "rows"
        return f"{self.count} bad {noun} ({allowed}): " + "; ".join(self.samples)


class CheckFailed(RunPipelineError):
    """Expectations of severity error that do not hold. `subject` is the table, or the rows on their way; `findings`
    are sentences, one for each expectation that failed: how many rows are against it, and some of them.
    """

    category = "data"

    def __init__(self, step_id: str, subject: str, findings: Sequence[str]) -> None:
        super().__init__(step_id, subject, findings)
        self.step_id = step_id
        self.subject = subject
        self.findings = tuple(findings)

    def __str__(self) -> str:
        failed = "1 expectation" if len(self.findings) == 1 else f"{len(self.findings)} expectations"
        return "\n".join([f"check {self.step_id} of {self.subject}: {failed} failed", *self.findings])


class WarehouseError(RunPipelineError):
    """What a warehouse answered. `statement` is the head of the SQL it was asked, without values.

    `step_id` and `place` (`file:line`) are set where the SQL is that of a step of the project.
    """

    category = "query"

    def __init__(self, engine: str, message: str, *, statement: str = "", hint: str = "") -> None:
        super().__init__(engine, message, statement, hint)
        self.engine = engine
        self.message = message
        self.statement = statement
        self.hint = hint
        self.step_id = ""
        self.place = ""

    def __str__(self) -> str:
        text = f"{self.place}: " if self.place else ""
        text += f"{self.engine}: {self.message}"
        if self.hint:
            text += f" ({self.hint})"
        return text


class WarehouseUnavailable(WarehouseError):
    """The warehouse could not be reached or went away; the same statement may succeed later."""

    category = "unavailable"
    retryable = True


class WriteConflict(WarehouseError):
    """Another transaction changed the same rows first; ours was rolled back and can be sent again."""

    category = "conflict"
    retryable = True


class AuthenticationFailed(WarehouseError):
    """The warehouse does not know us, or does not let us."""

    category = "auth"


class QuotaExceeded(WarehouseError):
    """A rate limit or quota of the warehouse."""

    category = "quota"
    retryable = True


class ResourceExhausted(WarehouseError):
    """The warehouse ran out of memory for this statement."""

    category = "resource"


class DiskFull(WarehouseError):
    """No space left for the warehouse file, its temporary files or the run store."""

    category = "disk_full"


class SourceError(RunPipelineError):
    """What a source outside the warehouse answered, or sent that cannot be used. `source` names it, for people."""

    category = "source"

    def __init__(self, source: str, message: str, *, hint: str = "") -> None:
        super().__init__(source, message, hint)
        self.source = source
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.source}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class SourceUnavailable(SourceError):
    """The source could not be reached or went away; the same request may succeed later."""

    category = "unavailable"
    retryable = True


class SourceDenied(SourceError):
    """The source does not know us, or does not let us."""

    category = "auth"


class SourceBusy(SourceError):
    """The source limits how often it may be asked, and that did not end in the time that was given."""

    category = "quota"
    retryable = True


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


def category_of(error: BaseException) -> str:
    """Return the stable category word of any exception: its own, or `disk_full`, or `bug` for the unknown."""
    if isinstance(error, RunPipelineError):
        return error.category
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT, EFBIG):  # EFBIG: `ulimit -f`
        return "disk_full"
    return "bug"


def is_retryable(error: BaseException) -> bool:
    """Tell whether trying again may help. A function's own `TimeoutError` or `ConnectionError` counts as
    transient (REQUIREMENTS: the built-in TimeoutError is mapped to a transient error); the unknown does not.
    """
    if isinstance(error, FunctionFailed):
        return isinstance(error.error, TimeoutError | ConnectionError)
    return isinstance(error, RunPipelineError) and error.retryable


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return "did you mean 'x'?" with the name that is nearest to `word`, or "" when none is near."""
    from difflib import get_close_matches

    by_fold = {name.casefold(): name for name in names}
    near = get_close_matches(word[:100].casefold(), by_fold, n=1, cutoff=0.6)
    return f"did you mean {by_fold[near[0]]!r}?" if near else ""
