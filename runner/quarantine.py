"""What becomes of bad rows: they fail their step, or go to `ops.quarantine` up to a limit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from runner.errors import BadRows
from runner.ports import BadRow, Row, Writer

SAMPLES = 5
"""How many bad rows an error describes."""

MAX_CONTENT = 10_000
"""Characters of a row that are kept with it in the quarantine."""


class BadRowGate:
    """Takes the bad rows of one step in one attempt of a job."""

    def __init__(
        self, step_id: str, on_bad_row: Literal["fail", "quarantine"], limit: int, writer: Writer | None
    ) -> None:
        self._step_id = step_id
        # Without a landing there is nowhere to keep a bad row, and losing one silently is not an option.
        self._limit = limit if on_bad_row == "quarantine" and writer is not None else 0
        self._writer = writer
        self._samples: list[str] = []
        self.count = 0

    async def take(self, rows: Sequence[BadRow]) -> None:
        """Stage bad rows for the quarantine. Raises `BadRows` when there are more than the step allows."""
        self.count += len(rows)
        self._samples.extend(_sentence(row) for row in rows[: SAMPLES - len(self._samples)])
        if self.count > self._limit:
            raise BadRows(self._step_id, self.count, self._limit, self._samples)
        if self._writer is not None:
            await self._writer.stage_bad_rows(rows)


def bad_row(step_id: str, row: Row, *, key: str | None, column: str = "", reason: str) -> BadRow:
    """Describe a refused row so that any warehouse can keep it: `content` is the row as JSON text, cut at
    `MAX_CONTENT`, and what is no valid text (lone surrogates) is escaped everywhere.
    """
    clean = _storable(key) if key is not None else None
    return BadRow(
        step_id=step_id, key=clean, column=column, reason=_storable(reason), content=_storable(_content(row))
    )


def _content(row: Row) -> str:
    try:
        text = json.dumps(row, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):  # keys that JSON has not, or a row that contains itself
        text = repr(row)
    return text[:MAX_CONTENT]


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value[:MAX_CONTENT].decode("utf-8", "backslashreplace")
    return str(value)


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _sentence(row: BadRow) -> str:
    place = f"key {row.key!r}" if row.key is not None else "row without a known key"
    return f"{place}, column {row.column}: {row.reason}" if row.column else f"{place}: {row.reason}"
