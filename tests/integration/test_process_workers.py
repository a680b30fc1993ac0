"""`runs_in: process`: the same rows as in a thread, in the same order, from processes that can be killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import psutil
import pytest

from runner.errors import ConfigurationError
from runner.events import Landed
from runner.pipeline_runner import PipelineRunner
from runner.ports import Batch
from runner.ports.processes import ProcessCall
from runner.processes.process import WorkerProcess
from runner.processes.tasks import BUFFERED, Task
from runner.records import PipelineRun, RunRecord, Status
from tests.projects import ThrowAwayProject, call, job_of, not_exists, read, step_of, write

NUMBERS = "number_id string!, value int64, at timestamp, extra json"


def two_ways(project: ThrowAwayProject, source: str, *, rows: int = 25, **options: Any) -> None:
    """Declare the jobs `thread` and `process`, which call `f` there and write `out.thread` and `out.process`."""
    project.table("src.numbers", NUMBERS, key=["number_id"])
    project.functions(source)
    for way in ("thread", "process"):
        project.table(f"out.{way}", NUMBERS, key=["number_id"])
        project.job(
            way,
            read("src.numbers", incremental=not_exists(f"out.{way}", "number_id"), order_by=["number_id"]),
            call("f", runs_in=way, **options),
            write(f"out.{way}", **options),
        )
    project.fill(
        "src.numbers", [{"number_id": f"n{n:03}", "value": n, "extra": {"n": [n]}} for n in range(rows)]
    )


def run(project: ThrowAwayProject, name: str = "process", **options: Any) -> PipelineRun:
    """Run with batches of two rows and two processes."""
    return project.run(name, batch_rows=2, processes=2, **options)


def both(project: ThrowAwayProject, **options: Any) -> tuple[RunRecord, RunRecord]:
    """Run both ways."""
    return job_of(run(project, "thread", **options)), job_of(run(project, **options))


def workers() -> list[psutil.Process]:
    """Return the worker processes of this process."""
    return [
        child
        for child in psutil.Process().children()
        if "runner.processes.worker" in " ".join(child.cmdline())
    ]


@contextmanager
def watched() -> Iterator[set[int]]:
    """Collect the ids of all worker processes that there are meanwhile."""
    seen: set[int] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            with suppress(psutil.NoSuchProcess):
                seen.update(worker.pid for worker in workers())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


SOURCES = {
    "a row": "def f(row):\n    return dict(row, value=row['value'] + 1)\n",
    "some rows": "def f(row):\n    for n in range(row['value'] % 4):\n"
    "        yield dict(row, number_id=row['number_id'] + str(n))\n",
    "equal keys": "def f(row):\n    return dict(row, number_id='n')\n",
    "a batch": (
        "import pyarrow as pa\nimport pyarrow.compute as pc\ndef f(batch: pa.RecordBatch) -> pa.RecordBatch:\n"
        "    place = batch.schema.get_field_index('value')\n"
        "    return batch.set_column(place, 'value', pc.multiply(batch.column('value'), 2))\n"
    ),
    "times": "from datetime import UTC, datetime\n"
    "def f(row):\n    return dict(row, at=datetime(2026, 1, 1, tzinfo=UTC))\n",
    "documents": "def f(row):\n    return dict(row, extra={'was': row['extra'], 'text': 'ä\"'})\n",
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_rows_are_those_of_a_thread(project: ThrowAwayProject, kind: str) -> None:
    two_ways(project, SOURCES[kind])
    thread, process = both(project)
    assert (process.status, process.errors) == (Status.SUCCESS, ())
    assert (process.rows_read, process.rows_written) == (thread.rows_read, thread.rows_written)
    assert step_of(process, "f").rows_out == step_of(thread, "f").rows_out
    query = "SELECT * FROM out.{} ORDER BY ALL"
    assert project.rows(query.format("process")) == project.rows(query.format("thread")) != []


def test_arguments_connection_and_time_arrive(project: ThrowAwayProject) -> None:
    project.table("src.numbers", NUMBERS, key=["number_id"])
    project.table("out.process", NUMBERS, key=["number_id"])
    project.functions(
        """
        def f(row, connection, as_of, *, more):
            secret = connection.password.get_secret_value()
            return dict(row, at=as_of, extra=[more, connection.host, secret])
        """
    )
    project.job(
        "process",
        read("src.numbers"),
        call("f", runs_in="process", arguments={"more": {"a": [1, None]}}, connection="place"),
        write("out.process"),
    )
    project.fill("src.numbers", [{"number_id": "n1", "value": 1}])
    connections = {"place": {"host": "example.org", "password": "hidden"}}
    record = job_of(run(project, connections=connections))
    assert record.errors == ()
    (row,) = project.rows("SELECT * FROM out.process")
    assert row["extra"] == '[{"a":[1,null]},"example.org","hidden"]'
    assert row["at"] is not None


def test_two_calls_in_a_row_and_pieces_that_land_early(project: ThrowAwayProject) -> None:
    project.table("src.numbers", NUMBERS, key=["number_id"])
    project.table("out.numbers", NUMBERS, key=["number_id"])
    project.functions(
        "def f(row):\n    return dict(row, value=row['value'] + 1)\n"
        "def g(row):\n    return dict(row, value=row['value'] * 10)\n"
    )
    project.job(
        "process",
        read("src.numbers", incremental=not_exists("out.numbers", "number_id"), order_by=["number_id"]),
        call("f", runs_in="process"),
        call("g", runs_in="process"),
        write("out.numbers", commit_every=3),
    )
    project.fill("src.numbers", [{"number_id": f"n{n:03}", "value": n} for n in range(25)])
    landed: list[int] = []
    record = job_of(
        run(project, on_event=lambda event: landed.append(1) if isinstance(event, Landed) else None)
    )
    assert (record.errors, record.rows_written) == ((), 25)
    assert len(landed) == 5, "13 batches of two, landed by three"
    assert [row["value"] for row in project.rows("SELECT value FROM out.numbers ORDER BY number_id")] == [
        10 * (n + 1) for n in range(25)
    ]
    assert project.rows("SELECT * FROM ops.processed_keys") == [], "no key went without its rows"
    assert job_of(run(project)).rows_read == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_a_call_that_makes_many_rows_does_not_keep_the_next_one_from_a_process(
    project: ThrowAwayProject, processes: int
) -> None:
    """More pieces than a step may leave waiting: all processes wait for the next step, and it for one of them."""
    rows_of_one = 2 * (BUFFERED + 4)
    project.table("src.numbers", NUMBERS, key=["number_id"])
    project.table("out.numbers", NUMBERS, key=["number_id"])
    project.functions(
        f"def f(row):\n    for n in range({rows_of_one}):\n"
        "        yield dict(row, number_id=f\"{row['number_id']}-{n:02}\")\n"
        "def g(row):\n    return dict(row, value=row['value'] * 10)\n"
    )
    project.job(
        "process",
        read("src.numbers", order_by=["number_id"]),
        call("f", runs_in="process"),
        call("g", runs_in="process"),
        call("g", runs_in="process", step_id="again"),
        write("out.numbers"),
    )
    project.fill("src.numbers", [{"number_id": f"n{n}", "value": n} for n in range(4)])
    with watched() as seen:
        record = job_of(project.run("process", batch_rows=2, processes=processes, timeouts={"job": "20s"}))
    assert (record.errors, record.rows_written) == ((), 4 * rows_of_one)
    assert len(seen) <= processes + 2, "one more for each step that would wait for ever"
    assert project.rows("SELECT sum(value) AS s FROM out.numbers") == [{"s": 100 * 6 * rows_of_one}]
    assert workers() == []


def test_batches_that_take_different_times_stay_in_order(project: ThrowAwayProject) -> None:
    source = """
    import time
    def f(row):
        time.sleep(0.03 if row['value'] % 4 < 2 else 0)
        return dict(row, number_id='n' + str(row['value'] % 2))
    """
    two_ways(project, source, rows=20)
    assert job_of(run(project)).errors == ()
    assert [row["value"] for row in project.rows("SELECT value FROM out.process ORDER BY value")] == [18, 19]


def test_bad_rows_are_kept_as_in_a_thread(project: ThrowAwayProject) -> None:
    source = """
    def f(row):
        if row['value'] == 3:
            raise ValueError('three is refused')
        if row['value'] == 4:
            return dict(row, value='many')
        return row
    """
    two_ways(project, source, on_bad_row="quarantine")
    thread, process = both(project)
    assert process.rows_quarantined == thread.rows_quarantined == 2
    assert process.rows_written == 23
    kept = "SELECT key, step_id, column_name, reason, content FROM ops.quarantine WHERE job_id = '{}' ORDER BY key"
    assert project.rows(kept.format("process")) == project.rows(kept.format("thread"))
    assert job_of(run(project)).rows_read == 0


ERRORS = {
    "own": "class Broken(Exception):\n    def __init__(self, a, b):\n        super().__init__(f'{a} and {b}')\n"
    "def f(row):\n    raise Broken(1, 2)\n",
    "builtin": "def f(row):\n    return 1 / 0\n",
    "exit": "import sys\ndef f(row):\n    sys.exit(4)\n",
    "no row": "def f(row):\n    return 3\n",
    "no text": "class Mute(Exception):\n    def __str__(self):\n        raise ValueError('no text')\n"
    "def f(row):\n    raise Mute\n",
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_reads_as_in_a_thread(project: ThrowAwayProject, kind: str) -> None:
    two_ways(project, ERRORS[kind])
    thread, process = both(project)
    assert process.status is Status.FAILURE
    assert [(error.category, error.message, error.step_id) for error in process.errors] == [
        (error.category, error.message, error.step_id) for error in thread.errors
    ]
    assert step_of(process, "f").status is Status.FAILURE


def test_rows_that_cannot_leave_their_process_name_the_function(project: ThrowAwayProject) -> None:
    two_ways(project, "def f(row):\n    return dict(row, extra={'made by': lambda: 1})\n", rows=4)
    (error,) = job_of(run(project)).errors
    assert (error.category, error.step_id) == ("function", "f")
    assert "steps:f raised TypeError: gave a value that cannot leave its process: " in error.message
    assert "lambda" in error.message


def test_a_transient_error_is_tried_again(project: ThrowAwayProject) -> None:
    source = """
    import pathlib
    def f(row, *, mark):
        if row['value'] == 5 and not pathlib.Path(mark).exists():
            pathlib.Path(mark).touch()
            raise ConnectionError('try again')
        return row
    """
    project.table("src.numbers", NUMBERS, key=["number_id"])
    project.table("out.process", NUMBERS, key=["number_id"])
    project.functions(source)
    mark = {"mark": str(project.root / "mark")}
    project.job(
        "process",
        read("src.numbers"),
        call("f", runs_in="process", retries=1, arguments=mark),
        write("out.process"),
    )
    project.fill("src.numbers", [{"number_id": f"n{n:03}", "value": n} for n in range(25)])
    record = job_of(run(project))
    assert (record.errors, record.rows_written, step_of(record, "f").attempts) == ((), 25, 2)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL in the middle of a batch"),
        ("os._exit(7)", "ended with exit code 7 in the middle of a batch"),
    ],
)
def test_a_killed_worker_is_a_clear_error(project: ThrowAwayProject, how: str, expected: str) -> None:
    source = "import os, signal\ndef f(row):\n    if row['value'] == 11:\n        {}\n    return row\n"
    two_ways(project, source.format(how))
    record = job_of(run(project))
    assert record.status is Status.FAILURE
    (error,) = record.errors
    assert (error.category, error.step_id) == ("resource", "f")
    assert expected in error.message
    assert "steps:f" in error.message
    assert project.rows("SELECT * FROM out.process") == []
    assert workers() == []
    project.functions("def f(row):\n    return row\n")
    project.forget()
    assert job_of(run(project)).rows_written == 25


def test_processes_start_once_a_run_and_only_for_steps_that_want_them(project: ThrowAwayProject) -> None:
    project.table("src.numbers", NUMBERS, key=["number_id"])
    project.functions("import os\ndef f(row):\n    return dict(row, value=os.getpid())\n")
    for number in range(4):
        project.table(f"out.numbers{number}", NUMBERS, key=["number_id"])
        project.job(
            f"job{number}",
            read("src.numbers", incremental=not_exists(f"out.numbers{number}", "number_id")),
            call("f", runs_in="process"),
            write(f"out.numbers{number}"),
        )
    project.pipeline("all", stages=[{"name": "one", "jobs": [f"job{n}" for n in range(4)], "max_workers": 4}])
    project.fill("src.numbers", [{"number_id": f"n{n:03}", "value": n} for n in range(25)])
    with watched() as started:
        assert {record.rows_written for record in run(project, "all").jobs} == {25}
    used = set()
    for number in range(4):
        used |= {row["value"] for row in project.rows(f"SELECT value FROM out.numbers{number}")}
    assert 1 <= len(used) <= 2
    assert os.getpid() not in used
    assert started <= used | {worker.pid for worker in workers()}
    assert used <= started
    assert len(started) == 2
    assert {record.rows_read for record in run(project, "all").jobs} == {0}
    assert workers() == []
    project.table("out.thread", NUMBERS, key=["number_id"])
    project.job("thread", read("src.numbers"), call("f"), write("out.thread"))
    with watched() as started:
        run(project, "thread")
    assert started == set()


SLEEPER = """
import pathlib, time
def f(row, *, mark):
    pathlib.Path(mark).touch()
    time.sleep(60)
