"""Data on stdout, everything else on stderr; and streams that are closed, full, or read only in part."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.demo_project import DemoProject, command_line, environment

PRINTING = """
import logging
import sys
import warnings

def apply(row):
    print("printed by a function")
    sys.stderr.write("written to stderr\\n")
    logging.getLogger("demo_jobs").warning("logged for %s", row["name"])
    return {"person_id": row["person_id"], "greeting": "hi"}
"""


def test_a_run_puts_its_result_on_stdout_and_its_progress_on_stderr(project: DemoProject) -> None:
    done = project.run("hello")

    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("run 01")
    assert " hello: success in " in line
    assert "6 rows read, 6 written" in line
    assert "; details: python -m runner show 01" in line
    assert "load_people: started" in done.stderr
    assert "info: created table hello.people" in done.stderr
    assert "greet_people: success in" in done.stderr


def test_with_json_stdout_is_the_record_and_nothing_else(project: DemoProject) -> None:
    done = project.run("hello", "-o", "json")

    run = json.loads(done.stdout)
    assert run["schema"] == "run-pipeline/pipeline-run.v1"
    assert [job["job_id"] for job in run["jobs"]] == ["load_people", "greet_people"]
    assert done.stderr.splitlines()[-1].startswith(f"run {run['pipeline_run_id'][:10]} hello: success in ")
    shown = project.run("show", "last", "-o", "json")
    assert json.loads(shown.stdout) == run


def test_quiet_leaves_only_the_result(loaded: DemoProject) -> None:
    done = loaded.run("hello", "-q")

    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_quiet_leaves_warnings_that_are_logged_and_twice_quiet_only_errors(loaded: DemoProject) -> None:
    loaded.add_job("chatty", PRINTING)

    assert "warning: demo_jobs: logged for " in loaded.run("chatty", "-q").stderr
    again = loaded.run("chatty", "-qq").stderr
    assert "printed by a function" in again
    assert "logged for " not in again


def test_twice_verbose_brings_debug_messages_of_ours_and_of_the_project_alone(loaded: DemoProject) -> None:
    debugging = PRINTING.replace('"demo_jobs").warning(', '"demo_jobs.chatty").debug(')
    loaded.add_job(
        "chatty", f"{debugging}\nlogging.getLogger('urllib3.connectionpool').debug('Starting new')\n"
    )

    said = [line for line in loaded.run("chatty", "-vv").stderr.splitlines() if line.startswith("debug: ")]
    assert "debug: demo_jobs.chatty: logged for Ada" in said
    assert any(line.startswith("debug: runner.warehouses.duckdb: ") for line in said)
    others = [line for line in said if not line.startswith(("debug: runner.", "debug: demo_jobs."))]
    assert others == []
    assert "debug: " not in loaded.run("chatty", "-v").stderr


def test_what_functions_print_and_log_never_reaches_stdout(loaded: DemoProject) -> None:
    loaded.add_job("chatty", PRINTING)

    done = loaded.run("chatty", "-o", "json")

    assert json.loads(done.stdout)["status"] == "success"
    assert done.stderr.count("printed by a function\n") == 3
    assert done.stderr.count("written to stderr\n") == 3
    assert "warning: demo_jobs: logged for Ada" in done.stderr


def test_log_format_json_is_one_object_a_line_whatever_happens(loaded: DemoProject) -> None:
    loaded.add_job("chatty", PRINTING)

    done = loaded.run("chatty", "--log-format", "json")

    assert done.returncode == 0
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"timestamp", "level", "event"} <= set(entry) for entry in entries)
    words = [entry["event"] for entry in entries]
    assert words[0] == "run.started"
    assert words[-1] == "run.finished"
    assert "output" in words
    assert entries[-1]["rows_written"] == 3
    assert done.stdout == ""


def test_log_format_json_covers_errors_before_a_run(project: DemoProject) -> None:
    done = project.run("nothing-like-it", "--log-format", "json")

    (entry,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 2
    assert (entry["level"], entry["category"]) == ("error", "config")


def test_a_reader_that_goes_away_ends_the_output_not_the_command(loaded: DemoProject) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        command_line("show"),
        cwd=loaded.folder,
        env=environment({}),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_under_stdout_is_a_failure_that_is_said(loaded: DemoProject) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command_line("show"),
            cwd=loaded.folder,
            env=environment({}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert "error: No space left on device" in done.stderr


def test_a_closed_stdout_does_not_hinder_a_run(loaded: DemoProject) -> None:
    words = " ".join(f"'{word}'" for word in command_line("hello"))
    done = subprocess.run(
        ["sh", "-c", f"exec {words} >&-"],
        cwd=loaded.folder,
        env=environment({}),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
