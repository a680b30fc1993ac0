"""DDL from declarations."""

from __future__ import annotations

import pytest
import sqlglot

from runner.ddl import ENGINE_TABLES, EVENT_LOG, plan_changes, statements
from runner.errors import TableMismatch
from runner.ports import TableChange, TableShape
from runner.specs import ENGINE_DATASET
from runner.sql import DUCKDB
from tests.warehouse_lab import EVENTS, TABLES

COLUMNS = {"id": "VARCHAR", "binding": "VARCHAR", "n": "BIGINT", "ts": "TIMESTAMP WITH TIME ZONE"}


def test_the_engine_s_tables_are_its_own_and_typed() -> None:
    assert {spec.dataset for spec in ENGINE_TABLES} == {ENGINE_DATASET}
    assert EVENT_LOG.column_names == (
        "event_id", "event_type", "timestamp", "producer_component", "run_id", "correlation_id", "trace_id",
        "status", "error_message", "payload",
    )  # fmt: skip
    assert EVENT_LOG.partition_by is not None
    assert EVENT_LOG.cluster_by == ("producer_component", "event_type")


def test_statements_parse_and_make_each_schema_once() -> None:
    texts = list(statements(plan_changes([*TABLES, *ENGINE_TABLES], {}, DUCKDB), DUCKDB))
    assert texts[:2] == ['CREATE SCHEMA IF NOT EXISTS "lab"', 'CREATE SCHEMA IF NOT EXISTS "ops"']
    assert len(texts) == 2 + len(TABLES) + len(ENGINE_TABLES)
    for text in texts:
        assert len(sqlglot.parse(text, read="duckdb")) == 1


def test_required_columns_are_not_null_and_keys_have_no_constraint() -> None:
    text = list(statements([TableChange(kind="create", table=ENGINE_TABLES[0])], DUCKDB))[1]
    assert '"job_run_id" VARCHAR NOT NULL' in text
    assert "KEY" not in text


def test_names_are_compared_without_case_as_engines_do() -> None:
    shape = TableShape(ref=EVENTS.ref, columns={name.upper(): found for name, found in COLUMNS.items()})
    assert plan_changes([EVENTS], {EVENTS.ref: shape}, DUCKDB) == []


def test_a_view_is_never_altered() -> None:
    shape = TableShape(ref=EVENTS.ref, columns={"id": "VARCHAR", "n": "HUGEINT"}, is_view=True)
    with pytest.raises(TableMismatch) as caught:
        plan_changes([EVENTS], {EVENTS.ref: shape}, DUCKDB)
    told = [str(caught.value), *caught.value.__notes__]
    assert ["add binding to the view" in told[0], 'CAST("n" AS BIGINT)' in told[1], "add ts" in told[2]] == [
        True
    ] * 3
    whole = TableShape(ref=EVENTS.ref, columns=COLUMNS, is_view=True)
    assert plan_changes([EVENTS], {EVENTS.ref: whole}, DUCKDB) == []


def test_every_difference_of_every_table_is_told_at_once() -> None:
    shapes = {spec.ref: TableShape(ref=spec.ref, columns={}) for spec in ENGINE_TABLES}
    with pytest.raises(TableMismatch) as caught:
        plan_changes(ENGINE_TABLES, shapes, DUCKDB)
    required = sum(column.required for spec in ENGINE_TABLES for column in spec.columns)
    assert 1 + len(caught.value.__notes__) == required
