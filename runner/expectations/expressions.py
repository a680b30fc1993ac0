"""Conditions on one row in the warehouse's SQL, as an `expression` states them. Read only at load: a run sends the text
as it was written, in parentheses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from runner.errors import did_you_mean
from runner.specs import ColumnSpec

if TYPE_CHECKING:
    from sqlglot import exp


def expression_problems(text: str, columns: Sequence[ColumnSpec], dialect: str) -> Iterator[tuple[str, str]]:
    """Yield what keeps `text` from being a condition on one row of these columns: message and near name."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        parsed = sqlglot.parse(text, read=dialect)
    except SqlglotError as error:
        yield f"is no SQL of {dialect}: {_reason(error)}", ""
        return
    tree = parsed[0] if len(parsed) == 1 else None
    if tree is None:
        yield f"has {len(parsed)} statements; expected one condition", ""
        return
    if what := _beyond_a_row(tree):
        yield f"has {what}; expected columns, literals and functions of one row", ""
        return
    yield from _unknown_columns(tree, [column.name for column in columns])
    types = {column.name: column.type for column in columns}
    if not _is_condition(tree, types):
        yield "is a value, not a condition; expected for example a comparison", ""


def _reason(error: Exception) -> str:
    """Return the parser's reason on one line, without the control sequences that underline the place."""
    from sqlglot.errors import ParseError

    if isinstance(error, ParseError) and error.errors:
        found = error.errors[0]
        return f"{found['description'].split(' for <')[0]}, near {found['highlight']!r}"
    return str(error).splitlines()[0]


def _beyond_a_row(tree: exp.Expr) -> str:
    """Say what in a condition needs more than one row, or more than a condition."""
    from sqlglot import exp

    kinds: tuple[tuple[str, tuple[type[exp.Expr], ...]], ...] = (
        ("a query within", (exp.Query,)),
        ("a window function", (exp.Window,)),
        ("an aggregate", (exp.AggFunc,)),
        ("a placeholder", (exp.Placeholder, exp.Parameter)),
        ("a star", (exp.Star,)),
        ("a statement", (exp.Command, exp.DDL, exp.DML, exp.Drop)),
    )
    for node in tree.walk():
        for what, types in kinds:
            if isinstance(node, types):
                return what
    return ""


def _unknown_columns(tree: exp.Expr, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    from sqlglot import exp

    lambdas = {name.name for node in tree.find_all(exp.Lambda) for name in node.expressions}
    for name in dict.fromkeys(column.sql() for column in tree.find_all(exp.Column)):
        plain = name.strip('"')
        if plain not in names and plain not in lambdas:
            hint = did_you_mean(plain, names)
            yield (
                f"names {plain!r}, which is no column" + ("" if hint else f"; expected {_one_of(names)}"),
                hint,
            )


def _one_of(names: Sequence[str]) -> str:
    return f"one of {', '.join(names[:12])}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _is_condition(tree: exp.Expr, types: Mapping[str, str]) -> bool:
    """Tell whether an expression can be true or false, as far as its form says; of functions nothing is known."""
    from sqlglot import exp

    if isinstance(tree, exp.Paren):
        return _is_condition(tree.this, types)
    if isinstance(tree, exp.Column):
        return types.get(tree.name, "bool") == "bool"
    return isinstance(tree, exp.Predicate | exp.Connector | exp.Not | exp.Boolean | exp.Func | exp.Cast)
