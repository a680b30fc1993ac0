"""`BigQueryLayouts`: partitions and clustering. Clustering is changed in place, partitions by a new table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import anyio
from google.api_core import exceptions as google_errors
from google.cloud import bigquery

from runner.clock import format_duration, monotonic_ns
from runner.ddl import PROCESSED_KEYS
from runner.errors import ObjectNotFound, WarehouseError, WriteConflict
from runner.incremental import read_statement
from runner.layouts import (
    Digest,
    backup_ref,
    backups_among,
    building_ref,
    counting,
    digest_columns,
    drop_statement,
    require_equal,
)
from runner.ports import Backup, LayoutChange, LayoutReport, QueryCost, ReadQuery, Statement
from runner.specs import TableRef, TableSpec
from runner.sql import BIGQUERY
from runner.warehouses.bigquery import swapping
from runner.warehouses.bigquery.calls import Budget, Calls
from runner.warehouses.bigquery.faults import ENGINE
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.service import NO_RETRY
from runner.warehouses.bigquery.shapes import inspect, refuse_clustering

_HASHED = "FARM_FINGERPRINT(TO_JSON_STRING(t))"


class BigQueryLayouts:
    """The layouts of one project's tables. What writes rows anew has no time limit."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def settle(self, table: TableSpec) -> None:
        """End what a killed optimize of this table has left running; a swap is waited for."""
        await self._calls.on(lambda jobs: swapping.settle(jobs, table.ref))

    async def report(self, table: TableSpec, *, rewrite: bool = False) -> LayoutReport:
        """Compare partitions and clustering with the declaration. Metadata only: nothing is billed."""
        refuse_clustering(table)
        return await self._calls.on(lambda jobs: _report(jobs, table, rewrite=rewrite))

    async def back_up(self, table: TableSpec, stamp: datetime) -> Backup:
        """Clone a table: only what differs later is billed."""
        ref = backup_ref(table.ref, stamp, BIGQUERY)
        text = f"CREATE TABLE {BIGQUERY.qualified(ref)} CLONE {BIGQUERY.qualified(table.ref)}"
        await self._calls.on(lambda jobs: _send(jobs, text), budget=Budget(None))
        return Backup(table=ref, statement=drop_statement(ref, BIGQUERY))

    async def change(self, change: LayoutChange, stamp: datetime) -> Backup | None:
        """Carry out one step."""
        ref = change.table.ref
        match change.kind:
            case "cluster":
                await self._calls.on(lambda jobs: _cluster(jobs, change.table))
            case "partition":
                await self._calls.on(lambda jobs: _make_anew(jobs, change.table), budget=Budget(None))
                # Between the two renames there is no table: nothing may end the script there.
                with anyio.CancelScope(shield=True):
                    await self._calls.on(lambda jobs: swapping.swap(jobs, ref, stamp), budget=Budget(None))
                old = backup_ref(ref, stamp, BIGQUERY)
                return Backup(table=old, statement=drop_statement(old, BIGQUERY))
            case "finish":
                await self._calls.on(lambda jobs: swapping.finish(jobs, [ref]))
            case _:
                text = change.statements[0]
                await self._calls.on(
                    lambda jobs: swapping.labelled(jobs, text, ref, swapping.FILLING), budget=Budget(None)
                )
        return None

    async def measure(self, query: ReadQuery) -> QueryCost:
        """Send a read as a run does."""
        return await self._calls.on(lambda jobs: _measure(jobs, query))


# --- what is there -----------------------------------------------------------------------------------------


def _report(jobs: Jobs, table: TableSpec, *, rewrite: bool) -> LayoutReport:
    names = swapping.names_of(jobs, table.dataset)
    spare = tuple(
        LayoutChange(
            kind="remove",
            table=table,
            why="a backup",
            statements=(drop_statement(ref, BIGQUERY),),
            subject=ref.table,
        )
        for ref in backups_among(names, table.ref, BIGQUERY)
    )
    if swapping.is_half_done(table.ref, names):
        finish = LayoutChange(
            kind="finish",
            table=table,
            why="an exchange for the table made anew has stopped between its two renames",
            statements=(swapping.finish_statement(table.ref),),
        )
        return LayoutReport(table=table, exists=True, changes=(finish,), spare=spare)
    if (found := _table(jobs, table.ref)) is None:
        return LayoutReport(table=table, exists=False, spare=spare)
    if found.table_type != "TABLE":
        notes = (f"is a {found.table_type.lower().replace('_', ' ')}: nothing is changed",)
        return LayoutReport(table=table, exists=True, spare=spare, notes=notes)
    changes = [*_leftovers(table, names), *_differences(table, found, rewrite=rewrite)]
    return LayoutReport(
        table=table,
        exists=True,
        rows=found.num_rows,
        changes=tuple(changes),
        spare=spare,
        notes=tuple(_notes(table, found, changes)),
    )


