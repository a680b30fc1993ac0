"""From a `ReadQuery` to a statement and its values.

`not_exists`: source rows without a target row of equal key. `left_anti`: those, and those for which any target row
of the key is older (`target_ts < source_ts`; a NULL time is not stale). Each source row comes at most once; a row
whose key has a NULL part always comes. Keys remembered in `ops.processed_keys` are left out (`left_anti`: while the
source is not newer). With a lookback only the rows of both sides are looked at whose time is not before
`IncrementalRead.since`, or is NULL. Rules and traps: REQUIREMENTS 0.1 to 0.9, T1, T2, T5.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from runner.ddl import PROCESSED_KEYS
from runner.errors import ConfigurationError, Problem
from runner.ports import IncrementalRead, ReadQuery, Release, Statement
from runner.specs import ColumnSpec, TableSpec
from runner.sql import Dialect, Parameters, conditions


def query_columns(query: ReadQuery) -> tuple[str, ...]:
    """Return the columns that a read brings: those asked for, then the missing key columns and `source_ts`.

    Raises `ConfigurationError` where that is none: engines do not agree on rows without columns.
    """
    if query.incremental is None:
        if not query.columns:
            problem = Problem(
                path=str(query.source.ref), message="a read of no column", expected="at least one column"
            )
            raise ConfigurationError([problem])
        return query.columns
    spec = query.incremental.spec
    needed = (*spec.source_key, *((spec.source_ts,) if spec.source_ts else ()))
    return tuple(dict.fromkeys((*query.columns, *needed)))


def read_statement(
    query: ReadQuery, dialect: Dialect, *, remembered: bool = True, row_ids: bool = True
) -> Statement:
    """Return the statement of a read. `remembered`: `ops.processed_keys` exists, so look there too. `row_ids`: the
    source is a table, not a view, so its rows can be found again by their hidden number, where the engine has one:
    then only keys and numbers go through the joins, and the other columns are read for what is new (1M/7M rows and
    a limit of 160 MB: 0.4 s of CPU instead of 1.5 s, since whole rows do not fit into the join).

    Raises `ConfigurationError` when a filter's value or the pair of keys does not fit, or no column is asked for.
    """
    parameters = Parameters(dialect)
    columns = dialect.columns(query_columns(query), "s")
    rows = f"FROM {dialect.qualified(query.source.ref)} AS s"
    lines = [f"SELECT {columns}", rows]
    if query.incremental is None:
        lines += _where(conditions(query.source, query.filters, parameters, "s"))
    elif row_ids and dialect.numbers_rows(query.source.column_names):
        new = [
            f"SELECT s.{dialect.row_id} AS number",
            rows,
            *_new_rows(query, parameters, remembered=remembered),
        ]
        inner = "\n  ".join(new)
        lines.append(f"SEMI JOIN (\n  {inner}\n) AS n ON n.number = s.{dialect.row_id}")
    else:
        lines += _new_rows(query, parameters, remembered=remembered)
    if query.order_by:
        order = [f"s.{dialect.quote(name)}{dialect.nulls_last}" for name in query.order_by]
        lines.append(f"ORDER BY {', '.join(order)}")
    if query.limit is not None:
        lines.append(f"LIMIT {parameters.bind('limit', query.limit, 'int64')}")
    return Statement(text="\n".join(lines), values=parameters.values)


def _new_rows(query: ReadQuery, parameters: Parameters, *, remembered: bool) -> list[str]:
    """Return the joins and conditions that leave the new rows of an incremental query."""
    if query.incremental is None:
        raise ValueError(f"the read of {query.source.ref} is not incremental")
    check_keys(query.source, query.incremental)
    joins, wheres = NewRows(query.incremental, parameters).clauses(remembered=remembered)
    return [*joins, *_where([*source_conditions(query, parameters), *wheres])]


def source_conditions(query: ReadQuery, parameters: Parameters) -> list[str]:
    """Return the conditions on the source rows `s` of a query: its filters, and how far back it looks."""
    found = conditions(query.source, query.filters, parameters, "s")
    read = query.incremental
    if read and read.since and read.spec.lookback:
        found.append(_since(read.since, query.source.column(read.spec.lookback.source), parameters, "s"))
    return found


def _since(since: datetime, column: ColumnSpec, parameters: Parameters, alias: str) -> str:
    """Return the condition that a row is not older than a lookback. A time that is NULL is never too old: its row
    would be lost. Engines skip partitions, index ranges and row groups by a condition of this form, also with its
    second half.
    """
    moment = since.astimezone(UTC)
    bound = parameters.bind("since", moment.date() if column.type == "date" else moment, column.type)
    name = f"{alias}.{parameters.dialect.quote(column.name)}"
    return f"({name} >= {bound} OR {name} IS NULL)"


def _where(conditions_: Sequence[str]) -> list[str]:
    return ["WHERE " + " AND ".join(conditions_)] if conditions_ else []


class NewRows:
    """The pieces of SQL that say which rows `s` of a source are new. One instance a statement.

    The source key has the types of the target key (`check_keys`), so the source's declaration is not needed.
    """

    def __init__(self, read: IncrementalRead, parameters: Parameters) -> None:
        self.read = read
        self.spec = read.spec
        self.parameters = parameters
        self.dialect = parameters.dialect
        self.types = key_types(read)
        self.compares_times = bool(
            read.spec.mode == "left_anti" and read.spec.source_ts and read.spec.target_ts
        )

    def clauses(self, *, remembered: bool) -> tuple[list[str], list[str]]:
        """Return JOIN lines and WHERE conditions that leave only the new rows."""
        joins, wheres = self._stale_or_missing() if self.compares_times else self._missing()
        if remembered and self.dialect.anti_join:
            joins.append(self._unless_remembered())
        elif remembered:
            wheres.append(f"NOT {self.is_remembered()}")
        return joins, wheres

    def source_key(self, alias: str = "s") -> list[str]:
        """Return the source key as the target would write it: a list of expressions."""
        columns = [f"{alias}.{self.dialect.quote(name)}" for name in self.spec.source_key]
        return [self.affixed(columns[0])] if self.spec.key_prefix or self.spec.key_suffix else columns

    def affixed(self, expression: str) -> str:
        """Put the declared prefix and suffix around an expression of a source key's text."""
        if self.spec.key_prefix:
            expression = f"{self.parameters.bind('key_prefix', self.spec.key_prefix)} || {expression}"
        if self.spec.key_suffix:
            expression = f"{expression} || {self.parameters.bind('key_suffix', self.spec.key_suffix)}"
        return expression

    def source_text(self, alias: str = "s") -> str:
        """Return the SQL for the text of the source key, as it is remembered."""
        columns = [f"{alias}.{self.dialect.quote(name)}" for name in self.spec.source_key]
        return self.dialect.key_text(columns, self.types)

    def equal_keys(self, target_alias: str = "t", source_alias: str = "s") -> str:
        """Return the condition that a target row has the key of a source row."""
        pairs = zip(self.spec.target_key, self.source_key(source_alias), strict=True)
        return " AND ".join(f"{target_alias}.{self.dialect.quote(name)} = {key}" for name, key in pairs)

    def target(self, columns: Sequence[str]) -> str:
        """Return what to compare with: the target itself, or the part of it that a rescore has not released and a
        lookback reaches.
        """
        wheres = [f"NOT {self.released('r')}"] if self.read.release else []
        if self.read.since and self.spec.lookback:
            column = self.read.target.column(self.spec.lookback.target)
            wheres.append(_since(self.read.since, column, self.parameters, "r"))
        table = self.dialect.qualified(self.read.target.ref)
        if not wheres:
            return table
        return f"(SELECT {self.dialect.columns(columns, 'r')} FROM {table} AS r WHERE {' AND '.join(wheres)})"

    def released(self, alias: str) -> str:
        """Return the condition, never NULL, that a target row is released by the rescore."""
        release = self.read.release or Release()
        parts = []
        if rows_are_released(release):
            filters = conditions(self.read.target, release.filters, self.parameters, alias)
            parts.append(f"coalesce({' AND '.join(filters)}, FALSE)" if filters else "TRUE")
        if release.quarantined:
            parts.append(f"coalesce({self.target_text(alias)} IN ({self._quarantined()}), FALSE)")
        return f"({' OR '.join(parts)})"

    def target_text(self, alias: str) -> str:
        """Return the SQL for the text of the target key."""
        columns = [f"{alias}.{self.dialect.quote(name)}" for name in self.spec.target_key]
        return self.dialect.key_text(columns, self.types)

    def remembered_keys(self, alias: str = "p") -> str:
        """Return the condition that a row of `ops.processed_keys` belongs to this read."""
        job = self.parameters.bind("job_id", self.read.job_id)
        step = self.parameters.bind("step_id", self.read.step_id)
        return f"{self._processed('job_id', alias)} = {job} AND {self._processed('step_id', alias)} = {step}"

    def _processed(self, name: str, alias: str = "p") -> str:
        return f"{alias}.{self.dialect.quote(name)}"

    def _quarantined(self) -> str:
        processed = self.dialect.qualified(PROCESSED_KEYS.ref)
        return (
            f"SELECT {self.affixed(self._processed('key', 'q'))} FROM {processed} AS q "
            f"WHERE {self.remembered_keys('q')} AND {self._processed('reason', 'q')} = 'quarantined'"
        )

    def _missing(self) -> tuple[list[str], list[str]]:
        if self.dialect.anti_join:
            return [f"ANTI JOIN {self.target(self.spec.target_key)} AS t ON {self.equal_keys()}"], []
        target = self.target(self.spec.target_key)
        return [], [f"NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {self.equal_keys()})"]

    def _stale_or_missing(self) -> tuple[list[str], list[str]]:
        return [self.oldest_target()], [f"({self.is_stale()} OR NOT {self.is_present()})"]

    def oldest_target(self) -> str:
        """Return a LEFT JOIN with one row `t` a target key, with the oldest time of the key if times matter: so no
        source row can come twice (T2).
        """
        key = self.spec.target_key
        columns = tuple(dict.fromkeys((*key, str(self.spec.target_ts)))) if self.compares_times else key
        oldest = (
            f", min(g.{self.dialect.quote(str(self.spec.target_ts))}) AS oldest"
            if self.compares_times
            else ""
        )
        keys = self.dialect.columns(key, "g")
        grouped = f"SELECT {keys}{oldest}, TRUE AS present FROM {self.target(columns)} AS g GROUP BY {keys}"
        return f"LEFT JOIN ({grouped}) AS t ON {self.equal_keys()}"

    def is_present(self) -> str:
        """Return the condition, never NULL, that `oldest_target` found a row."""
        return "(t.present IS NOT NULL)"

    def is_stale(self) -> str:
        """Return the condition, never NULL, that a target row is older than the source row."""
        if not self.compares_times:
            return "FALSE"
        return f"coalesce(t.oldest < s.{self.dialect.quote(str(self.spec.source_ts))}, FALSE)"

    def has_null(self, alias: str) -> str:
        """Return the condition that a part of the source key is NULL."""
        return (
            "("
            + " OR ".join(f"{alias}.{self.dialect.quote(name)} IS NULL" for name in self.spec.source_key)
            + ")"
        )

    def is_remembered(self) -> str:
        """Return the condition that the key of `s` is remembered and still holds."""
        return f"EXISTS (SELECT 1 FROM {self._remembered()} WHERE {self._matches_remembered()})"

    def _unless_remembered(self) -> str:
        return f"ANTI JOIN {self._remembered()} ON {self._matches_remembered()}"

    def _remembered(self) -> str:
        names = f"{self._processed('key')}, {self._processed('source_ts')}"
        keys = f"SELECT {names} FROM {self.dialect.qualified(PROCESSED_KEYS.ref)} AS p"
        return f"({keys} WHERE {self._still_remembered()}) AS p"

    def _matches_remembered(self) -> str:
        condition = f"{self._processed('key')} = {self.source_text()}"
        if self.spec.mode == "left_anti" and self.spec.source_ts:
            newer = f"{self._processed('source_ts')} < s.{self.dialect.quote(self.spec.source_ts)}"
            condition += f" AND NOT coalesce({newer}, FALSE)"
        return condition

    def _still_remembered(self) -> str:
        """Which remembered keys hold: all of the read's, but for those that a rescore releases."""
        condition = self.remembered_keys()
        release = self.read.release
        if release is None:
            return condition
        if not release.quarantined and not release.filters:
            return f"{condition} AND FALSE"
        if release.quarantined:
            condition += f" AND {self._processed('reason')} <> 'quarantined'"
        if release.filters:
            # A key whose row is released must not be held back because another of its rows was quarantined.
            key = self.affixed(self._processed("key"))
            target = self.dialect.qualified(self.read.target.ref)
            condition += (
                f" AND {key} NOT IN (SELECT {self.target_text('x')} FROM {target} AS x "
                f"WHERE {self.target_text('x')} IS NOT NULL AND {self.released('x')})"
            )
        return condition


