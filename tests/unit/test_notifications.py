"""Which messages runs owe: against a plain model of the rule, in any order of looking."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from runner.notifications.outbox import LONGEST_RETRY_S, RETRY_S, STATE, Ledger, Outbox
from runner.notifications.transitions import FAILED, Told, after_runs, after_time, counts, new_runs
from runner.records import PipelineRun, Status
from runner.settings import NotifySettings

START = datetime(2026, 2, 12, tzinfo=UTC)
STATUSES = st.sampled_from([Status.SUCCESS, Status.FAILURE, Status.PARTIAL, Status.CRASHED, Status.CANCELLED])


def run(number: int, status: Status, *, notify: bool = True) -> PipelineRun:
    return PipelineRun(
        pipeline_run_id=f"{number:026d}",
        pipeline_id="daily",
        status=status,
        started_at=START + timedelta(minutes=number),
        notify=notify,
    )


def expected(runs: Sequence[PipelineRun]) -> list[tuple[str, str]]:
    """The rule, written down as people say it: the changes in the row of good and bad."""
    said = [
        ("good", ""),
        *(
            ("bad" if each.status in FAILED else "good", each.pipeline_run_id)
            for each in runs
            if counts(each)
        ),
    ]
    return [
        ("failure" if after == "bad" else "recovery", run_id)
        for (before, _), (after, run_id) in pairwise(said)
        if before != after
    ]


def looked(runs: Sequence[PipelineRun], told: Told) -> tuple[Told, list[tuple[str, str]]]:
    told, owed = after_runs(told, "daily", new_runs(iter(runs[::-1]), told))
    return told, [(each.event, each.run.pipeline_run_id) for each in owed if each.run]


@given(st.lists(st.tuples(STATUSES, st.booleans()), max_size=12), st.lists(st.integers(1, 13), max_size=20))
def test_every_change_is_told_once_however_often_one_looks(
    row: list[tuple[Status, bool]], looks: list[int]
) -> None:
    """`looks`: how many of the runs there are each time."""
    runs = [
        run(1, Status.SUCCESS),
        *(run(number, status, notify=notify) for number, (status, notify) in enumerate(row, 2)),
    ]
    told, found = looked(runs[:1], Told(since=START.isoformat()))
    for seen in sorted(looks):
        told, more = looked(runs[:seen], told)
        found += more
    told, more = looked(runs, told)

    assert found + more == expected(runs)
    assert looked(runs, told)[1] == []


def test_of_what_was_before_anybody_looked_only_the_newest_counts() -> None:
    runs = [run(1, Status.FAILURE), run(2, Status.SUCCESS), run(3, Status.FAILURE), run(4, Status.CANCELLED)]

    _, owed = looked(runs, Told(since=START.isoformat()))

    assert owed == [("failure", f"{3:026d}")]


def test_a_run_under_way_hides_what_came_after_it_until_it_is_over() -> None:
    told, _ = looked([run(1, Status.SUCCESS)], Told(since=START.isoformat()))
    told, owed = looked([run(1, Status.SUCCESS), run(2, Status.RUNNING), run(3, Status.FAILURE)], told)
    assert owed == []

    _, owed = looked([run(1, Status.SUCCESS), run(2, Status.CRASHED), run(3, Status.FAILURE)], told)
    assert owed == [("failure", f"{2:026d}")]


def test_late_is_told_once_until_it_succeeds() -> None:
    told, _ = looked([run(0, Status.SUCCESS)], Told(since=START.isoformat()))
    hour = 3600.0

    told, owed = after_time(told, "daily", START + timedelta(hours=1), hour)
    assert owed == []
    told, owed = after_time(told, "daily", START + timedelta(hours=1, seconds=1), hour)
    assert [(each.event, each.id) for each in owed] == [("late", "daily.late.20260212T000000")]
    told, owed = after_time(told, "daily", START + timedelta(days=9), hour)
    assert owed == []

    told, back = looked([run(0, Status.SUCCESS), run(99, Status.SUCCESS)], told)
    assert back == [("recovery", f"{99:026d}")]
    _, owed = after_time(told, "daily", START + timedelta(days=9), hour)
    assert [each.event for each in owed] == ["late"]


def test_what_never_succeeded_is_late_from_when_it_was_first_looked_for() -> None:
    told = Told(since=START.isoformat())

    assert after_time(told, "daily", START + timedelta(seconds=9), 10)[1] == []
    assert len(after_time(told, "daily", START + timedelta(seconds=11), 10)[1]) == 1


# --- files ---


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "chat")
    assert outbox.ledger() == Ledger()
    assert outbox.waiting() == []

    ledger = Ledger({"daily": Told(run_id="x", failed=True, since="y", success="z")}, 3, 1.5)
    outbox.keep(ledger)
    outbox.put({"id": "b.failure", "text": "ä"})
    outbox.put({"id": "a.recovery"})

    assert outbox.ledger() == ledger
    assert outbox.waiting() == ["a.recovery", "b.failure"]
    assert outbox.get("b.failure") == {"id": "b.failure", "text": "ä"}
    outbox.remove("a.recovery")
    assert outbox.waiting() == ["b.failure"]
    assert (tmp_path / "chat" / STATE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"names": {"x": {"no": 1}}, "attempts": 0, "retry_at": 0}']
)
def test_a_damaged_ledger_is_begun_anew_and_said(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / STATE).write_text(text)

    assert Outbox(tmp_path).ledger() == Ledger()
    assert "cannot be read" in caplog.text


def test_a_damaged_message_is_put_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.failure.json").write_text("{")
    outbox = Outbox(tmp_path)

    assert outbox.get("x.failure") is None
    assert outbox.waiting() == []
    assert (tmp_path / "x.failure.damaged").read_text() == "{"
    assert "x.failure.json" in caplog.text


def test_the_waits_between_attempts_double_up_to_an_hour() -> None:
    ledger, waits = Ledger(), []
    for _ in range(40):
        ledger = ledger.after_failure(0)
        waits.append(ledger.retry_at)

    assert waits[:3] == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S]
    assert max(waits) == waits[-1] == LONGEST_RETRY_S


# --- settings ---


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "webhook"},
        {"kind": "webhook", "url": "file:///etc/passwd"},
        {"kind": "webhook", "url": "https://"},
        {"kind": "command"},
        {"kind": "mail"},
        {"kind": "command", "command": ["x"], "timeout": "10m"},
        {"kind": "command", "command": ["x"], "on": ["never"]},
    ],
)
def test_a_receiver_that_cannot_be_told_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NotifySettings.model_validate(values)
