"""Tables as PostgreSQL has them, and changes to them. Both block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.ddl import statements
from runner.ports import Statement, TableChange, TableShape
from runner.specs import TableRef
from runner.sql import POSTGRES
from runner.warehouses.postgres.session import Session

CHANGES = 0x52756E50697065
"""The key of the advisory lock under which tables are made: `RunPipe` in ASCII."""

_SHAPES = """
SELECT n.nspname, c.relname, c.relkind IN ('v', 'm', 'f'), a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN unnest(CAST(:schemas AS text[]), CAST(:names AS text[])) AS wanted (nspname, relname)
  ON wanted.nspname = n.nspname AND wanted.relname = c.relname
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY n.nspname, c.relname, a.attnum
"""
"""Tables, partitioned ones, views, materialised views, foreign tables. The last three count as views: nothing is
changed in them.
"""


def inspect(session: Session, tables: Sequence[TableRef]) -> Mapping[TableRef, TableShape]:
    """Return the shapes of those tables that exist, with one query."""
    values = {"schemas": [ref.dataset for ref in tables], "names": [ref.table for ref in tables]}
    columns: dict[TableRef, dict[str, str]] = {}
    views: set[TableRef] = set()
    for dataset, table, is_view, column, engine_type in session.fetch(Statement(text=_SHAPES, values=values)):
        ref = TableRef(dataset, table)
        columns.setdefault(ref, {})[column] = engine_type
        if is_view:
            views.add(ref)
    return {ref: TableShape(ref=ref, columns=found, is_view=ref in views) for ref, found in columns.items()}


def apply(session: Session, changes: Sequence[TableChange]) -> None:
    """Carry out DDL in one transaction. Sessions take turns, since `IF NOT EXISTS` does not keep two of them from
    making the same thing at the same moment; what another has made meanwhile is not made again.
    """
    with session.transaction():
        session.execute("SELECT pg_catalog.pg_advisory_xact_lock(:key)", {"key": CHANGES})
        made = inspect(session, [change.table.ref for change in changes if change.kind == "create"])
        due = [change for change in changes if change.kind == "add" or change.table.ref not in made]
        for text in statements(due, POSTGRES):
            session.execute(text)
