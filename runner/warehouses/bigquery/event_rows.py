"""Events into `ops.event_log`, each once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from runner.ddl import EVENT_LOG
from runner.landings.events import event_batch, event_rows
from runner.ports import Row, Statement
from runner.sql import BIGQUERY, Parameters
from runner.warehouses.bigquery.arrow import engine_types
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.parameters import rows_parameter

CHUNK_ROWS = 1_000
CHUNK_BYTES = 4_000_000
"""Events of one statement, at most: they travel in its request, which may have 10 MB (docs, "Quotas and limits"), and
each of the ten values of a row takes some 30 bytes besides its text.
"""


def merge(jobs: Jobs, rows: Sequence[Row]) -> int:
    """Insert those rows whose event id is not there; return how many. Blocks. `payload` may be text or an object."""
    return sum(_insert(jobs, chunk) for chunk in chunks_of(event_rows(rows)))


def _insert(jobs: Jobs, rows: list[Row]) -> int:
    """Send one chunk. An event has its time for ever, so only the partitions of these times are looked at, and the cost
    does not grow with the log (docs, "Query partitioned tables": constant bounds).
    """
    parameters = Parameters(BIGQUERY)
    batch = event_batch(rows)
    parameters.bind("incoming", rows_parameter("incoming", batch, engine_types(batch.schema)))
    times: list[datetime] = [row["timestamp"] for row in rows]
    least = parameters.bind("least", min(times), "timestamp")
    greatest = parameters.bind("greatest", max(times), "timestamp")
    log, moment, event_id = (
        BIGQUERY.qualified(EVENT_LOG.ref),
        BIGQUERY.quote("timestamp"),
        BIGQUERY.quote("event_id"),
    )
    values = ", ".join(_value(name) for name in EVENT_LOG.column_names)
    text = (
        f"INSERT INTO {log} ({BIGQUERY.columns(EVENT_LOG.column_names)}) SELECT {values} "
        f"FROM UNNEST(@incoming) AS u WHERE u.{event_id} NOT IN "
        f"(SELECT t.{event_id} FROM {log} AS t WHERE t.{moment} BETWEEN {least} AND {greatest})"
    )
    return int(jobs.query(Statement(text=text, values=parameters.values)).num_dml_affected_rows or 0)


def _value(name: str) -> str:
    column = f"u.{BIGQUERY.quote(name)}"
    return f"PARSE_JSON({column}, wide_number_mode=>'round')" if name == "payload" else column


def chunks_of(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield rows by statement. Texts count as the request has them: JSON in ASCII, where an emoji takes 12 bytes."""
    chunk: list[Row] = []
    total = 0
    for row in rows:
        size = sum(len(json.dumps(value)) for value in row.values() if isinstance(value, str))
        if chunk and (len(chunk) == CHUNK_ROWS or total + size > CHUNK_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(row)
        total += size
    if chunk:
        yield chunk
