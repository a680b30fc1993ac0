"""What `doctor` asks: both sides of an incremental read, as text, so that keys of different types can be compared."""

from __future__ import annotations

from typing import Any

from runner.errors import ConfigurationError, Problem
from runner.incremental import PROBES, SAMPLED, affixes
from runner.ports import IncrementalRead, KeyProfile, ReadQuery, Statement
from runner.specs import TableSpec
from runner.sql import DUCKDB, Parameters, conditions, qualified, quote
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.measures import fetch
from runner.warehouses.duckdb.shapes import inspect

SAMPLES = 5


class Profiler:
    """One profile, on one cursor. Blocks. Makes two temporary tables of keys and drops them."""

    def __init__(self, cursor: Cursor, query: ReadQuery, read: IncrementalRead) -> None:
        self._cursor = cursor
        self._query = query
        self._read = read
        self._spec = read.spec

    def run(self) -> KeyProfile:
        """Measure."""
        try:
            self._make_sides()
            source, target = self._side("profile_source"), self._side("profile_target")
            matched = self._value(
                "SELECT count(DISTINCT s.key) FROM profile_source AS s SEMI JOIN profile_target AS t USING (key)"
            )
            sampled, repairs = self._repairs()
            source_type, target_type = self._types()
        finally:
            for name in ("profile_source", "profile_target"):
                self._cursor.execute(f"DROP TABLE IF EXISTS {name}")
        return KeyProfile(
            source_rows=source[0], source_distinct=source[1], source_nulls=source[2],
            target_rows=target[0], target_distinct=target[1], target_nulls=target[2],
            matched=matched, source_type=source_type, target_type=target_type,
            source_samples=self._source_samples, target_samples=self._target_samples,
            sampled=sampled, repairs=repairs,
        )  # fmt: skip

    def _make_sides(self) -> None:
        """`raw` is the text of a source key, `key` the same with prefix and suffix."""
        spec, parameters = self._spec, Parameters(DUCKDB)
        where = " AND ".join(conditions(self._query.source, self._query.filters, parameters, "s")) or "TRUE"
        raw = self._text(self._query.source, spec.source_key, "s")
        prefix, suffix = (
            parameters.bind("key_prefix", spec.key_prefix),
            parameters.bind("key_suffix", spec.key_suffix),
        )
        text = (
            f"CREATE TEMP TABLE profile_source AS SELECT {raw} AS raw, {prefix} || {raw} || {suffix} AS key "
            f"FROM {qualified(self._query.source.ref)} AS s WHERE {where}"
        )
        fetch(self._cursor, Statement(text=text, values=parameters.values))
        key = self._text(self._read.target, spec.target_key, "t")
        self._cursor.execute(
            f"CREATE TEMP TABLE profile_target AS SELECT {key} AS key FROM {qualified(self._read.target.ref)} AS t"
        )
        self._source_samples = self._texts(
            f"SELECT DISTINCT raw FROM profile_source WHERE raw IS NOT NULL ORDER BY raw LIMIT {SAMPLES}"
        )
        self._target_samples = self._texts(
            f"SELECT DISTINCT key FROM profile_target WHERE key IS NOT NULL ORDER BY key LIMIT {SAMPLES}"
        )

    def _side(self, name: str) -> tuple[int, int, int]:
        rows = self._cursor.execute(
            f"SELECT count(*), count(DISTINCT key), count(*) - count(key) FROM {name}"
        ).fetchall()
        return rows[0][0], rows[0][1], rows[0][2]

    def _repairs(self) -> tuple[int, tuple[tuple[str, str, int], ...]]:
        """Look for some source keys inside target keys, then count what each pair found would match."""
        if len(self._spec.source_key) != 1:
            return 0, ()
        sample = self._texts(
            "SELECT DISTINCT s.raw FROM profile_source AS s ANTI JOIN profile_target AS t USING (key) "
            f"WHERE s.raw IS NOT NULL ORDER BY s.raw LIMIT {SAMPLED}"
        )
        probes = [key for key in sample if key][:PROBES]
        if not probes:
            return len(sample), ()
        inside = " OR ".join(f"contains(t.key, $probe_{n})" for n in range(len(probes)))
        values = {f"probe_{n}": key for n, key in enumerate(probes)}
        near = self._texts(
            f"SELECT DISTINCT t.key FROM profile_target AS t WHERE {inside} LIMIT {SAMPLED}", values
        )
        measured = [
            (prefix, suffix, self._would_match(sample, prefix, suffix))
            for prefix, suffix in affixes(probes, near)
        ]
        measured.sort(key=lambda repair: -repair[2])
        return len(sample), tuple(repair for repair in measured if repair[2])

    def _would_match(self, sample: tuple[str, ...], prefix: str, suffix: str) -> int:
        return self._value(
            "SELECT count(*) FROM (SELECT $prefix || unnest($sample) || $suffix AS key) AS s "
            "SEMI JOIN profile_target AS t USING (key)",
            {"prefix": prefix, "sample": list(sample), "suffix": suffix},
        )

    def _types(self) -> tuple[str, str]:
        source, target = self._query.source.ref, self._read.target.ref
        shapes = inspect(self._cursor, [source, target])
        return (
            ", ".join(shapes[source].columns[name] for name in self._spec.source_key),
            ", ".join(shapes[target].columns[name] for name in self._spec.target_key),
        )

    def _text(self, table: TableSpec, key: tuple[str, ...], alias: str) -> str:
        return DUCKDB.key_text(
            [f"{alias}.{quote(name)}" for name in key], [table.column(name).type for name in key]
        )

    def _texts(self, text: str, values: dict[str, Any] | None = None) -> tuple[str, ...]:
        return tuple(row[0] for row in self._cursor.execute(text, values).fetchall())

    def _value(self, text: str, values: dict[str, Any] | None = None) -> int:
        return int(self._cursor.execute(text, values).fetchall()[0][0])


def profile(cursor: Cursor, query: ReadQuery) -> KeyProfile:
    """Measure both sides of an incremental query. Raises `ConfigurationError` for a query that is none."""
    if query.incremental is None:
        raise ConfigurationError([Problem(message=f"the read of {query.source.ref} is not incremental")])
    return Profiler(cursor, query, query.incremental).run()
