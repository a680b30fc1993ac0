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


def content_of(row: Row) -> str:
    """Return a row as JSON text for the quarantine, cut at `MAX_CONTENT`; what JSON cannot say is said by repr."""
    return json.dumps(row, ensure_ascii=False, default=_plain)[:MAX_CONTENT]


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value[:MAX_CONTENT].decode("utf-8", "backslashreplace")
    return str(value)


def _sentence(row: BadRow) -> str:
    place = f"key {row.key!r}" if row.key is not None else "row without a known key"
    return f"{place}, column {row.column}: {row.reason}" if row.column else f"{place}: {row.reason}"
