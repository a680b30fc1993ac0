"""Pieces of staged rows into staging tables: Parquet load jobs, which are free and count against no streaming buffer.

Each piece has a table of its own, made with its expiration before it is loaded. The load fails where a row is already
there (WRITE_EMPTY), so that a piece is never loaded twice; and since a load is all or nothing, the number of rows tells
what became of one whose answer was lost. Quotas: cloud.google.com/bigquery/quotas#load_jobs (1,500 a table and day, of
which a piece needs one; 15 TB a job).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from google.cloud import bigquery

from runner.clock import utc_now
from runner.errors import ObjectNotFound, RunPipelineError, WarehouseError
from runner.logs import get_logger
from runner.warehouses.bigquery.faults import ENGINE
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.pieces import Piece

_log = get_logger("warehouses.bigquery")

ONCE: Any = None
"""No retries of the client's own, which its annotations do not provide for."""

DROP_SECONDS = 5.0
"""How long one request to remove a staging table may take."""


def load(jobs: Jobs, piece: Piece) -> None:
    """Bring a piece into its staging table, unless it is there. Blocks. Raises errors of `runner.errors`."""
    if piece.loaded or (piece.tried and _is_there(jobs, piece)):
        piece.loaded = True
        return
    schema = [bigquery.SchemaField(name, engine) for name, engine in piece.types.items()]
    _make(jobs, piece, schema)
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_EMPTY,
        schema=schema,
        labels=jobs.names.labels,
    )
    service = jobs.service
    if service.query_timeout is not None:
        config.job_timeout_ms = max(1, round(service.query_timeout * 1000))

    def send(job_id: str) -> bigquery.LoadJob:
        return service.client.load_table_from_file(
            piece.file, table_name(jobs, piece), rewind=True, size=piece.size, num_retries=0, job_id=job_id,
            job_config=config, timeout=service.timeout,
        )  # fmt: skip

    piece.tried = True
    job = jobs.run(send, f"LOAD {piece.table}")
    if job.output_rows != piece.rows:
        message = f"{job.output_rows} rows of {piece.rows} were loaded into {table_name(jobs, piece)}"
        raise WarehouseError(ENGINE, message)
    piece.loaded = True


def table_name(jobs: Jobs, piece: Piece) -> str:
    """Return `project.dataset.table` of a piece's staging table."""
    service = jobs.service
    return f"{service.project}.{service.settings.staging_dataset}.{piece.table}"


def drop(jobs: Jobs, pieces: Sequence[Piece]) -> None:
    """Remove staging tables. What cannot be removed now expires. Blocks."""
    client = jobs.service.client
    for piece in pieces:
        name = table_name(jobs, piece)
        delete = partial(client.delete_table, name, not_found_ok=True, retry=ONCE, timeout=DROP_SECONDS)
        try:
            jobs.asked(delete)
        except RunPipelineError as error:
            _log.debug("staging table %s is left to expire: %s", name, error)


def _is_there(jobs: Jobs, piece: Piece) -> bool:
    """Tell whether an earlier load has brought the rows."""
    client, name = jobs.service.client, table_name(jobs, piece)
    try:
        table = jobs.asked(lambda: client.get_table(name, retry=ONCE, timeout=jobs.service.timeout))
    except ObjectNotFound:
        return False
    return bool(table.num_rows == piece.rows)


def _make(jobs: Jobs, piece: Piece, schema: list[bigquery.SchemaField]) -> None:
    """Make the empty staging table, and its dataset if it is missing."""
    service = jobs.service
    table = bigquery.Table(table_name(jobs, piece), schema=schema)
    table.expires = utc_now() + timedelta(seconds=service.settings.staging_expiration)
    create = partial(service.client.create_table, table, exists_ok=True, retry=ONCE, timeout=service.timeout)
    try:
        jobs.asked(create)
    except ObjectNotFound:
        dataset = bigquery.Dataset(f"{service.project}.{service.settings.staging_dataset}")
        dataset.location = service.location
        jobs.asked(
            partial(
                service.client.create_dataset, dataset, exists_ok=True, retry=ONCE, timeout=service.timeout
            )
        )
        jobs.asked(create)
