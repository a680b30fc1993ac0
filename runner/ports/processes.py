"""The values that worker processes are spoken to in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.ports.values import Batch
from runner.specs import ColumnSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCall:
    """What a worker process does with each batch of one step.

    `function` is imported there by its name and called with `arguments`, which must be picklable. `names`: the columns
    that the consumer takes (row functions; None: whole rows come back). `columns`, `key`: those of the write that takes
    the rows; they come back as Arrow then, converted and checked in the process. `declared` columns type what comes in.
    """

    function: str
    shape: Literal["row", "batch"]
    arguments: Mapping[str, Any]
    names: tuple[str, ...] | None = None
    columns: tuple[ColumnSpec, ...] = ()
    key: tuple[str, ...] = ()
    declared: tuple[ColumnSpec, ...] = ()
    chunk_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some of what became of one batch, in order: rows, or input rows that failed (position and reason), or, at the
    end, the nanoseconds that the process has worked on it, and the most memory that it has held.
    """

    batch: Batch | None = None
    failures: tuple[tuple[int, str], ...] = field(default=())
    busy_ns: int = 0
    peak_memory_bytes: int = 0
