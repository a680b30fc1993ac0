"""Staged rows as Parquet, ready for a load job.

The file has no name: nobody else can open it, and it is gone with this process, however that ends.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from runner.ids import new_ulid
from runner.landings.room import needing_room
from runner.warehouses.bigquery.arrow import engine_types

_GROUP_ROWS = 100_000


@dataclass(slots=True)
class Piece:
    """Rows in a Parquet file, and the name of the staging table that they are loaded into.

    `types`: the server's by column. `tried`: they may be there already, perhaps after an answer that was lost.
    `loaded`: they are.
    """

    file: IO[bytes]
    rows: int
    size: int
    types: dict[str, str]
    table: str
    tried: bool = False
    loaded: bool = False


def piece_of(batches: pa.RecordBatchReader, rows: int, folder: Path) -> Piece:
    """Write `rows` rows to a Parquet file in `folder`, which is made. Blocks. Raises `DiskFull`."""
    types = engine_types(batches.schema)
    with needing_room(folder), ExitStack() as failing:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the piece has it
        failing.callback(file.close)
        _write(batches, file)
        size = file.seek(0, 2)  # writes what is left
        failing.pop_all()
    return Piece(file, rows, size, types, f"staged_{new_ulid().lower()}")


def _write(batches: pa.RecordBatchReader, file: IO[bytes]) -> None:
    # Without Arrow's own schema: the server does not read it.
    with pq.ParquetWriter(file, batches.schema, compression="snappy", store_schema=False) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(item.num_rows for item in waiting) >= _GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
        writer.write_table(pa.Table.from_batches(waiting, batches.schema))
