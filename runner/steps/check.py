"""`op: check`: what is expected of the rows on their way, or of a table, and what is not so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from runner.expectations import Tally, check_error, notice_of, table_check
from runner.ports import Batch, Finding, FunctionThreads, StepContext, StepCounts
from runner.specs import CheckSpec


class CheckTableStep:
    """Asks the warehouse when its turn comes. One that `lands` does nothing here: it is part of the landing."""

    def __init__(self, spec: CheckSpec, context: StepContext) -> None:
        self._check = table_check(spec, context.plan)
        self._context = context
        self.counts = StepCounts()

    async def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Yield nothing. Raises `CheckFailed`, `WarehouseError`."""
        del batch
        if not self._context.lands:
            conclude(self._context, self._check.step_id, await self._context.warehouse.check(self._check))
        return
        yield  # a flow that yields nothing


class CheckRowsStep:
    """Hands every batch on as it is, and counts. The verdict comes when there are no more rows, before they land; it
    is a `HoldingStep` for that.
    """

    def __init__(self, spec: CheckSpec, context: StepContext, *, threads: FunctionThreads) -> None:
        self._step_id = spec.step_id
        self._context = context
        self._threads = threads
        self._expectations = spec.expectations
        self._tallies = self._new_tallies()
        # That no row came is a finding, too, where rows are counted.
        self.holds = any(expectation.rows for expectation in spec.expectations)
        self.counts = StepCounts()

    async def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Yield the batch itself."""
        await self._threads.run(lambda: self._take(batch), self._context.stop, f"check {self._step_id}")
        self.holds = True
        self.counts.batches += 1
        self.counts.rows_in += batch.length
        self.counts.rows_out += batch.length
        yield batch

    async def flush(self) -> AsyncGenerator[Batch, None]:
        """Yield nothing: only the verdict is held back, of each piece where the job lands in pieces.

        Raises `CheckFailed`.
        """
        self.holds = False
        findings = [finding for tally in self._tallies if (finding := tally.finding()) is not None]
        self._tallies = self._new_tallies()
        conclude(self._context, self._step_id, findings)
        return
        yield  # a flow that yields nothing

    async def drop(self) -> None:
        """Nothing has to end."""

    def _new_tallies(self) -> list[Tally]:
        return [Tally(expectation, self._context.keys) for expectation in self._expectations]

    def _take(self, batch: Batch) -> None:
        for tally in self._tallies:
            tally.take(batch)


def conclude(context: StepContext, step_id: str, findings: Sequence[Finding]) -> None:
    """Tell what was found: warnings as notices, then the errors, all together. Raises `CheckFailed`."""
    for finding in findings:
        if finding.expectation.severity == "warn":
            message, details = notice_of(finding)
            context.notice("warning", "check.failed", message, details)
    if error := check_error(step_id, findings):
        raise error