"""


def sleeping(project: ThrowAwayProject, source: str = SLEEPER, **options: Any) -> Callable[[], bool]:
    """Declare a job whose processes sleep for a minute; return whether they have begun."""
    project.table("src.numbers", NUMBERS, key=["number_id"])
    project.table("out.process", NUMBERS, key=["number_id"])
    project.functions(source)
    mark = project.root / "mark"
    project.job(
        "process",
        read("src.numbers"),
        call("f", runs_in="process", arguments={"mark": str(mark)}, **options),
        write("out.process"),
    )
    project.fill("src.numbers", [{"number_id": f"n{n:03}", "value": n} for n in range(25)])
    return mark.exists


def test_a_time_limit_kills(project: ThrowAwayProject) -> None:
    sleeping(project, timeout="1s")
    began = time.monotonic()
    record = job_of(run(project))
    assert time.monotonic() - began < 10
    assert [error.category for error in record.errors] == ["timeout"]
    assert workers() == []


def test_a_batch_that_is_given_up_while_its_process_starts_is_not_worked_on(
    project: ThrowAwayProject,
) -> None:
    """A kill finds no process then: the one before it has gone, the new one is not there yet."""
    project.functions(SLEEPER)
    mark = project.root / "mark"
    asked = ProcessCall(
        function=f"{project.package}.steps:f", shape="row", arguments={"mark": str(mark)}, names=None,
        columns=(), key=(), declared=(), chunk_rows=10,
    )  # fmt: skip
    task = Task(asked, 1, Batch(1, rows=[{"number_id": "n0"}]))
    process = WorkerProcess(project.root, project.package)
    try:
        task.drop()
        process.kill()
        assert list(process.work(task)) == []
        assert workers() == []
    finally:
        process.stop()
    assert not mark.exists()


LEFT_BEHIND = {
    "timeout": "import os\ndef f(row, *, mark):\n    os.system(f'echo $$ >> {mark}; exec sleep 30')\n    return row\n",
    "resource": "import os, time\ndef f(row, *, mark):\n    if os.fork():\n        os._exit(5)\n"
    "    with open(mark, 'a') as file:\n        print(os.getpid(), file=file)\n"
    "    time.sleep(30)\n    os._exit(0)\n",
}
"""A program that it waits for, and a fork that outlives it: by the category of the error that comes of it."""


@pytest.mark.parametrize("category", LEFT_BEHIND)
def test_what_a_function_has_started_does_not_hold_up_its_end(
    project: ThrowAwayProject, category: str
) -> None:
    mark = project.root / "mark"
    sleeping(project, LEFT_BEHIND[category], timeout="1s")
    began = time.monotonic()
    try:
        record = job_of(run(project))
        took = time.monotonic() - began
    finally:
        for pid in mark.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    assert [error.category for error in record.errors] == [category]
    assert took < 10
    assert workers() == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancellation_kills(project: ThrowAwayProject, backend: str) -> None:
    begun = sleeping(project)
    threads = set(threading.enumerate())
    took: list[float] = []

    async def execute() -> None:
        async with PipelineRunner.open(project.settings(batch_rows=2, processes=2)) as pipelines:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pipelines.run, "process")
                while not begun():  # noqa: ASYNC110 - a file of another process
                    await anyio.sleep(0.01)
                began = time.monotonic()
                tasks.cancel_scope.cancel()
            took.append(time.monotonic() - began)

    anyio.run(execute, backend=backend)
    assert took[0] < 2
    assert workers() == []
    assert not [thread for thread in set(threading.enumerate()) - threads if "worker process" in thread.name]


def test_processes_end_with_a_runner_that_is_killed(project: ThrowAwayProject) -> None:
    begun = sleeping(project)
    script = (
        "from runner import run_job\n"
        f"run_job('process', project={str(project.root)!r}, batch_rows=2, processes=2)\n"
    )
    with psutil.Popen([sys.executable, "-c", script]) as runner:
        while not begun():
            time.sleep(0.01)
            assert runner.poll() is None
        children = runner.children(recursive=True)
        assert len(children) in (1, 2)
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert len(gone) == len(children)


def test_a_write_that_fails_ends_what_is_under_way(project: ThrowAwayProject) -> None:
    source = """
    import time
    def f(row):
        if row['value'] > 3:
            time.sleep(60)
        return dict(row, value='x')
    """
    two_ways(project, source)
    began = time.monotonic()
    record = job_of(run(project))
    assert time.monotonic() - began < 10
    assert [(error.category, error.step_id) for error in record.errors] == [("data", "write")]
    assert workers() == []


def test_the_time_of_a_step_is_the_wait_and_its_work_may_be_longer(project: ThrowAwayProject) -> None:
    two_ways(project, "import time\ndef f(row):\n    time.sleep(0.05)\n    return row\n", rows=16)
    record = job_of(run(project))
    timing = step_of(record, "f")
    assert timing.busy_ms >= 16 * 50
    total = sum(step.duration_ms for step in record.step_timings)
    assert abs(record.duration_ms - total) < max(0.1 * record.duration_ms, 30)


def test_a_connection_that_cannot_be_pickled_is_refused_before_the_run(project: ThrowAwayProject) -> None:
    sleeping(project, connection="place")
    project.functions("def f(row, connection, mark):\n    return row\n")
    with pytest.raises(
        ConfigurationError, match=r"process.yaml:\d+:\d+.*connection.*cannot go to another process"
    ) as told:
        run(project, connections={"place": {"client": threading.Lock()}})
    assert "runs_in: thread" in str(told.value)


def test_a_large_batch_is_shared_out_and_comes_together_in_order(project: ThrowAwayProject) -> None:
    source = """
    def f(row):
        if row['value'] % 1000 == 999:
            raise ValueError(f"{row['value']} is refused")
        return dict(row, number_id='n' + str(row['value'] % 10))
    """
    two_ways(project, source, rows=6_001, on_bad_row="quarantine")
    thread, process = (job_of(project.run(way, processes=2)) for way in ("thread", "process"))
    assert (process.rows_written, process.rows_quarantined) == (thread.rows_written, thread.rows_quarantined)
    assert process.rows_quarantined == 6
    query = "SELECT * FROM out.{} ORDER BY ALL"
    assert project.rows(query.format("process")) == project.rows(query.format("thread"))
    kept = "SELECT key, reason FROM ops.quarantine WHERE job_id = '{}' ORDER BY key"
    assert project.rows(kept.format("process")) == project.rows(kept.format("thread"))
