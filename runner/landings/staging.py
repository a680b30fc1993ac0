"""Where rows wait for their landing: Arrow batches in memory up to a limit, then a compressed file.

Every row carries a number, so that the last of equal keys can win. Reading single columns of a file is cheap. A file is
locked for as long as its stage is open, so what a killed process has left behind can be told apart and removed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from runner.files import try_lock
from runner.ids import new_ulid
from runner.landings.relations import NUMBER
from runner.landings.room import needing_room

SUFFIX = ".staged"
"""Ending of the names of a stage's files."""

WRITE_BYTES = 8_000_000
"""Once a stage has a file, this much is gathered before the next write to it."""


class StagedBatches:
    """The staged rows of one target, or the keys of one read. One writer uses it; methods that say so block."""

    def __init__(self, name: str, schema: pa.Schema, folder: Path) -> None:
        self.name = name
        self.rows = 0
        self.memory = 0
        self.schema = schema
        self.numbered = schema.append(pa.field(NUMBER, pa.int64()))
        self._bytes = 0
        self._folder = folder
        self._batches: list[pa.RecordBatch] = []
        self._files: dict[Path, int] = {}
        self._sink: pa.NativeFile | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._damage: BaseException | None = None

    @property
    def spilled(self) -> bool:
        """Whether (some of) the rows stand in a file."""
        return bool(self._files)

    @property
    def row_bytes(self) -> int:
        """Bytes of a staged row, on average; 0 without rows."""
        return self._bytes // self.rows if self.rows else 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Append a batch. Raises `ValueError` when its columns are not those that were agreed on."""
        if not batch.schema.equals(self.schema):  # compares no metadata
            raise ValueError(f"staged columns are {batch.schema}, expected {self.schema}")
        numbers = pa.arange(self.rows, self.rows + batch.num_rows)
        self._batches.append(pa.RecordBatch.from_arrays([*batch.columns, numbers], schema=self.numbered))
        self.rows += batch.num_rows
        size = batch.nbytes + numbers.nbytes
        self.memory += size
        self._bytes += size

    def spill(self) -> None:
        """Move what is in memory to the file. Blocks. Raises `DiskFull`. A stage that failed can only be cleared."""
        try:
            with needing_room(self._folder):
                writer = self._open_writer()
                for batch in self._batches:
                    writer.write_batch(batch)
        except BaseException as error:
            self._damage = error
            raise
        self._batches.clear()
        self.memory = 0

    def reader(self, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """Return the rows (of some columns), in the order in which they were staged. Blocks. Raises `DiskFull`."""
        if self._damage is not None:
            raise self._damage
        names = list(columns) if columns is not None else self.numbered.names
        if not self._files:
            return pa.Table.from_batches(self._batches, self.numbered).select(names).to_reader()
        if self._batches:
            self.spill()
        with needing_room(self._folder):
            self._close_writer()
        pa.default_memory_pool().release_unused()
        positions = sorted(self.numbered.get_field_index(name) for name in names)
        readers = [_open(file, positions) for file in self._files]
        if len(readers) == 1:
            return readers[0]
        # More than one file only when rows were staged after a landing that failed.
        return pa.RecordBatchReader.from_batches(
            readers[0].schema, (batch for reader in readers for batch in reader)
        )

    def clear(self) -> None:
        """Forget the rows and remove the files. Blocks."""
        self._close_writer()
        for file, locked in self._files.items():
            file.unlink(missing_ok=True)
            os.close(locked)
        self._files.clear()
        self._batches.clear()
        self._damage = None
        self.rows = 0
        self.memory = 0
        self._bytes = 0

    def _open_writer(self) -> pa.ipc.RecordBatchStreamWriter:
        if self._writer is None:
            file = self._folder / f"{self.name}-{new_ulid()}{SUFFIX}"
            locked = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            self._files[file] = locked
            try_lock(locked)
            self._sink = pa.OSFile(str(file), "wb")
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_stream(self._sink, self.numbered, options=options)
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


def remove_leftovers(folder: Path) -> None:
    """Remove the files of stages that a killed process has left behind. Blocks."""
    for file in folder.glob(f"*{SUFFIX}"):
        try:
            left = os.open(file, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # its owner was quicker
        try:
            if try_lock(left):
                file.unlink(missing_ok=True)
        finally:
            os.close(left)


def _open(file: Path, positions: list[int]) -> pa.RecordBatchReader:
    """Open a file for some columns, by position: the others are not decompressed. What is decompressed comes from
    the system's allocator: Arrow's own keeps what was freed, 50 MB after some millions of rows.
    """
    return pa.ipc.open_stream(
        pa.OSFile(str(file), "rb"),
        options=pa.ipc.IpcReadOptions(included_fields=positions),
        memory_pool=pa.system_memory_pool(),
    )
