"""Which tables are meant, and which jobs use them."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import UsageError, did_you_mean
from runner.loader import TableUse
from runner.pipeline_runner import PipelineRunner
from runner.specs import ENGINE_DATASET, TableRef


def chosen(pipelines: PipelineRunner, name: str | None) -> list[TableUse]:
    """Return the table of that name, or all that the engine makes and keeps. Reads files.

    Raises `UsageError` for a name that is no such table, `ConfigurationError` for what is wrong in the project.
    """
    tables = pipelines.project.managed_tables()
    if name is None:
        return list(tables.values())
    dataset, _, table = name.partition(".")
    ref = TableRef(dataset, table)
    if ref in tables:
        return [tables[ref]]
    raise _refusal(pipelines, name, ref, tables)


def _refusal(
    pipelines: PipelineRunner, name: str, ref: TableRef, tables: Mapping[TableRef, TableUse]
) -> UsageError:
    """Return why a name is not one of `tables`."""
    if ref.dataset == ENGINE_DATASET:
        message = f"the tables of dataset {ENGINE_DATASET!r} belong to the engine, which makes them as they should be"
        return UsageError(message)
    if any(ref == table.ref for table in pipelines.project.tables()):
        return UsageError(f"table {name} is declared managed: false, so its layout is somebody else's")
    hint = did_you_mean(name, [str(one) for one in tables])
    return UsageError(f"no table {name!r} is declared", hint=hint)
