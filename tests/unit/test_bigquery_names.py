"""Ids and labels of BigQuery's jobs keep the service's rules, whatever a project calls its things."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from runner.ports import QueryScope
from runner.warehouses.bigquery.names import ID_LENGTH, LABEL_LENGTH, JobNames, StatementNumbers


def scope_of(attempt: int = 1, **names: str) -> QueryScope:
    """Return the scope of an attempt of a step."""
    given = {"pipeline_id": "daily", "run_id": "R", "job_id": "score", "job_run_id": "J", "step_id": "read"}
    return QueryScope(**(given | names), attempt=attempt, report=lambda usage: None)


def test_an_id_says_run_job_run_step_attempt_and_statement() -> None:
    numbers = StatementNumbers()
    first, second = JobNames(scope_of(), numbers), JobNames(scope_of(attempt=2), numbers)
    assert [first.next_id(), first.next_id(), second.next_id()] == [
        "run-pipeline-R-J-read-1-1",
        "run-pipeline-R-J-read-1-2",
        "run-pipeline-R-J-read-2-1",
    ]


def test_two_views_of_one_scope_never_give_one_id_twice() -> None:
    numbers = StatementNumbers()
    ids = [JobNames(scope_of(), numbers).next_id() for _ in range(3)]
    assert len(set(ids)) == 3


def test_what_no_step_asks_for_has_an_id_of_its_own_and_only_the_tool_as_label() -> None:
    names = JobNames(None, StatementNumbers())
    assert names.next_id() != names.next_id()
    assert names.labels == {"tool": "run-pipeline"}


def test_labels_say_whose_a_job_is() -> None:
    names = JobNames(scope_of(job_id="Form.Obs", pipeline_id="x" * 80), StatementNumbers())
    assert names.labels == {
        "tool": "run-pipeline", "pipeline": "x" * 63, "job": "form_obs", "step": "read", "run": "r",
    }  # fmt: skip


@given(st.text(max_size=2000), st.text(max_size=100))
def test_any_name_gives_an_id_and_labels_that_the_service_takes(job_run: str, step: str) -> None:
    names = JobNames(scope_of(job_run_id=job_run, step_id=step, job_id=step), StatementNumbers())
    job_id = names.next_id()
    assert re.fullmatch(r"[A-Za-z0-9_-]+", job_id)
    assert len(job_id) <= ID_LENGTH
    for value in names.labels.values():
        assert re.fullmatch(r"[a-z0-9_-]*", value)
        assert len(value) <= LABEL_LENGTH
