"""Where rows wait for their landing: Arrow batches in memory up to a limit, then a compressed file.

A file, not a temporary table: what a table holds counts against DuckDB's memory limit and so against the process
(7,000,000 rows: 780 MB with a limit of 1 GB), a file costs a batch. Reading single columns of it is cheap, and
writing 700,000 rows costs half of what the table did. Every row carries a number, so that the last of equal keys
can win.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.ipc

from runner.ids import new_ulid
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.leftovers import SUFFIX

NUMBER = "staged_number_"
"""Name of the numbering column."""

WRITE_BYTES = 8_000_000
"""Once a stage has a file, this much is gathered before the next write to it."""


class Stage:
    """The staged rows of one target, or the keys of one read. One writer uses it; methods that say so block."""

    def __init__(self, name: str, schema: pa.Schema, folder: Path) -> None:
        self.name = name
        self.rows = 0
        self.memory = 0
        self._bytes = 0
        self.schema = schema
        self._numbered = schema.append(pa.field(NUMBER, pa.int64()))
        self._folder = folder
        self._batches: list[pa.RecordBatch] = []
        self._files: list[Path] = []
        self._sink: pa.NativeFile | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._damage: BaseException | None = None

    @property
    def spilled(self) -> bool:
        """Whether (some of) the rows stand in a file."""
        return bool(self._files)

    def add(self, batch: pa.RecordBatch) -> None:
        """Append a batch. Raises `ValueError` when its columns are not those that were agreed on."""
        if not batch.schema.equals(self.schema):  # compares no metadata
            raise ValueError(f"staged columns are {batch.schema}, expected {self.schema}")
        numbers = pa.arange(self.rows, self.rows + batch.num_rows)
        self._batches.append(pa.RecordBatch.from_arrays([*batch.columns, numbers], schema=self._numbered))
        self.rows += batch.num_rows
        size = batch.nbytes + numbers.nbytes
        self.memory += size
        self._bytes += size

    def spill(self) -> None:
        """Move what is in memory to the file. Blocks. After an error the stage can only be cleared."""
        try:
            writer = self._open_writer()
            for batch in self._batches:
                writer.write_batch(batch)
        except BaseException as error:
            self._damage = error
            raise
        self._batches.clear()
        self.memory = 0

    @contextmanager
    def relation(
        self, cursor: Cursor, columns: Sequence[str] | None = None, *, batch_rows: int | None = None
    ) -> Iterator[None]:
        """Make the rows (of some columns) readable as the relation `name` on this cursor, by one statement, once.
        `batch_rows`: in batches of exactly so many, and a last one; None: as they were staged. Blocks.
        """
        reader = self._reader(columns)
        if batch_rows is not None:
            reader = pa.RecordBatchReader.from_batches(reader.schema, in_batches_of(batch_rows, reader))
        cursor.register(self.name, reader)
        try:
            yield
        except BaseException:
            # In a transaction that has failed nothing can be unregistered; the next registration replaces this one.
            with suppress(duckdb.Error):
                cursor.unregister(self.name)
            raise
        else:
            cursor.unregister(self.name)
        finally:
            reader.close()

    @property
    def row_bytes(self) -> int:
        """Bytes of a staged row, on average; 0 without rows."""
        return self._bytes // self.rows if self.rows else 0

    def clear(self) -> None:
        """Forget the rows and remove the files. Blocks."""
        self._close_writer()
        for file in self._files:
            file.unlink(missing_ok=True)
        self._files.clear()
        self._batches.clear()
        self._damage = None
        self.rows = 0
        self.memory = 0
        self._bytes = 0

    def _open_writer(self) -> pa.ipc.RecordBatchStreamWriter:
        if self._writer is None:
            file = self._folder / f"{self.name}-{new_ulid()}{SUFFIX}"
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            self._files.append(file)
            self._sink = pa.OSFile(str(file), "wb")
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_stream(self._sink, self._numbered, options=options)
        return self._writer

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        sink, self._sink = self._sink, None
        try:
            if writer is not None and self._damage is None:
                writer.close()
        finally:
            if sink is not None:
                sink.close()

    def _reader(self, columns: Sequence[str] | None) -> pa.RecordBatchReader:
        if self._damage is not None:
            raise self._damage
        names = list(columns) if columns is not None else self._numbered.names
        if not self._files:
            return pa.Table.from_batches(self._batches, self._numbered).select(names).to_reader()
        if self._batches:
            self.spill()
        self._close_writer()
        pa.default_memory_pool().release_unused()
        positions = sorted(self._numbered.get_field_index(name) for name in names)
        readers = [_open(file, positions) for file in self._files]
        if len(readers) == 1:
            return readers[0]
        # More than one file only when rows were staged after a landing that failed.
        return pa.RecordBatchReader.from_batches(
            readers[0].schema, (batch for reader in readers for batch in reader)
        )


def _open(file: Path, positions: list[int]) -> pa.RecordBatchReader:
    """Open a file for some columns, by position: the others are not decompressed. What is decompressed comes from
    the system's allocator: Arrow's own keeps what was freed, 50 MB after some millions of rows.
    """
    return pa.ipc.open_stream(
        pa.OSFile(str(file), "rb"),
        options=pa.ipc.IpcReadOptions(included_fields=positions),
        memory_pool=pa.system_memory_pool(),
    )


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
