"""What a check expects, asked of batches (`tally`) and of tables (`statements`), and said in words (`findings`).

NULL is the business of `not_null` alone: every other kind lets it pass. NaN is a value, but lies in no range and in
no list; for `unique` it is equal to itself. -0.0 is 0.0.
"""

from runner.expectations.findings import (
    check_error,
    fresh_finding,
    notice_of,
    rows_finding,
    sample_text,
    sentence,
)
from runner.expectations.statements import (
    NUMBER,
    SHARED,
    CheckStatements,
    named_columns,
    table_check,
    table_findings,
)
from runner.expectations.tally import Tally

__all__ = [
    "NUMBER", "SHARED", "CheckStatements", "Tally", "check_error", "fresh_finding", "named_columns", "notice_of",
    "rows_finding", "sample_text", "sentence", "table_check", "table_findings",
]  # fmt: skip
