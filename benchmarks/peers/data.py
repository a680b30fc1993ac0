"""Fill the source table of the comparison; started with the Python of each environment, whose DuckDB then reads it.

    python data.py known|new DATABASE DAY

known: 100,000 events of the 99 days before DAY. new: 1,000 more, of DAY.
"""

import sys
from datetime import date, timedelta

import duckdb

ROWS, NEW, DAYS, SECONDS = 100_000, 1_000, 99, 85

EVENTS = """
SELECT 'e:' || md5(i::VARCHAR) AS event_id, 'subject-' || (i % 5000) AS subject_id,
       TIMESTAMPTZ '{first} 00:00:00+00' + to_seconds((i - {start}) * {seconds}) AS occurred_at,
       i % 4 AS a, i % 3 AS b, i % 5 AS c
FROM range({start}, {stop}) t(i)
"""

what, database, day = sys.argv[1], sys.argv[2], date.fromisoformat(sys.argv[3])
with duckdb.connect(database) as connection:
    connection.execute("SET TimeZone = 'UTC'")
    if what == "known":
        known = EVENTS.format(first=day - timedelta(DAYS), start=0, stop=ROWS, seconds=SECONDS)
        connection.execute(f"CREATE SCHEMA raw; CREATE TABLE raw.events AS {known}")
    else:
        new = EVENTS.format(first=day, start=ROWS, stop=ROWS + NEW, seconds=SECONDS)
        connection.execute(f"INSERT INTO raw.events {new}")
