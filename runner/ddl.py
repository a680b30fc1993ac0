"""Tables from their declarations: what would have to change, and the statements for it.

Also the declarations of the engine's own tables, in the dataset `ops`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from runner.errors import TableMismatch
from runner.ports import TableChange, TableShape
from runner.specs import ENGINE_DATASET, ColumnSpec, PartitionSpec, TableRef, TableSpec
from runner.sql import Dialect


def _column(name: str, declared: str = "string") -> ColumnSpec:
    """Return a column of an engine's table; a `!` after its type makes it required."""
    return ColumnSpec.model_validate(
        {"name": name, "type": declared.rstrip("!"), "required": declared.endswith("!")}
    )


LANDINGS = TableSpec(
    dataset=ENGINE_DATASET,
    table="landings",
    description="One row a committed landing: the proof that it happened",
    columns=(
        _column("job_run_id", "string!"),
        _column("batch", "int64!"),
        _column("job_id", "string!"),
        _column("run_id", "string!"),
        _column("rows", "int64!"),
        _column("landed_at", "timestamp!"),
    ),
    key=("job_run_id", "batch"),
)

PROCESSED_KEYS = TableSpec(
    dataset=ENGINE_DATASET,
    table="processed_keys",
    description="Keys that were read but gave no row in the target (reason empty) or a refused one (quarantined)",
    columns=(
        _column("job_id", "string!"),
        _column("step_id", "string!"),
        _column("key", "string!"),
        _column("reason", "string!"),
        _column("source_ts", "timestamp"),
        _column("run_id", "string!"),
        _column("recorded_at", "timestamp!"),
    ),
    key=("job_id", "step_id", "key"),
    cluster_by=("job_id", "step_id"),
)

QUARANTINE = TableSpec(
    dataset=ENGINE_DATASET,
    table="quarantine",
    description="Rows that were refused, with the reason",
    columns=(
        _column("quarantine_id", "string!"),
        _column("job_id", "string!"),
        _column("step_id", "string!"),
        _column("run_id", "string!"),
        _column("job_run_id", "string!"),
        _column("key"),
        _column("column_name", "string!"),
        _column("reason", "string!"),
        _column("content", "string!"),
        _column("recorded_at", "timestamp!"),
    ),
    key=("quarantine_id",),
)

EVENT_LOG = TableSpec(
    dataset=ENGINE_DATASET,
    table="event_log",
    description="What happened, each event once",
    columns=(
        _column("event_id", "string!"),
        _column("event_type", "string!"),
        _column("timestamp", "timestamp!"),
        _column("producer_component", "string!"),
        _column("run_id"),
        _column("correlation_id"),
        _column("trace_id"),
        _column("status"),
        _column("error_message"),
        _column("payload", "json"),
    ),
    key=("event_id",),
    partition_by=PartitionSpec(column="timestamp", unit="day"),
    cluster_by=("producer_component", "event_type"),
)

ENGINE_TABLES = (LANDINGS, PROCESSED_KEYS, QUARANTINE, EVENT_LOG)
"""Every table that the engine keeps for itself."""


def plan_changes(
    declared: Iterable[TableSpec],
    shapes: Mapping[TableRef, TableShape],
    dialect: Dialect,
) -> list[TableChange]:
    """Return the DDL steps that bring the warehouse to its declarations, in declared order.

    A missing managed table is created, a missing nullable column added; extra columns are left alone. Tables with
    `managed: false` and views are only checked, and only the declared columns of them.

    Raises `TableMismatch` for the first difference that no such step can mend; the others follow as its notes.
    """
    changes: list[TableChange] = []
    mismatches: list[TableMismatch] = []
    for table in declared:
        shape = shapes.get(table.ref)
        if shape is not None:
            _compare(table, shape, dialect, changes, mismatches)
        elif table.managed:
            changes.append(TableChange(kind="create", table=table))
        else:
            mismatches.append(_missing_table(table))
    if mismatches:
        first = mismatches[0]
        for other in mismatches[1:]:
            first.add_note(str(other))
        raise first
    return changes


def _compare(
    table: TableSpec,
    shape: TableShape,
    dialect: Dialect,
    changes: list[TableChange],
    mismatches: list[TableMismatch],
) -> None:
    existing = {name.lower(): engine_type for name, engine_type in shape.columns.items()}
    fixed = shape.is_view or not table.managed
    for column in table.columns:
        wanted = dialect.types[column.type]
        found = existing.get(column.name.lower())
        if found is None and not fixed and not column.required:
            changes.append(TableChange(kind="add", table=table, column=column.name))
        elif found is None:
            mismatches.append(_missing_column(table, column, dialect, is_view=shape.is_view))
        elif found != wanted:
            mismatches.append(_other_type(table, column, dialect, found, is_view=shape.is_view))


