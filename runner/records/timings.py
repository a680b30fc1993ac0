"""Steps of a job, and the figures that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from runner.records.reading import Status, known_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """One step of one job run.

    `duration_ms` is exclusive time: the step's own, without waiting on the one before, so that the steps of a
    job sum to the job. `busy_ms` is worker time and may exceed it (process workers). `rows_read` is set for
    `read`, `extract` and queries of `sql`, `rows_written` for `write` and `sql` with writes; `rows_in`/`rows_out` for
    whatever flowed through. `warehouse`: what its queries used over all attempts (`runner.usage`), and their ids.

    `first_ms` and `last_ms` are when it was first asked and when it last worked, in milliseconds from the start of its
    job; in between other steps worked, too. None for a step that was never asked, and in old records.
    """

    step_id: str
    op: str = ""
    status: Status = Status.SUCCESS
    duration_ms: float = 0
    busy_ms: float = 0
    rows_read: int | None = None
    rows_written: int | None = None
    rows_in: int = 0
    rows_out: int = 0
    batches: int = 0
    attempts: int = 1
    first_ms: float | None = None
    last_ms: float | None = None
    warehouse: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; rows, `first_ms`, `last_ms` and `warehouse` only where they apply."""
        data: dict[str, Any] = {
            "step_id": self.step_id,
            "op": self.op,
            "status": self.status.value,
            "duration_ms": self.duration_ms,
            "busy_ms": self.busy_ms,
        }
        for name in ("rows_read", "rows_written"):
            if (value := getattr(self, name)) is not None:
                data[name] = value
        data.update(
            rows_in=self.rows_in, rows_out=self.rows_out, batches=self.batches, attempts=self.attempts
        )
        if self.first_ms is not None:
            data.update(first_ms=self.first_ms, last_ms=self.last_ms)
        if self.warehouse:
            data["warehouse"] = dict(self.warehouse)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form."""
        known = known_fields(cls, data)
        if "status" in known:
            known["status"] = Status(known["status"])
        return cls(**known)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceIndicators:
    """Four figures that say how a job did, by the definitions of DESIGN (traps T7 to T9): `from_timings`."""

    query_efficiency: str
    transform_throughput: float
    write_throughput: float
    bottleneck_step: str | None

    @classmethod
    def from_timings(cls, timings: Sequence[StepTiming]) -> Self:
        """Derive the indicators from step timings.

        query_efficiency: summed duration of `read` steps, under 5,000 ms good, under 15,000 moderate, else
        poor. transform_throughput: rows that left the last `call`, per second in calls. write_throughput:
        rows written per second in writes. 0 where there is no time. bottleneck_step: the longest, the first
        of equals.
        """
        read_ms = sum(t.duration_ms for t in timings if t.op == "read")
        calls = [t for t in timings if t.op == "call"]
        writes = [t for t in timings if t.op == "write"]
        longest = max(timings, key=lambda t: t.duration_ms, default=None)
        return cls(
            query_efficiency="good" if read_ms < 5_000 else "moderate" if read_ms < 15_000 else "poor",
            transform_throughput=_per_second(calls[-1].rows_out if calls else 0, calls),
            write_throughput=_per_second(sum(t.rows_written or 0 for t in writes), writes),
            bottleneck_step=longest.step_id if longest else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "query_efficiency": self.query_efficiency,
            "transform_throughput": self.transform_throughput,
            "write_throughput": self.write_throughput,
            "bottleneck_step": self.bottleneck_step,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form."""
        return cls(**known_fields(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRegression:
    """A step that took longer than in `runs` runs before: `is_ms` instead of their median `was_ms`, `ratio` times."""

    job_id: str
    step_id: str
    was_ms: float
    is_ms: float
    ratio: float
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            name: getattr(self, name) for name in ("job_id", "step_id", "was_ms", "is_ms", "ratio", "runs")
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form."""
        return cls(**known_fields(cls, data))


def _per_second(rows: int, timings: Sequence[StepTiming]) -> float:
    duration_ms = sum(t.duration_ms for t in timings)
    return round(rows * 1000 / duration_ms, 2) if duration_ms > 0 else 0.0
