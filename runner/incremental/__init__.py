"""Incremental reads: which rows are new, said in SQL, and the text of keys; small questions about tables."""

from runner.incremental.counts import count_statement, counts_of, missing_statement, quarantined_statement
from runner.incremental.keys import key_text
from runner.incremental.profiles import key_profile
from runner.incremental.questions import (
    greatest_by_statement,
    greatest_statement,
    greatest_values,
    in_utc,
    matching_statement,
)
from runner.incremental.reads import (
    NewRows,
    check_keys,
    key_types,
    query_columns,
    read_statement,
    rows_are_released,
)
from runner.incremental.repairs import PROBES, SAMPLED, affixes

__all__ = [
    "PROBES",
    "SAMPLED",
    "NewRows",
    "affixes",
    "check_keys",
    "count_statement",
    "counts_of",
    "greatest_by_statement",
    "greatest_statement",
    "greatest_values",
    "in_utc",
    "key_profile",
    "key_text",
    "key_types",
    "matching_statement",
    "missing_statement",
    "quarantined_statement",
    "query_columns",
    "read_statement",
    "rows_are_released",
]
