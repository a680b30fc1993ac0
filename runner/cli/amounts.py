"""What a warehouse tells of its queries (`runner.usage`), as people read it."""

from __future__ import annotations

from runner.cli.wording import count, duration, size
from runner.usage import Usage

HEADINGS = {
    "queries": "queries",
    "bytes_processed": "processed",
    "bytes_billed": "billed",
    "cost": "cost",
    "slot_ms": "slots",
    "cache_hits": "from the cache",
}
COLUMNS = ("bytes_processed", "bytes_billed", "cost", "slot_ms")
"""What steps have columns for, where any of them has used it."""


def amount_text(name: str, value: float | None) -> str:
    """Return one amount: `1.2 GB`, `4.0 s`, `0.0077`, `27`; `-` where nothing is known."""
    if value is None:
        return "-"
    if name == "cost":
        return money(value)
    if name == "slot_ms":
        return duration(value)
    return size(round(value)) if name.startswith("bytes") else count(round(value))


def money(value: float) -> str:
    """Return an amount of whatever currency the price is in: with cents, and as many more digits as show two of it."""
    if value <= 0:
        return "0"
    digits = 2
    while digits < 6 and value < 10.0 ** (1 - digits):
        digits += 1
    return f"{value:,.{digits}f}" if value >= 1e-6 else "<0.000001"


def usage_text(usage: Usage) -> str:
    """Return `3 queries, 1.2 GB processed, 1.2 GB billed, cost 0.0077, 4.0 s of slots, 1 from the cache`, as far as it
    is known.
    """
    parts = [
        count(round(usage["queries"]), "query", "queries") if "queries" in usage else "",
        f"{size(round(usage['bytes_processed']))} processed" if "bytes_processed" in usage else "",
        f"{size(round(usage['bytes_billed']))} billed" if "bytes_billed" in usage else "",
        f"cost {money(usage['cost'])}" if "cost" in usage else "",
        f"{duration(usage['slot_ms'])} of slots" if "slot_ms" in usage else "",
        f"{count(round(usage['cache_hits']))} from the cache" if usage.get("cache_hits") else "",
    ]
    return ", ".join(part for part in parts if part)
