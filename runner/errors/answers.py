"""What others answered: warehouses, and sources outside."""

from __future__ import annotations

from typing import ClassVar

from runner.errors.engine import RunPipelineError


class WarehouseError(RunPipelineError):
    """What a warehouse answered. `statement` is the head of the SQL it was asked, without values.

    `hint` says what to do about it; without one of its own an error has that of its class. `retry_after`: seconds that
    the warehouse asked us to wait. `step_id` and `place` (`file:line`) are set where the SQL is that of a step of the
    project.
    """

    category = "query"
    usual_hint: ClassVar[str] = ""

    def __init__(
        self,
        engine: str,
        message: str,
        *,
        statement: str = "",
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(engine, message, statement, hint, retry_after)
        self.engine = engine
        self.message = message
        self.statement = statement
        self.hint = hint or self.usual_hint
        self.retry_after = retry_after
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


class WarehouseTimeLimit(WarehouseError):
    """The warehouse ended work at a time limit of its own, one that is not in our settings."""

    category = "timeout"


class WriteConflict(WarehouseError):
    """Another transaction changed the same rows first; ours was rolled back and can be sent again."""

    category = "conflict"
    retryable = True


class AuthenticationFailed(WarehouseError):
    """The warehouse does not know us, or does not let us (see `PermissionDenied`)."""

    category = "auth"
    usual_hint = "check the credentials that [warehouse] names"


class PermissionDenied(AuthenticationFailed):
    """The warehouse knows us, but does not let us."""

    usual_hint = "the account needs a right that it does not have"


class QuotaExceeded(WarehouseError):
    """A rate limit or quota of the warehouse."""

    category = "quota"
    retryable = True
    usual_hint = "fewer jobs at once ask for less: max_workers, or a queue"


class ObjectNotFound(WarehouseError):
    """A table, dataset, database or project that the statement names is not there, or not for us to see."""

    category = "not_found"
    usual_hint = "run-pipeline plan shows what is missing"


class CostLimitExceeded(WarehouseError):
    """The warehouse refused a query because it would cost more than it may. `limit` is what it may bill, `needed` what
    it would, both in bytes; None where the warehouse does not tell.
    """

    category = "cost"
    usual_hint = "narrow what the step reads, or raise the limit"

    def __init__(
        self,
        engine: str,
        *,
        limit: int | None = None,
        needed: int | None = None,
        statement: str = "",
        hint: str = "",
    ) -> None:
        bound = "its limit" if limit is None else f"its limit of {limit:,} bytes"
        would = "more bytes" if needed is None else f"{needed:,} bytes or more"
        super().__init__(
            engine,
            f"the query would bill {would}, over {bound}; it was not run",
            statement=statement,
            hint=hint,
        )
        self.limit = limit
        self.needed = needed


class ResourceExhausted(WarehouseError):
    """The warehouse ran out of memory for this statement."""

    category = "resource"


class DiskFull(WarehouseError):
    """No space left for the warehouse, its temporary files or the run store."""

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
