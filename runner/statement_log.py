"""What warehouses are sent: logged at level debug, and told to who listens to the run that sends it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from runner.clock import monotonic_ns
from runner.logs import get_logger

STATEMENT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class SentStatement:
    """A statement that a warehouse was sent, just after its end: with placeholders, never with values.

    It was sent for a step of a job ("" where it was for none). `begun_ns`: when, where that is not `duration_ms` ago,
    since rows of a query are waited for only now and then. `error`: the type of what it failed with, "" for nothing;
    its text may hold values.
    """

    engine: str
    text: str
    duration_ms: float
    rows: int | None
    query_id: str
    job_id: str
    step_id: str
    begun_ns: int | None = None
    error: str = ""


Listener = Callable[[SentStatement], None]
"""Is told of a statement in the thread that sent it; must neither block nor raise."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_job: ContextVar[str] = ContextVar("job", default="")
_step: ContextVar[str] = ContextVar("step", default="")


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Tell `listener` of every statement that is sent inside, also by tasks and threads that are started there."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def sent_for_job(job_id: str) -> None:
    """Say that what this task sends from now on is for a job. Tasks have contexts of their own: nothing to undo."""
    _job.set(job_id)


@contextmanager
def sent_for_step(step_id: str) -> Iterator[None]:
    """Say that what is sent inside is for a step of the task's job."""
    token = _step.set(step_id)
    try:
        yield
    finally:
        _step.reset(token)


def is_anyone_listening(engine: str) -> bool:
    """Tell whether statements of an engine would be heard by anyone, logged or told."""
    return _listener.get() is not None or get_logger(f"warehouses.{engine}").isEnabledFor(logging.DEBUG)


class Sending:
    """Logs a statement that is sent inside, at its end, however that comes. `rows` may be set meanwhile: see
    `log_statement`.
    """

    def __init__(self, engine: str, text: str, query_id: str = "") -> None:
        self.rows: int | None = None
        self._engine = engine
        self._text = text
        self._query_id = query_id
        self._begun_ns = 0

    def __enter__(self) -> Self:
        self._begun_ns = monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        duration_ms = (monotonic_ns() - self._begun_ns) / 1e6
        log_statement(
            self._engine,
            self._text,
            duration_ms=duration_ms,
            rows=self.rows,
            query_id=self._query_id,
            error=error,
        )


def log_statement(
    engine: str,
    text: str,
    *,
    duration_ms: float,
    rows: int | None = None,
    query_id: str = "",
    begun_ns: int | None = None,
    error: BaseException | None = None,
) -> None:
    """Log a statement that was sent to a warehouse, as `runner.warehouses.ENGINE` at level debug: what `-vv` shows.

    Only the head of `text`, on one line, and never values. `rows`: how many came or were changed, where the engine
    tells; `query_id`: the engine's name for it; `begun_ns`: see `SentStatement`; `error`: what it failed with. Safe in
    any thread; costs next to nothing while nobody listens.
    """
    failed = "" if error is None else type(error).__name__
    if listener := _listener.get():
        listener(
            SentStatement(
                engine, text, duration_ms, rows, query_id, _job.get(), _step.get(), begun_ns, failed
            )
        )
    logger = get_logger(f"warehouses.{engine}")
    if not logger.isEnabledFor(logging.DEBUG):
        return
    statement = " ".join(text[: 4 * STATEMENT_LENGTH].split())
    if len(statement) > STATEMENT_LENGTH:
        statement = f"{statement[: STATEMENT_LENGTH - 1]}…"
    fields = {
        "statement": statement,
        "duration_ms": round(duration_ms, 3),
        "rows": rows,
        "query_id": query_id,
        "error": failed,
    }
    shown = [
        f"{duration_ms:.1f} ms",
        "" if rows is None else f"{rows:,} row{'s' * (rows != 1)}",
        query_id,
        failed,
    ]
    logger.debug(
        "%s (%s)",
        statement,
        ", ".join(part for part in shown if part),
        extra={name: value for name, value in fields.items() if value not in (None, "")},
    )
