"""Whether two sets of rows are the same, in whatever order: their number and two sums over the hashes of rows."""

from __future__ import annotations

from typing import Any, NamedTuple

from runner.errors import WarehouseError


class Digest(NamedTuple):
    """What stands for the rows of a table. Rows that occur twice count twice: `exclusive` alone would lose them."""

    rows: int
    exclusive: Any
    total: Any


def digest_columns(hashed: str) -> str:
    """Return the columns of a query that makes a `Digest`, of an expression that hashes one row to a number."""
    return f"count(*) AS n, bit_xor({hashed}) AS exclusive, sum({hashed}) AS total"


def require_equal(engine: str, before: Digest, after: Digest) -> None:
    """Raise `WarehouseError` unless two digests are equal."""
    if before != after:
        what = (
            f"{before.rows:,} and {after.rows:,} rows"
            if before.rows != after.rows
            else "the same number of rows"
        )
        raise WarehouseError(
            engine,
            f"what was written anew is not what there was ({what}): nothing was changed",
            hint="somebody else may have written to the table meanwhile; try again",
        )
