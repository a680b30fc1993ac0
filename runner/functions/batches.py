"""Batch functions: one call a record batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runner.errors import FunctionFailed
from runner.functions.function import Function

if TYPE_CHECKING:
    import pyarrow as pa


def call_batch(function: Function, batch: pa.RecordBatch, arguments: Mapping[str, Any]) -> pa.RecordBatch:
    """Call a plain batch function. Raises `FunctionFailed` for whatever it raises or returns besides a record batch."""
    try:
        result = function.target(batch, **arguments)
    except Exception as error:
        raise FunctionFailed(function.name, error) from error
    return _record_batch(function, result)


async def call_batch_async(
    function: Function, batch: pa.RecordBatch, arguments: Mapping[str, Any]
) -> pa.RecordBatch:
    """Await a coroutine batch function. Raises as `call_batch` does."""
    try:
        result = await function.target(batch, **arguments)
    except Exception as error:
        raise FunctionFailed(function.name, error) from error
    return _record_batch(function, result)


def _record_batch(function: Function, result: Any) -> pa.RecordBatch:
    import pyarrow as pa

    if not isinstance(result, pa.RecordBatch):
        problem = TypeError(f"returned {type(result).__name__}; expected a pyarrow.RecordBatch")
        raise FunctionFailed(function.name, problem)
    return result
