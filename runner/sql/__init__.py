"""SQL text: identifiers are quoted, values are only ever bound, and what differs between engines stands here.

A statement is written as text with named placeholders; its values travel beside it in a `Parameters`. Nothing
in the engine pastes a value into SQL, and nothing quotes a name in another way than a `Dialect`.
"""

from dataclasses import replace
from types import MappingProxyType

from runner.sql.bigquery import BIGQUERY
from runner.sql.conditions import conditions, filter_value
from runner.sql.dialect import Dialect, Parameters
from runner.sql.duckdb import DUCKDB
from runner.sql.postgres import POSTGRES
from runner.sql.values import nine_decimals, typed_value

_MEMORY = replace(DUCKDB, name="memory", types=MappingProxyType({name: name for name in DUCKDB.types}))

DIALECTS = MappingProxyType({dialect.name: dialect for dialect in (DUCKDB, POSTGRES, BIGQUERY, _MEMORY)})
"""The dialects by engine, as `Warehouse.engine` names it. The one in memory names types as they are declared."""

quote, qualified, column_list = DUCKDB.quote, DUCKDB.qualified, DUCKDB.columns
"""Names as DuckDB has them, for its adapter."""

__all__ = [
    "BIGQUERY", "DIALECTS", "DUCKDB", "POSTGRES", "Dialect", "Parameters", "column_list", "conditions",
    "filter_value", "nine_decimals", "qualified", "quote", "typed_value",
]  # fmt: skip
