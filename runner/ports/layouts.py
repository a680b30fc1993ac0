"""How a warehouse keeps the rows of a table, what would bring that to its declaration, and one step towards it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from runner.ports.values import ReadQuery
from runner.specs import TableRef, TableSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutChange:
    """One step towards the declared layout of a table.

    `order`: rows are put into the order of `cluster_by`. `cluster`: rows that come from now on are. `partition`: the
    table is made anew with other partitions, and the old one kept. `index`: `subject` is built. `finish`: what a killed
    optimize had begun is brought to its end. `remove`: a leftover, index or backup named `subject` goes.

    `why`: what is there and what is declared, for people. `statements`: what will be sent, with placeholders.
    """

    kind: Literal["order", "cluster", "partition", "index", "finish", "remove"]
    table: TableSpec
    why: str
    statements: tuple[str, ...]
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutReport:
    """How a table is kept. `changes`: what is due, in order. `spare`: what only goes when asked for: backups, and
    indexes that were made here and are no longer declared. `notes`: what else there is to say. `rows`: how many it has,
    `estimated` where the engine does not count them.
    """

    table: TableSpec
    exists: bool
    rows: int | None = None
    estimated: bool = False
    changes: tuple[LayoutChange, ...] = ()
    spare: tuple[LayoutChange, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A table that was kept, and the statement that removes it."""

    table: TableRef
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryCost:
    """What one query took: milliseconds, and bytes read where the engine tells."""

    duration_ms: float
    bytes_processed: int | None = None


class TableLayouts(Protocol):
    """The layouts of a warehouse's tables. The table stands whole at any moment, whatever ends the process: what is
    left undone then is among the `changes` of the next report.
    """

    async def settle(self, table: TableSpec) -> None:
        """End, or wait for, what a killed optimize of this table has left running on a server. Raises `HeldByAnother`
        when that is somebody alive.
        """

    async def report(self, table: TableSpec, *, rewrite: bool = False) -> LayoutReport:
        """Look at a table. Changes nothing. `rewrite`: all rows are to be written anew in the declared order."""

    async def back_up(self, table: TableSpec, stamp: datetime) -> Backup:
        """Copy a table under a name with this time."""

    async def change(self, change: LayoutChange, stamp: datetime) -> Backup | None:
        """Carry out one step. Returns the old table where it was kept, under a name with this time.

        Raises `WarehouseError` when what was written anew is not what there was: then nothing has changed.
        """

    async def measure(self, query: ReadQuery) -> QueryCost:
        """Send a read as a run does, only that its rows are counted and no kept answer is taken."""
