"""Tables as BigQuery has them, and changes to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.ddl import statements
from runner.errors import ConfigurationError, ObjectNotFound, Problem
from runner.ports import Statement, TableChange, TableShape
from runner.specs import TableRef, TableSpec
from runner.sql import BIGQUERY
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.service import NO_RETRY
from runner.warehouses.bigquery.swapping import finish

CLUSTER_COLUMNS = 4
CLUSTERABLE = frozenset({"string", "int64", "numeric", "bool", "timestamp", "date"})
"""Source: cloud.google.com/bigquery/docs/clustered-tables ("Limitations", "Cluster column types")."""

# {0}: the dataset. No parameter can stand for a dataset's name.
_SHAPES = """
SELECT c.table_schema AS dataset, c.table_name AS name, t.table_type IN ('VIEW', 'MATERIALIZED VIEW') AS is_view,
  c.column_name AS column_name, c.data_type AS data_type, c.ordinal_position AS place
FROM {0}.INFORMATION_SCHEMA.COLUMNS AS c
JOIN {0}.INFORMATION_SCHEMA.TABLES AS t ON t.table_name = c.table_name
WHERE c.table_name IN UNNEST(@names)
"""


def inspect(jobs: Jobs, tables: Sequence[TableRef]) -> Mapping[TableRef, TableShape]:
    """Return the shapes of those tables that exist, with one query; a second where a dataset is missing. Blocks."""
    wanted = set(tables)
    datasets = sorted({ref.dataset for ref in tables})
    try:
        rows = jobs.fetch(_question(datasets, tables)) if datasets else []
    except ObjectNotFound:
        there = _existing(jobs)
        datasets = [name for name in datasets if name in there]
        rows = jobs.fetch(_question(datasets, tables)) if datasets else []
    columns: dict[TableRef, dict[str, str]] = {}
    views: set[TableRef] = set()
    for dataset, table, is_view, column, engine_type, _ in rows:
        ref = TableRef(dataset, table)
        if ref in wanted:
            columns.setdefault(ref, {})[column] = engine_type
            views.update([ref] if is_view else [])
    return {ref: TableShape(ref=ref, columns=found, is_view=ref in views) for ref, found in columns.items()}


def exists(jobs: Jobs, ref: TableRef) -> bool:
    """Tell whether a table exists, without a query: that is free, and ten times as quick. Blocks."""
    service = jobs.service
    name = f"{service.project}.{ref.dataset}.{ref.table}"
    try:
        jobs.asked(lambda: service.client.get_table(name, retry=NO_RETRY, timeout=service.timeout))
    except ObjectNotFound:
        return False
    return True


def _question(datasets: Sequence[str], tables: Sequence[TableRef]) -> Statement:
    parts = "\nUNION ALL ".join(_SHAPES.format(BIGQUERY.quote(dataset)).strip() for dataset in datasets)
    text = f"SELECT * FROM (\n{parts}\n) AS s ORDER BY dataset, name, place"
    return Statement(text=text, values={"names": sorted({ref.table for ref in tables})})


def _existing(jobs: Jobs) -> set[str]:
    client, timeout = jobs.service.client, jobs.service.timeout
    return {
        item.dataset_id
        for item in jobs.asked(lambda: list(client.list_datasets(retry=NO_RETRY, timeout=timeout)))
    }


def apply(jobs: Jobs, changes: Sequence[TableChange]) -> None:
    """Carry out DDL as one script. A dataset is made where the job runs (docs, "CREATE SCHEMA": `location`): without a
    location in the settings, where the datasets are that are there already. Blocks.

    Raises `ConfigurationError` for clustering that BigQuery would refuse.
    """
    for change in changes:
        refuse_clustering(change.table)
    # A table that seems to be missing may be in the middle of an optimize that was killed.
    finish(jobs, [change.table.ref for change in changes if change.kind == "create"])
    script = ";\n".join(statements(changes, BIGQUERY))
    if script:
        jobs.query(
            Statement(text=script),
            location=jobs.service.location,
            use_query_cache=None,
            maximum_bytes_billed=None,
        )


def refuse_clustering(table: TableSpec) -> None:
    """Raise `ConfigurationError` for more cluster columns than BigQuery takes, or one of a type that it does not."""
    by = table.cluster_by
    problems = []
    if len(by) > CLUSTER_COLUMNS:
        message = f"{len(by)} columns to cluster by: {', '.join(by)}"
        problems.append(_problem(table, message, f"at most {CLUSTER_COLUMNS}"))
    for name in by:
        kind = table.column(name).type
        if kind not in CLUSTERABLE:
            expected = f"one of {', '.join(sorted(CLUSTERABLE))}"
            problems.append(_problem(table, f"cannot be clustered by {name}, which is {kind}", expected))
    if problems:
        raise ConfigurationError(problems)


def _problem(table: TableSpec, message: str, expected: str) -> Problem:
    return Problem(path=f"{table.ref}.cluster_by", message=message, expected=expected)
