"""One expectation counted over the batches of a job. Bounded memory: two numbers and a few samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runner.expectations.cells import CellTest
from runner.expectations.findings import SAMPLES, rows_finding, sample_text
from runner.ports import Batch, Finding, Row
from runner.specs import Expectation
from runner.types import shown_row

if TYPE_CHECKING:
    import pyarrow as pa


SUBJECT = "the rows on their way"


class Tally:
    """What is found of one not_null, accepted, range or rows. `keys` are the columns that name a row in a sample."""

    def __init__(self, expectation: Expectation, keys: Sequence[str] = (), *, subject: str = SUBJECT) -> None:
        self._subject = subject
        self._expectation = expectation
        self._keys = tuple(keys)
        self._test = CellTest(expectation)
        self._rows = 0
        self._offending = 0
        self._seen = False
        self._samples: list[str] = []

    def take(self, batch: Batch) -> None:
        """Count a batch of any shape. Blocks; leaves the batch as it is."""
        self._rows += batch.length
        for column in self._expectation.columns:
            if batch.arrow is not None:
                self._take_arrow(batch.arrow, column)
            else:
                self._take_values(batch, column)

    def finding(self) -> Finding | None:
        """Return what was found against the expectation, or None."""
        rows = self._expectation.rows
        if rows is not None:
            return rows_finding(self._subject, self._expectation, self._rows)
        lacking = self._rows and not self._seen
        if not self._offending and not lacking:
            return None
        return Finding(
            subject=self._subject,
            expectation=self._expectation,
            rows=self._rows,
            offending=self._rows if lacking else self._offending,
            samples=() if lacking else tuple(self._samples),
            found=f"none of {self._rows} rows has this column" if lacking else "",
        )

    def _take_arrow(self, batch: pa.RecordBatch, column: str) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        places = batch.schema.get_all_field_indices(column)
        self._seen = self._seen or bool(places)
        array = batch.column(places[0]) if places else pa.nulls(batch.num_rows)
        mask = self._test.mask(array)
        if not (found := mask.true_count):
            return
        self._offending += found
        if len(self._samples) < SAMPLES:
            self._show(
                [shown_row(batch, number.as_py()) for number in pc.indices_nonzero(mask)[:SAMPLES]], column
            )

    def _take_values(self, batch: Batch, column: str) -> None:
        if batch.columns is not None:
            self._seen = self._seen or column in batch.columns
            values: list[Any] = batch.columns.get(column) or [None] * batch.length
        else:
            rows = batch.rows or []
            self._seen = self._seen or any(column in row for row in rows)
            values = [row.get(column) for row in rows]
        if found := self._test.positions(values):
            self._offending += len(found)
            self._show([_row(batch, number) for number in found[:SAMPLES]], column)

    def _show(self, rows: Sequence[Row], column: str) -> None:
        for row in rows[: SAMPLES - len(self._samples)]:
            self._samples.append(sample_text(row, self._keys, (column,)))


def _row(batch: Batch, number: int) -> Row:
    if batch.columns is not None:
        return {name: values[number] for name, values in batch.columns.items()}
    return (batch.rows or [])[number]
