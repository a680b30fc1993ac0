"""A canonical form response becomes a measurement event: the same answers, under the ids that scores refer
to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner import Row


def measurement_event(row: Row) -> Row:
    """The row of `derived.measurement_events` for a row of `canonical.form_responses`.

    It carries the response's idem_key unchanged, which is what the incremental read compares:
    canonical_object_id has the prefix `co:` and would never match. Raises KeyError if a column that is read
    is missing.
    """
    idem_key = row["idem_key"]
    return {
        "measurement_event_id": f"me:{idem_key}",
        "idem_key": idem_key,
        "canonical_object_id": f"co:{idem_key}",
        "subject_id": row["subject_id"],
        "event_type": "form",
        "event_subtype": row["binding_id"],
        "binding_id": row["binding_id"],
        "source_system": row["source_system"],
        "source_entity": "form_response",
        "form_id": row["form_id"],
        "occurred_at": row["submitted_at"],
        "correlation_id": row["raw_idem_key"],
        "content_hash": row["content_hash"],
        "answers": row["answers"],
    }
