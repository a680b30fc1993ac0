"""Table layouts, for every engine: names of what is made on the way, whether two tables hold the same rows, probes.

names       backups, tables under construction and indexes, so that the next optimize knows them
digests     a number for the rows of a table, in any order
costs       a read of the project as a query that only counts its rows
"""

from runner.layouts.costs import counting
from runner.layouts.digests import Digest, digest_columns, require_equal
from runner.layouts.names import (
    backup_ref,
    backups_among,
    building_ref,
    drop_statement,
    index_name,
    is_own_index,
    ready_ref,
)

__all__ = [
    "Digest", "backup_ref", "backups_among", "building_ref", "counting", "digest_columns", "drop_statement",
    "index_name", "is_own_index", "ready_ref", "require_equal",
]  # fmt: skip
