"""Declarations of tables: `configs/tables/*.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from runner.specs.names import ColumnType, Flag, Identifier, Identifiers, Misfit, Spec, TableRef


class ColumnSpec(Spec):
    """One column. `required` columns refuse NULL (in the engine: as a bad row, with key and column)."""

    name: Identifier
    type: ColumnType
    required: Flag = False
    description: str = ""


class PartitionSpec(Spec):
    """Partitioning by a date or timestamp column (BigQuery, PostgreSQL; DuckDB has none)."""

    column: Identifier
    unit: Literal["hour", "day", "month", "year"] = "day"


class IndexSpec(Spec):
    """An index, on engines that have them (PostgreSQL). `where`: a condition in its SQL, on one row of the table."""

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
    managed: Flag = True

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
        for number, column in enumerate(self.columns):
            if column.name.lower() in seen:
                message = (
                    f"column {column.name!r} is there already; expected names that differ by more than case"
                )
                raise Misfit(message, "columns", number, "name")
            seen.add(column.name.lower())
        for name, path in self._named_columns():
            if name not in self.column_names:
                message = f"{name!r} is not a column of this table"
                raise Misfit(f"{message}; expected one of {', '.join(self.column_names)}", *path)
        for number, name in enumerate(self.cluster_by):
            if name in self.cluster_by[:number]:
                raise Misfit(
                    f"{name!r} stands there already; expected each column once", "cluster_by", number
                )
        self._partitions_fit()
        return self

    def _partitions_fit(self) -> None:
        if self.partition_by is None:
            return
        kind = self.column(self.partition_by.column).type
        if kind not in ("timestamp", "date"):
            raise Misfit("not a time; expected a timestamp or date column", "partition_by", "column")
        if kind == "date" and self.partition_by.unit == "hour":
            raise Misfit("a date has no hours; expected day, month or year", "partition_by", "unit")

    def _named_columns(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """Yield every column that is named outside of `columns`, with the path to the name."""
        for field in ("key", "cluster_by"):
            for number, name in enumerate(getattr(self, field)):
                yield name, (field, number)
        if self.partition_by:
            yield self.partition_by.column, ("partition_by", "column")
        for position, index in enumerate(self.indexes):
            for number, name in enumerate(index.columns):
                yield name, ("indexes", position, "columns", number)
            for number, name in enumerate(index.include):
                yield name, ("indexes", position, "include", number)


class DatasetSpec(Spec):
    """A file of table declarations: one dataset, some of its tables. Each table is then read as a
    `TableSpec`.
    """

    dataset: Identifier
    description: str = ""
    tables: Annotated[tuple[Any, ...], Field(min_length=1)]
