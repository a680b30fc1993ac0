"""Loggers of the engine: the standard library's, below the name `runner`, silent until someone configures them.

Only the command line configures structlog on top of them. Inside an application the records go where the
application sends those of any other library.
"""

from __future__ import annotations

import logging

logging.getLogger("runner").addHandler(logging.NullHandler())


def get_logger(name: str) -> logging.Logger:
    """Return the logger `runner.NAME` (a name that already starts with `runner` is taken as it is)."""
    return logging.getLogger(name if name.partition(".")[0] == "runner" else f"runner.{name}")


STATEMENT_LENGTH = 200


def log_statement(
    engine: str, text: str, *, duration_ms: float, rows: int | None = None, query_id: str = ""
) -> None:
    """Log a statement that was sent to a warehouse, as `runner.warehouses.ENGINE` at level debug: what `-vv` shows.

    Only the head of `text`, on one line, and never values. `rows`: how many came or were changed, where the engine
    tells; `query_id`: the engine's name for it. Safe in any thread; costs next to nothing while nobody listens.
    """
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
    }
    shown = [f"{duration_ms:.1f} ms", "" if rows is None else f"{rows:,} row{'s' * (rows != 1)}", query_id]
    logger.debug(
        "%s (%s)",
        statement,
        ", ".join(part for part in shown if part),
        extra={name: value for name, value in fields.items() if value not in (None, "")},
    )
