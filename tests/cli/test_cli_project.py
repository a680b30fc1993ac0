"""init, list, validate, plan, doctor, rescore and config on the demo project, as real processes where work is done."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.cli.demo_project import DemoProject, command_line, environment

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]

MISMATCH = """
job_id: mismatch
steps:
  - step_id: read_people
    op: read
    dataset: hello
    table: people
    incremental:
      mode: not_exists
      target_dataset: hello
      target_table: greetings
      source_key: person_id
      target_key: {target_key}
  - {{step_id: apply, op: call, function: "demo_jobs.mismatch:apply"}}
  - {{step_id: write_greetings, op: write, dataset: hello, table: greetings, mode: upsert}}
"""


def greetings(project: DemoProject) -> dict[str, str]:
    with duckdb.connect(str(project.folder / "var" / "warehouse.duckdb"), read_only=True) as connection:
        return dict(connection.execute("SELECT person_id, greeting FROM hello.greetings").fetchall())


def test_a_new_project_runs_and_its_second_run_finds_nothing(tmp_path: Path) -> None:
    here = DemoProject(tmp_path)
    assert here.run("init", "fresh").returncode == 0
    fresh = DemoProject(tmp_path / "fresh")

    first, second = fresh.run("hello"), fresh.run("hello")

    assert (first.returncode, second.returncode) == (0, 0)
    assert "6 rows read, 6 written" in first.stdout
    assert "0 rows read, 0 written" in second.stdout
    assert fresh.run("validate").stdout == "ok: 1 pipeline, 2 jobs, 2 tables\n"
    assert greetings(fresh) == {"1": "Hello, Ada!", "2": "Bonjour, Émilie!", "3": "Hello, Sofja!"}


def test_a_line_of_a_file_with_too_many_cells_is_named(project: DemoProject) -> None:
    (people,) = project.folder.rglob("people.csv")
    people.write_text(people.read_text(encoding="utf-8") + "4,Lovelace, Ada,en\n", encoding="utf-8")
    done = project.run("run", "hello")
    assert done.returncode == 1
    assert f"{people.relative_to(project.folder)}:5: more cells than the header has: ['en']" in done.stderr


def test_init_says_what_to_do_next_and_overwrites_nothing(tmp_path: Path) -> None:
    here = DemoProject(tmp_path)

    first, second = here.run("init", "fresh"), here.run("init", "fresh")

    assert "cd fresh && python -m runner hello" in first.stderr
    assert "fresh/configs/runner.toml" in first.stdout.splitlines()
    assert second.returncode == 2
    assert "nothing was written" in second.stderr


def test_the_project_option_works_from_anywhere_and_in_the_hint(loaded: DemoProject, tmp_path: Path) -> None:
    elsewhere = DemoProject(tmp_path)

    done = elsewhere.run("hello", "--project", str(loaded.folder))

    assert done.returncode == 0
    hint = done.stdout.strip().partition("details: python -m runner ")[2]
    assert elsewhere.run(*hint.split()).returncode == 0


def test_list_shows_pipelines_and_jobs(in_project: InProject, capsys: Captured) -> None:
    assert in_project("list") == 0
    words = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line]
    assert words == [
        ["pipeline", "runs"],
        ["hello", "load_people,"],
        ["job", "folder"],
        ["greet_people", "default"],
        ["load_people", "default"],
    ]

    assert in_project("list", "-o", "json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["pipelines"][0]["members"] == ["load_people", "greet_people"]
    assert [job["job_id"] for job in listed["jobs"]] == ["greet_people", "load_people"]


def test_validate_names_every_problem_with_its_place(project: DemoProject) -> None:
    project.write("configs/jobs/one.yaml", "job_id: one\nsteps:\n  - {step_id: a, op: raed}\n")
    project.write(
        "configs/jobs/two.yaml", "job_id: two\nsteps:\n  - {step_id: a, op: read, dataset: x, table: y}\n"
    )

    whole, part = project.run("validate"), project.run("validate", "hello")
    as_json = project.run("validate", "-o", "json")

    assert whole.returncode == 2
    assert whole.stdout.startswith("configs/jobs/one.yaml:3:")
    assert "configs/jobs/two.yaml:3:" in whole.stdout
    assert part.stdout == "ok: 2 jobs, 2 tables\n"
    problems = json.loads(as_json.stdout)["problems"]
    assert {(problem["file"], problem["line"]) for problem in problems} == {
        ("configs/jobs/one.yaml", 3),
        ("configs/jobs/two.yaml", 3),
    }


def test_config_shows_what_is_in_effect(project: DemoProject) -> None:
    shown = project.run("config", RUN_PIPELINE_MAX_WORKERS="7")
    values = json.loads(project.run("config", "-o", "json", RUN_PIPELINE_MAX_WORKERS="7").stdout)

    assert "max_workers = 7" in shown.stdout.splitlines()
    assert '[warehouse]\nkind = "duckdb"' in shown.stdout
    assert (values["max_workers"], values["package"]) == (7, "demo_jobs")


def test_plan_shows_sql_and_tables_and_opens_nothing(project: DemoProject) -> None:
    done = project.run("plan", "hello")

    assert done.returncode == 0, done.stderr
    assert (
        "read    read_people: hello.people, only rows not in hello.greetings (person_id = person_id)"
        in done.stdout
    )
    assert 'FROM "hello"."people" AS s' in done.stdout
    assert "write   write_greetings: hello.greetings, upsert by person_id" in done.stdout
    assert not (project.folder / "var").exists()


def test_plan_counts_rows_before_and_after_the_first_run(project: DemoProject) -> None:
    before = project.run("plan", "hello", "--count")
    assert project.run("hello").returncode == 0
    after = project.run("plan", "hello", "--count", "-o", "json")

    assert "0 rows to read: hello.people does not exist yet" in before.stdout
    steps = {step["step_id"]: step for job in json.loads(after.stdout) for step in job["steps"]}
    assert steps["read_people"]["counts"]["incremental"] == {
        "total": 3,
        "new": 0,
        "present": 3,
        "remembered": 0,
        "null_key": 0,
        "stale": 0,
    }


def test_an_ineffective_read_is_noticed_by_its_run_and_explained_by_doctor(loaded: DemoProject) -> None:
    code = (
        "def apply(row):\n    return {'person_id': 'co:' + row['person_id'], 'greeting': row['person_id']}\n"
    )
    loaded.write("configs/jobs/mismatch.yaml", MISMATCH.format(target_key="person_id"))
    loaded.write("demo_jobs/mismatch.py", code)
    with duckdb.connect(str(loaded.folder / "var" / "warehouse.duckdb")) as connection:
        connection.execute("DELETE FROM hello.greetings")

    run, doctor = loaded.run("mismatch"), loaded.run("doctor", "mismatch")

    assert "warning: mismatch: step read_people: " in run.stderr
    assert "[incremental.ineffective]" in run.stderr
    assert doctor.returncode == 1
    assert "error: none of the 3 source keys is in the target" in doctor.stdout
    assert '    incremental:\n      key_prefix: "co:"\n' in doctor.stdout
    loaded.write(
        "configs/jobs/mismatch.yaml", MISMATCH.format(target_key='person_id\n      key_prefix: "co:"')
    )
    assert loaded.run("doctor", "mismatch").returncode == 0
    assert "0 rows read" in loaded.run("mismatch").stdout


def test_doctor_finds_the_column_that_holds_the_key(loaded: DemoProject) -> None:
    code = "import uuid\n\ndef apply(row):\n    return {'person_id': str(uuid.uuid4()), 'greeting': row['person_id']}\n"
    loaded.write("configs/jobs/mismatch.yaml", MISMATCH.format(target_key="person_id"))
    loaded.write("demo_jobs/mismatch.py", code)
    with duckdb.connect(str(loaded.folder / "var" / "warehouse.duckdb")) as connection:
        connection.execute("DELETE FROM hello.greetings")
    assert loaded.run("mismatch").returncode == 0

    done = loaded.run("doctor", "mismatch")

    assert done.returncode == 1
    assert "    incremental:\n      target_key: greeting\n" in done.stdout


def test_doctor_takes_one_job(loaded: DemoProject) -> None:
    done = loaded.run("doctor", "hello")

    assert done.returncode == 2
    assert "its jobs: load_people, greet_people" in done.stderr


def test_rescore_recomputes_what_is_named_and_leaves_the_rest(loaded: DemoProject) -> None:
    stamped = "SELECT person_id, greeted_at::VARCHAR FROM hello.greetings"
    with duckdb.connect(str(loaded.folder / "var" / "warehouse.duckdb")) as connection:
        before = dict(connection.execute(stamped).fetchall())

    done = loaded.run("rescore", "greet_people", "--where", "greeting=Bonjour, Émilie!", "--yes")

    assert done.returncode == 0, done.stderr
    assert "rescoring 1 row of hello.greetings" in done.stderr
    assert "1 row read, 1 written" in done.stdout
    with duckdb.connect(str(loaded.folder / "var" / "warehouse.duckdb")) as connection:
        after = dict(connection.execute(stamped).fetchall())
    assert {key for key in before if before[key] != after[key]} == {"2"}
    assert "0 rows read" in loaded.run("greet_people").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say which rows"),
        (["--where", "greeting"], "is not a condition"),
        (["--where", "nonsense=1"], "is not a column"),
        (["--where", "person_id=1", "--all"], "say which rows"),
        (["--all"], "there is no terminal to ask on (add --yes)"),
    ],
)
def test_rescore_refuses_what_is_not_clear(words: list[str], message: str, loaded: DemoProject) -> None:
    done = loaded.run("rescore", "greet_people", *words)

    assert done.returncode == 2
    assert message in done.stderr
    assert "run 01" not in done.stdout


def test_rescore_of_nothing_runs_nothing(loaded: DemoProject) -> None:
    done = loaded.run("rescore", "greet_people", "--where", "person_id=unknown")

    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing to do: 0 rows of hello.greetings" in done.stderr


@pytest.mark.parametrize("words", [["--all"], ["--all", "--quarantined"]])
def test_rescore_of_all_takes_back_what_gave_no_row(words: list[str], loaded: DemoProject) -> None:
    greetings = loaded.folder / "demo_jobs" / "greetings.py"
    source = greetings.read_text()
    greetings.write_text("def greet(row, punctuation):\n    return None\n")
    assert "3 rows read, 0 written" in loaded.run("rescore", "greet_people", "--all", "--yes").stdout
    greetings.write_text(source)

    done = loaded.run("rescore", "greet_people", *words, "--yes")

    assert "rescoring 0 rows of hello.greetings, all remembered keys" in done.stderr
    assert "3 rows read, 3 written" in done.stdout


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_rescore_asks_on_a_terminal(answer: str, code: int, loaded: DemoProject) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command_line("rescore", "greet_people", "--all"),
        cwd=loaded.folder,
        env=environment({}),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, f"{answer}\n".encode())
    out, err = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)

    assert process.returncode == code
    assert "This deletes and recomputes 3 rows of hello.greetings, all remembered keys.\nGo on? [y/N]:" in err
    assert ("3 rows read, 3 written" in out) is (answer == "y")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hello", "--set", "people_csv"], "is not NAME=VALUE"),
        (["hello", "--set", "a=1", "--set", "a=2"], "given twice"),
        (["hello", "--set", "peoplecsv=x"], "did you mean 'people_csv'?"),
        (["hello", "--as-of", "2026-02-12T06:00:00"], "has no UTC offset"),
        (["hello", "--as-of", "yesterday"], "expected for example 2026-02-12"),
        (["hello", "--as-of", "0001-01-01T00:00:00+05:00"], "expected for example 2026-02-12"),
        (["hello", "--max-workers", "0"], "--max-workers"),
    ],
)
def test_options_of_run_are_checked_before_anything_runs(
    words: list[str], message: str, in_project: InProject, project: DemoProject, capsys: Captured
) -> None:
    assert in_project(*words) == 2
    assert message in capsys.readouterr().err
    assert not (project.folder / "var").exists()


def test_parameters_and_as_of_reach_the_run(loaded: DemoProject, tmp_path: Path) -> None:
    (tmp_path / "others.csv").write_text("person_id,name,language\n9,Zoe,en\n")

    done = loaded.run(
        "hello",
        "--set",
        f"people_csv={tmp_path / 'others.csv'}",
        "--as-of",
        "2026-02-12",
        "--max-workers",
        "3",
        "-o",
        "json",
    )

    run = json.loads(done.stdout)
    assert (run["as_of"], run["max_workers"]) == ("2026-02-12T00:00:00.000000Z", 3)
    assert greetings(loaded)["9"] == "Hello, Zoe!"
