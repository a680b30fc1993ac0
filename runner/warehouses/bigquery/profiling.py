"""What `doctor` asks of both sides of an incremental read."""

from __future__ import annotations

from runner.incremental import key_profile
from runner.ports import KeyProfile, ReadQuery
from runner.sql import BIGQUERY
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.shapes import inspect


def profile(jobs: Jobs, query: ReadQuery) -> KeyProfile:
    """Measure both sides of an incremental query. Blocks. Raises `ConfigurationError` for a query that is none."""
    target = query.incremental.target.ref if query.incremental else query.source.ref
    shapes = inspect(jobs, [query.source.ref, target])
    return key_profile(query, BIGQUERY, jobs.fetch, shapes)
