"""Events for BigQuery: no statement of them is larger than a request may be."""

from __future__ import annotations

import json

import pytest

from runner.warehouses.bigquery.event_rows import CHUNK_ROWS, chunks_of

REQUEST_BYTES = 10_000_000


@pytest.mark.parametrize(
    "text", ["a" * 900_000, "\N{WHITE SMILING FACE}" * 300_000, "\N{GRINNING FACE}" * 300_000]
)
def test_texts_count_as_the_request_has_them(text: str) -> None:
    rows = [{"event_id": str(number), "payload": text} for number in range(12)]
    chunks = list(chunks_of(rows))
    assert [row for chunk in chunks for row in chunk] == rows
    assert max(len(json.dumps(chunk)) for chunk in chunks) < REQUEST_BYTES / 2


def test_small_events_go_together() -> None:
    rows = [{"event_id": str(number), "payload": "{}"} for number in range(CHUNK_ROWS + 1)]
    assert [len(chunk) for chunk in chunks_of(rows)] == [CHUNK_ROWS, 1]
