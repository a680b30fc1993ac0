"""By hand: ask for new events, find none. The statement is the one that the engine sends."""

import sys

import duckdb

STATEMENT = """
SELECT s.measurement_event_id, s.subject_id, s.occurred_at, s.binding_id, s.answers
FROM derived.measurement_events s ANTI JOIN derived.observations t ON t.measurement_event_id = s.measurement_event_id
WHERE s.binding_id = ?
"""

connection = duckdb.connect(sys.argv[1])
rows = connection.execute(STATEMENT, ["intake_01"]).fetchall()
print(len(rows))
connection.close()
