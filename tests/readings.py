"""The table that tests of layouts have, without any layout, and rows for it in no order."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from runner.ports import WriteTarget
from tests.warehouse_lab import STAMP, Lab, table

NAME = "lab.readings"
PLAIN = table("readings", ["id"], id="int64!", device="string", at="timestamp", value="float64", raw="json")
MICROSECONDS = 1_000_000


def readings(rows: int) -> pa.RecordBatch:
    """Return rows: a thousand devices by turns, one row a second, each tenth value NULL."""
    ids = pa.array(range(rows), pa.int64())
    begin = int(STAMP.timestamp()) * MICROSECONDS
    devices = _modulo(pc.multiply(ids, 7919), 1000).cast(pa.string())
    return pa.RecordBatch.from_pydict(
        {
            "id": ids,
            "device": pc.binary_join_element_wise("d", devices, ""),
            "at": pc.add(pc.multiply(ids, MICROSECONDS), begin).cast(pa.timestamp("us", "UTC")),
            "value": pc.if_else(pc.equal(_modulo(ids, 10), 0), None, pc.divide(ids.cast(pa.float64()), 2)),
            "raw": pa.array(['{"a": 1}'] * rows, pa.string()),
        }
    )


async def fill(lab: Lab, rows: int) -> None:
    """Append so many rows to the table, which is there."""
    await lab.land(WriteTarget(step_id="fill", table=PLAIN, mode="append", key=()), readings(rows))


def _modulo(numbers: pa.Array, by: int) -> pa.Array:
    return pc.subtract(numbers, pc.multiply(pc.divide(numbers, by), by))
