"""Events are found in `ops.event_log` on every engine as in the files, whatever is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.event_log import events_to_rows
from runner.operations.events import EventRow, WantedEvents, from_warehouse
from runner.testing.run_history import run_history
from tests.contract.conftest import OpenLab

START = datetime(2026, 2, 12, 6, tzinfo=UTC)
LATER = START + timedelta(days=1)


def rows() -> list[dict[str, Any]]:
    """Two runs, a day apart."""
    first = run_history("daily", ["intake", "scores"], failing=["scores"], started_at=START)
    second = run_history("weekly", ["intake"], started_at=LATER)
    return [dict(row) for row in (*events_to_rows(first), *events_to_rows(second))]


def decoded(row: EventRow) -> EventRow:
    """With its payload as data."""
    return {**row, "payload": json.loads(row["payload"])}


@pytest.mark.asyncio
async def test_every_question_is_answered_as_from_the_files(open_lab: OpenLab) -> None:
    written = rows()
    async with open_lab() as lab:
        assert await from_warehouse(lab.warehouse, WantedEvents()) in (None, [])
        await lab.warehouse.merge_events(written)
        in_order = sorted(written, key=lambda row: (row["timestamp"], row["event_id"]))
        run_id = written[0]["correlation_id"]
        everything = WantedEvents(limit=1000)
        for wanted in (
            everything,
            replace(everything, types=("job.started", "job.finished")),
            replace(everything, since=LATER),
            replace(everything, limit=3),
            WantedEvents(types=("step.finished",), run_id=run_id, job="scores", since=START, limit=1),
        ):
            expected = [row for row in in_order if wanted.takes(row)]
            expected = [row for row in expected if wanted.run_id in (None, row["correlation_id"])]
            assert await from_warehouse(lab.warehouse, wanted) == [
                decoded(row) for row in expected[-wanted.limit :]
            ]
