"""Arrow batches into temporary tables of the landing's transaction, by COPY.

As CSV that Arrow writes (measured with 100,000 rows of 7 columns: 0.06 s for the text, 0.15 s with the server's part;
ADBC's binary ingest takes 0.17 s, and another connection, which takes 0.06 s to open): the landing stays on one psycopg
connection, whose status can be asked. In CSV text is quoted and NULL is not, so the empty string stays what it is;
numbers are written in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from runner.errors import WarehouseError
from runner.landings import NUMBER
from runner.landings.staging import StagedBatches
from runner.specs import TableSpec
from runner.sql import POSTGRES
from runner.types.schema import arrow_type
from runner.types.values import show
from runner.warehouses.postgres.faults import ENGINE
from runner.warehouses.postgres.session import Session

_TYPES = {
    str(arrow_type(declared)): engine_type
    for declared, engine_type in POSTGRES.types.items()
    if declared != "json"  # is text in Arrow
}
_OPTIONS = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
WRITE_BYTES = 1 << 20
"""How much text is handed to the driver at a time."""


def relation(name: str) -> str:
    """Return the quoted name of a temporary table."""
    return f"pg_temp.{POSTGRES.quote(name)}"


def copy_in(session: Session, name: str, types: Mapping[str, str], batches: Iterable[pa.RecordBatch]) -> None:
    """Make the temporary table `name`, which ends with the transaction, and fill it. `types`: the engine's, by column;
    the batches have these columns. Blocks.
    """
    columns = ", ".join(f"{POSTGRES.quote(column)} {engine_type}" for column, engine_type in types.items())
    session.execute(f"CREATE TEMP TABLE {POSTGRES.quote(name)} ({columns}) ON COMMIT DROP")
    text = f"COPY {relation(name)} ({POSTGRES.columns(types)}) FROM STDIN (FORMAT csv)"
    with session.connection.cursor().copy(text.encode()) as copy:
        for batch in batches:
            for start in range(0, batch.num_rows, _rows_at_once(batch)):
                copy.write(_csv(batch.slice(start, _rows_at_once(batch))))


def copy_stage(session: Session, stage: StagedBatches, table: TableSpec) -> None:
    """Make the temporary table of a stage, as `copy_in` does, with the types of the target. Blocks.

    Raises `WarehouseError` that names column and value for a text that PostgreSQL cannot hold: of its own errors some
    name neither.
    """
    try:
        copy_in(session, stage.name, types_of(stage.schema, table), stage.reader())
    except psycopg.DataError as error:
        if (found := _unfit_text(stage, table)) is None:
            raise
        column, value, what = found
        message = f"column {column!r} of {table.ref} cannot hold {what}, got {show(value)}"
        raise WarehouseError(ENGINE, message) from error


def _unfit_text(stage: StagedBatches, table: TableSpec) -> tuple[str, str, str] | None:
    """Return the column and the value of a staged text that PostgreSQL cannot hold, and what is wrong with it."""
    for batch in stage.reader():
        for name in stage.schema.names:
            pattern, what = POSTGRES.unfit_texts.get(table.column(name).type, ("", ""))
            if pattern:
                column = batch.column(name)
                bad = column.filter(pc.match_substring_regex(column, pattern))
                if len(bad):
                    return name, bad[0].as_py(), what
    return None


def types_of(schema: pa.Schema, table: TableSpec | None = None) -> dict[str, str]:
    """Return the engine's types for the columns of a schema (those that the table declares, or what holds the values)
    and for their number.
    """
    types = {
        field.name: _TYPES[str(field.type)]
        if table is None
        else POSTGRES.types[table.column(field.name).type]
        for field in schema
    }
    return types | {NUMBER: POSTGRES.types["int64"]}


def _rows_at_once(batch: pa.RecordBatch) -> int:
    return max(1, int(batch.num_rows) * WRITE_BYTES // max(1, int(batch.nbytes)))


def _csv(batch: pa.RecordBatch) -> memoryview:
    sink = pa.BufferOutputStream()
    plain = pa.RecordBatch.from_arrays([_plain(array) for array in batch.columns], batch.schema.names)
    pyarrow.csv.write_csv(plain, sink, _OPTIONS)
    return memoryview(sink.getvalue())


def _plain(array: pa.Array) -> pa.Array:
    """Return what Arrow writes in a way that PostgreSQL reads as the same: times in UTC, which is the session's time
    zone, without a zone (with one, writing them takes 25 times longer); bytes as hexadecimal text.
    """
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("us"))
    if pa.types.is_binary(array.type):
        return pa.array(
            [None if value is None else "\\x" + value.hex() for value in array.to_pylist()], pa.utf8()
        )
    return array


def without_nul(array: pa.Array) -> pa.Array:
    """Return text in which the character NUL, which PostgreSQL does not take, is written out."""
    return pc.replace_substring(array, "\x00", "\\x00") if pa.types.is_string(array.type) else array
