"""What a landing leaves in the engine's own tables: refused rows, and the marker that proves it."""

from __future__ import annotations

from datetime import datetime

from runner.ddl import LANDINGS, QUARANTINE
from runner.landings.relations import bound
from runner.ports import LandingSpec, Statement
from runner.sql import Dialect, Parameters


def quarantine_statement(rows: str, dialect: Dialect) -> Statement:
    """Return the statement that adds the relation `rows` (quoted), which has the columns of `ops.quarantine`, to it."""
    columns = dialect.columns(QUARANTINE.column_names)
    text = f"INSERT INTO {dialect.qualified(QUARANTINE.ref)} ({columns}) SELECT {columns} FROM {rows}"
    return Statement(text=text)


def marker_statement(
    landing: LandingSpec, batch: int, rows: int | str, landed_at: datetime, parameters: Parameters
) -> Statement:
    """Return the statement that marks the landing as done; it must be the last before the commit. `rows`: how many were
    written, or an expression of the script that knows.
    """
    values = (
        parameters.bind("job_run_id", landing.job_run_id),
        parameters.bind("batch", batch, "int64"),
        parameters.bind("job_id", landing.job_id),
        parameters.bind("run_id", landing.run_id),
        rows if isinstance(rows, str) else parameters.bind("rows", rows, "int64"),
        parameters.bind("landed_at", landed_at, "timestamp"),
    )
    dialect = parameters.dialect
    columns = dialect.columns(LANDINGS.column_names)
    table = dialect.qualified(LANDINGS.ref)
    return bound(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(values)})", parameters)


def marker_query(job_run_id: str, batch: int, parameters: Parameters) -> Statement:
    """Return the query that has a row if the landing is in the warehouse."""
    dialect = parameters.dialect
    run, number = parameters.bind("job_run_id", job_run_id), parameters.bind("batch", batch, "int64")
    return bound(
        f"SELECT 1 FROM {dialect.qualified(LANDINGS.ref)} "
        f"WHERE {dialect.quote('job_run_id')} = {run} AND {dialect.quote('batch')} = {number} LIMIT 1",
        parameters,
    )
