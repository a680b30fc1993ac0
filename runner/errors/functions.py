"""What became of a project's functions, of the processes they run in, and of their rows."""

from __future__ import annotations

import os
from collections.abc import Sequence

from runner.errors.engine import RunPipelineError

_OTHERS_CODE = (
    os.path.dirname(os.__file__) + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    "<",
)
"""Where code lives that is not the project's: the standard library, the engine, generated code."""


def text_of(error: BaseException) -> str:
    """Return the text of an error of the project's; where its class fails to make one, say that."""
    try:
        return str(error)
    except Exception as problem:  # noqa: BLE001 - whatever its __str__ does
        return f"(its text cannot be made: {type(problem).__name__})"


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
        text = f"{self.function} raised {type(self.error).__name__}: {text_of(self.error)}"
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
