"""What doctor says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One verdict. `level`: ok, note, warning or error.

    `repair`: what to write below `incremental:` in the YAML.
    """

    level: str
    text: str
    repair: str = ""
