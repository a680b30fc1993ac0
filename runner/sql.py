"""SQL text: identifiers are quoted, values are only ever bound, and what differs between engines stands here.

A statement is written as text with named placeholders; its values travel beside it in a `Parameters`. Nothing
in the engine pastes a value into SQL, and nothing quotes a name in another way than `quote`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from runner.errors import ConfigurationError, Problem
from runner.specs import ColumnSpec, Filter, TableRef, TableSpec, check_identifier

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
NUMERIC_STEP = Decimal("1e-9")
NUMERIC_BOUND = Decimal(10) ** 29
_WIDE = Context(prec=60)
"""Python's default of 28 digits is too few for DECIMAL(38,9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one engine says differently.

    `types`: engine type names by declared type, as the engine's own metadata reports them. `placeholder`: how a
    named value is written (`$name`; BigQuery `@name`, psycopg `%(name)s`). `cast`: declared types whose values need
    a CAST to be compared as that type. `anti_join`: `not_exists` is rendered as ANTI JOIN, which DuckDB plans
    better than NOT EXISTS beside a filter (0.07 s and 251 MB against 0.21 s and 734 MB at 1M/7M rows).
    `row_id`: the hidden column that numbers a table's rows, "" where there is none.
    `texts`: the canonical text of a value by declared type (`{}` is the value), and `array`: of a composite key's
    texts; both must agree with `runner.incremental.key_text`. `is_nan`: whether a float64 (`{}`) is NaN.
    """

    name: str
    types: Mapping[str, str]
    placeholder: str
    cast: frozenset[str]
    anti_join: bool
    row_id: str
    texts: Mapping[str, str]
    array: str
    is_nan: str

    def key_text(self, expressions: Sequence[str], types: Sequence[str]) -> str:
        """Return the SQL for the text of a key; NULL when a part is NULL."""
        texts = [
            self.texts[declared].format(value) for value, declared in zip(expressions, types, strict=True)
        ]
        if len(texts) == 1:
            return texts[0]
        # json_array would write a NULL part as null; a key with a NULL part has no text.
        absent = " OR ".join(f"{value} IS NULL" for value in expressions)
        return f"CASE WHEN {absent} THEN NULL ELSE {self.array.format(', '.join(texts))} END"


DUCKDB = Dialect(
    name="duckdb",
    types=MappingProxyType(
        {
            "string": "VARCHAR",
            "int64": "BIGINT",
            "float64": "DOUBLE",
            "numeric": "DECIMAL(38,9)",
            "bool": "BOOLEAN",
            "timestamp": "TIMESTAMP WITH TIME ZONE",
            "date": "DATE",
            "json": "JSON",
            "bytes": "BLOB",
        }
    ),
    placeholder="${name}",
    cast=frozenset({"numeric"}),
    anti_join=True,
    row_id="rowid",
    texts=MappingProxyType(
        {
            "string": "{}",
            "json": "CAST({} AS VARCHAR)",
            "int64": "CAST({} AS VARCHAR)",
            "float64": "CAST({} AS VARCHAR)",
            "numeric": "CAST({} AS VARCHAR)",
            "bool": "CAST({} AS VARCHAR)",
            "timestamp": "strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')",
            "date": "CAST({} AS VARCHAR)",
            "bytes": "hex({})",
        }
    ),
    array="CAST(json_array({}) AS VARCHAR)",
    is_nan="isnan({})",
)


DIALECTS = MappingProxyType({DUCKDB.name: DUCKDB})
"""The dialects by engine, as `[warehouse] kind` of the settings names it."""


@dataclass(slots=True)
class Parameters:
    """The values of one statement, by placeholder name; `bind` hands out the placeholders."""

    dialect: Dialect
    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, name: str, value: Any, declared: str = "string") -> str:
        """Add a value of a declared type and return the text that stands for it in the statement."""
        name = name.lower()
        unique, number = name, 1
        while unique in self.values:
            number += 1
            unique = f"{name}_{number}"
        self.values[unique] = value
        text = self.dialect.placeholder.format(name=unique)
        return f"CAST({text} AS {self.dialect.types[declared]})" if declared in self.dialect.cast else text


def nine_decimals(number: Decimal) -> Decimal:
    """Return a number with exactly nine decimals, as `numeric` keeps it. Raises `InvalidOperation` if too wide."""
    return number.quantize(NUMERIC_STEP, context=_WIDE)


def quote(name: str) -> str:
    """Return an identifier in double quotes. Raises `ValueError` for text that cannot be one: an allow-list and
    quoting, because either alone has failed elsewhere.
    """
    return f'"{check_identifier(name)}"'


def qualified(ref: TableRef) -> str:
    """Return `"dataset"."table"`."""
    return f"{quote(ref.dataset)}.{quote(ref.table)}"


def column_list(names: Iterable[str], alias: str = "") -> str:
    """Return quoted column names, each with `alias.` before it when one is given."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + quote(name) for name in names)


