"""A script for the server: statements in order, variables, values under unique names, and what stands where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from runner.errors import RunPipelineError, WarehouseError
from runner.ports import LandingAction, LandingStatement, Statement
from runner.sql import BIGQUERY, Parameters
from runner.sqltext import pieces

_PLACE = re.compile(r" at \[(\d+):\d+\]")
"""Where in the whole script it failed, as the service says it at the end of a message."""


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    action: LandingAction | None


class Script:
    """A script that is being written. `parameters` hands out names that are unique in it."""

    def __init__(self) -> None:
        self.parameters = Parameters(BIGQUERY)
        self._declarations: list[str] = []
        self._parts: list[_Part] = []

    def declare(self, name: str, kind: str, default: str = "") -> str:
        """Declare a variable of an engine's type and return its name. Variables survive a rollback."""
        self._declarations.append(f"DECLARE {name} {kind}{f' DEFAULT {default}' if default else ''}")
        return name

    def given(self, name: str, parameter: Any) -> str:
        """Bind a ready-made parameter, which has its name already, and return its placeholder."""
        placeholder = self.parameters.bind(name, parameter)
        if placeholder != f"@{name}":
            raise ValueError(f"{name} has been bound before")
        return placeholder

    def add(self, text: str, action: LandingAction | None = None) -> None:
        """Append a statement, without its semicolon; `action`: errors in it are about this one."""
        self._parts.append(_Part(text, action))

    def add_action(self, action: LandingStatement) -> None:
        """Append a statement of the project."""
        self.add(self.bound(action.statement), action)

    def bound(self, statement: Statement) -> str:
        """Return the text of a statement that was written for itself, its values bound in this script. A comment at
        its end stays one: a new line follows.
        """
        found = list(pieces(statement.text, BIGQUERY.name))
        names: dict[str, str] = {}
        written: list[str] = []
        for place, piece in enumerate(found):
            if piece.kind == "semicolon":
                continue
            before = [one.text for one in found[max(0, place - 2) : place]]
            if piece.kind != "word" or before[-1:] != ["@"] or before == ["@", "@"]:
                written.append(piece.text)
                continue
            if piece.text not in names:
                names[piece.text] = self.parameters.bind(piece.text, statement.values[piece.text])
            written[-1] = names[piece.text]
        return "".join(written) + ("\n" if found and found[-1].kind == "comment" else "")

    @property
    def statement(self) -> Statement:
        """The script as one statement."""
        lines = [*self._declarations, *(part.text for part in self._parts)]
        return Statement(text="".join(f"{line};\n" for line in lines), values=self.parameters.values)

    def locate(self, error: RunPipelineError) -> None:
        """Note in an error of the script which step, file and line it is about, as far as the service tells: it says
        where in the script the statement begins that failed.
        """
        if not isinstance(error, WarehouseError) or not (found := _PLACE.findall(error.message)):
            return
        line, first = int(found[-1]), 1 + sum(text.count("\n") + 1 for text in self._declarations)
        for part in self._parts:
            height = part.text.count("\n") + 1
            if first <= line < first + height and part.action is not None:
                error.step_id = part.action.step_id
                statement = part.action.statement if isinstance(part.action, LandingStatement) else None
                if statement is not None and statement.file:
                    error.place = f"{statement.file}:{statement.line + line - first}"
            first += height


def affected(name: str) -> str:
    """Return the statement that notes how many rows the statement before it has changed."""
    return f"SET {name} = COALESCE(@@row_count, 0)"
