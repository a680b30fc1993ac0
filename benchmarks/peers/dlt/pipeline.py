"""dlt: an incremental resource by time that merges by key; Arrow from the source, the score in its query."""

import sys

import dlt
import duckdb
from dlt.destinations import duckdb as target

QUERY = """
SELECT event_id, subject_id, occurred_at, a + b + c AS score,
       CASE WHEN a + b + c >= 6 THEN 'high' WHEN a + b + c >= 3 THEN 'medium' ELSE 'low' END AS severity
FROM raw.events WHERE occurred_at > coalesce(?, TIMESTAMPTZ '1970-01-01')
"""


@dlt.resource(write_disposition="merge", primary_key="event_id")
def scores(since=dlt.sources.incremental("occurred_at", range_start="open")):  # noqa: B008
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.sql(QUERY, params=[since.last_value]).to_arrow_table()
    if found.num_rows:
        yield found


def no_rows():
    yield from ()


PIPELINES = {
    "scores": scores,
    "nothing": lambda: [dlt.resource(no_rows, name=f"nothing_{number:02}") for number in range(20)],
}

if __name__ == "__main__":
    name = sys.argv[1]
    warehouse = target("warehouse.duckdb")
    dlt.pipeline(name, destination=warehouse, dataset_name="derived", pipelines_dir="state").run(
        PIPELINES[name]()
    )
