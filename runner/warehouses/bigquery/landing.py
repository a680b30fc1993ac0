"""One landing as one script: everything that is staged and the job's own statements and checks, in one transaction,
marker last.

The script looks for the marker first, so that it changes nothing when it is sent again. DDL on permanent tables is
refused in a transaction: what the landing needs to know of keys is worked out before it, into temporary tables. The
script has no exception handler: an error ends it, which rolls back, and keeps its reason and its place in the script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from runner.clock import utc_now
from runner.expectations import check_error
from runner.landings import (
    KeyRelations,
    StagedRows,
    TrackedKeys,
    distinct_statement,
    insert_statement,
    landed_before,
    marker_query,
    marker_statement,
    match_of,
    merge_statement,
    quarantine_statement,
    temporary_statement,
)
from runner.ports import (
    ActionLanding,
    KeyMatch,
    LandingCheck,
    LandingResult,
    LandingSpec,
    LandingStatement,
    TargetLanding,
    WriteTarget,
)
from runner.sql import BIGQUERY
from runner.warehouses.bigquery.checks import ScriptedCheck
from runner.warehouses.bigquery.script import Script, affected

CASTS = {"json": "PARSE_JSON({}, wide_number_mode=>'round')"}
"""From staged values to declared ones. Numbers that no double holds exactly are rounded, as the other engines do."""

LANDED, REPEATED, CHECKED = "landed", "landed before", "a check failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Staged rows as the script finds them: `relation` stands in FROM (a table's name, or a query in parentheses)."""

    relation: str
    schema: pa.Schema
    count: int


