"""The relations that a landing works on, by the names under which its statements find them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.ports import Statement, WriteTarget
from runner.sql import Dialect, Parameters

NUMBER = "staged_number_"
"""Name of the column that numbers staged rows, from 0 in the order in which they were staged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRows:
    """The staged rows of one target. `relation` is their quoted name; it has the target's `given` columns and, if rows
    of equal key may be among them, `NUMBER`.

    `casts`: by declared type, what makes a value (`{}`) of that type out of a staged one, where the relation holds
    another: `{"json": "PARSE_JSON({})"}`.
    """

    target: WriteTarget
    relation: str
    casts: Mapping[str, str] = field(default_factory=dict)

    def columns(self, dialect: Dialect, alias: str) -> str:
        """Return the given columns, each of its declared type, under its own name."""
        return ", ".join(self._column(name, dialect, alias) for name in self.target.given)

    def _column(self, name: str, dialect: Dialect, alias: str) -> str:
        quoted = dialect.quote(name)
        cast = self.casts.get(self.target.table.column(name).type)
        return f"{alias}.{quoted}" if cast is None else f"{cast.format(f'{alias}.{quoted}')} AS {quoted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRelations:
    """The relations about the keys of one tracked read, by their quoted names.

    `staged`: keys as they were read, in the read's source columns. `read`: one row a key that was read (`k0`, `k1`, …
    as the target writes it, its text `key`, its greatest `source_ts`). `landed`: the distinct target keys that were
    staged (`k0`, `k1`, …). `bad`: the rows for the quarantine, with the text `key` of the key that each came from.
    """

    staged: str
    read: str
    landed: str
    bad: str


def temporary_statement(relation: str, rows: Statement, *, options: str = "") -> Statement:
    """Return the statement that keeps the rows of a query in the temporary table `relation` (quoted)."""
    made = f"CREATE TEMP TABLE {relation}{' ' if options else ''}{options}"
    return Statement(text=f"{made} AS {rows.text}", values=rows.values)


def bound(text: str, parameters: Parameters) -> Statement:
    """Return a text with the values that were bound for it."""
    return Statement(text=text, values=parameters.values)
