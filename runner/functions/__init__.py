"""The project's own functions: found by name, checked against their signature, and called row by row or batch
by batch.
"""

from runner.functions.batches import call_batch, call_batch_async
from runner.functions.collecting import ROW_ERRORS, Drained, RowFailure, Stopped
from runner.functions.extracts import chunks, chunks_async
from runner.functions.function import Function
from runner.functions.loading import FunctionNotFound, load_function, load_object, load_package
from runner.functions.origins import load_extract, source_problems
from runner.functions.rows import drain_rows, drain_rows_async

__all__ = [
    "ROW_ERRORS", "Drained", "Function", "FunctionNotFound", "RowFailure", "Stopped", "call_batch",
    "call_batch_async", "chunks", "chunks_async", "drain_rows", "drain_rows_async", "load_extract",
    "load_function", "load_object", "load_package", "source_problems",
]  # fmt: skip
