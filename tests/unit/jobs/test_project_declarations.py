"""The YAML of the project against its code: functions, arguments, columns and samples fit together."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs import source_files
from jobs.formation.bindings import BINDINGS
from jobs.formation.measurement_events import measurement_event
from jobs.formation.scoring import score
from jobs.forms import canonical as forms
from jobs.forms.csv_export import responses
from jobs.mail import canonical as mail
from jobs.mail.mbox import messages

Declared = dict[str, Any]
CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def declared(folder: str) -> dict[str, Declared]:
    return {
        path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONFIGS / folder).rglob("*.yaml"))
    }


JOBS = declared("jobs")
PIPELINES = declared("pipelines")
TABLES = {
    (dataset["dataset"], table["table"]): table
    for dataset in declared("tables").values()
    for table in dataset["tables"]
}
STAMPED = {
    (step["dataset"], step["table"]): {*step.get("set_on_insert", ()), *step.get("set_on_write", ())}
    for job in JOBS.values()
    for step in job["steps"]
    if step["op"] == "write"
}


def columns(dataset: str, table: str) -> list[str]:
    return [column["name"] for column in TABLES[dataset, table]["columns"]]


def written(dataset: str, table: str) -> list[str]:
    """The declared columns that functions give, in declared order."""
    return [name for name in columns(dataset, table) if name not in STAMPED[dataset, table]]


def steps(op: str) -> Iterator[tuple[str, Declared]]:
    for job_id, job in JOBS.items():
        for step in job["steps"]:
            if step["op"] == op:
                yield job_id, step


def test_files_are_named_after_what_they_declare() -> None:
    assert [job["job_id"] for job in JOBS.values()] == list(JOBS)
    assert [pipeline["pipeline_id"] for pipeline in PIPELINES.values()] == list(PIPELINES)
    assert not set(JOBS) & set(PIPELINES)


def test_the_six_formation_jobs_are_there_and_every_job_is_in_a_pipeline() -> None:
    members = {
        pipeline: [job for stage in PIPELINES[pipeline]["stages"] for job in stage["jobs"]]
        for pipeline in PIPELINES
    }
    assert members["formation"] == [
        f"form_{kind}_{binding}" for kind in ("me", "obs") for binding in BINDINGS
    ]
    assert members["daily"] == ["ingest", "canonize", "formation"]
    ours = set(JOBS) - {"ingest_imap"}  # a template: it needs somebody's mail server
    assert sorted(members["ingest"] + members["canonize"] + members["formation"]) == sorted(ours)


@pytest.mark.parametrize(
    ("job_id", "step"),
    [pair for op in ("call", "extract") for pair in steps(op) if "function" in pair[1]],
    ids=lambda value: str(value)[:40],
)
def test_functions_exist_and_take_what_the_step_gives(job_id: str, step: Declared) -> None:
    module, _, name = step["function"].partition(":")
    signature = inspect.signature(getattr(importlib.import_module(module), name))
    rows: list[Declared] = [{}] if step["op"] == "call" else []
    signature.bind(*rows, **step.get("with", {}))
    for value in step.get("with", {}).values():
        assert not isinstance(value, dict) or value["param"] in JOBS[job_id]["params"]


def test_reads_name_declared_columns_and_compare_declared_keys() -> None:
    for job_id, step in steps("read"):
        known, incremental = columns(step["dataset"], step["table"]), step["incremental"]
        assert set(step["columns"]) <= set(known), job_id
        assert {incremental["source_key"], incremental.get("source_ts", known[0])} <= set(known), job_id
        target = columns(incremental["target_dataset"], incremental["target_table"])
        assert {incremental["target_key"], incremental.get("target_ts", target[0])} <= set(target), job_id


def test_writes_use_the_declared_key_and_stamp_declared_columns() -> None:
    for job_id, step in steps("write"):
        table = TABLES[step["dataset"], step["table"]]
        assert step["key"] == table["key"], job_id
        assert STAMPED[step["dataset"], step["table"]] <= set(columns(step["dataset"], step["table"])), job_id


def test_defaults_point_into_the_samples() -> None:
    paths = [
        param["default"]
        for job in JOBS.values()
        for param in job.get("params", {}).values()
        if param["type"] == "path"
    ]
    assert len(paths) == 5
    for path in paths:
        assert (CONFIGS.parent / path).exists(), path


def only(step: Declared, row: Declared) -> Declared:
    """The row as the read step hands it on."""
    return {name: row[name] for name in step["columns"]}


def read_step(job_id: str) -> Declared:
    return next(step for job, step in steps("read") if job == job_id)


def test_mail_rows_are_exactly_the_declared_columns(samples: Path) -> None:
    (file_row,) = source_files.one_file(path=str(samples / "inbox.mbox"), source="inbox")
    assert list(file_row) == written("raw", "source_files")
    for row in messages(file_row):
        assert list(row) == written("raw", "messages")
        assert list(mail.canonize(only(read_step("canonize_mail"), row))) == written("canonical", "mail")


def test_form_rows_are_exactly_the_declared_columns(samples: Path) -> None:
    exports = source_files.tree(folder=str(samples / "forms"), suffix=".csv", source="forms")
    for raw in (row for export in exports for row in responses(export)):
        assert list(raw) == written("raw", "form_responses")
        canonical = forms.canonize(only(read_step("canonize_forms"), raw))
        assert list(canonical) == written("canonical", "form_responses")
        binding = canonical["binding_id"]
        event = measurement_event(only(read_step(f"form_me_{binding}"), canonical))
        assert list(event) == written("derived", "measurement_events")
        for observation in observations(only(read_step(f"form_obs_{binding}"), event), binding):
            assert list(observation) == written("derived", "observations")


def observations(event: Declared, binding: str) -> list[Declared]:
    """The observations of an event; none for the one sample whose answer is on no scale."""
    if event["answers"].get("phq9_6") == "maybe":
        return []
    return score(event, instrument=binding)


def test_the_samples_show_every_kind_of_outcome(samples: Path) -> None:
    exports = source_files.tree(folder=str(samples / "forms"), suffix=".csv", source="forms")
    events = [measurement_event(forms.canonize(row)) for export in exports for row in responses(export)]
    refused = [event["measurement_event_id"] for event in events if event["answers"].get("phq9_6") == "maybe"]
    assert refused == ["me:form:forms:intake-01-011"]
    with pytest.raises(ValueError, match=r"answers\.phq9_6: 'maybe'"):
        score(
            next(event for event in events if event["measurement_event_id"] in refused),
            instrument="intake_01",
        )
    rows = [row for event in events for row in observations(event, event["binding_id"])]
    assert len(rows) == 18 * 7 + 5 + 20 * 7 + 19 * 7
    assert sum(row["value"] is not None and row["missing"] > 0 for row in rows) == 10
    assert sum(row["value"] is None for row in rows) == 11
    assert len({row["observation_id"] for row in rows}) == len(rows)
