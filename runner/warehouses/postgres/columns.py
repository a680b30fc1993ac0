"""Columns as ADBC brings them, made into what the engine works with.

ADBC has no type for `numeric`, whose values come as text, and wraps `jsonb` and others in extension types.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from runner.errors import WarehouseError
from runner.warehouses.postgres.faults import ENGINE

POSTGRES_TYPE, TYPE_MODIFIER = b"POSTGRESQL:type", b"POSTGRESQL:typmod"
"""Metadata of ADBC's fields."""

NARROW, WIDE = 38, 76
"""Digits of Arrow's decimals of 128 and 256 bits."""

_HEADER = 4
"""What `atttypmod` of a numeric has besides precision and scale (PostgreSQL, `numeric_typmod_precision`)."""


def as_declared(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with exactly these columns. Raises `WarehouseError` for a value that its declared type has not."""
    arrays = [_declared(batch.column(place), field) for place, field in enumerate(schema)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def as_found(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch of a query of the project's own: decimals as such, other types as the server has them, those that
    Arrow has not as ADBC brings them (text, or bytes).

    Raises `WarehouseError` for a decimal that is NaN or infinite, or has more digits than Arrow's.
    """
    arrays = [_found(batch.column(place), field) for place, field in enumerate(batch.schema)]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _declared(array: pa.Array, field: pa.Field) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if array.type == field.type:
        return array
    try:
        return array.cast(field.type)
    except pa.ArrowException as error:
        message = f"column {field.name!r} holds a value that is no {field.type}: {error}"
        raise WarehouseError(ENGINE, message) from error


def _found(array: pa.Array, field: pa.Field) -> pa.Array:
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    if (field.metadata or {}).get(POSTGRES_TYPE) != b"numeric":
        return storage
    try:
        return storage.cast(_decimal(storage, int(field.metadata.get(TYPE_MODIFIER, b"-1"))))
    except (pa.ArrowException, OverflowError) as error:
        message = f"column {field.name!r} holds a value that is no decimal: {error}"
        raise WarehouseError(ENGINE, message) from error


def _decimal(texts: pa.Array, modifier: int) -> pa.DataType:
    """Return the type for numbers as text: that of the column, or where it has none, such as a sum, the smallest scale
    that has all digits of these. Whole numbers get the scale 0.
    """
    if modifier >= _HEADER:
        precision, scale = (modifier - _HEADER) >> 16 & 0xFFFF, (modifier - _HEADER) & 0x7FF
        if precision <= WIDE and scale <= precision:
            return _wide_enough(precision, precision, scale)
    point = pc.find_substring(texts, ".")
    length = pc.utf8_length(texts)
    after = pc.if_else(pc.less(point, 0), 0, pc.subtract(pc.subtract(length, point), 1))
    scale = pc.max(after).as_py() or 0
    before = pc.max(pc.subtract(length, after)).as_py() or 0
    digits = before + scale
    return _wide_enough(digits, NARROW if digits <= NARROW else WIDE, scale)


def _wide_enough(digits: int, precision: int, scale: int) -> pa.DataType:
    return pa.decimal128(precision, scale) if digits <= NARROW else pa.decimal256(precision, scale)
