"""How tables are to be kept, against what the engine takes: told at load, not in the middle of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.loader.declarations import Reading
from runner.loader.nodes import Path, shorten
from runner.specs import TableSpec

NOT_CLUSTERED = frozenset({"float64", "json", "bytes"})
"""Declared types that BigQuery cannot cluster by (docs, "Clustered tables", "Cluster column types")."""


def check_layouts(
    reading: Reading, tables: Iterable[TableSpec], engine: str, *, thorough: bool = False
) -> None:
    """Report what `engine` would refuse of the layouts of these tables; `thorough`: read the conditions of indexes also
    where the engine makes none. Only they bring sqlglot along.
    """
    for table in tables:
        if table.ref not in reading.places:
            continue  # the engine's own
        document, place = reading.places[table.ref]
        if engine == "bigquery":
            for path, message, expected in _clustering(table):
                reading.report.add(document, (*place, *path), message, expected=expected)
        if thorough or engine == "postgres":
            for path, message, hint in _conditions(table):
                text, _, expected = message.partition("; expected ")
                reading.report.add(document, (*place, *path), text, expected=expected, hint=hint)


def _clustering(table: TableSpec) -> Iterator[tuple[Path, str, str]]:
    for number, name in enumerate(table.cluster_by):
        kind = table.column(name).type
        if kind in NOT_CLUSTERED:
            message = f"{name!r} is {kind}, by which BigQuery cannot cluster"
            yield ("cluster_by", number), message, "a column of another type"


def _conditions(table: TableSpec) -> Iterator[tuple[Path, str, str]]:
    for number, index in enumerate(table.indexes):
        if index.where:
            for message, hint in _condition(index.where, table):
                yield ("indexes", number, "where"), f"{shorten(index.where)} {message}", hint


def _condition(text: str, table: TableSpec) -> Iterator[tuple[str, str]]:
    """Yield what keeps a text from being the condition of an index. It will stand in parentheses in a statement: so
    nothing in it may end that, or hide what follows.
    """
    from runner.expectations.expressions import expression_problems
    from runner.sqltext import SqlMistake, pieces

    try:
        kinds = {piece.kind for piece in pieces(text, "postgres")}
    except SqlMistake as mistake:
        yield mistake.message, ""
        return
    for kind in ("comment", "semicolon", "placeholder"):
        if kind in kinds:
            yield f"has a {kind}; expected one condition on the columns of a row", ""
            return
    yield from expression_problems(text, table.columns, "postgres")
