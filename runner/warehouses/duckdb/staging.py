"""Staged rows as relations that a statement reads.

From compressed files, not temporary tables: what a table holds counts against DuckDB's memory limit and so against the
process (7,000,000 rows: 780 MB with a limit of 1 GB), a file costs a batch; and writing 700,000 rows costs half of what
the table did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import duckdb
import pyarrow as pa

from runner.landings.staging import StagedBatches
from runner.warehouses.duckdb.calls import Cursor


@contextmanager
def readable(
    cursor: Cursor,
    stage: StagedBatches,
    columns: Sequence[str] | None = None,
    *,
    batch_rows: int | None = None,
) -> Iterator[None]:
    """Make the rows (of some columns) readable as the relation `stage.name` on this cursor, by one statement, once.
    `batch_rows`: in batches of exactly so many, and a last one; None: as they were staged. Blocks.
    """
    reader = stage.reader(columns)
    if batch_rows is not None:
        reader = pa.RecordBatchReader.from_batches(reader.schema, in_batches_of(batch_rows, reader))
    cursor.register(stage.name, reader)
    try:
        yield
    except BaseException:
        # In a transaction that has failed nothing can be unregistered; the next registration replaces this one.
        with suppress(duckdb.Error):
            cursor.unregister(stage.name)
        raise
    else:
        cursor.unregister(stage.name)
    finally:
        reader.close()


def in_batches_of(rows: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut and join batches anew. Of what has been given away nothing is kept."""
    waiting: list[pa.RecordBatch] = []
    missing = rows
    for batch in batches:
        rest = batch
        while rest.num_rows >= missing:
            waiting.append(rest.slice(0, missing))
            rest, missing = rest.slice(missing), rows
            yield _joined(waiting)
        if rest.num_rows:
            waiting.append(rest)
            missing -= rest.num_rows
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Join batches and let go of them."""
    joined = pa.concat_batches(batches, memory_pool=pa.system_memory_pool())
    batches.clear()
    return joined
