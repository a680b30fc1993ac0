"""The statements that bring staged rows into a target."""

from __future__ import annotations

from runner.incremental import Statement
from runner.ports import WriteTarget
from runner.sql import DUCKDB, Parameters, column_list, qualified, quote
from runner.warehouses.duckdb.staging import NUMBER


def last_of_each(target: WriteTarget, stage: str) -> str:
    """Return the staged rows as a subquery, the last of equal keys only."""
    if target.mode == "append" or not target.key:
        return f"(SELECT {column_list(target.given)} FROM {quote(stage)})"
    return (
        f"(SELECT {column_list(target.given)} FROM {quote(stage)} "
        f"QUALIFY row_number() OVER (PARTITION BY {column_list(target.key)} ORDER BY {quote(NUMBER)} DESC) = 1)"
    )


def landing_statement(target: WriteTarget, stage: str, stamp: object) -> Statement:
    """Return the statement that lands the staged rows of one target; its result is the number of rows written."""
    parameters = Parameters(DUCKDB)
    stamped = parameters.bind("stamp", stamp, "timestamp") if target.stamped else ""
    columns = column_list((*target.given, *target.stamped))
    values = ", ".join([column_list(target.given, "s"), *(stamped for _ in target.stamped)])
    source = last_of_each(target, stage)
    table = qualified(target.table.ref)
    if target.mode == "append" or not target.key:
        text = f"INSERT INTO {table} ({columns}) SELECT {values} FROM {source} AS s"
        return Statement(text=text, values=parameters.values)
    on = " AND ".join(f"t.{quote(name)} = s.{quote(name)}" for name in target.key)
    text = f"MERGE INTO {table} AS t USING {source} AS s ON {on}\n"
    if target.mode == "upsert" and (changes := _changes(target, stamped)):
        text += f"WHEN MATCHED THEN UPDATE SET {changes}\n"
    text += f"WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})"
    return Statement(text=text, values=parameters.values)


def _changes(target: WriteTarget, stamped: str) -> str:
    given = [f"{quote(name)} = s.{quote(name)}" for name in target.given if name not in target.key]
    return ", ".join([*given, *(f"{quote(name)} = {stamped}" for name in target.set_on_write)])
