"""Batch functions: one call a record batch. There is no bad row here: whatever one raises fails its step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runner.errors import FunctionFailed
from runner.functions.collecting import FAILURES
from runner.functions.function import Function

if TYPE_CHECKING:
    import pyarrow as pa


def call_batch(function: Function, batch: pa.RecordBatch, arguments: Mapping[str, Any]) -> pa.RecordBatch:
    """Call a plain batch function. Raises `FunctionFailed` for what it raises, or returns that is no batch."""
    try:
        return _record_batch(function.target(batch, **arguments))
    except FAILURES as error:
        raise FunctionFailed(function.name, error) from error


async def call_batch_async(
    function: Function, batch: pa.RecordBatch, arguments: Mapping[str, Any]
) -> pa.RecordBatch:
    """Await a coroutine batch function. Raises as `call_batch` does."""
    try:
        return _record_batch(await function.target(batch, **arguments))
    except FAILURES as error:
        raise FunctionFailed(function.name, error) from error


def _record_batch(result: Any) -> pa.RecordBatch:
    import pyarrow as pa

    if isinstance(result, pa.RecordBatch):
        return result
    hint = (
        "; combine its chunks with `table.combine_chunks().to_batches()`"
        if isinstance(result, pa.Table)
        else ""
    )
    raise TypeError(f"returned {type(result).__name__}; expected a pyarrow.RecordBatch{hint}")
