"""What every landing says in SQL, whichever engine it lands in: upserts, keys to remember, quarantine, marker.

The statements work on relations that the adapter has made: staged rows and keys, and temporary tables of keys. Each
takes the `Parameters` that its values are bound in. An adapter that sends statements one by one gives each its own;
one that sends them as a script gives all of them the same, and the names stay unique.
"""

from runner.landings.outcomes import landed_before, nothing_landed
from runner.landings.quarantined import quarantine_table
from runner.landings.records import marker_query, marker_statement, quarantine_statement
from runner.landings.relations import NUMBER, KeyRelations, StagedRows, temporary_statement
from runner.landings.tracked import TrackedKeys, match_of
from runner.landings.upserts import (
    conflict_statement,
    distinct_statement,
    empty_statement,
    insert_statement,
    merge_statement,
)

__all__ = [
    "NUMBER", "KeyRelations", "StagedRows", "TrackedKeys", "conflict_statement", "distinct_statement",
    "empty_statement", "insert_statement", "landed_before", "marker_query", "marker_statement", "match_of",
    "merge_statement", "nothing_landed", "quarantine_statement", "quarantine_table", "temporary_statement",
]  # fmt: skip
