"""A read as a query that only counts: what is measured before and after a change of layout."""

from __future__ import annotations

from dataclasses import replace

from runner.ports import Statement


def counting(read: Statement) -> Statement:
    """Return a query for the number of rows of another."""
    return replace(read, text=f"SELECT count(*) AS n FROM (\n{read.text}\n) AS q")
