"""By hand: read what is new, json.loads a row, lists of dictionaries, one MERGE. What one writes on an afternoon."""

import json
import sys
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

STATEMENT = """
SELECT s.measurement_event_id, s.subject_id, s.occurred_at, s.binding_id, s.answers
FROM derived.measurement_events s ANTI JOIN derived.observations t ON t.measurement_event_id = s.measurement_event_id
WHERE s.binding_id = ?
"""
MERGE = """
MERGE INTO derived.observations t USING new_rows s ON t.observation_id = s.observation_id
WHEN MATCHED THEN UPDATE SET measurement_event_id = s.measurement_event_id, subject_id = s.subject_id,
    occurred_at = s.occurred_at, binding_id = s.binding_id, measure = s.measure, value = s.value,
    processed_at = s.processed_at
WHEN NOT MATCHED THEN INSERT (observation_id, measurement_event_id, subject_id, occurred_at, binding_id, measure,
    value, processed_at) VALUES (s.observation_id, s.measurement_event_id, s.subject_id, s.occurred_at, s.binding_id,
    s.measure, s.value, s.processed_at)
"""
MEASURES = ("phq9", "gad7", "phq15", "auditc", "pcptsd5", "cesd", "sleep")
SCHEMA = pa.schema(
    [
        ("observation_id", pa.string()),
        ("measurement_event_id", pa.string()),
        ("subject_id", pa.string()),
        ("occurred_at", pa.timestamp("us", "UTC")),
        ("binding_id", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("processed_at", pa.timestamp("us", "UTC")),
    ]
)


def score(row):
    answers = json.loads(row["answers"])
    for number, measure in enumerate(MEASURES):
        yield {
            "observation_id": f"obs:{row['measurement_event_id']}:{measure}",
            "measurement_event_id": row["measurement_event_id"],
            "subject_id": row["subject_id"],
            "occurred_at": row["occurred_at"],
            "binding_id": row["binding_id"],
            "measure": measure,
            "value": float(sum(answers) + number),
            "processed_at": now,
        }


now = datetime.now(UTC)
connection = duckdb.connect(sys.argv[1])
connection.execute("SET TimeZone='UTC'")
events = connection.execute(STATEMENT, ["intake_01"]).to_arrow_table().to_pylist()
observations = [observation for event in events for observation in score(event)]
new_rows = pa.Table.from_pylist(observations, schema=SCHEMA)
connection.execute("BEGIN")
connection.execute(MERGE)
connection.execute("COMMIT")
print(len(observations))
connection.close()
