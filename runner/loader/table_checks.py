"""Tables and columns that the steps of a job name, against the declarations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.errors import did_you_mean
from runner.loader.declarations import LoadedJob, Reading
from runner.loader.expectation_checks import ExpectationChecks
from runner.loader.nodes import Path, shorten
from runner.loader.values import filter_value
from runner.specs import (
    ENGINE_DATASET,
    CheckSpec,
    ColumnSpec,
    Cursor,
    ExtractSpec,
    Filter,
    Incremental,
    Lookback,
    ReadSpec,
    Step,
    TableRef,
    TableSpec,
    WriteSpec,
)

KEYED = ("string", "int64", "numeric", "bool", "timestamp", "date", "bytes")
"""Types of incremental keys: those whose text is one and the same in Python and in each engine's SQL."""

_TIMES = ("timestamp", "date")
_SHOWN_NAMES = 12


@dataclass(slots=True)
class TableChecks:
    """Checks of one job. `step` returns a step with its values typed by their columns. `engine`: the warehouse's."""

    job: LoadedJob
    reading: Reading
    engine: str

    def step(self, number: int, step: Step) -> Step:
        """Check whatever a step says about tables."""
        path: Path = ("steps", number)
        match step:
            case ReadSpec():
                return self._read(path, step)
            case ExtractSpec():
                return self._extract(path, step)
            case WriteSpec():
                self._write(path, step)
            case CheckSpec():
                return self._check(path, step)
        return step

    # --- steps ---

    def _read(self, path: Path, step: ReadSpec) -> ReadSpec:
        source = self._table(path, step.ref)
        if source is None:
            if step.incremental:
                self._incremental((*path, "incremental"), step.incremental, None)
            return step
        self._columns((*path, "columns"), step.columns, source)
        for column in self._columns((*path, "order_by"), step.order_by, source):
            if column.type == "json":
                self._add((*path, "order_by"), f"{column.name!r} is json, which has no order")
        if step.incremental:
            self._incremental((*path, "incremental"), step.incremental, source)
        return step.model_copy(update={"filters": self._filters((*path, "filters"), step.filters, source)})

    def _check(self, path: Path, step: CheckSpec) -> CheckSpec:
        table = self._table(path, step.ref) if step.ref else None
        if step.ref and table is None:
            return step
        checked = ExpectationChecks(self.job, self.reading, self.engine).typed(path, step, table)
        if table is None:
            return checked
        return checked.model_copy(update={"filters": self._filters((*path, "filters"), step.filters, table)})

    def _extract(self, path: Path, step: ExtractSpec) -> ExtractSpec:
        if step.incremental:
            place = (*path, "incremental")
            if step.incremental.mode != "not_exists":
                message = "rows from outside are compared by key only"
                self._add((*place, "mode"), message, expected="not_exists")
            if step.incremental.lookback and step.incremental.lookback.source_column:
                message = "of rows from outside only the target is a table"
                expected = f"column: {step.incremental.lookback.target}"
                self._add((*place, "lookback", "source_column"), message, expected=expected)
            self._incremental(place, step.incremental, None)
        if step.cursor:
            return step.model_copy(update={"cursor": self._cursor((*path, "cursor"), step.cursor)})
        return step

    def _cursor(self, path: Path, cursor: Cursor) -> Cursor:
        table = self._table(path, cursor.ref)
        if table is None:
            return cursor
        for column in self._columns((*path, "column"), (cursor.column,), table):
            if column.type in ("json", "bytes", "bool"):
                message = f"{column.name!r} is {column.type}, which has no greatest value"
                self._add((*path, "column"), message)
        for column in self._columns((*path, "by"), (cursor.by,) if cursor.by else (), table):
            if column.type == "json":
                self._add((*path, "by"), f"{column.name!r} is json, which cannot be a key")
        return cursor.model_copy(update={"filters": self._filters((*path, "filters"), cursor.filters, table)})

    def _write(self, path: Path, step: WriteSpec) -> None:
        if step.dataset == ENGINE_DATASET:
            message = f"dataset {ENGINE_DATASET!r} belongs to the engine: it can be read, not written"
            self._add((*path, "dataset"), message)
            return
        table = self._table(path, step.ref)
        if table is None:
            return
        key = step.key or table.key
        if step.mode not in ("append", "replace") and not key:
            message = f"mode {step.mode} needs a key, and {table.ref} declares none"
            self._add(path, message, expected="key: [COLUMN, …]")
        for column in self._columns((*path, "key"), step.key, table):
            if column.type == "json":
                self._add((*path, "key"), f"{column.name!r} is json, which cannot be a key")
        self._stamps(path, step, table, key)

    def _stamps(self, path: Path, step: WriteSpec, table: TableSpec, key: Sequence[str]) -> None:
        for name, columns in (("set_on_insert", step.set_on_insert), ("set_on_write", step.set_on_write)):
            for column in self._columns((*path, name), columns, table):
                place = self._item((*path, name), columns.index(column.name))
                if column.type != "timestamp":
                    message = f"{column.name!r} is {column.type}; the engine stamps the time of the job"
                    self._add(place, message, expected="a timestamp column")
                if column.name in key:
                    self._add(
                        place, f"{column.name!r} is part of the key", expected="a column outside of the key"
                    )
        for number, column_name in enumerate(step.set_on_write):
            if column_name in step.set_on_insert:
                place = self._item((*path, "set_on_write"), number)
                message = f"{column_name!r} stands in set_on_insert too"
                self._add(place, message, expected="each column in one of them")

    # --- incremental reads ---

    def _incremental(self, path: Path, spec: Incremental, source: TableSpec | None) -> None:
        target = self._table(path, spec.target, prefix="target_")
        source_keys = self._columns((*path, "source_key"), spec.source_key, source) if source else []
        target_keys = self._columns((*path, "target_key"), spec.target_key, target) if target else []
        if len(source_keys) == len(target_keys) == len(spec.source_key):
            for number, (ours, theirs) in enumerate(zip(source_keys, target_keys, strict=True)):
                self._same_type(self._item((*path, "target_key"), number), ours, theirs)
        self._keys((*path, "source_key"), spec.source_key, source_keys)
        self._keys((*path, "target_key"), spec.target_key, target_keys)
        self._key_texts(path, spec, [*source_keys, *target_keys])
        stamps = [
            column
            for name, column_name, table in (
                ("source_ts", spec.source_ts, source),
                ("target_ts", spec.target_ts, target),
            )
            if column_name and table
            for column in self._stamp((*path, name), column_name, table)
        ]
        if len(stamps) == 2:
            self._same_type((*path, "target_ts"), stamps[0], stamps[1])
        if spec.lookback:
            self._lookback((*path, "lookback"), spec.lookback, source, target)

    def _keys(self, path: Path, names: Sequence[str], columns: Iterable[ColumnSpec]) -> None:
        """Refuse types whose keys cannot be remembered: their text is not the same in Python and in each engine."""
        for column in columns:
            if column.type not in KEYED:
                place = self._item(path, names.index(column.name))
                message = f"{column.name!r} is {column.type}, which cannot be a key"
                self._add(place, message, expected=f"a column of type {', '.join(KEYED[:-1])} or {KEYED[-1]}")

    def _lookback(
        self, path: Path, lookback: Lookback, source: TableSpec | None, target: TableSpec | None
    ) -> None:
        """Check the time column of each side. Their types may differ: each is compared with a value, not the other."""
        sides = (("source_column", lookback.source, source), ("target_column", lookback.target, target))
        for side, name, table in sides:
            if table:
                self._stamp((*path, "column" if lookback.column else side), name, table)

    def _stamp(self, path: Path, name: str, table: TableSpec) -> list[ColumnSpec]:
        found = self._columns(path, (name,), table)
        for column in found:
            if column.type not in _TIMES:
                message = f"{name!r} is {column.type}"
                self._add(path, message, expected="a timestamp or date column")
                return []
        return found

    def _same_type(self, path: Path, source: ColumnSpec, target: ColumnSpec) -> None:
        if source.type != target.type and "json" not in (source.type, target.type):
            message = (
                f"{source.name!r} of the source is {source.type} and {target.name!r} of the target is"
                f" {target.type}: they are compared only within one type"
            )
            self._add(path, message, expected=f"a {source.type} column")

    def _key_texts(self, path: Path, spec: Incremental, columns: Iterable[ColumnSpec]) -> None:
        """Prefix and suffix are text: only string keys can have them."""
        wrong = [column for column in columns if column.type != "string"]
        if not wrong:
            return
        for name in ("key_prefix", "key_suffix", "join_key_suffix"):
            if getattr(spec, name.removeprefix("join_")) and self._there((*path, name)):
                message = f"{name} needs string keys, and {wrong[0].name!r} is {wrong[0].type}"
                self._add((*path, name), message)

    # --- tables, columns, values ---

    def _table(self, path: Path, ref: TableRef, prefix: str = "") -> TableSpec | None:
        table = self.reading.table(ref)
        if table is not None or ref.dataset in self.reading.broken:
            return table
        datasets = [*self.reading.index.tables, ENGINE_DATASET]
        if ref.dataset not in datasets:
            place = (*path, f"{prefix}dataset")
            hint = did_you_mean(ref.dataset, datasets)
            message = f"there is no dataset {ref.dataset!r}"
            self._add(
                place,
                message,
                expected="" if hint else f"a file configs/tables/{ref.dataset}.yaml",
                hint=hint,
            )
            return None
        names = [other.table for other in self.reading.dataset(ref.dataset)]
        hint = did_you_mean(ref.table, names)
        message = f"dataset {ref.dataset!r} declares no table {ref.table!r}"
        self._add((*path, f"{prefix}table"), message, expected="" if hint else _one_of(names), hint=hint)
        return None

    def _columns(self, path: Path, names: Sequence[str], table: TableSpec) -> list[ColumnSpec]:
        """Return the declared columns of these names; what is missing or double is reported."""
        found: list[ColumnSpec] = []
        for number, name in enumerate(names):
            column = next((column for column in table.columns if column.name == name), None)
            if column is None:
                hint = did_you_mean(name, table.column_names)
                expected = "" if hint else _one_of(table.column_names)
                message = f"table {table.ref} has no column {name!r}"
                self._add(self._item(path, number), message, expected=expected, hint=hint)
            elif name in names[:number]:
                self._add(self._item(path, number), f"column {name!r} stands here twice")
            else:
                found.append(column)
        return found

    def _filters(self, path: Path, filters: Sequence[Filter], table: TableSpec) -> tuple[Filter, ...]:
        """Return the filters with values of the type of their column."""
        typed = []
        for number, item in enumerate(filters):
            value_path, column_path = self._filter_places(path, number)
            column = next((column for column in table.columns if column.name == item.column), None)
            if column is None:
                hint = did_you_mean(item.column, table.column_names)
                expected = "" if hint else _one_of(table.column_names)
                message = f"table {table.ref} has no column {item.column!r}"
                at_key = column_path == value_path
                self._add(column_path, message, expected=expected, hint=hint, at_key=at_key)
            elif column.type in ("json", "bytes"):
                self._add(column_path, f"{item.column!r} is {column.type}, which cannot stand in a filter")
            else:
                typed.append(self._typed(value_path, item, column, table))
        return tuple(typed)

    def _typed(self, path: Path, item: Filter, column: ColumnSpec, table: TableSpec) -> Filter:
        values = item.value if item.op == "in" else [item.value]
        typed = []
        for number, value in enumerate(values):
            try:
                typed.append(filter_value(table, column, value))
            except ValueError as error:
                place = self._item(path, number) if item.op == "in" else path
                message = f"{shorten(value)} does not fit column {column.name!r} of type {column.type}"
                self._add(place, message, expected=str(error))
        return item.model_copy(
            update={"value": typed if item.op == "in" else typed[0] if typed else item.value}
        )

    def _filter_places(self, path: Path, number: int) -> tuple[Path, Path]:
        """Return the paths of value and column of a filter, in the short form or the long one."""
        node = self.job.document.root.nearest(path).value
        if isinstance(node, dict):
            place = (*path, list(node)[number])
            return place, place
        return (*path, number, "value"), (*path, number, "column")

    def _item(self, path: Path, number: int) -> Path:
        """Return the path of an entry, or of the single name that stands for a list of one."""
        node = self.job.document.root.nearest(path)
        return (*path, number) if isinstance(node.value, list) else path

    def _there(self, path: Path) -> bool:
        return self.job.document.root.nearest(path[:-1]).child(path[-1]) is not None

    def _add(
        self, path: Path, message: str, *, expected: str = "", hint: str = "", at_key: bool = False
    ) -> None:
        self.reading.report.add(self.job.document, path, message, expected=expected, hint=hint, at_key=at_key)


def _one_of(names: Sequence[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:_SHOWN_NAMES])
    return f"one of {shown}" + (f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else "")
