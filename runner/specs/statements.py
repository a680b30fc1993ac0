"""What the keys of a `sql` step hold: texts by engine, values that can be bound, names of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator

from runner.specs.names import Misfit, TableRef, check_identifier

Engine = Literal["duckdb", "bigquery", "postgres"]


def _by_engine(value: object) -> object:
    """Take text, or texts by engine; say so in one sentence where pydantic would complain once a kind."""
    if isinstance(value, str):
        texts: Mapping[object, object] = {"": value}
    elif isinstance(value, Mapping):
        texts = value
    else:
        raise ValueError("got no text; expected text, or a text by engine")  # noqa: TRY004 - pydantic's own type
    engines = get_args(Engine)
    for name, text in texts.items():
        if name and name not in engines:
            raise Misfit(f"unknown engine {name!r}; expected one of {', '.join(engines)}", str(name))
        if not isinstance(text, str) or not text.strip():
            raise Misfit("got no text; expected text", *([str(name)] if name else []))
    if not texts:
        raise ValueError(f"empty; expected a text for at least one of {', '.join(engines)}")
    return value


TextByEngine = Annotated[str | dict[Engine, str], BeforeValidator(_by_engine)]


def _bound_value(value: object) -> object:
    """Refuse what cannot be bound: engines take single values, and lists of them."""
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, dict | list | tuple) for item in items):
        raise ValueError("got a mapping or a nested list; expected one value, or a list of values")
    return value


def _table_ref(value: object) -> object:
    """Read `dataset.table`."""
    if not isinstance(value, str):
        return value
    dataset, dot, table = value.partition(".")
    if not dot:
        raise ValueError(f"{value!r} does not name a table; expected dataset.table")
    return TableRef(check_identifier(dataset), check_identifier(table))


BoundValue = Annotated[Any, BeforeValidator(_bound_value)]
NamedTable = Annotated[TableRef, BeforeValidator(_table_ref)]
