"""The work that every side does, in DuckDB's own SQL: find events without a score, score them, upsert by key.

Luigi, Prefect and Dagster bring no way to load tables, so their tasks call `score_new`. As a script it is the floor.
"""

import sys

import duckdb

SCORE = """
CREATE SCHEMA IF NOT EXISTS derived;
CREATE TABLE IF NOT EXISTS derived.scores
    (event_id VARCHAR, subject_id VARCHAR, occurred_at TIMESTAMPTZ, score BIGINT, severity VARCHAR);
BEGIN;
MERGE INTO derived.scores t USING (
    SELECT e.event_id, e.subject_id, e.occurred_at, e.a + e.b + e.c AS score,
           CASE WHEN e.a + e.b + e.c >= 6 THEN 'high' WHEN e.a + e.b + e.c >= 3 THEN 'medium' ELSE 'low' END AS severity
    FROM raw.events e ANTI JOIN derived.scores k ON k.event_id = e.event_id
) s ON t.event_id = s.event_id
WHEN MATCHED THEN UPDATE SET
    subject_id = s.subject_id, occurred_at = s.occurred_at, score = s.score, severity = s.severity
WHEN NOT MATCHED THEN INSERT (event_id, subject_id, occurred_at, score, severity)
    VALUES (s.event_id, s.subject_id, s.occurred_at, s.score, s.severity);
COMMIT;
"""


def score_new(database="warehouse.duckdb"):
    with duckdb.connect(database) as connection:
        connection.execute(SCORE)


if __name__ == "__main__" and sys.argv[1:] == ["scores"]:
    score_new()
