"""The project of the warehouse benchmarks: measurement events scored into seven observations each.

One job: an incremental read, a row transform, an upsert. `fill` makes its source (and target) by SQL alone.
"""

from __future__ import annotations

from pathlib import Path

JOB = """
job_id: score
steps:
  - step_id: read_me
    op: read
    dataset: derived
    table: measurement_events
    columns: [measurement_event_id, subject_id, occurred_at, binding_id, answers]
    filters: {binding_id: intake_01}
    incremental:
      mode: not_exists
      target_dataset: derived
      target_table: observations
      source_key: measurement_event_id
      target_key: measurement_event_id
  - step_id: score
    op: call
    function: jobs.scoring:score
  - step_id: write
    op: write
    dataset: derived
    table: observations
    mode: upsert
    key: [observation_id]
    set_on_write: [processed_at]
"""

TABLES = """
dataset: derived
tables:
  - table: measurement_events
    columns:
      - {name: measurement_event_id, type: string, required: true}
      - {name: subject_id, type: string}
      - {name: occurred_at, type: timestamp}
      - {name: binding_id, type: string}
      - {name: answers, type: json}
    key: [measurement_event_id]
  - table: observations
    columns:
      - {name: observation_id, type: string, required: true}
      - {name: measurement_event_id, type: string}
      - {name: subject_id, type: string}
      - {name: occurred_at, type: timestamp}
      - {name: binding_id, type: string}
      - {name: measure, type: string}
      - {name: value, type: float64}
      - {name: processed_at, type: timestamp}
    key: [observation_id]
"""

FUNCTION = '''
"""Seven measures of one event."""

MEASURES = ("phq9", "gad7", "phq15", "auditc", "pcptsd5", "cesd", "sleep")


def score(row):
    """Give one observation a measure."""
    answers = row["answers"]
    event = row["measurement_event_id"]
    for number, measure in enumerate(MEASURES):
        yield {
            "observation_id": f"obs:{event}:{measure}",
            "measurement_event_id": event,
            "subject_id": row["subject_id"],
            "occurred_at": row["occurred_at"],
            "binding_id": row["binding_id"],
            "measure": measure,
            "value": float(sum(answers) + number),
        }
'''

PROCESS_JOB = JOB.replace(
    "function: jobs.scoring:score", "function: jobs.scoring:score\n    runs_in: process"
)

CONFIGS = {"configs/jobs/score.yaml": JOB, "configs/tables/derived.yaml": TABLES}
CODE = {"jobs/__init__.py": "", "jobs/scoring.py": FUNCTION}


def busier(microseconds: int) -> dict[str, str]:
    """Return the code of a project whose function computes for so much longer with each event."""
    first = '    answers = row["answers"]\n'
    wait = (
        f"    until = perf_counter() + {microseconds}e-6\n    while perf_counter() < until:\n        pass\n"
    )
    function = FUNCTION.replace("\nMEASURES", "\nfrom time import perf_counter\n\nMEASURES", 1)
    return CODE | ({"jobs/scoring.py": function.replace(first, wait + first)} if microseconds else {})


_EVENTS = """
INSERT INTO derived.measurement_events
SELECT 'me:' || md5(i::VARCHAR), 'subject-' || (i % 5000), TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (i) SECOND,
       'intake_01', '[1,2,3,0,1,2,3,0,1]'
FROM range({start}, {stop}) t(i)
"""

_OBSERVATIONS = """
INSERT INTO derived.observations
SELECT 'obs:' || measurement_event_id || ':' || m, measurement_event_id, subject_id, occurred_at, binding_id, m, 13.0,
       TIMESTAMPTZ '2026-02-01 00:00:00+00'
FROM derived.measurement_events,
     (VALUES ('phq9'), ('gad7'), ('phq15'), ('auditc'), ('pcptsd5'), ('cesd'), ('sleep')) v(m)
"""


def fill(database: Path, *, scored: int, new: int) -> None:
    """Make a warehouse file with `scored` events that have their observations, and `new` ones without."""
    import duckdb

    database.unlink(missing_ok=True)
    connection = duckdb.connect(str(database))
    connection.execute("SET TimeZone='UTC'; CREATE SCHEMA derived")
    connection.execute(
        "CREATE TABLE derived.measurement_events (measurement_event_id VARCHAR NOT NULL, subject_id VARCHAR,"
        " occurred_at TIMESTAMPTZ, binding_id VARCHAR, answers JSON)"
    )
    connection.execute(
        "CREATE TABLE derived.observations (observation_id VARCHAR NOT NULL, measurement_event_id VARCHAR,"
        " subject_id VARCHAR, occurred_at TIMESTAMPTZ, binding_id VARCHAR, measure VARCHAR, value DOUBLE,"
        " processed_at TIMESTAMPTZ)"
    )
    connection.execute(_EVENTS.format(start=0, stop=scored))
    connection.execute(_OBSERVATIONS)
    connection.execute(_EVENTS.format(start=scored, stop=scored + new))
    connection.close()