def _leftovers(table: TableSpec, names: list[str]) -> Iterator[LayoutChange]:
    for leftover in swapping.leftovers(table.ref, names):
        yield LayoutChange(
            kind="remove",
            table=table,
            why="the making of a new table was interrupted",
            statements=(drop_statement(leftover, BIGQUERY),),
            subject=leftover.table,
        )


def _differences(table: TableSpec, found: Any, *, rewrite: bool) -> Iterator[LayoutChange]:
    wanted, there = _declared_partitions(table), _partitions(found)
    by = list(table.cluster_by)
    if wanted and wanted != there:
        yield LayoutChange(
            kind="partition",
            table=table,
            why=f"partitioned by {there or 'nothing'}, declared {wanted}",
            statements=(
                _create_text(table),
                _fill_text(table, found.schema),
                _compare_text(table),
                swapping.swap_statement(table.ref, TableRef(table.dataset, f"{table.table}__backup_TIME")),
            ),
        )
        return  # the new table is clustered as declared, every row of it
    if by and by != (found.clustering_fields or []):
        is_now = ", ".join(found.clustering_fields or ["nothing"])
        yield LayoutChange(
            kind="cluster",
            table=table,
            why=f"clustered by {is_now}, declared {', '.join(by)}",
            statements=(f"tables.patch {table.ref}: clustering {', '.join(by)}",),
        )
    if rewrite and by:
        first = BIGQUERY.quote(found.schema[0].name)
        yield LayoutChange(
            kind="order",
            table=table,
            why=f"asked for: every row is written anew, clustered by {', '.join(by)}",
            statements=(f"UPDATE {BIGQUERY.qualified(table.ref)} SET {first} = {first} WHERE true",),
        )


def _notes(table: TableSpec, found: Any, changes: list[LayoutChange]) -> Iterator[str]:
    kinds = {change.kind for change in changes}
    if "cluster" in kinds and "order" not in kinds:
        size = f"{found.num_bytes:,} bytes" if found.num_bytes else "the whole table"
        yield (
            "only rows that are written from now on are clustered so; --rewrite writes all of them anew, by an UPDATE "
            f"that is billed for {size}"
        )
    if not table.partition_by and (there := _partitions(found)):
        yield f"partitioned by {there}, which is not declared: left as it is"
    if not table.cluster_by and found.clustering_fields:
        yield f"clustered by {', '.join(found.clustering_fields)}, which is not declared: left as it is"
    if table.indexes:
        yield "indexes: BigQuery has none of this kind"


def _table(jobs: Jobs, ref: TableRef) -> Any:
    """Return a table's metadata; None where there is none."""
    client, timeout = jobs.service.client, jobs.service.timeout
    try:
        return jobs.asked(lambda: client.get_table(str(ref), retry=NO_RETRY, timeout=timeout))
    except ObjectNotFound:
        return None


def _partitions(found: Any) -> str:
    """Return how a table is partitioned, "" for not at all."""
    if found.range_partitioning is not None:
        return f"ranges of {found.range_partitioning.field}"
    by = found.time_partitioning
    return "" if by is None else f"{by.type_} of {by.field or 'the time of loading'}"


def _declared_partitions(table: TableSpec) -> str:
    by = table.partition_by
    return f"{by.unit.upper()} of {by.column}" if by else ""


# --- a table made anew -------------------------------------------------------------------------------------


def _create_text(table: TableSpec) -> str:
    by = f", clustered by {', '.join(table.cluster_by)}" if table.cluster_by else ""
    building = building_ref(table.ref, BIGQUERY)
    return (
        f"tables.insert {building}: columns of {table.ref}, partitioned by {_declared_partitions(table)}{by}"
    )


def _fill_text(table: TableSpec, schema: Any) -> str:
    columns = BIGQUERY.columns([field.name for field in schema])
    building = BIGQUERY.qualified(building_ref(table.ref, BIGQUERY))
    return f"INSERT INTO {building} ({columns}) SELECT {columns} FROM {BIGQUERY.qualified(table.ref)}"


