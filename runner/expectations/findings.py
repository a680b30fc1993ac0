"""Findings of a check in words: a sample row as JSON text, the sentence, the error, the notice."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from runner.clock import format_utc
from runner.errors import CheckFailed
from runner.ports import Finding
from runner.specs import Expectation

SAMPLES = 5
"""Offending rows that are shown of each expectation."""

SAMPLE_CHARACTERS = 200


def sample_text(row: Mapping[str, Any], keys: Sequence[str], columns: Sequence[str]) -> str:
    """Return a row as JSON text: its key columns and those that are meant. Without a known key all it has, the columns
    that are meant first. What is no text (lone surrogates) is escaped; long text is cut.
    """
    known = [name for name in keys if name in row]
    names = [*known, *columns] if known else [*columns, *row]
    shown = {str(name): _plain(row.get(name)) for name in dict.fromkeys(names)}
    try:
        text = json.dumps(shown, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):  # keys that JSON has not, or a value that contains itself
        text = repr(shown)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= SAMPLE_CHARACTERS else f"{text[:SAMPLE_CHARACTERS]}…"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return format_utc(value) if value.tzinfo else value.isoformat()
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value.is_finite() else str(value)
    if isinstance(value, bytes):
        return value[:SAMPLE_CHARACTERS].decode("utf-8", "backslashreplace")
    if value is None or isinstance(value, str | int | bool | list | dict):
        return value
    return str(value)


def sentence(finding: Finding) -> str:
    """Return `not_null value: 2 of 5 rows, such as {"id": "b", "value": null}`."""
    if finding.found:
        return f"{finding.expectation}: {finding.found}"
    samples = ", ".join(finding.samples)
    such = f", such as {samples}" if samples else ""
    noun = "row" if finding.rows == 1 else "rows"
    return f"{finding.expectation}: {finding.offending} of {finding.rows} {noun}{such}"


def rows_finding(subject: str, expectation: Expectation, count: int) -> Finding | None:
    """Return what a number of rows says about a `rows` expectation, or None when it holds."""
    rows = expectation.rows
    if rows is None or ((rows.min or 0) <= count and (rows.max is None or count <= rows.max)):
        return None
    found = "there are none" if count == 0 else "there is 1" if count == 1 else f"there are {count}"
    return Finding(subject=subject, expectation=expectation, rows=count, found=found)


def fresh_finding(subject: str, expectation: Expectation, rows: int, latest: str | None) -> Finding:
    """Return what a greatest time that is too old (None: there is none) says about a `fresh` expectation."""
    found = f"the latest is {latest}" if latest else "there is no time at all"
    return Finding(subject=subject, expectation=expectation, rows=rows, found=found)


def check_error(step_id: str, findings: Sequence[Finding]) -> CheckFailed | None:
    """Return the error that the findings of severity error make, all of them together; None: there are none."""
    failed = [finding for finding in findings if finding.expectation.severity != "warn"]
    return (
        CheckFailed(step_id, failed[0].subject, [sentence(finding) for finding in failed]) if failed else None
    )


def notice_of(finding: Finding) -> tuple[str, dict[str, Any]]:
    """Return message and details of the notice about a finding of severity warn."""
    details = {
        "subject": finding.subject,
        "expectation": str(finding.expectation),
        "rows": finding.rows,
        "offending": finding.offending,
        "samples": list(finding.samples),
    }
    return f"{finding.subject}: {sentence(finding)}", details
