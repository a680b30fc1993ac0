"""From the errors of psycopg and ADBC to those of `runner.errors`, by SQLSTATE (PostgreSQL, appendix A).

Messages are those of the server, in its language: nothing is told from their words.
"""

from __future__ import annotations

import re

import adbc_driver_manager
import psycopg
import pyarrow as pa

from runner.errors import (
    AuthenticationFailed,
    DiskFull,
    ObjectNotFound,
    PermissionDenied,
    ResourceExhausted,
    RunPipelineError,
    WarehouseError,
    WarehouseTimeLimit,
    WarehouseUnavailable,
    WriteConflict,
)
from runner.ports import Statement
from runner.redaction import without_passwords

ENGINE = "postgres"
DRIVER_ERRORS = (psycopg.Error, adbc_driver_manager.Error, OSError, pa.ArrowException)
"""What the drivers raise. What ADBC has no words for, within a stream, is an `OSError` or Arrow exception."""

CANCELLED = "57014"
NOT_AS_DECLARED = "the table is not as declared; run-pipeline plan shows the differences"
POOLED = "a pooler between here and the server must pool sessions, not transactions"
BOUNDED = "the transaction took longer than the transaction_timeout that a statement in it has set"
NOT_CONVERTED = "a value of the table does not convert to its declared type"
_STATEMENT_LENGTH = 500
_LINE = re.compile(r"^[^\W\d]+ (\d+): ", re.MULTILINE)
"""`LINE 2: …`, in the language of the server."""
_CLASSES: tuple[tuple[tuple[str, ...], type[WarehouseError], str], ...] = (
    (("40001", "40P01", "23505", "55P03"), WriteConflict, ""),
    (("53100",), DiskFull, ""),
    (
        ("53300",),
        WarehouseUnavailable,
        "the server has no connection left; lower max_connections in [warehouse]",
    ),
    (("53",), ResourceExhausted, ""),
    (("57P01", "57P02", "57P03", "57P05", "25P03", "58030", "08"), WarehouseUnavailable, ""),
    (("25P04",), WarehouseTimeLimit, BOUNDED),
    (("28",), AuthenticationFailed, ""),
    (("42501",), PermissionDenied, "GRANT it to the role that [warehouse] connects as"),
    (("3D000",), ObjectNotFound, "create the database, or name another one in [warehouse]"),
    (("42P01", "3F000"), ObjectNotFound, NOT_AS_DECLARED),
    (("42703", "42883", "42804"), WarehouseError, NOT_AS_DECLARED),
    (("26000",), WarehouseError, POOLED),
    (("22P02", "22003", "22007", "22008"), WarehouseError, NOT_CONVERTED),
)
"""SQLSTATEs, or their classes (the first two characters); the first that fits counts. 23505: two transactions inserted
the same key. 25P03: the server has ended a transaction in which nothing happened for too long. 25P04: one that took too
long, which can only be where the project's SQL sets that limit. 58030: it cannot read or write its files. 26000: a
statement was prepared on another connection of the server's.
"""


def translate(error: BaseException, statement: str = "", *, state: str = "") -> RunPipelineError:
    """Return the error of ours that says what `error` of a driver means. `statement` is shown, cut, without values;
    `state` is the SQLSTATE of an error that has none itself.
    """
    message, state, head = message_of(error), state or sqlstate(error), statement[:_STATEMENT_LENGTH]
    for states, kind, hint in _CLASSES:
        if state and (state in states or state[:2] in states):
            return kind(ENGINE, message, statement=head, hint=hint)
    if is_lost(error):
        return WarehouseUnavailable(ENGINE, message, statement=head)
    return WarehouseError(ENGINE, message, statement=head)


def sqlstate(error: BaseException) -> str:
    """Return the five characters of an error's SQLSTATE; "" for one that has none (a lost connection above all)."""
    return str(getattr(error, "sqlstate", None) or "")


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection is gone, or never was: an error that the server did not put into words."""
    state = sqlstate(error)
    if state:
        return state.startswith("08") or state in ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
    if isinstance(error, adbc_driver_manager.Error):
        return isinstance(error, adbc_driver_manager.OperationalError)
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError)


def locate(error: RunPipelineError, statement: Statement, step_id: str = "") -> None:
    """Note in an error of a statement of the project which step, file and line it is about."""
    if not isinstance(error, WarehouseError):
        return
    error.step_id = step_id
    if statement.file:
        cause = error.__cause__ or error.__context__
        error.place = f"{statement.file}:{statement.line + _line_of(cause) - 1}"
        if error.hint in (NOT_AS_DECLARED, NOT_CONVERTED):
            error.hint = ""


def _line_of(error: BaseException | None) -> int:
    """Return the line (from 1) of the statement that an error is about; 1 where the server does not tell."""
    found = _LINE.search(str(error))
    return int(found[1]) if found else 1


def message_of(error: BaseException) -> str:
    """Return what the server said, without statement and position; passwords are masked."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        text = error.diag.message_primary
        if error.diag.message_detail:
            text += f"; {error.diag.message_detail}"
        if isinstance(error, psycopg.DataError) and error.diag.context:  # of a COPY it names column and value
            text += f"; {error.diag.context}"
    elif details := dict(getattr(error, "details", None) or ()):
        text = _detail(details, "PG_DIAG_MESSAGE_PRIMARY") or str(error)
        if more := _detail(details, "PG_DIAG_MESSAGE_DETAIL"):
            text += f"; {more}"
    else:
        lines = (" ".join(line.split()) for line in str(error).splitlines())
        text = "; ".join(line for line in lines if line) or type(error).__name__
    return without_passwords(text.strip())


def _detail(details: dict[str, bytes], name: str) -> str:
    found = details.get(name) or details.get(name.encode(), b"")  # type: ignore[call-overload]
    return str(found.decode("utf-8", "replace"))
