"""What a check asks of a table, and what it found. Plain data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runner.specs import Expectation, Filter, TableSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCheck:
    """What a step expects of the rows of a table that match `filters`. Each expectation has its severity.

    `as_of` is the run's logical time, which `fresh` counts back from.
    """

    step_id: str
    table: TableSpec
    expectations: tuple[Expectation, ...]
    as_of: datetime
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An expectation of `subject` (for people) that does not hold: `offending` of `rows` rows are against it.

    `samples`: at most 5 of them as JSON text. `found`: what was there instead, where no single row offends.
    """

    subject: str
    expectation: Expectation
    rows: int
    offending: int = 0
    samples: tuple[str, ...] = ()
    found: str = ""
