"""Indexes as PostgreSQL has them, and how a declared one would look there. All of it blocks.

Whether an index is the declared one, the server decides: it is asked to write both out. The declared one is made for
that on an empty copy of the table in a transaction that is rolled back; an index of any name that reads the same is it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runner.layouts import index_name
from runner.ports import Statement
from runner.specs import IndexSpec, TableRef, TableSpec
from runner.sql import POSTGRES
from runner.warehouses.postgres.session import Session

_COPY = "declared"
_STORAGE = re.compile(r" WITH \([^)]*\)")
_INDEXES = """
SELECT c.relname, i.indisvalid, pg_catalog.quote_ident(c.relname), pg_catalog.pg_get_indexdef(c.oid)
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = CAST(:table AS pg_catalog.regclass)
ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index. `meaning`: method, columns, INCLUDE and WHERE as the server writes them."""

    name: str
    valid: bool
    meaning: str


def existing(session: Session, ref: TableRef) -> list[Index]:
    """Return the indexes of a table, by name."""
    return _indexes(session, POSTGRES.qualified(ref))


def meanings(session: Session, table: TableSpec) -> list[str]:
    """Return how the server writes the declared indexes of a table out. Makes nothing that stays.

    Raises what the driver raises, above all for a condition that PostgreSQL does not take.
    """
    if not table.indexes:
        return []
    session.execute("BEGIN")
    try:
        session.execute(
            f"CREATE TEMPORARY TABLE {_COPY} (LIKE {POSTGRES.qualified(table.ref)}) ON COMMIT DROP"
        )
        found = []
        for number, index in enumerate(table.indexes):
            session.execute(_create(f"pg_temp.{_COPY}", index, f'"{_COPY}_{number}"'))
            (made,) = [
                one for one in _indexes(session, f"pg_temp.{_COPY}") if one.name == f"{_COPY}_{number}"
            ]
            found.append(made.meaning)
        return found
    finally:
        session.roll_back()


def create_statement(table: TableSpec, index: IndexSpec) -> str:
    """Return the statement that builds an index while others read and write the table."""
    name = POSTGRES.quote(index_name(table.ref, index, POSTGRES))
    return _create(POSTGRES.qualified(table.ref), index, name, "CONCURRENTLY ")


def drop_index_statement(ref: TableRef, name: str) -> str:
    """Return the statement that removes an index. (Its name need not be one of ours.)"""
    quoted = name.replace('"', '""')
    return f'DROP INDEX CONCURRENTLY {POSTGRES.quote(ref.dataset)}."{quoted}"'


def _create(table: str, index: IndexSpec, name: str, how: str = "") -> str:
    """The condition is the project's text; it has been read at load: one expression, without comments."""
    text = f"CREATE INDEX {how}{name} ON {table} ({POSTGRES.columns(index.columns)})"
    if index.include:
        text += f" INCLUDE ({POSTGRES.columns(index.include)})"
    return text + (f" WHERE ({index.where})" if index.where else "")


def _indexes(session: Session, table: str) -> list[Index]:
    rows = session.fetch(Statement(text=_INDEXES, values={"table": table}))
    return [
        Index(name=name, valid=valid, meaning=_meaning(quoted, text)) for name, valid, quoted, text in rows
    ]


def _meaning(quoted: str, definition: str) -> str:
    """Return what an index does, without its name, its table, whether it is unique, and how its pages are filled."""
    text = definition.partition(f" {quoted} ON ")[2].partition(" USING ")[2]
    head, where, condition = text.partition(" WHERE ")
    return _STORAGE.sub("", head) + where + condition


def undeclared(indexes: Sequence[Index], wanted: Sequence[str]) -> list[Index]:
    """Return the indexes that no declaration asks for."""
    return [index for index in indexes if index.meaning not in wanted]
