"""What one landing changes, for engines that are sent its statements one by one, inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from runner.clock import monotonic_ns, utc_now
from runner.landings.actions import Asked, perform
from runner.landings.area import StagingArea
from runner.landings.records import marker_statement, quarantine_statement
from runner.landings.tracked import TrackedKeys
from runner.ports import ActionLanding, KeyMatch, LandingResult, LandingSpec, Statement, TargetLanding
from runner.sql import Dialect, Parameters


class Sending(Asked, Protocol):
    """An open transaction of an engine."""

    @property
    def dialect(self) -> Dialect:
        """The engine's SQL."""

    def send(self, statement: Statement) -> int:
        """Send a statement of the engine's own and return how many rows it changed. Blocks."""


class Upserting(Protocol):
    """What brings the staged rows of one target into it."""

    @property
    def duplicates(self) -> int:
        """How many staged rows a later one of equal key replaces."""

    @property
    def deleted(self) -> int:
        """How many rows a replacement took away, once it has run."""

    def run(self) -> int:
        """Bring them in and return how many rows were written. Blocks."""


class Changes:
    """Makes the changes of one landing inside the caller's transaction, marker last. Blocks.

    `upserts`: one a target. `tracked`: by number, whose relations are there. `bad`: the relation of the refused rows.
    """

    def __init__(
        self,
        landing: LandingSpec,
        staged: StagingArea,
        upserts: Sequence[Upserting],
        tracked: Mapping[int, TrackedKeys],
        *,
        bad: str,
    ) -> None:
        self._landing = landing
        self._staged = staged
        self._upserts = upserts
        self._tracked = tracked
        self._bad = bad

    def make(self, sending: Sending, batch: int, matches: Mapping[int, KeyMatch]) -> LandingResult:
        """Make all changes and return what they were; `matches`: figures by tracked read, before any change.

        The marker is the last statement: the COMMIT of an aborted transaction raises nothing and rolls back, any other
        statement in one raises. Raises as `perform` does, and what the engine raises.
        """
        deleted = {number: _released(sending, keys) for number, keys in self._tracked.items()}
        targets, actions = self._in_order(sending, deleted)
        if self._staged.bad_rows:
            sending.send(quarantine_statement(self._bad, sending.dialect))
        remembered = tuple(
            replace(match, remembered=self._remember(sending, self._tracked[number], match))
            for number, match in matches.items()
        )
        rows = sum(target.written for target in targets) + sum(action.rows or 0 for action in actions)
        sending.send(marker_statement(self._landing, batch, rows, utc_now(), Parameters(sending.dialect)))
        return LandingResult(
            batch=batch,
            targets=targets,
            actions=actions,
            matches=remembered,
            quarantined=len(self._staged.bad_rows),
        )

    def _in_order(
        self, sending: Sending, deleted: Mapping[int, int]
    ) -> tuple[tuple[TargetLanding, ...], tuple[ActionLanding, ...]]:
        """Upsert the targets and perform the actions, in the order of their steps."""
        targets: list[TargetLanding] = []
        actions: list[ActionLanding] = []
        for number in range(len(self._upserts) + 1):
            due = [action for action in self._landing.actions if action.after_targets == number]
            actions += [perform(action, sending.dialect, sending) for action in due]
            if number < len(self._upserts):
                targets.append(self._land(number, deleted))
        return tuple(targets), tuple(actions)

    def _land(self, number: int, deleted: Mapping[int, int]) -> TargetLanding:
        started = monotonic_ns()
        target, upsert = self._landing.targets[number], self._upserts[number]
        written = upsert.run()
        released = sum(count for n, count in deleted.items() if self._landing.tracking[n].target == number)
        return TargetLanding(
            step_id=target.step_id,
            table=target.table.ref,
            staged=self._staged.rows[number],
            written=written,
            duplicates=upsert.duplicates,
            deleted=upsert.deleted + released,
            duration_ms=(monotonic_ns() - started) / 1e6,
        )

    def _remember(self, sending: Sending, keys: TrackedKeys, match: KeyMatch) -> int:
        """Replace what is remembered of the keys read; return how many are remembered now."""
        sending.send(keys.forget(Parameters(sending.dialect)))
        statement = keys.remember(self._landing, Parameters(sending.dialect), ineffective=match.ineffective)
        return sending.send(statement)


def _released(sending: Sending, keys: TrackedKeys) -> int:
    statement = keys.delete_released(Parameters(sending.dialect))
    return 0 if statement is None else sending.send(statement)
