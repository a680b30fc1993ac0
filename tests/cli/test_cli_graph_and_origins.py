"""list --graph and config show --origin: what depends on what, and what was set where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cli.graph_text import as_data, dot, levels_of, mermaid, tree
from runner.loader import GraphSummary, open_project
from runner.settings import Settings
from tests.cli.demo_project import REPOSITORY, DemoProject

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]

DAILY = """\
daily
├─ ingest
│  └─ ingest  4 workers
│     ├─ ingest_inbox  1
│     ├─ ingest_archive  1
│     ├─ ingest_maildir  1
│     ├─ ingest_eml  1
│     └─ ingest_forms  1
├─ canonize  after ingest/ingest
│  └─ canonize  2 workers
│     ├─ canonize_mail  2
│     └─ canonize_forms  2
└─ formation  after canonize/canonize
   ├─ measurement_events  3 workers
   │  ├─ form_me_intake_01  3
   │  ├─ form_me_intake_02  3
   │  └─ form_me_followup  3
   └─ observations  3 workers, after formation/measurement_events
      ├─ form_obs_intake_01  4
      ├─ form_obs_intake_02  4
      └─ form_obs_followup  4
"""


def graph_of(name: str, folder: Path = REPOSITORY) -> GraphSummary:
    return open_project(Settings.load(folder)).graph(name)


def text_of(graph: GraphSummary) -> str:
    return "".join("".join(map(str, line)) + "\n" for line in tree(graph))


def test_the_reference_pipeline_as_a_tree() -> None:
    assert text_of(graph_of("daily")) == DAILY


def test_a_graph_of_needs_and_after(project: DemoProject) -> None:
    project.write("configs/jobs/digest.yaml",
                  "job_id: digest\nqueue: maintenance\npriority: 5\n"
                  "steps: [{step_id: s, op: sql, statement: SELECT 1}]\n")  # fmt: skip
    project.write("configs/pipelines/shop.yaml",
                  "pipeline_id: shop\nmax_workers: 2\njobs:\n  load_people:\n  greet_people: {needs: load_people}\n"
                  "  digest: {after: [greet_people, load_people]}\n")  # fmt: skip

    graph = graph_of("shop", project.folder)

    assert text_of(graph) == (
        "shop  2 workers\n"
        "├─ load_people  1\n"
        "├─ greet_people  2, needs load_people\n"
        "└─ digest  3, after greet_people, load_people, queue maintenance, priority 5\n"
    )
    assert levels_of(graph) == {"load_people": 1, "greet_people": 2, "digest": 3}
    assert "    n0 --> n1" in list(mermaid(graph))
    assert "    n1 -.-> n2" in list(mermaid(graph))
    assert "    n0 -> n1;" in list(dot(graph))
    assert "    n1 -> n2 [style=dashed];" in list(dot(graph))
    assert [job["needs"] for job in as_data(graph)["jobs"]] == [[], ["load_people"], []]


def test_a_job_comes_after_jobs_of_lower_levels_only() -> None:
    data = as_data(graph_of("daily"))
    level = {job["job_id"]: job["level"] for job in data["jobs"]}
    members = {barrier["barrier_id"]: barrier["members"] for barrier in data["barriers"]}

    def jobs_before(node: str) -> set[str]:
        return {node} if node in level else {job for member in members[node] for job in jobs_before(member)}

    for job in data["jobs"]:
        for node in (*job["needs"], *job["after"]):
            assert all(level[before] < job["level"] for before in jobs_before(node))


def test_without_a_name_every_pipeline_that_no_other_holds_is_shown(
    in_project: InProject, capsys: Captured
) -> None:
    assert in_project("list", "--graph") == 0
    assert capsys.readouterr().out.startswith("hello\n├─ ")
    assert in_project("list", "--graph", "-o", "json") == 0
    assert [graph["name"] for graph in json.loads(capsys.readouterr().out)] == ["hello"]
    assert in_project("list", "--graph", "load_people", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "job"
    assert in_project("list", "--graph", "hello", "--format", "dot") == 0
    assert capsys.readouterr().out.startswith('digraph "hello" {')
    assert in_project("list", "--graph", "helo") == 2
    assert "did you mean 'hello'?" in capsys.readouterr().err


def test_a_graph_imports_no_function_and_asks_for_no_parameter(
    in_project: InProject, project: DemoProject
) -> None:
    project.write("demo_jobs/people.py", "raise RuntimeError('not to be imported')\n")
    file = project.folder / "configs" / "jobs" / "load_people.yaml"
    file.write_text(file.read_text().replace(", default: configs/samples/people.csv", ""))

    assert in_project("list", "--graph") == 0


# --- origins ---


def origins(in_project: InProject, capsys: Captured, *words: str) -> dict[str, tuple[object, str]]:
    assert in_project(*words, "config", "show", "--origin", "-o", "json") == 0
    entries = json.loads(capsys.readouterr().out)
    return {
        entry["setting"]: (entry["value"], entry["origin"] + (f":{entry['line']}" if entry["line"] else ""))
        for entry in entries
    }


def test_each_setting_says_where_it_was_set(
    in_project: InProject,
    project: DemoProject,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "connections__till__token").write_text("geheim-1\n")
    project.write(
        "configs/runner.toml",
        'package = "demo_jobs"\nqueues = {default = 3}\n[timeouts]\nrun = "5m"\nquery = "1m"\n'
        '[connections.Till]\nhost = "till.example.org"\npassword = "geheim-2"\n',
    )
    monkeypatch.setenv("RUN_PIPELINE_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("RUN_PIPELINE_TIMEOUTS__QUERY", "9")
    monkeypatch.setenv("RUN_PIPELINE_WAREHOUSE", '{"threads": 2}')
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))

    found = origins(in_project, capsys)

    assert found["package"] == ("demo_jobs", "configs/runner.toml:1")
    assert found["queues.default"] == (3, "configs/runner.toml:2")
    assert found["queues.maintenance"] == (1, "default")
    assert found["timeouts.run"] == (300.0, "configs/runner.toml:4")
    assert found["timeouts.query"] == (9.0, "environment variable RUN_PIPELINE_TIMEOUTS__QUERY")
    assert found["timeouts.step"] == (None, "default")
    assert found["warehouse.threads"] == (2, "environment variable RUN_PIPELINE_WAREHOUSE")
    assert found["warehouse.path"] == ("warehouse.duckdb", "default")
    assert found["connections.Till.host"] == ("till.example.org", "configs/runner.toml:7")
    assert found["connections.Till.password"] == ("**********", "configs/runner.toml:8")
    assert found["connections.Till.token"] == ("**********", str(tmp_path / "connections__till__token"))
    assert found["state_dir"][1].startswith("environment variable STATE_DIRECTORY")
    assert found["project"][1] == "found"


def test_keys_of_another_kind_of_warehouse_are_not_where_a_setting_came_from(
    in_project: InProject, project: DemoProject, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(
        "configs/runner.toml",
        'package = "demo_jobs"\n[warehouse]\nkind = "duckdb"\npath = "x.db"\nmax_connections = 3\n',
    )
    assert origins(in_project, capsys)["warehouse.max_connections"] == (3, "configs/runner.toml:5")
    monkeypatch.setenv("RUN_PIPELINE_WAREHOUSE__KIND", "postgres")
    found = origins(in_project, capsys)
    assert found["warehouse.kind"] == ("postgres", "environment variable RUN_PIPELINE_WAREHOUSE__KIND")
    assert found["warehouse.max_connections"] == (8, "default")


def test_an_option_names_the_project(in_project: InProject, project: DemoProject, capsys: Captured) -> None:
    assert origins(in_project, capsys, "--project", str(project.folder))["project"][1] == "option --project"


def test_origins_as_a_table_and_config_as_before(in_project: InProject, capsys: Captured) -> None:
    assert in_project("config", "--origin") == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == ["setting", "value", "origin"]
    assert "demo_jobs" in shown

    assert in_project("config") == 0
    alone = capsys.readouterr().out
    assert in_project("config", "show") == 0
    assert capsys.readouterr().out == alone
    assert "[warehouse]" in alone
