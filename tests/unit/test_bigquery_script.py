"""A script for BigQuery: statements with values of their own come together, and errors find back."""

from __future__ import annotations

import pytest

from runner.errors import WarehouseError
from runner.ports import LandingStatement, Statement
from runner.warehouses.bigquery.script import Script


def action(text: str, line: int = 1, **values: object) -> LandingStatement:
    """Return a statement of the project's file `sql/a.sql`, beginning in a line of it."""
    statement = Statement(text=text, values=values, file="sql/a.sql", line=line)
    return LandingStatement(step_id="mend", statement=statement, after_targets=0, writes=())


def test_values_of_equal_names_are_told_apart() -> None:
    script = Script()
    script.add_action(action("DELETE FROM a WHERE x = @x AND y = @x", x=1))
    script.add_action(action("DELETE FROM b WHERE x = @x", x=2))
    assert script.statement.text == (
        "DELETE FROM a WHERE x = @x AND y = @x;\nDELETE FROM b WHERE x = @x_2;\n"
    )
    assert script.statement.values == {"x": 1, "x_2": 2}


def test_what_only_looks_like_a_value_stays() -> None:
    script = Script()
    script.add_action(action("UPDATE a SET t = '@x', n = @@row_count, m = @x -- @x;", x=1))
    assert script.statement.text == "UPDATE a SET t = '@x', n = @@row_count, m = @x -- @x;\n;\n"


@pytest.mark.parametrize(("line", "place"), [(3, "sql/a.sql:7"), (5, "sql/a.sql:9")])
def test_an_error_is_found_back_in_its_file(line: int, place: str) -> None:
    script = Script()
    script.declare("n", "INT64", "0")
    script.add("BEGIN TRANSACTION")
    script.add_action(action("DELETE FROM a\nWHERE\nx = 1", line=7))
    script.add("COMMIT TRANSACTION")
    error = WarehouseError("bigquery", f"Unrecognized name: x at [{line}:1]")
    script.locate(error)
    assert (error.step_id, error.place) == ("mend", place)


def test_an_error_of_the_engine_s_own_statements_is_nobody_s() -> None:
    script = Script()
    script.add("BEGIN TRANSACTION")
    script.add_action(action("DELETE FROM a WHERE TRUE"))
    error = WarehouseError("bigquery", "no at [1:1]")
    script.locate(error)
    assert (error.step_id, error.place) == ("", "")
