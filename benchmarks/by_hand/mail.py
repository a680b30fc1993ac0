"""By hand: the functions of `jobs/` called one after the other, one insert a table. No second run, no records."""

import json
import sys
from pathlib import Path

import duckdb
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from jobs.formation.measurement_events import measurement_event
from jobs.formation.scoring import score
from jobs.forms import canonical as forms
from jobs.forms.csv_export import responses
from jobs.mail.canonical import canonize
from jobs.mail.mbox import messages
from jobs.source_files import one_file, tree

incoming, database = Path(sys.argv[1]), sys.argv[2]
connection = duckdb.connect(database)
connection.execute("SET TimeZone='UTC'")


def save(table, rows):
    """One insert of all rows; what is nested becomes JSON text."""
    names = list(rows[0])
    columns = [[row[name] for row in rows] for name in names]
    for column in columns:
        if any(isinstance(value, list | dict) for value in column):
            column[:] = [json.dumps(value) for value in column]
    batch = pa.table([pa.array(column) for column in columns], names=names)
    connection.register("batch", batch)
    connection.execute(f"CREATE TABLE {table} AS SELECT * FROM batch")


raw = [row for file in one_file(path=str(incoming / "inbox.mbox"), source="inbox") for row in messages(file)]
save("messages", raw)
mail = []
for row in raw:
    try:
        mail.append(canonize(row))
    except ValueError as error:
        print(error)
save("mail", mail)

answered = [
    row
    for file in tree(folder=str(incoming / "forms"), suffix=".csv", source="forms")
    for row in responses(file)
]
save("raw_responses", answered)
canonical = [forms.canonize(row) for row in answered]
save("form_responses", canonical)
events = [measurement_event(row) for row in canonical]
save("measurement_events", events)
save("observations", [one for event in events for one in score(event, instrument=event["binding_id"])])
connection.close()
