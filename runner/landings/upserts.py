"""The statements that bring staged rows into a target. Each answers with the number of rows that it wrote."""

from __future__ import annotations

from datetime import datetime

from runner.landings.relations import NUMBER, StagedRows, bound
from runner.ports import Statement
from runner.specs import TableSpec
from runner.sql import Dialect, Parameters


def insert_statement(
    staged: StagedRows, stamp: datetime, parameters: Parameters, *, duplicates: bool = False
) -> Statement:
    """Return the statement that adds the staged rows, of equal keys (`duplicates`) only the last."""
    return bound(_insert(staged, stamp, parameters, duplicates=duplicates), parameters)


def merge_statement(
    staged: StagedRows,
    stamp: datetime,
    parameters: Parameters,
    *,
    matching: bool = True,
    duplicates: bool = True,
) -> Statement:
    """Return the MERGE that lands the staged rows by key, whether or not the table has an index on it.

    `matching`: keys may be in the target already. `duplicates`: rows of equal key may have been staged; the last of
    each lands.
    """
    target, dialect = staged.target, parameters.dialect
    stamped = parameters.bind("stamp", stamp, "timestamp") if target.stamped else ""
    columns = dialect.columns((*target.given, *target.stamped))
    values = ", ".join([dialect.columns(target.given, "s"), *(stamped for _ in target.stamped)])
    on = _equal_keys(staged, dialect) if matching else "FALSE"
    text = (
        f"MERGE INTO {dialect.qualified(target.table.ref)} AS t "
        f"USING ({_rows(staged, dialect, duplicates=duplicates)}) AS s ON {on}\n"
    )
    if matching and target.mode == "upsert" and (changes := _changes(staged, stamped, dialect)):
        text += f"WHEN MATCHED THEN UPDATE SET {changes}\n"
    return bound(f"{text}WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})", parameters)


def conflict_statement(
    staged: StagedRows, stamp: datetime, parameters: Parameters, *, duplicates: bool = True
) -> Statement:
    """Return the INSERT … ON CONFLICT that lands the staged rows by key: for a table that has a unique index on
    exactly the key, and that others may write at the same moment.
    """
    target, dialect = staged.target, parameters.dialect
    replaced = [name for name in (*target.given, *target.set_on_write) if name not in target.key]
    changes = ", ".join(f"{dialect.quote(name)} = EXCLUDED.{dialect.quote(name)}" for name in replaced)
    action = f"UPDATE SET {changes}" if target.mode == "upsert" and changes else "NOTHING"
    insert = _insert(staged, stamp, parameters, duplicates=duplicates)
    return bound(f"{insert}\nON CONFLICT ({dialect.columns(target.key)}) DO {action}", parameters)


def distinct_statement(staged: StagedRows, dialect: Dialect) -> Statement:
    """Return the query for the number of distinct keys that were staged."""
    keys = f"SELECT DISTINCT {dialect.columns(staged.target.key, 's')} FROM {staged.relation} AS s"
    return Statement(text=f"SELECT count(*) FROM ({keys}) AS k")


def empty_statement(table: TableSpec, dialect: Dialect) -> Statement:
    """Return the statement that deletes all rows of a table. TRUNCATE would show its emptiness to those who read
    before the commit (PostgreSQL).
    """
    return Statement(text=f"DELETE FROM {dialect.qualified(table.ref)} WHERE TRUE")


def _insert(staged: StagedRows, stamp: datetime, parameters: Parameters, *, duplicates: bool) -> str:
    target, dialect = staged.target, parameters.dialect
    stamped = parameters.bind("stamp", stamp, "timestamp") if target.stamped else ""
    columns = dialect.columns((*target.given, *target.stamped))
    if duplicates:
        given = dialect.columns(target.given, "s")
        rows = f"({_rows(staged, dialect, duplicates=True)})"
    else:
        given, rows = staged.columns(dialect, "s"), staged.relation
    values = ", ".join([given, *(stamped for _ in target.stamped)])
    return f"INSERT INTO {dialect.qualified(target.table.ref)} ({columns}) SELECT {values} FROM {rows} AS s"


def _rows(staged: StagedRows, dialect: Dialect, *, duplicates: bool) -> str:
    """Return the query for what is to land: the given columns, as declared."""
    if not duplicates:
        return f"SELECT {staged.columns(dialect, 'r')} FROM {staged.relation} AS r"
    table = staged.target.table
    key = ", ".join(
        dialect.partitions.get(table.column(name).type, "{}").format(f"r.{dialect.quote(name)}")
        for name in staged.target.key
    )
    place = f"row_number() OVER (PARTITION BY {key} ORDER BY r.{dialect.quote(NUMBER)} DESC)"
    given = dialect.columns(staged.target.given, "r")
    numbered = f"SELECT {given}, {place} AS place_ FROM {staged.relation} AS r"
    return f"SELECT {staged.columns(dialect, 'l')} FROM ({numbered}) AS l WHERE l.place_ = 1"


def _equal_keys(staged: StagedRows, dialect: Dialect) -> str:
    names = [dialect.quote(name) for name in staged.target.key]
    return " AND ".join(f"t.{name} = s.{name}" for name in names)


def _changes(staged: StagedRows, stamped: str, dialect: Dialect) -> str:
    target = staged.target
    given = [name for name in target.given if name not in target.key]
    changes = [f"{dialect.quote(name)} = s.{dialect.quote(name)}" for name in given]
    return ", ".join([*changes, *(f"{dialect.quote(name)} = {stamped}" for name in target.set_on_write)])
