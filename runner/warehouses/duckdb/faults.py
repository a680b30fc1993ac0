"""From DuckDB's exceptions to those of `runner.errors`, the most specific first."""

from __future__ import annotations

import re

import duckdb
import pyarrow as pa

from runner.errors import (
    DiskFull,
    HeldByAnother,
    ResourceExhausted,
    RunPipelineError,
    WarehouseError,
    WriteConflict,
)
from runner.ports import Statement

ENGINE = "duckdb"
_HELD = re.compile(
    r"Could not set lock on file.*?(?:held in (?P<program>\S+))?\s*\(PID (?P<pid>\d+)\)", re.DOTALL
)
_LINE = re.compile(r"^LINE (\d+): ", re.MULTILINE)
_STATEMENT_LENGTH = 500
NOT_AS_DECLARED = "the table is not as declared; run-pipeline plan shows the differences"
NOT_CONVERTED = "a value of the table does not convert to its declared type"
"""Hints for the engine's own statements; what is wrong with a statement of the project may be anything."""

DRIVER_ERRORS = (duckdb.Error, OSError, pa.ArrowException)
"""What DuckDB and its Arrow readers raise. An error inside a reader comes as `OSError` or an Arrow exception."""


def translate(error: BaseException, statement: str = "") -> RunPipelineError:
    """Return the error of ours that says what `error` of the driver means. `statement` is shown, cut,
    without values.
    """
    message = _message(error)
    lowered = message.lower()
    head = statement[:_STATEMENT_LENGTH]
    if held := _HELD.search(message):
        program = held["program"] or "another process"
        return HeldByAnother("the DuckDB file", f"{program} (PID {held['pid']})")
    if "no space left" in lowered or "disk quota" in lowered or "max_temp_directory_size" in lowered:
        return DiskFull(ENGINE, message, statement=head)
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or "out of memory" in lowered:
        hint = "raise memory_limit in [warehouse], or lower batch_rows"
        return ResourceExhausted(ENGINE, message, statement=head, hint=hint)
    if isinstance(error, duckdb.TransactionException) and "conflict" in lowered:
        return WriteConflict(ENGINE, message, statement=head)
    return WarehouseError(ENGINE, message, statement=head, hint=_hint(error))


def is_invalidated(error: BaseException) -> bool:
    """Tell whether the whole instance must be closed and opened again before anything else can work."""
    return isinstance(error, duckdb.FatalException) or "database has been invalidated" in str(error)


def locate(error: RunPipelineError, statement: Statement, step_id: str = "") -> None:
    """Note in an error of a statement of the project which step, file and line it is about."""
    if not isinstance(error, WarehouseError):
        return
    error.step_id = step_id
    if statement.file:
        found = _LINE.search(str(error.__cause__ or error.__context__))
        error.place = f"{statement.file}:{statement.line + (int(found[1]) if found else 1) - 1}"
        if error.hint in (NOT_AS_DECLARED, NOT_CONVERTED):
            error.hint = ""


def _message(error: BaseException) -> str:
    text = str(error).partition("\n\nLINE ")[0].strip()
    return text or type(error).__name__


def _hint(error: BaseException) -> str:
    if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        return NOT_AS_DECLARED
    if isinstance(error, duckdb.ConversionException):
        return NOT_CONVERTED
    if isinstance(error, duckdb.PermissionException):
        return "files and extensions are closed to SQL here"
    return ""
