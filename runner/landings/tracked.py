"""What a landing says about the keys of a tracked read: figures, keys to remember, rows that a rescore released.

The keys are worked out once, before anything changes, into the relations `read` and `landed` (`KeyRelations`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from runner.ddl import PROCESSED_KEYS
from runner.incremental import NewRows
from runner.landings.relations import KeyRelations, StagedRows, bound
from runner.ports import KeyMatch, KeyTracking, LandingSpec, Statement
from runner.sql import Dialect, Parameters

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 3
"""Keys that are shown of either side."""


class TrackedKeys:
    """The statements about one tracked read in one landing."""

    def __init__(self, tracking: KeyTracking, relations: KeyRelations, dialect: Dialect) -> None:
        self.read = tracking.read
        self._target = tracking.target
        self._names = relations
        self._dialect = dialect
        self._parts = [dialect.quote(f"k{number}") for number in range(len(tracking.read.spec.source_key))]
        self._key = dialect.quote("key")
        self._source_ts = dialect.quote("source_ts")

    def read_keys(self, parameters: Parameters, *, times: bool) -> Statement:
        """Return the query for the relation `read`. `times`: the column `source_ts` of the staged keys holds times;
        nothing else can be remembered as such.
        """
        new = NewRows(self.read, parameters)
        parts = [f"{value} AS {name}" for value, name in zip(new.source_key("s"), self._parts, strict=True)]
        moment = self._dialect.types["timestamp"]
        latest = f"max(s.{self._dialect.quote(str(self.read.spec.source_ts))})" if times else "NULL"
        groups = ", ".join(str(place) for place in range(1, len(parts) + 2))
        return bound(
            f"SELECT {', '.join(parts)}, {new.source_text('s')} AS {self._key}, "
            f"CAST({latest} AS {moment}) AS {self._source_ts} FROM {self._names.staged} AS s "
            f"WHERE {self._present('s', self.read.spec.source_key)} GROUP BY {groups}",
            parameters,
        )

    def has_times(self, keys: pa.Schema) -> bool:
        """Tell whether the column `source_ts` of staged keys holds times."""
        from pyarrow import types

        name = self.read.spec.source_ts
        return name is not None and types.is_temporal(keys.field(name).type)

    def landed_keys(self, rows: StagedRows | None) -> Statement:
        """Return the query for the relation `landed`, from the staged rows of the read's target. None: no row was
        staged, and the relation is made from `read`, which must be there.
        """
        if rows is None:
            parts = ", ".join(f"r.{part}" for part in self._parts)
            return Statement(text=f"SELECT {parts} FROM {self._names.read} AS r WHERE FALSE")
        names = self.read.spec.target_key
        parts = ", ".join(
            f"s.{self._dialect.quote(name)} AS {part}" for name, part in zip(names, self._parts, strict=True)
        )
        text = f"SELECT DISTINCT {parts} FROM {rows.relation} AS s WHERE {self._present('s', names)}"
        return Statement(text=text)

    def match(self, parameters: Parameters) -> Statement:
        """Return the query for the figures, as rows of `what`, `number` and `sample`: see `match_of`."""
        names = self._names
        null_keys = f"NOT ({self._present('s', self.read.spec.source_key)})"
        types = NewRows(self.read, parameters).types
        landed_text = self._dialect.key_text([f"l.{part}" for part in self._parts], types)
        lines = [
            self._counted("read", f"{names.read} AS r"),
            self._counted("staged", f"{names.landed} AS l"),
            self._counted("matched", f"{names.read} AS r JOIN {names.landed} AS l ON {self._same()}"),
            self._counted("null_keys", f"{names.staged} AS s WHERE {null_keys}"),
            self._sampled("read", f"SELECT r.{self._key} FROM {names.read} AS r"),
            self._sampled("staged", f"SELECT {landed_text} AS {self._key} FROM {names.landed} AS l"),
        ]
        return bound("\nUNION ALL ".join(lines), parameters)

    def delete_released(self, parameters: Parameters) -> Statement | None:
        """Return the statement that deletes the target rows of the keys read that a rescore released; None: this is
        no rescore, or the job does not write the target.
        """
        if self.read.release is None or self._target is None:
            return None
        pairs = zip(self.read.spec.target_key, self._parts, strict=True)
        equal = " AND ".join(f"t.{self._dialect.quote(name)} = r.{part}" for name, part in pairs)
        return bound(
            f"DELETE FROM {self._dialect.qualified(self.read.target.ref)} AS t "
            f"WHERE {NewRows(self.read, parameters).released('t')} "
            f"AND EXISTS (SELECT 1 FROM {self._names.read} AS r WHERE {equal})",
            parameters,
        )

    def forget(self, parameters: Parameters) -> Statement:
        """Return the statement that deletes what is remembered of the keys read."""
        return bound(
            f"DELETE FROM {self._dialect.qualified(PROCESSED_KEYS.ref)} AS p "
            f"WHERE {NewRows(self.read, parameters).remembered_keys('p')} "
            f"AND p.{self._key} IN (SELECT r.{self._key} FROM {self._names.read} AS r)",
            parameters,
        )

    def remember(
        self, landing: LandingSpec, parameters: Parameters, *, ineffective: bool | None = None
    ) -> Statement:
        """Return the statement that remembers keys without a row, after `forget`.

        A key with a refused row is quarantined. A key without a row in the target is empty, but not when the read is
        `ineffective` (`KeyMatch.ineffective`): then the keys do not fit each other, and remembering would hide it.
        None: the statement finds that out itself.
        """
        columns = ("job_id", "step_id", "key", "reason", "source_ts", "run_id", "recorded_at")
        job, step = (
            parameters.bind(name, value)
            for name, value in (("job_id", self.read.job_id), ("step_id", self.read.step_id))
        )
        run = parameters.bind("run_id", landing.run_id)
        stamp = parameters.bind("stamp", landing.stamp, "timestamp")
        bad = f"SELECT DISTINCT q.{self._key} AS {self._key} FROM {self._names.bad} AS q"
        remembered = f"b.{self._key} IS NOT NULL"
        return bound(
            f"INSERT INTO {self._dialect.qualified(PROCESSED_KEYS.ref)} ({self._dialect.columns(columns)}) "
            f"SELECT {job}, {step}, r.{self._key}, CASE WHEN {remembered} THEN 'quarantined' ELSE 'empty' END, "
            f"r.{self._source_ts}, {run}, {stamp} FROM {self._names.read} AS r "
            f"LEFT JOIN ({bad}) AS b ON b.{self._key} = r.{self._key} "
            f"LEFT JOIN {self._names.landed} AS l ON {self._same()} "
            f"WHERE {remembered}{self._or_empty(ineffective)}",
            parameters,
        )

    def _or_empty(self, ineffective: bool | None) -> str:
        if self._target is None or not self.read.spec.remember_empty or ineffective:
            return ""
        empty = f"l.{self._parts[0]} IS NULL"
        return f" OR {empty}" if ineffective is False else f" OR ({empty} AND {self._effective()})"

    def _effective(self) -> str:
        """That the read is not ineffective, as a condition."""
        names = self._names
        matched = f"SELECT 1 FROM {names.read} AS r2 JOIN {names.landed} AS l2 ON {self._same('r2', 'l2')}"
        return f"(NOT EXISTS (SELECT 1 FROM {names.landed}) OR EXISTS ({matched}))"

    def _counted(self, what: str, rows: str) -> str:
        text = self._dialect.types["string"]
        return f"SELECT '{what}' AS what, count(*) AS number, CAST(NULL AS {text}) AS sample FROM {rows}"

    def _sampled(self, what: str, keys: str) -> str:
        ordered = f"SELECT k.{self._key} FROM ({keys}) AS k ORDER BY k.{self._key} LIMIT {SAMPLES}"
        return f"SELECT '{what}_sample', 0, n.{self._key} FROM ({ordered}) AS n"

    def _present(self, alias: str, names: Sequence[str]) -> str:
        return " AND ".join(f"{alias}.{self._dialect.quote(name)} IS NOT NULL" for name in names)

    def _same(self, read: str = "r", landed: str = "l") -> str:
        return " AND ".join(f"{landed}.{part} = {read}.{part}" for part in self._parts)


def match_of(step_id: str, rows: Iterable[Sequence[Any]]) -> KeyMatch:
    """Return the figures of the rows that `TrackedKeys.match` asked for; none is `remembered` yet."""
    counts: dict[str, int] = {}
    samples: dict[str, list[str]] = {"read_sample": [], "staged_sample": []}
    for what, number, sample in rows:
        if what in samples:
            samples[what].append(sample)
        else:
            counts[what] = int(number)
    return KeyMatch(
        step_id=step_id,
        read=counts["read"],
        staged=counts["staged"],
        matched=counts["matched"],
        remembered=0,
        null_keys=counts["null_keys"],
        read_samples=tuple(sorted(samples["read_sample"])),
        staged_samples=tuple(sorted(samples["staged_sample"])),
    )
