"""Names of tables against what the engine takes: told at load, before it is sent anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from runner.loader.declarations import Reading
from runner.loader.nodes import Path
from runner.specs import TableSpec
from runner.sql import DIALECTS, Dialect


def check_names(reading: Reading, tables: Iterable[TableSpec], engine: str) -> None:
    """Report the names of these tables, their datasets and columns that `engine` would refuse, cut, or mistake for its
    own. What is not managed by a run may have any name that there can be.
    """
    dialect = DIALECTS[engine]
    told: set[tuple[str, str]] = set()
    for table in tables:
        if table.ref not in reading.places:
            continue  # the engine's own
        document, place = reading.places[table.ref]
        for path, name, kept in _names(table, place, dialect):
            message, expected = _misfit(name, kept if table.managed else "", dialect)
            if message and (path[0] != "dataset" or (document.name, name) not in told):
                told.add((document.name, name))
                reading.report.add(document, path, message, expected=expected)


def _names(table: TableSpec, place: Path, dialect: Dialect) -> Iterator[tuple[Path, str, str]]:
    """Yield places, names, and the names that the engine has for itself there."""
    yield ("dataset",), table.dataset, dialect.kept_datasets
    yield (*place, "table"), table.table, ""
    for number, column in enumerate(table.columns):
        yield (*place, "columns", number, "name"), column.name, dialect.kept_columns


def _misfit(name: str, kept: str, dialect: Dialect) -> tuple[str, str]:
    if len(name) > dialect.name_length:
        return f"{name!r} is too long for {dialect.name}", f"at most {dialect.name_length} characters"
    if kept and re.fullmatch(kept, name, re.IGNORECASE):
        return f"{name!r} is a name that {dialect.name} has for itself", "another name"
    return "", ""
