"""Arrow columns of batch functions, brought to their declared type without losing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import RunPipelineError

if TYPE_CHECKING:
    import pyarrow as pa


class SchemaMismatch(RunPipelineError):
    """A batch whose schema does not fit the table: all its rows are meant. `column` names the one that does not."""

    category = "data"

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(column, problem)
        self.column = column
        self.problem = problem

    def __str__(self) -> str:
        return f"column {self.column!r}: {self.problem}"


def is_lossless(source: pa.DataType, column_type: str) -> bool:
    """Tell whether values of an Arrow type may be stored in a declared column type, each value permitting.

    Widening, other units of time and other layouts (large, view, dictionary) may; a change of meaning (text to
    number, a time without zone to an instant, a float to an int) may not.
    """
    import pyarrow.types as t

    if t.is_dictionary(source):
        return is_lossless(source.value_type, column_type)
    if t.is_null(source):
        return True
    match column_type:
        case "string" | "json":
            return bool(t.is_string(source) or t.is_large_string(source) or t.is_string_view(source))
        case "int64":
            return bool(t.is_integer(source))
        case "float64":
            return bool(t.is_floating(source) or t.is_integer(source))
        case "numeric":
            return bool(t.is_decimal(source) or t.is_integer(source))
        case "bool":
            return bool(t.is_boolean(source))
        case "timestamp":
            return bool(t.is_timestamp(source) and source.tz is not None)
        case "date":
            return bool(t.is_date(source))
        case _:
            return bool(t.is_binary(source) or t.is_large_binary(source) or t.is_binary_view(source) or t.is_fixed_size_binary(source))