def _missing_table(table: TableSpec) -> TableMismatch:
    return TableMismatch(
        str(table.ref), "does not exist and is declared managed: false", "create it, or declare managed: true"
    )


def _missing_column(
    table: TableSpec, column: ColumnSpec, dialect: Dialect, *, is_view: bool
) -> TableMismatch:
    wanted = dialect.types[column.type]
    if is_view:
        repair = f"add {column.name} to the view, or remove it from the declaration"
    elif column.required:
        repair = f"{_alter(table, dialect)} ADD COLUMN {dialect.quote(column.name)} {wanted}; fill it"
        if dialect.sets_required:
            repair += f"; {_alter(table, dialect)} ALTER COLUMN {dialect.quote(column.name)} SET NOT NULL"
    else:
        repair = f"{_alter(table, dialect)} ADD COLUMN {dialect.quote(column.name)} {wanted}"
    return TableMismatch(str(table.ref), f"has no column {column.name} ({column.type})", repair)


def _alter(table: TableSpec, dialect: Dialect) -> str:
    return f"ALTER TABLE {dialect.qualified(table.ref)}"


def _other_type(
    table: TableSpec, column: ColumnSpec, dialect: Dialect, found: str, *, is_view: bool
) -> TableMismatch:
    wanted = dialect.types[column.type]
    if is_view:
        repair = f"select CAST({dialect.quote(column.name)} AS {wanted}) in the view"
    else:
        repair = f"{_alter(table, dialect)} ALTER COLUMN {dialect.quote(column.name)} {dialect.set_type.format(wanted)}"
    difference = f"column {column.name} is {found}, declared {column.type} ({wanted})"
    return TableMismatch(str(table.ref), difference, repair)


def statements(changes: Iterable[TableChange], dialect: Dialect) -> Iterator[str]:
    """Yield the DDL for changes, schemas first and each once."""
    changes = list(changes)
    for dataset in dict.fromkeys(change.table.dataset for change in changes if change.kind == "create"):
        yield f"CREATE SCHEMA IF NOT EXISTS {dialect.quote(dataset)}"
    for change in changes:
        yield _create(change.table, dialect) if change.kind == "create" else _add(change, dialect)
        if change.kind == "create" and change.table.key and dialect.key_index:
            yield _key_index(change.table, dialect)


def _create(table: TableSpec, dialect: Dialect) -> str:
    """Keys get no constraint: the landing keeps them unique. On DuckDB an index makes loading 17 times slower and no
    read faster.
    """
    columns = ",\n  ".join(
        f"{dialect.quote(column.name)} {dialect.types[column.type]}{' NOT NULL' if column.required else ''}"
        for column in table.columns
    )
    return f"CREATE TABLE IF NOT EXISTS {dialect.qualified(table.ref)} (\n  {columns}\n){_layout(table, dialect)}"


def _key_index(table: TableSpec, dialect: Dialect) -> str:
    """Return the index by which landings and incremental reads find the rows of a key. It is unique only for the
    engine's own tables: `mode: append` may add rows of equal key to the others. The engine names it: a name of ours
    could be too long, or taken.
    """
    unique = "UNIQUE " if table.dataset == ENGINE_DATASET else ""
    return f"CREATE {unique}INDEX ON {dialect.qualified(table.ref)} ({dialect.columns(table.key)})"


def _layout(table: TableSpec, dialect: Dialect) -> str:
    """Return how BigQuery is to keep the rows; the other engines take no such clause."""
    if dialect.name != "bigquery":
        return ""
    text = ""
    if table.partition_by:
        column = table.column(table.partition_by.column)
        unit = table.partition_by.unit.upper()
        by = dialect.quote(column.name)
        truncated = f"{column.type.upper()}_TRUNC({by}, {unit})"
        text += f"\nPARTITION BY {by if (column.type, unit) == ('date', 'DAY') else truncated}"
    if table.cluster_by:
        text += f"\nCLUSTER BY {dialect.columns(table.cluster_by)}"
    return text


def _add(change: TableChange, dialect: Dialect) -> str:
    column = change.table.column(change.column)
    return (
        f"ALTER TABLE {dialect.qualified(change.table.ref)} ADD COLUMN IF NOT EXISTS "
        f"{dialect.columns([column.name])} {dialect.types[column.type]}"
    )
