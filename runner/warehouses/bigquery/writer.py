"""The writer of one job run: stages rows, keys and bad rows, and lands them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pyarrow as pa

from runner.clock import monotonic_ns
from runner.errors import RunPipelineError, WriteConflict
from runner.landings import marker_query, nothing_landed, quarantine_table
from runner.landings.actions import perform_all
from runner.landings.area import StagingArea
from runner.landings.staging import StagedBatches
from runner.ports import BadRow, LandingResult, LandingSpec, Statement
from runner.specs import TableRef
from runner.sql import BIGQUERY, Parameters
from runner.warehouses.bigquery.arrow import engine_types
from runner.warehouses.bigquery.calls import Calls
from runner.warehouses.bigquery.faults import locate
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.landing import Landing, Rows
from runner.warehouses.bigquery.leftovers import LABEL
from runner.warehouses.bigquery.loading import drop, load, table_name
from runner.warehouses.bigquery.parameters import rows_parameter
from runner.warehouses.bigquery.pieces import Piece, piece_of
from runner.warehouses.bigquery.script import Script
from runner.warehouses.bigquery.service import TRIES

TableLock = Callable[[TableRef], anyio.Lock]

INLINE_ROWS = 500
INLINE_BYTES = 100_000
"""Staged rows up to both of these travel in the script's own request, as an array of structs: that saves the seconds
that a load job, its table and its removal take. A request may have 10 MB (docs, "Quotas and limits"), a value takes
about 30 bytes more there than in Arrow, and a landing has few such relations: 500 rows of 40 columns are 1 MB.
"""
TEMPORARY = Path(tempfile.gettempdir())

TIDY_SECONDS = 10.0
"""How long removing the staging tables may hold up what comes after the landing; they expire anyway."""


class BigQueryWriter:
    """Implements `runner.ports.Writer`. One task at a time uses it. Nothing of it is on the server before `land`."""

    def __init__(
        self, calls: Calls, spec: LandingSpec, lock: TableLock, stage_bytes: int, stage_folder: Path
    ) -> None:
        self._calls = calls
        self._spec = spec
        self._lock = lock
        self._folder = stage_folder
        in_thread = partial(anyio.to_thread.run_sync, limiter=calls.limiter)
        self._staged = StagingArea(spec, stage_folder, stage_bytes, in_thread)
        self._pieces: dict[str, Piece] = {}
        self._made: list[Piece] = []

    async def stage(self, target: int, batch: pa.RecordBatch) -> None:
        """Add rows for one target. Raises `ValueError` for other columns than agreed, or NULL in a key."""
        await self._staged.stage(target, batch)

    async def stage_keys(self, tracked: int, keys: pa.RecordBatch) -> None:
        """Add keys of a tracked read."""
        await self._staged.stage_keys(tracked, keys)

    async def stage_bad_rows(self, rows: Sequence[BadRow]) -> None:
        """Add refused rows."""
        self._staged.stage_bad_rows(rows)

    async def land(self, batch: int = 0) -> LandingResult:
        """Commit what is staged, one writer a table at a time. What is staged survives any error."""
        if self._staged.is_empty and not self._spec.always_lands:
            return await self._nothing(batch)
        async with AsyncExitStack() as locks:
            for ref in self._spec.writes:
                await locks.enter_async_context(self._lock(ref))
            result = await self._land(batch)
        await self._tidy()
        return result

    async def has_landed(self, batch: int = 0) -> bool:
        """Look for the marker."""
        statement = marker_query(self._spec.job_run_id, batch, Parameters(BIGQUERY))
        return bool(await self._calls.on(lambda jobs: jobs.fetch(statement)))

    async def _land(self, batch: int) -> LandingResult:
        started = monotonic_ns()
        script = Script()
        rows = [await self._rows(script, stage) if stage.rows else None for stage in self._staged.targets]
        keys = {number: await self._rows(script, stage) for number, stage in self._staged.keys.items()}
        landing = Landing(script, self._spec, batch, rows, keys, await self._bad(script))
        return await self._calls.on(lambda jobs: self._send(jobs, landing, started))

    def _send(self, jobs: Jobs, landing: Landing, started: int) -> LandingResult:
        """Run the script and, since that committed, forget what was staged: in the same thread call, so that a
        cancellation cannot come between the two.
        """
        try:
            answer = self._answer(jobs, landing)
        except RunPipelineError as error:
            landing.script.locate(error)
            raise
        result = landing.result(answer, (monotonic_ns() - started) / 1e6)
        self._staged.clear()
        return result

    def _answer(self, jobs: Jobs, landing: Landing) -> dict[str, Any]:
        """Run the script; again where another transaction was in its way, which has rolled it back. Jobs of one run
        forget keys in one table of the engine's, and no two such transactions commit (docs, "Multi-statement
        transactions", "Transaction concurrency").
        """
        labels = jobs.names.labels | {LABEL: str(landing.batch)}
        conflicts = 0
        while True:
            try:
                job = jobs.query(landing.script.statement, labels=labels)
                answer: dict[str, Any] = jobs.result(job).to_pylist()[0]
            except WriteConflict:
                conflicts += 1
                if conflicts >= TRIES:
                    raise
            else:
                return answer
            jobs.stop.wait(jobs.service.backoff.delay(conflicts))

    async def _rows(self, script: Script, stage: StagedBatches) -> Rows:
        """Bring staged rows to where the script finds them: into its values, or into a staging table."""
        if stage.rows <= INLINE_ROWS and stage.memory <= INLINE_BYTES and not stage.spilled:
            return inline(script, stage.name, stage.reader().read_all())
        piece = self._pieces.get(stage.name)
        if piece is None or piece.rows != stage.rows:
            piece = self._pieces[stage.name] = await self._piece(stage.reader, stage.rows)
        return await self._loaded(piece, stage.numbered)

    async def _bad(self, script: Script) -> Rows:
        table = quarantine_table(self._spec, self._staged.bad_rows)
        if table.num_rows <= INLINE_ROWS and table.nbytes <= INLINE_BYTES:
            return inline(script, "bad", table)
        piece = await self._piece(table.to_reader, table.num_rows)
        return await self._loaded(piece, table.schema)

    async def _piece(self, reader: Callable[[], pa.RecordBatchReader], rows: int) -> Piece:
        piece = await anyio.to_thread.run_sync(
            lambda: piece_of(reader(), rows, self._folder), limiter=self._calls.limiter
        )
        self._made.append(piece)
        return piece

    async def _loaded(self, piece: Piece, schema: pa.Schema) -> Rows:
        def work(jobs: Jobs) -> str:
            load(jobs, piece)
            return table_name(jobs, piece)

        name = await self._calls.on(work)
        return Rows(relation=f"`{name}`", schema=schema, count=piece.rows)

    async def _nothing(self, batch: int) -> LandingResult:
        """Land nothing, but check what is there: without statements, checks are all that there is to perform."""
        checks = self._spec.actions
        actions = (
            await self._calls.on(lambda jobs: perform_all(checks, BIGQUERY, _Asked(jobs))) if checks else ()
        )
        return nothing_landed(self._spec, batch, actions)

    async def close(self) -> None:
        """Forget what has not landed, here and on the server."""
        with anyio.CancelScope(shield=True):
            await self._tidy()
            await self._staged.close()

    async def _tidy(self) -> None:
        """Remove the pieces and their tables. A landing that failed keeps its own for the next one."""
        loaded = [piece for piece in self._made if piece.tried]
        if loaded:
            with anyio.move_on_after(TIDY_SECONDS, shield=True):
                await self._calls.on(lambda jobs: drop(jobs, loaded))
        for piece in self._made:
            piece.file.close()
        self._made.clear()
        self._pieces.clear()


@asynccontextmanager
async def writing(
    calls: Calls,
    spec: LandingSpec,
    lock: TableLock,
    stage_bytes: int,
    stage_folder: Path = TEMPORARY,
) -> AsyncIterator[BigQueryWriter]:
    """Open a writer; `stage_folder` holds what does not fit into `stage_bytes` of memory."""
    writer = BigQueryWriter(calls, spec, lock, stage_bytes, stage_folder)
    try:
        yield writer
    finally:
        await writer.close()


class _Asked:
    """Implements `runner.landings.Asked` outside of a landing, where only checks are made."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def change(self, statement: Statement, step_id: str) -> int:
        """Change nothing: where nothing lands there are no statements."""
        raise AssertionError(f"step {step_id} has a statement, so there is a landing")

    def table(self, statement: Statement, step_id: str) -> pa.Table:
        """Send a query and return its rows."""
        try:
            return self._jobs.table(statement)
        except RunPipelineError as error:
            locate(error, statement, step_id)
            raise


def inline(script: Script, name: str, rows: pa.Table) -> Rows:
    """Bind rows as a value of the script. Its columns are named one by one: a star over an array gives a struct."""
    types = engine_types(rows.schema)
    batch = next(iter(rows.combine_chunks().to_batches()), pa.RecordBatch.from_pylist([], schema=rows.schema))
    placeholder = script.given(f"rp_{name}", rows_parameter(f"rp_{name}", batch, types))
    columns = ", ".join(f"u.{BIGQUERY.quote(column)} AS {BIGQUERY.quote(column)}" for column in types)
    relation = f"(SELECT {columns} FROM UNNEST({placeholder}) AS u)"
    return Rows(relation=relation, schema=rows.schema, count=rows.num_rows)