class Landing:
    """The script of one landing, and what its answer means.

    `rows` holds the staged rows by target (None: there are none), `keys` the keys by tracked read, `bad` the rows for
    the quarantine. Their relations are bound in `script`.
    """

    def __init__(
        self,
        script: Script,
        spec: LandingSpec,
        batch: int,
        rows: Sequence[Rows | None],
        keys: Mapping[int, Rows],
        bad: Rows,
    ) -> None:
        self.script = script
        self._spec = spec
        self.batch = batch
        self._rows = rows
        self._bad = bad
        self._staged = [
            StagedRows(target=target, relation=staged.relation if staged else "", casts=CASTS)
            for target, staged in zip(spec.targets, rows, strict=True)
        ]
        self._tracked = {number: self._tracked_keys(number, keys[number]) for number in keys}
        self._keys = keys
        self._checks: dict[int, ScriptedCheck] = {}
        self._variables = self._declare()
        self._write()

    # --- the script ----------------------------------------------------------------------------------------

    def _tracked_keys(self, number: int, staged: Rows) -> TrackedKeys:
        relations = KeyRelations(
            staged=staged.relation,
            read=BIGQUERY.quote(f"read_{number}"),
            landed=BIGQUERY.quote(f"landed_{number}"),
            bad=self._bad.relation,
        )
        return TrackedKeys(self._spec.tracking[number], relations, BIGQUERY)

    def _declare(self) -> list[str]:
        """Declare the variables that the answer consists of and return their names."""
        script, spec = self.script, self._spec
        marker = marker_query(spec.job_run_id, self.batch, script.parameters)
        script.declare("rp_before", "BOOL", f"EXISTS({marker.text})")
        names = [script.declare("rp_figures", "STRING")]
        counted = [
            f"rp_{what}_{number}" for number in range(len(spec.targets)) for what in ("written", "deleted")
        ]
        counted += [f"rp_{what}_{number}" for number in self._tracked for what in ("released", "remembered")]
        for number, action in enumerate(spec.actions):
            if isinstance(action, LandingCheck):
                check = self._checks[number] = ScriptedCheck(action, number, script)
                names += [check.counts, check.samples]
            else:
                counted.append(f"rp_changed_{number}")
        return names + [script.declare(name, "INT64", "0") for name in counted]

    def _outcome(self, state: str) -> str:
        """Return the query that answers: what was noted so far, in one row."""
        return f"SELECT '{state}' AS state, " + ", ".join(f"{name} AS {name}" for name in self._variables)

    def _write(self) -> None:
        script = self.script
        script.add(f"IF rp_before THEN {self._outcome(REPEATED)}; RETURN; END IF")
        self._prepare()
        script.add("BEGIN TRANSACTION")
        self._release()
        for number in range(len(self._spec.targets) + 1):
            self._act(number)
            if number < len(self._spec.targets):
                self._land(number)
        if self._bad.count:
            script.add(quarantine_statement(self._bad.relation, BIGQUERY).text)
        self._remember()
        self._mark()
        script.add("COMMIT TRANSACTION")
        script.add(self._outcome(LANDED))

    def _prepare(self) -> None:
        """Work out, before the transaction, what it will need: keys, and figures about them."""
        script = self.script
        for number, keys in self._tracked.items():
            source_ts = keys.read.spec.source_ts
            times = source_ts is not None and pa.types.is_temporal(
                self._keys[number].schema.field(source_ts).type
            )
            read = keys.read_keys(script.parameters, times=times)
            script.add(temporary_statement(BIGQUERY.quote(f"read_{number}"), read).text)
            aim = self._spec.tracking[number].target
            staged = None if aim is None or self._rows[aim] is None else self._staged[aim]
            script.add(temporary_statement(BIGQUERY.quote(f"landed_{number}"), keys.landed_keys(staged)).text)
        if figures := self._figures():
            script.add(f"SET rp_figures = (SELECT TO_JSON_STRING(STRUCT({', '.join(figures)})))")

    def _figures(self) -> list[str]:
        """Return the parts of the one query for all figures: distinct keys by target, and of tracked reads."""
        parts = [
            f"({distinct_statement(staged, BIGQUERY).text}) AS distinct_{number}"
            for number, staged in enumerate(self._staged)
            if self._rows[number] is not None and _is_keyed(staged.target)
        ]
        for number, keys in self._tracked.items():
            rows = keys.match(self.script.parameters).text
            parts.append(
                f"ARRAY(SELECT AS STRUCT m.what, m.number, m.sample FROM ({rows}) AS m) AS match_{number}"
            )
        return parts

    def _release(self) -> None:
        for number, keys in self._tracked.items():
            if deletion := keys.delete_released(self.script.parameters):
                self.script.add(deletion.text)
                self.script.add(affected(f"rp_released_{number}"))

    def _act(self, after: int) -> None:
        """Append the actions that are due after so many targets."""
        for number, action in enumerate(self._spec.actions):
            if action.after_targets != after:
                continue
            if isinstance(action, LandingStatement):
                self.script.add_action(action)
                self.script.add(affected(f"rp_changed_{number}"))
            else:
                self._checks[number].ask(self.script, self._outcome(CHECKED))

    def _land(self, number: int) -> None:
        staged, target, stamp = self._staged[number], self._spec.targets[number], self._spec.stamp
        if target.mode == "replace":
            self._empty(number, BIGQUERY.qualified(target.table.ref))
        if self._rows[number] is None:
            return
        parameters = self.script.parameters
        if target.mode in ("append", "replace") or not target.key:
            statement = insert_statement(staged, stamp, parameters, duplicates=_is_keyed(target))
        else:
            statement = merge_statement(staged, stamp, parameters)
        self.script.add(statement.text)
        self.script.add(affected(f"rp_written_{number}"))

    def _empty(self, number: int, table: str) -> None:
        """Take all rows away, for nothing: DELETE is billed as a scan of the table, TRUNCATE and a count of all rows
        are not (docs, "Query pricing": DML; "Multi-statement transactions": TRUNCATE TABLE is allowed in one).
        """
        self.script.add(f"SET rp_deleted_{number} = (SELECT count(*) FROM {table})")
        self.script.add(f"TRUNCATE TABLE {table}")

    def _remember(self) -> None:
        """Replace what is remembered of the keys read. Only where there is something to forget is it deleted: two
        transactions that delete from one table exclude each other, those that only insert do not.
        """
        for number, keys in self._tracked.items():
            forget = keys.forget(self.script.parameters).text
            self.script.add(f"IF EXISTS(SELECT 1 {forget.removeprefix('DELETE')}) THEN {forget}; END IF")
            self.script.add(keys.remember(self._spec, self.script.parameters).text)
            self.script.add(affected(f"rp_remembered_{number}"))

    def _mark(self) -> None:
        written = [name for name in self._variables if name.startswith(("rp_written_", "rp_changed_"))]
        marker = marker_statement(
            self._spec, self.batch, " + ".join(written) or "0", utc_now(), self.script.parameters
        )
        self.script.add(marker.text)

    # --- its answer ----------------------------------------------------------------------------------------

    def result(self, answer: Mapping[str, Any], duration_ms: float) -> LandingResult:
        """Return what the script's row says. Raises `CheckFailed` if a check has ended it: nothing has landed."""
        if answer["state"] == REPEATED:
            staged = [rows.count if rows else 0 for rows in self._rows]
            return replace(landed_before(self._spec, self.batch, staged), duration_ms=duration_ms)
        findings = {number: check.findings(answer) for number, check in self._checks.items()}
        for number, found in findings.items():
            if error := check_error(self._spec.actions[number].step_id, found):
                raise error
        share = duration_ms / max(1, len(self._spec.targets) + len(self._spec.actions))
        figures = json.loads(answer["rp_figures"] or "{}")
        actions = (
            ActionLanding(step_id=action.step_id, findings=findings[number], duration_ms=share)
            if number in findings
            else ActionLanding(
                step_id=action.step_id, rows=int(answer[f"rp_changed_{number}"]), duration_ms=share
            )
            for number, action in enumerate(self._spec.actions)
        )
        return LandingResult(
            batch=self.batch,
            targets=tuple(
                self._target(number, answer, figures, share) for number in range(len(self._spec.targets))
            ),
            actions=tuple(actions),
            matches=tuple(self._match(number, answer, figures) for number in self._tracked),
            quarantined=self._bad.count,
            duration_ms=duration_ms,
        )

    def _target(
        self, number: int, answer: Mapping[str, Any], figures: Mapping[str, Any], share: float
    ) -> TargetLanding:
        """`share`: the server tells no times within a script's transaction, so all parts of it have equal ones."""
        target, rows = self._spec.targets[number], self._rows[number]
        staged = rows.count if rows else 0
        released = [n for n in self._tracked if self._spec.tracking[n].target == number]
        return TargetLanding(
            step_id=target.step_id,
            table=target.table.ref,
            staged=staged,
            written=int(answer[f"rp_written_{number}"]),
            duplicates=staged - int(figures.get(f"distinct_{number}", staged)),
            deleted=int(answer[f"rp_deleted_{number}"])
            + sum(int(answer[f"rp_released_{n}"]) for n in released),
            duration_ms=share,
        )

    def _match(self, number: int, answer: Mapping[str, Any], figures: Mapping[str, Any]) -> KeyMatch:
        rows = [(row["what"], row["number"], row["sample"]) for row in figures[f"match_{number}"]]
        remembered = int(answer[f"rp_remembered_{number}"])
        return replace(match_of(self._tracked[number].read.step_id, rows), remembered=remembered)


def _is_keyed(target: WriteTarget) -> bool:
    return target.mode != "append" and bool(target.key)
