"""What every writer says alike: of keys that cannot land, and of landings in which nothing was written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from runner.ports import ActionLanding, LandingResult, LandingSpec, TargetLanding, WriteTarget

if TYPE_CHECKING:
    import pyarrow as pa


def refuse_null_keys(target: WriteTarget, batch: pa.RecordBatch) -> None:
    """Raise `ValueError` for NULL in a key: bad rows are refused upstream, and an upsert would insert NULL keys again
    and again.
    """
    for name in target.key if target.mode != "append" else ():
        if name in batch.schema.names and batch.column(name).null_count:
            raise ValueError(f"staged rows for {target.table.ref} have NULL in the key column {name}")


def nothing_landed(landing: LandingSpec, batch: int, actions: Iterable[ActionLanding]) -> LandingResult:
    """Report that nothing was staged, and what checks made of the tables as they stand."""
    return _without_rows(landing, batch, [0] * len(landing.targets), actions=tuple(actions))


def landed_before(landing: LandingSpec, batch: int, staged: Sequence[int]) -> LandingResult:
    """Report a landing whose marker was there already: nothing is written twice. `staged`: rows by target."""
    return _without_rows(landing, batch, staged, details={"already_landed": True})


def _without_rows(
    landing: LandingSpec,
    batch: int,
    staged: Sequence[int],
    *,
    actions: tuple[ActionLanding, ...] = (),
    details: dict[str, bool] | None = None,
) -> LandingResult:
    targets = tuple(
        TargetLanding(step_id=target.step_id, table=target.table.ref, staged=rows, written=0, duplicates=0)
        for target, rows in zip(landing.targets, staged, strict=True)
    )
    return LandingResult(batch=batch, targets=targets, actions=actions, details=details or {})
