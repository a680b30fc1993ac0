"""A check of a table within a script: its figures and samples come as JSON text with the script's result."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from runner.expectations import NUMBER, SHARED, CheckStatements
from runner.ports import Finding, LandingCheck, Row
from runner.sql import BIGQUERY
from runner.warehouses.bigquery.script import Script

_READ: dict[str, Callable[[str], Any]] = {
    "int64": int,
    "float64": float,
    "numeric": Decimal,
    "bool": lambda text: text == "true",
    "timestamp": lambda text: datetime.fromisoformat(text).astimezone(UTC),
    "date": date.fromisoformat,
    "bytes": bytes.fromhex,
}
"""From the canonical text of a value (`Dialect.texts`) to the value, by declared type; the others are their text."""


class ScriptedCheck:
    """One check of a landing. `counts` and `samples` are its variables in the script."""

    def __init__(self, action: LandingCheck, number: int, script: Script) -> None:
        self.action = action
        self._statements = CheckStatements(action.check, BIGQUERY)
        self._shown = [number for number, item in enumerate(action.check.expectations) if item.is_about_rows]
        self.counts = script.declare(f"rp_counts_{number}", "STRING")
        self.samples = script.declare(f"rp_samples_{number}", "STRING")

    def ask(self, script: Script, outcome: str) -> None:
        """Append what the check asks. Where something of severity error is against it, the script ends with the query
        `outcome`, and its end before the commit takes back what it has changed (docs, "Multi-statement transactions").
        """
        against = self._statements.is_against("c", errors_only=False)
        failed = self._statements.is_against("c", errors_only=True)
        count = script.bound(self._statements.count())
        script.add(
            f"SET {self.counts} = (SELECT TO_JSON_STRING(STRUCT(c AS counts, {against} AS against, "
            f"{failed} AS failed)) FROM ({count}) AS c)",
            self.action,
        )
        if self._shown:
            script.add(
                f"IF {self._tells('against')} THEN SET {self.samples} = {self._sampled(script)}; END IF",
                self.action,
            )
        if failed != "FALSE":
            script.add(f"IF {self._tells('failed')} THEN {outcome}; RETURN; END IF")

    def findings(self, answer: Mapping[str, Any]) -> tuple[Finding, ...]:
        """Return what was found, from the row that the script answered; nothing if it did not come so far."""
        if answer[self.counts] is None:
            return ()
        rows = [self._read(row) for row in json.loads(answer[self.samples] or "[]")]
        return self._statements.findings(json.loads(answer[self.counts])["counts"], rows)

    def _tells(self, what: str) -> str:
        return f"JSON_VALUE({self.counts}, '$.{what}') = 'true'"

    def _sampled(self, script: Script) -> str:
        """Return the query for the samples: all that JSON could change is sent as its canonical text."""
        columns = ", ".join(
            f"{BIGQUERY.texts[column.type].format(f'x.{BIGQUERY.quote(column.name)}')} AS {BIGQUERY.quote(column.name)}"
            for column in self._statements.columns_shown(self._shown)
        )
        rows = script.bound(self._statements.sample(self._shown))
        order = ", ".join(
            f"x.{BIGQUERY.quote(name)}"
            for name in (
                NUMBER,
                *(
                    column.name
                    for column in self._statements.columns_shown(self._shown)
                    if column.type != "json"
                ),
            )
        )
        return (
            f"(SELECT TO_JSON_STRING(ARRAY(SELECT AS STRUCT x.{NUMBER}, x.{SHARED}, {columns} "
            f"FROM ({rows}) AS x ORDER BY {order})))"
        )

    def _read(self, row: Mapping[str, Any]) -> Row:
        types = {column.name: column.type for column in self.action.check.table.columns}
        return {
            name: value if value is None or name in (NUMBER, SHARED) else _READ.get(types[name], str)(value)
            for name, value in row.items()
        }