def conditions(
    table: TableSpec, filters: Iterable[Filter], parameters: Parameters, alias: str = ""
) -> list[str]:
    """Return one SQL condition a filter, values bound and typed by the column's declaration.

    Raises `ConfigurationError` for an unknown column or a value that does not fit.
    """
    return [_condition(table, item, parameters, f"{alias}." if alias else "") for item in filters]


def _condition(table: TableSpec, item: Filter, parameters: Parameters, prefix: str) -> str:
    column, value = filter_value(table, item)
    left = prefix + quote(column.name)
    if item.op == "in":
        bound = [parameters.bind(column.name, one, column.type) for one in value]
        return f"{left} IN ({', '.join(bound)})"
    operator = "<>" if item.op == "!=" else item.op
    return f"{left} {operator} {parameters.bind(column.name, value, column.type)}"


def filter_value(table: TableSpec, item: Filter) -> tuple[ColumnSpec, Any]:
    """Return the column of a filter and its value (for `in` a list of values) as Python values of its type."""
    try:
        column = table.column(item.column)
    except KeyError:
        expected = ", ".join(table.column_names)
        raise _problem(table, item.column, "is not a column that can be filtered", expected) from None
    if column.type == "json":
        raise _problem(
            table, column.name, "is json: text of equal meaning may differ", "a filter on another column"
        )
    if item.op == "in":
        return column, [typed_value(table, column, value) for value in item.value]
    return column, typed_value(table, column, item.value)


def typed_value(table: TableSpec, column: ColumnSpec, value: Any) -> Any:
    """Return `value` as the Python type of a column: str, int, float, Decimal, bool, aware UTC datetime, date, bytes.

    Text is read as the column's type; nothing is rounded, cut or guessed.
    Raises `ConfigurationError` that names table, column, value and what was expected.
    """
    convert, expected = _CONVERTERS[column.type]
    try:
        return convert(value)
    except (ValueError, TypeError, InvalidOperation, OverflowError):
        raise _problem(
            table, column.name, f"value {value!r} does not fit", f"{column.type}: {expected}"
        ) from None


def _problem(table: TableSpec, column: str, message: str, expected: str) -> ConfigurationError:
    return ConfigurationError([Problem(path=f"{table.ref}.{column}", message=message, expected=expected)])


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # lone surrogates are no text
    return value


def _int64(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    number = int(value)
    if not INT64_MIN <= number <= INT64_MAX:
        raise OverflowError
    return number


def _float64(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)
    if math.isnan(number):
        raise ValueError  # NaN is a value, only no useful one: it equals nothing
    return number


def _numeric(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError
    number = Decimal(str(value))
    if not number.is_finite() or abs(number) >= NUMERIC_BOUND or number != nine_decimals(number):
        raise ValueError
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[value] if value in ("true", "false") else _refuse()


def _timestamp(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_string(value))
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(UTC)


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        raise TypeError
    return value if isinstance(value, date) else date.fromisoformat(_string(value))


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _refuse() -> Any:
    raise TypeError


_CONVERTERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "string": (_string, "text"),
    "int64": (_int64, "a whole number of 64 bits"),
    "float64": (_float64, "a number"),
    "numeric": (_numeric, "a number with at most 29 digits before and 9 after the point"),
    "bool": (_bool, "true or false"),
    "timestamp": (_timestamp, "ISO 8601 with an offset, such as 2026-02-12T06:00:00Z"),
    "date": (_date, "ISO 8601, such as 2026-02-12"),
    "bytes": (_bytes, "bytes"),
}
