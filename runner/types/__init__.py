"""Values between Python, Arrow and the declared column types: `decode_rows` one way, `RowEncoder` the other.

Nothing is converted silently. pyarrow by itself turns 1.5 into 1, a naive time into UTC, True into 1.0 and
bytes into text; here each of these is a bad row that names column, value and what was expected.
"""

from runner.types.casting import SchemaMismatch
from runner.types.decoding import UndecodableValue, decode_rows
from runner.types.encoding import BadCell, Encoded, RowEncoder, shown_row
from runner.types.schema import Column, ColumnLike, arrow_schema, arrow_type

__all__ = [
    "BadCell", "Column", "ColumnLike", "Encoded", "RowEncoder", "SchemaMismatch", "UndecodableValue",
    "arrow_schema", "arrow_type", "decode_rows", "shown_row",
]  # fmt: skip