def _compare_text(table: TableSpec) -> str:
    parts = (
        f"SELECT '{name}' AS of_table, {digest_columns(_HASHED)} FROM {BIGQUERY.qualified(ref)} AS t"
        for name, ref in (("old", table.ref), ("new", building_ref(table.ref, BIGQUERY)))
    )
    # Sums of hashes of 64 bits go beyond an INT64.
    return "\nUNION ALL ".join(parts).replace(f"sum({_HASHED})", f"sum(CAST({_HASHED} AS NUMERIC))")


def _make_anew(jobs: Jobs, table: TableSpec) -> None:
    """Make the new table, with the columns of the old one as they are, and prove that it holds the same rows."""
    client, timeout = jobs.service.client, jobs.service.timeout
    old, ref = _table(jobs, table.ref), building_ref(table.ref, BIGQUERY)
    if old is None or table.partition_by is None:
        raise ObjectNotFound(ENGINE, f"table {table.ref} does not exist")
    new = bigquery.Table(f"{old.project}.{ref}", schema=old.schema)
    unit = table.partition_by.unit.upper()
    new.time_partitioning = bigquery.TimePartitioning(type_=unit, field=table.partition_by.column)
    new.clustering_fields = list(table.cluster_by or old.clustering_fields or ()) or None
    new.description, new.labels = old.description, old.labels
    new.encryption_configuration = old.encryption_configuration
    _send(jobs, f"DROP TABLE IF EXISTS {BIGQUERY.qualified(ref)}")
    made = jobs.asked(lambda: client.create_table(new, exists_ok=True, retry=NO_RETRY, timeout=timeout))
    if (limit := _expiration(made)) is not None and not _expires_as_soon(old, made):
        _send(jobs, f"DROP TABLE {BIGQUERY.qualified(ref)}")
        raise _expiring(table.ref, limit)
    swapping.labelled(jobs, _fill_text(table, old.schema), table.ref, swapping.FILLING)
    digests = {name: Digest(*rest) for name, *rest in jobs.fetch(Statement(text=_compare_text(table)))}
    require_equal(ENGINE, digests["old"], digests["new"])


def _expiration(found: Any) -> int | None:
    """Return after how many milliseconds the rows of a partition are removed; None: never."""
    milliseconds: int | None = found.time_partitioning.expiration_ms if found.time_partitioning else None
    return milliseconds


def _expires_as_soon(old: Any, new: Any) -> bool:
    """Tell whether the old table loses each row at least as early as the new one would."""
    before, after = _expiration(old), _expiration(new)
    if before is None or after is None or old.time_partitioning.field != new.time_partitioning.field:
        return False
    return before <= after


def _expiring(ref: TableRef, milliseconds: int) -> WarehouseError:
    """A dataset may give each new table partitions that expire (docs, "Dataset": defaultPartitionExpirationMs)."""
    return WarehouseError(
        ENGINE,
        f"rows of {ref} would be removed {format_duration(milliseconds / 1000)} after their time: its dataset gives "
        "new tables partitions that expire; nothing was changed",
        hint=f"ALTER SCHEMA {BIGQUERY.quote(ref.dataset)} SET OPTIONS (default_partition_expiration_days = NULL)",
    )


def _cluster(jobs: Jobs, table: TableSpec) -> None:
    """Change the clustering of a table as it was found. Raises `WriteConflict` when somebody else changed it too."""
    client, timeout = jobs.service.client, jobs.service.timeout
    found, wanted = _table(jobs, table.ref), list(table.cluster_by)
    if found is None:
        raise ObjectNotFound(ENGINE, f"table {table.ref} does not exist")
    found.clustering_fields = wanted
    try:
        jobs.service.patiently(
            lambda: client.update_table(found, ["clustering_fields"], retry=NO_RETRY, timeout=timeout),
            jobs.stop,
        )
    except google_errors.PreconditionFailed as error:
        # Also when the answer to our own change was lost and it was sent a second time.
        now = _table(jobs, table.ref)
        if now is None or now.clustering_fields != wanted:
            raise WriteConflict(ENGINE, f"table {table.ref} was changed meanwhile: {error}") from error


def _send(jobs: Jobs, text: str) -> None:
    jobs.query(Statement(text=text), use_query_cache=None, job_timeout_ms=None)


def _measure(jobs: Jobs, query: ReadQuery) -> QueryCost:
    remembered = query.incremental is not None and PROCESSED_KEYS.ref in inspect(jobs, [PROCESSED_KEYS.ref])
    statement = counting(read_statement(query, BIGQUERY, remembered=remembered))
    started = monotonic_ns()
    job = jobs.query(statement, use_query_cache=False)
    return QueryCost(
        duration_ms=(monotonic_ns() - started) / 1e6,
        bytes_processed=getattr(job, "total_bytes_processed", None),
    )
