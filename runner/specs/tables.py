"""Declarations of tables: `configs/tables/*.yaml`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from runner.specs.names import ColumnType, Identifier, Identifiers, Spec, TableRef


class ColumnSpec(Spec):
    """One column. `required` columns refuse NULL (in the engine: as a bad row, with key and column)."""

    name: Identifier
    type: ColumnType
    required: bool = False
    description: str = ""


class PartitionSpec(Spec):
    """Partitioning by a date or timestamp column (BigQuery, PostgreSQL; DuckDB has none)."""

    column: Identifier
    unit: Literal["hour", "day", "month", "year"] = "day"


class IndexSpec(Spec):
    """An index, on engines that have them (PostgreSQL)."""

    columns: Identifiers
    where: str = ""
    include: tuple[Identifier, ...] = ()


class TableSpec(Spec):
    """A table's declaration. `managed: false` tables are never created or altered; views count as such."""

    dataset: Identifier
    table: Identifier
    description: str = ""
    columns: Annotated[tuple[ColumnSpec, ...], Field(min_length=1)]
    key: tuple[Identifier, ...] = ()
    partition_by: PartitionSpec | None = None
    cluster_by: Annotated[tuple[Identifier, ...], Field(max_length=4)] = ()
    indexes: tuple[IndexSpec, ...] = ()
    managed: bool = True

    @property
    def ref(self) -> TableRef:
        """The table's full name."""
        return TableRef(self.dataset, self.table)

    def column(self, name: str) -> ColumnSpec:
        """Return the column of that name; raises `KeyError`."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in declared order."""
        return tuple(column.name for column in self.columns)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        seen: set[str] = set()
        for column in self.columns:
            if column.name.lower() in seen:
                raise ValueError(f"column {column.name!r} occurs twice (names differ by more than case)")
            seen.add(column.name.lower())
        names = set(self.column_names)
        wanted = [*self.key, *self.cluster_by]
        wanted += [self.partition_by.column] if self.partition_by else []
        wanted += [name for index in self.indexes for name in (*index.columns, *index.include)]
        for name in wanted:
            if name not in names:
                raise ValueError(f"{name!r} is not a column of this table; expected one of {', '.join(self.column_names)}")
        return self


class DatasetSpec(Spec):
    """A file of table declarations: one dataset, some of its tables. Each table is then read as a `TableSpec`."""

    dataset: Identifier
    description: str = ""
    tables: Annotated[tuple[Any, ...], Field(min_length=1)]