def rows_are_released(release: Release) -> bool:
    """Tell whether a rescore releases target rows by its filters; without filters and without `quarantined` it
    releases all rows and all remembered keys.
    """
    return bool(release.filters) or not release.quarantined


def key_types(read: IncrementalRead) -> tuple[str, ...]:
    """Return the declared types of the target key, which are those of the source key too."""
    return tuple(_type(read.target, name) for name in read.spec.target_key)


def check_keys(source: TableSpec, read: IncrementalRead) -> None:
    """Compare the declared types of the source key with those of the target key.

    Raises `ConfigurationError` for unknown columns, keys of different length or type, and a prefix or suffix on
    anything but a single string key.
    """
    spec = read.spec
    source_types = tuple(_type(source, name) for name in spec.source_key)
    target_types = key_types(read)
    pair = (
        f"{source.ref}({', '.join(spec.source_key)}) against {read.target.ref}({', '.join(spec.target_key)})"
    )
    if source_types != target_types:
        found = f"{', '.join(source_types)} against {', '.join(target_types)}"
        raise ConfigurationError(
            [Problem(message=f"keys of different types: {pair}: {found}", expected="equal types")]
        )
    if (spec.key_prefix or spec.key_suffix) and source_types != ("string",):
        problem = f"key_prefix and key_suffix do not fit the key {pair}: {', '.join(source_types)}"
        raise ConfigurationError([Problem(message=problem, expected="a single string key")])


def _type(table: TableSpec, name: str) -> str:
    try:
        return table.column(name).type
    except KeyError:
        expected = f"one of {', '.join(table.column_names)}"
        raise ConfigurationError(
            [Problem(path=f"{table.ref}.{name}", message="is not a declared column", expected=expected)]
        ) from None
