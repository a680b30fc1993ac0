"""What `doctor` asks: both sides of an incremental read, as text, so that keys of different types can be compared.

At most four statements for any engine: figures, samples, and where nothing explains a key without a counterpart, the
target keys that contain one and what each prefix or suffix found would match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.errors import ConfigurationError, Problem
from runner.incremental.repairs import PROBES, SAMPLED, affixes
from runner.ports import IncrementalRead, KeyProfile, ReadQuery, Statement, TableShape
from runner.specs import TableRef, TableSpec
from runner.sql import Dialect, Parameters, conditions

SAMPLES = 5

Fetch = Callable[[Statement], Sequence[tuple[Any, ...]]]
"""Sends a statement and returns its rows. Blocks."""


def key_profile(
    query: ReadQuery, dialect: Dialect, fetch: Fetch, shapes: Mapping[TableRef, TableShape]
) -> KeyProfile:
    """Measure both sides of an incremental query. Blocks. `shapes`: those of its source and target.

    Raises `ConfigurationError` for a query that is none, `KeyError` for a table that is not in `shapes`.
    """
    if query.incremental is None:
        raise ConfigurationError([Problem(message=f"the read of {query.source.ref} is not incremental")])
    return _Profiler(query, query.incremental, dialect, fetch).run(shapes)


class _Profiler:
    """One profile. `raw` is the text of a source key, `key` the same with prefix and suffix."""

    def __init__(self, query: ReadQuery, read: IncrementalRead, dialect: Dialect, fetch: Fetch) -> None:
        self._query = query
        self._read = read
        self._spec = read.spec
        self._dialect = dialect
        self._fetch = fetch

    def run(self, shapes: Mapping[TableRef, TableShape]) -> KeyProfile:
        """Measure."""
        figures = self._figures()
        samples = self._samples()
        sampled, repairs = self._repairs(samples["unmatched"])
        return KeyProfile(
            source_rows=figures[0], source_distinct=figures[1], source_nulls=figures[2],
            target_rows=figures[3], target_distinct=figures[4], target_nulls=figures[5], matched=figures[6],
            source_type=_types(shapes[self._query.source.ref], self._spec.source_key),
            target_type=_types(shapes[self._read.target.ref], self._spec.target_key),
            source_samples=samples["source"], target_samples=samples["target"],
            sampled=sampled, repairs=repairs,
        )  # fmt: skip

    def _figures(self) -> list[int]:
        """Return rows, distinct and NULL keys of source and target, and the keys that both have."""
        counts = "count(*) AS n, count(DISTINCT key) AS d, count(*) - count(key) AS u"
        text = (
            "SELECT s.n AS source_rows, s.d AS source_keys, s.u AS source_nulls, t.n AS target_rows, "
            "t.d AS target_keys, t.u AS target_nulls, m.n AS matched "
            f"FROM (SELECT {counts} FROM key_source) AS s, (SELECT {counts} FROM key_target) AS t, "
            "(SELECT count(DISTINCT key) AS n FROM key_source WHERE key IN (SELECT key FROM key_target)) AS m"
        )
        return [int(value) for value in self._ask(text)[0]]

    def _samples(self) -> dict[str, tuple[str, ...]]:
        """Return some keys of both sides, and source keys without a counterpart, each in order."""
        first = "(SELECT DISTINCT {0} FROM key_{1} WHERE {0} IS NOT NULL ORDER BY {0} LIMIT {2}) AS f"
        parts = (
            f"SELECT 'source' AS side, raw AS text FROM {first.format('raw', 'source', SAMPLES)}",
            f"SELECT 'target' AS side, key AS text FROM {first.format('key', 'target', SAMPLES)}",
            "SELECT 'unmatched' AS side, raw AS text FROM key_sample AS f",
        )
        rows = self._ask("\nUNION ALL ".join(parts))
        return {
            side: tuple(sorted(text for found, text in rows if found == side))
            for side in ("source", "target", "unmatched")
        }

    def _repairs(self, sample: Sequence[str]) -> tuple[int, tuple[tuple[str, str, int], ...]]:
        """Look for some source keys inside target keys, then count what each pair found would match."""
        if len(self._spec.source_key) != 1:
            return 0, ()
        probes = [key for key in sample if key][:PROBES]
        if not probes:
            return len(sample), ()
        pairs = affixes(probes, self._near(probes))
        measured = list(zip(pairs, self._would_match(pairs), strict=True)) if pairs else []
        measured.sort(key=lambda repair: -repair[1])
        return len(sample), tuple((*pair, matches) for pair, matches in measured if matches)

    def _near(self, probes: Sequence[str]) -> list[str]:
        """Return target keys that contain one of these texts."""
        parameters = self._parameters()
        inside = " OR ".join(f"strpos(key, {parameters.bind('probe', key)}) > 0" for key in probes)
        text = f"SELECT DISTINCT key FROM key_target WHERE {inside} LIMIT {SAMPLED}"
        return [key for (key,) in self._ask(text, parameters)]

    def _would_match(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        parameters = self._parameters()
        counts = []
        for number, (prefix, suffix) in enumerate(pairs):
            key = f"{parameters.bind('prefix', prefix)} || raw || {parameters.bind('suffix', suffix)}"
            match = f"SELECT count(*) AS n FROM key_sample WHERE {key} IN (SELECT key FROM key_target)"
            counts.append(f"SELECT {number} AS number, n FROM ({match}) AS m")
        found = dict(self._ask("\nUNION ALL ".join(counts), parameters))
        return [int(found[number]) for number in range(len(pairs))]

    def _parameters(self) -> Parameters:
        return Parameters(self._dialect)

    def _ask(self, text: str, parameters: Parameters | None = None) -> Sequence[tuple[Any, ...]]:
        """Send a question about the relations `key_source`, `key_target` and `key_sample`."""
        parameters = parameters or self._parameters()
        spec, dialect = self._spec, self._dialect
        where = " AND ".join(conditions(self._query.source, self._query.filters, parameters, "s")) or "TRUE"
        raw = self._text(self._query.source, spec.source_key, "s")
        before, after = (
            parameters.bind("key_prefix", spec.key_prefix),
            parameters.bind("key_suffix", spec.key_suffix),
        )
        source = f"SELECT {raw} AS raw FROM {dialect.qualified(self._query.source.ref)} AS s WHERE {where}"
        key = self._text(self._read.target, spec.target_key, "t")
        relations = (
            f"WITH key_source AS (SELECT raw, {before} || raw || {after} AS key FROM ({source}) AS r),\n"
            f"key_target AS (SELECT {key} AS key FROM {dialect.qualified(self._read.target.ref)} AS t),\n"
            "key_sample AS (SELECT DISTINCT s.raw FROM key_source AS s WHERE s.raw IS NOT NULL AND NOT EXISTS "
            f"(SELECT 1 FROM key_target AS t WHERE t.key = s.key) ORDER BY s.raw LIMIT {SAMPLED})\n"
        )
        return self._fetch(Statement(text=relations + text, values=parameters.values))

    def _text(self, table: TableSpec, key: Sequence[str], alias: str) -> str:
        return self._dialect.key_text(
            [f"{alias}.{self._dialect.quote(name)}" for name in key],
            [table.column(name).type for name in key],
        )


def _types(shape: TableShape, key: Sequence[str]) -> str:
    return ", ".join(shape.columns[name] for name in key)
