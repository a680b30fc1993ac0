"""What others answered: warehouses, and sources outside."""

from __future__ import annotations

from runner.errors.engine import RunPipelineError


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
