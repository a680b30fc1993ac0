"""A lab on a project of the BigQuery of the tests, and what can be seen of it from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from runner.retry import Backoff
from runner.settings import BigQuerySettings
from runner.specs import TableSpec
from runner.warehouses.bigquery import BigQueryWarehouse
from tests.servers.bigquery import BigQueryProject
from tests.warehouse_lab import TABLES, Lab

QUERIES = "/jobs?"
"""What only requests that send a query or look at the jobs have in PATH?QUERY."""


def settings_of(project: BigQueryProject, **more: Any) -> BigQuerySettings:
    """Return the settings of a project."""
    given = {"endpoint": project.server.rest, "storage_endpoint": project.server.grpc} | more
    return BigQuerySettings(kind="bigquery", project=project.name, **given)


def warehouse_at(
    project: BigQueryProject,
    folder: Path,
    *,
    query_timeout: float | None = None,
    stage_bytes: int = 64_000_000,
    **settings: Any,
) -> BigQueryWarehouse:
    """Return a warehouse, not yet opened, which waits a moment only before it asks again. `folder`: for what is
    staged.
    """
    return BigQueryWarehouse(
        settings_of(project, **settings),
        stage_folder=folder,
        query_timeout=query_timeout,
        stage_bytes=stage_bytes,
        backoff=Backoff(0.01, 0.1),
    )


@asynccontextmanager
async def open_lab(
    project: BigQueryProject, folder: Path, *tables: TableSpec, **options: Any
) -> AsyncIterator[Lab]:
    """Open a lab with tables, those of the contract suite unless others are given; nothing is noted yet. A time limit
    does not count for making them.
    """
    async with warehouse_at(project, folder) as unlimited:
        await Lab(unlimited, "bigquery").prepare(*(tables or TABLES))
    project.forget_requests()
    async with warehouse_at(project, folder, **options) as warehouse:
        yield Lab(warehouse, "bigquery")


def sent(project: BigQueryProject) -> list[str]:
    """Return the job ids of the requests that asked for a job, as often as they came, without dry runs."""
    jobs = [body for body in project.submitted() if not body["configuration"].get("dryRun")]
    return [body["jobReference"]["jobId"] for body in jobs]
