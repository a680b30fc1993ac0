"""SIGINT and SIGTERM to real processes: during a query, during functions, twice, and before anything runs."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import duckdb
import psutil
import pytest

from tests.cli.demo_project import DemoProject

SLEEPING = """
import time

def apply(row):
    print("working", flush=True)
    time.sleep(30)
"""
BLOCKING = SLEEPING.replace("def apply", "async def apply")
PATIENT = """
import anyio

async def apply(row):
    print("working", flush=True)
    await anyio.sleep(30)
"""
ENDLESS = """
SELECT count(*)::VARCHAR AS person_id, 'hi' AS greeting
FROM range(10_000_000) AS a, range(10_000_000) AS b WHERE a.range % 7 = b.range % 11
"""
SLOW_TABLE = """
dataset: slow
tables:
  - table: query
    managed: false
    columns: [{name: person_id, type: string}, {name: greeting, type: string}]
"""
SLOW_JOB = """
job_id: slow_query
steps:
  - {step_id: read_slowly, op: read, dataset: slow, table: query}
  - {step_id: write, op: write, dataset: hello, table: greetings, mode: upsert}
"""
BOTH = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
AT_ONCE_S = 1.0
"""The promise: gone within a second (GUARANTEES, promise 5)."""


def add_slow_query(project: DemoProject) -> None:
    project.write("configs/tables/slow.yaml", SLOW_TABLE)
    project.write("configs/jobs/slow_query.yaml", SLOW_JOB)
    with duckdb.connect(str(project.folder / "var" / "warehouse.duckdb")) as connection:
        connection.execute("CREATE SCHEMA slow")
        connection.execute(f"CREATE VIEW slow.query AS {ENDLESS}")


def read_until(process: subprocess.Popen[str], word: str) -> list[str]:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"{word!r} never came: {''.join(lines)}")


def wait_for_warehouse(process: subprocess.Popen[str]) -> None:
    """Wait until the process has the warehouse open, by then nothing but the count is left to do."""
    while process.poll() is None:
        if any(file.path.endswith("warehouse.duckdb") for file in psutil.Process(process.pid).open_files()):
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


def end_by(process: subprocess.Popen[str], number: int) -> tuple[float, str, str]:
    """Send a signal and wait: seconds until the process was gone, and the rest of its output."""
    started = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return time.monotonic() - started, out, err


def last_run(project: DemoProject) -> dict[str, object]:
    found = json.loads(project.run("show", "-o", "json").stdout)
    assert isinstance(found, dict)
    return found


@BOTH
def test_during_a_query(loaded: DemoProject, number: int, code: int) -> None:
    add_slow_query(loaded)
    process = loaded.start("slow_query")
    read_until(process, "slow_query: started")

    seconds, out, err = end_by(process, number)

    assert process.returncode == code, err
    assert seconds < AT_ONCE_S
    assert "slow_query: cancelled in" in out
    assert err.count("cancelling the run") == 1
    assert last_run(loaded)["status"] == "cancelled"
    assert loaded.run("hello").returncode == 0


@BOTH
@pytest.mark.parametrize("code_of_function", [SLEEPING, PATIENT], ids=["thread", "coroutine"])
def test_during_a_function(loaded: DemoProject, code_of_function: str, number: int, code: int) -> None:
    loaded.add_job("waiting", code_of_function)
    process = loaded.start("waiting")
    read_until(process, "working")

    seconds, _, err = end_by(process, number)

    assert process.returncode == code, err
    assert seconds < AT_ONCE_S
    assert last_run(loaded)["status"] == "cancelled"
    assert loaded.run("hello").returncode == 0


def test_a_function_that_blocks_the_loop_is_not_waited_for(loaded: DemoProject) -> None:
    loaded.add_job("blocking", BLOCKING)
    process = loaded.start("blocking")
    read_until(process, "working")

    seconds, _, err = end_by(process, signal.SIGTERM)

    assert process.returncode == 143
    assert seconds < AT_ONCE_S + 0.3
    assert "blocks the event loop" in err or "cancelling the run" in err
    assert last_run(loaded)["status"] in ("crashed", "cancelled")
    assert loaded.run("hello").returncode == 0


def test_the_second_signal_ends_it_at_once(loaded: DemoProject) -> None:
    loaded.add_job("waiting", SLEEPING)
    process = loaded.start("waiting", RUN_PIPELINE_TIMEOUTS__GRACE="10s")
    read_until(process, "working")
    process.send_signal(signal.SIGINT)
    read_until(process, "cancelling the run")
    time.sleep(0.25)  # a repetition sooner than 0.2 s counts as the same signal

    seconds, _, _ = end_by(process, signal.SIGINT)

    assert process.returncode == 130
    assert seconds < 0.5
    assert last_run(loaded)["status"] == "crashed"


def test_the_same_signal_twice_in_a_row_is_one(loaded: DemoProject) -> None:
    loaded.add_job("waiting", SLEEPING)
    process = loaded.start("waiting")
    read_until(process, "working")
    process.send_signal(signal.SIGTERM)  # as timeout(1) does: the process, then its group

    _, _, err = end_by(process, signal.SIGTERM)

    assert process.returncode == 143, err
    assert last_run(loaded)["status"] == "cancelled"


def test_while_the_warehouse_is_counted(loaded: DemoProject) -> None:
    add_slow_query(loaded)
    process = loaded.start("plan", "slow_query", "--count")
    wait_for_warehouse(process)

    seconds, out, err = end_by(process, signal.SIGINT)

    assert process.returncode == 130, err
    assert seconds < AT_ONCE_S
    assert out == ""
    assert "Traceback" not in err


def test_ignored_signals_stay_ignored(loaded: DemoProject) -> None:
    """A shell's background jobs start with SIGINT ignored; Ctrl-C in the foreground is not theirs."""
    loaded.add_job(
        "brief", "import time\n\ndef apply(row):\n    print('working', flush=True)\n    time.sleep(0.2)\n"
    )
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = loaded.start("brief")
    finally:
        signal.signal(signal.SIGINT, previous)
    read_until(process, "working")

    _, _, err = end_by(process, signal.SIGINT)

    assert process.returncode == 0, err
