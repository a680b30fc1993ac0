"""dlt resources as extracts: their rows land, their arguments are checked, and dlt leaves nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.errors import RunPipelineError
from runner.functions import chunks, load_package
from runner.loader import open_project
from runner.ports import StopFlag
from runner.records import RunRecord, Status
from runner.sources.dlt import function_of
from tests.projects import ThrowAwayProject, job_of, not_exists, step_of, write
from tests.servers.http_api import Reply, Request, serving

RESOURCES = """
    from datetime import datetime, timezone

    import dlt
    from dlt.sources.rest_api import rest_api_resources, rest_api_source

    CLOSED = []

    @dlt.resource(primary_key="id")
    def things(count: int, prefix: str = "thing"):
        try:
            for number in range(count):
                yield {"id": number, "name": f"{prefix} {number}", "extra": {"nested": [number]}}
        finally:
            CLOSED.append("things")

    @dlt.resource
    def paged():
        yield [{"id": 1}, {"id": 2}]
        yield []
        yield [{"id": 3}]

    @dlt.resource
    async def awaited():
        for number in range(3):
            yield {"id": number}

    @dlt.resource
    def arrow():
        import pyarrow as pa

        yield pa.table({"id": [1, 2]})
        yield dlt.mark.with_table_name({"id": 3}, "elsewhere")

    fixed = dlt.resource([{"id": 1}, {"id": 2}], name="fixed")

    @dlt.transformer(data_from=fixed)
    def details(item, factor: int = 1):
        yield {"id": item["id"] * factor}

    @dlt.source
    def shop(count: int = 2):
        return things(count), paged

    made = shop(4)

    @dlt.source
    def single(count: int = 2):
        return things(count)

    @dlt.resource
    def told(connection, since=None, start="first"):
        yield {"id": 1, "name": f"{connection.host} {connection.token.get_secret_value()} {since} {start}"}

    @dlt.resource
    def defaulted(since="the beginning"):
        yield {"id": 1, "name": since}

    @dlt.resource
    def incremental(seen=dlt.sources.incremental("id", initial_value=2)):
        yield [{"id": number} for number in range(5)]

    @dlt.resource
    def secret(token: str = dlt.secrets.value):
        yield {"id": 1}

    @dlt.resource
    def broken(kind: str):
        yield {"id": 1}
        raise {"lost": ConnectionError, "value": ValueError, "exit": SystemExit}[kind](
            "at https://api.example/x?api_key=hidden here"
        )

    @dlt.resource
    def odd():
        yield "text"

    def api(connection, since=None):
        params = {"since": since.isoformat()} if since else {}
        return rest_api_resources({
            "client": {
                "base_url": connection.base_url,
                "auth": {"type": "bearer", "token": connection.token.get_secret_value()},
                "paginator": {"type": "json_link", "next_url_path": "next"},
            },
            "resources": [
                {"name": "events", "endpoint": {"path": "events", "params": params, "data_selector": "items"}},
                "others",
            ],
        })

    def number():
        return 7

    NOT_CALLABLE = 7
"""


# dlt leaves the connections of its sessions to the garbage collector.
with_rest_client = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def sockets_of_dlt_end_here() -> Iterator[None]:
    """Collect them while their warning is ignored, and not in another test."""
    yield
    gc.collect()


@pytest.fixture
def resources(project: ThrowAwayProject) -> ThrowAwayProject:
    """A project with dlt resources and a table for their rows."""
    project.table("out.things", "id int64!, name string, extra json", key=["id"])
    project.functions(RESOURCES)
    return project


def extract(
    project: ThrowAwayProject, resource: str, step: dict[str, Any] | None = None, **arguments: Any
) -> None:
    """Declare the job that writes a resource to out.things."""
    pull = {
        "step_id": "pull",
        "op": "extract",
        "source": "dlt",
        "resource": f"{project.package}.steps:{resource}",
    }
    project.job("job", {**pull, "with": arguments, **(step or {})}, write("out.things"))


def run(project: ThrowAwayProject, **overrides: Any) -> RunRecord:
    return job_of(project.run("job", **overrides))


def rows(project: ThrowAwayProject, resource: str, **arguments: Any) -> list[dict[str, Any]]:
    """Return what a resource gives, without a run."""
    load_package(project.root, project.package)
    function = function_of(f"{project.package}.steps:{resource}")
    found: list[dict[str, Any]] = []
    for piece in chunks(function, function.arguments(arguments), stop=StopFlag()):
        found += piece if isinstance(piece, list) else piece.to_pylist()
    return found


@pytest.mark.parametrize(
    ("resource", "arguments", "expected"),
    [
        ("things", {"count": 3}, [0, 1, 2]),
        ("paged", {}, [1, 2, 3]),
        ("awaited", {}, [0, 1, 2]),
        ("arrow", {}, [1, 2, 3]),
        ("fixed", {}, [1, 2]),
        ("details", {"factor": 10}, [10, 20]),
        ("details", {}, [1, 2]),
        ("shop.things", {"count": 1}, [0]),
        ("shop.paged", {}, [1, 2, 3]),
        ("made.things", {}, [0, 1, 2, 3]),
        ("single", {"count": 3}, [0, 1, 2]),
        ("incremental", {}, [2, 3, 4]),
    ],
)
def test_all_that_dlt_calls_a_resource_gives_its_rows(
    resources: ThrowAwayProject, resource: str, arguments: dict[str, Any], expected: list[int]
) -> None:
    assert [row["id"] for row in rows(resources, resource, **arguments)] == expected


def test_what_nests_goes_to_json_columns_as_it_is(resources: ThrowAwayProject) -> None:
    extract(resources, "things", count=1, prefix="a")
    assert run(resources).status is Status.SUCCESS
    assert resources.rows("SELECT id, name, extra::VARCHAR AS extra FROM out.things") == [
        {"id": 0, "name": "a 0", "extra": '{"nested":[0]}'}
    ]
    assert resources.module().CLOSED == ["things"]


def test_connection_and_since_are_handed_over_by_name(resources: ThrowAwayProject) -> None:
    step = {"connection": "crm", "cursor": {"dataset": "out", "table": "things", "column": "id"}}
    extract(resources, "told", step)
    settings = {"connections": {"crm": {"host": "crm.example", "token": "t0ken"}}}
    for expected in ("crm.example t0ken None first", "crm.example t0ken 1 first"):
        run(resources, **settings)
        assert resources.rows("SELECT name FROM out.things") == [{"name": expected}]


def test_a_resource_keeps_its_own_default_where_there_is_no_cursor(resources: ThrowAwayProject) -> None:
    extract(resources, "defaulted")
    run(resources)
    assert resources.rows("SELECT name FROM out.things") == [{"name": "the beginning"}]


@with_rest_client
@pytest.mark.usefixtures("sockets_of_dlt_end_here")
def test_a_second_run_reads_on_from_a_real_api(resources: ThrowAwayProject) -> None:
    """dlt's own REST source against a server: pages, authentication, and `since` from the engine."""
    stored: list[dict[str, Any]] = [
        {"id": n, "at": f"2026-03-0{n}T00:00:00Z", "tags": ["a", {"b": n}]} for n in (1, 2, 3)
    ]

    def answer(request: Request) -> Reply:
        assert request.headers["authorization"] == "Bearer b3arer"
        new = [one for one in stored if one["at"][:10] > request.query.get("since", "")[:10]]
        page = int(request.query.get("page", 0))
        more = f"{api.url}/events?page={page + 1}" if page < 2 and "since" not in request.query else None
        return Reply({"items": new if more is None and page == 0 else new[page : page + 1], "next": more})

    resources.table("out.events", "id int64!, at timestamp, tags json", key=["id"])
    resources.functions(
        RESOURCES
        + "\n    def in_time(row):\n        return row | {'at': datetime.fromisoformat(row['at'])}\n"
    )
    pull = {
        "step_id": "pull", "op": "extract", "source": "dlt", "resource": f"{resources.package}.steps:api.events",
        "connection": "events_api", "cursor": {"dataset": "out", "table": "events", "column": "at"},
        "incremental": not_exists("out.events", "id"),
    }  # fmt: skip
    resources.job("job", pull, {"step_id": "time", "op": "call", "function": "in_time"}, write("out.events"))

    with serving(answer) as api:
        settings = {"connections": {"events_api": {"base_url": api.url, "token": "b3arer"}}}
        first, second = run(resources, **settings), run(resources, **settings)
        stored.append({"id": 4, "at": "2026-03-04T00:00:00Z", "tags": []})
        third = run(resources, **settings)

    assert [(one.status, one.rows_written) for one in (first, second, third)] == [
        (Status.SUCCESS, 3), (Status.SUCCESS, 0), (Status.SUCCESS, 1),
    ]  # fmt: skip
    assert [request.query.get("since") for request in api.requests] == [
        None, None, None, "2026-03-03T00:00:00+00:00", "2026-03-03T00:00:00+00:00",
    ]  # fmt: skip
    assert resources.rows("SELECT tags::VARCHAR AS tags FROM out.events WHERE id = 2") == [
        {"tags": '["a",{"b":2}]'}
    ]


# --- errors ---


@pytest.mark.parametrize(
    ("resource", "arguments", "category", "text"),
    [
        ("shop", {}, "source", "it gives 2 resources (things, paged) (say which: resource: "),
        (
            "shop.thing",
            {},
            "source",
            "there is no resource 'thing'; it has things, paged (did you mean 'things'?)",
        ),
        ("broken", {"kind": "value"}, "source", "at https://api.example/x?*** here"),
        ("broken", {"kind": "lost"}, "unavailable", "at https://api.example/x?*** here"),
        ("broken", {"kind": "exit"}, "source", "SystemExit: at https://api.example/x?*** here"),
        ("secret", {}, "source", "SOURCES__"),
        ("odd", {}, "function", "expected"),
        ("number", {}, "source", "int"),
    ],
)
def test_what_goes_wrong_in_dlt_is_told(
    resources: ThrowAwayProject, resource: str, arguments: dict[str, Any], category: str, text: str
) -> None:
    with pytest.raises(RunPipelineError) as caught:
        rows(resources, resource, **arguments)
    assert caught.value.category == category
    assert text in str(caught.value)
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_nothing_of_a_resource_that_fails_halfway_lands(resources: ThrowAwayProject) -> None:
    extract(resources, "broken", kind="value")
    job = run(resources, batch_rows=1)
    assert (job.status, job.errors[0].category) == (Status.FAILURE, "source")
    assert job.errors[0].message.startswith(
        f"source dlt {resources.package}.steps:broken: ResourceExtractionError: "
    )
    assert resources.rows("SELECT * FROM out.things") == []


@with_rest_client
@pytest.mark.usefixtures("sockets_of_dlt_end_here")
@pytest.mark.parametrize(("status", "category"), [(401, "auth"), (404, "source")])
def test_answers_of_a_server_have_their_categories(
    resources: ThrowAwayProject, status: int, category: str
) -> None:
    extract(resources, "api.events", {"connection": "crm"})
    with serving(lambda _: Reply({}, status=status)) as server:
        job = run(resources, connections={"crm": {"base_url": server.url, "token": "b3arer"}})
    assert job.errors[0].category == category
    assert f"{status} Client Error" in job.errors[0].message


@pytest.mark.parametrize(
    ("resource", "arguments", "expected"),
    [
        ("things", {}, "needs an argument 'count'"),
        ("things", {"count": "3"}, "'count' is '3'; source dlt "),
        ("things", {"count": 1, "prefx": "x"}, "takes no argument 'prefx', did you mean 'prefix'?"),
        ("details", {"item": 1}, "takes no argument 'item'"),
        ("fixed", {"x": 1}, "takes no argument 'x'"),
        ("told", {}, "needs an argument 'connection'; the step needs `connection: NAME`"),
        (
            "NOT_CALLABLE",
            {},
            "it is of type int; expected a dlt resource or source, or a function that returns some",
        ),
        ("nothing", {}, "has no function 'nothing'"),
    ],
)
def test_arguments_are_checked_at_load(
    resources: ThrowAwayProject, resource: str, arguments: dict[str, Any], expected: str
) -> None:
    extract(resources, resource, **arguments)
    problems = [str(problem) for problem in open_project(resources.settings()).check()]
    assert len(problems) == 1
    assert expected in problems[0]


# --- what dlt does besides ---

ALONE = """
    import sys
    from runner.cli import main
    sys.exit(main(["--project", sys.argv[1], "job"]))
"""


def test_dlt_writes_nothing_and_sends_nothing(resources: ThrowAwayProject, tmp_path: Path) -> None:
    """In a process of its own, as a user with an empty home; all that dlt could send would go to our server."""
    extract(resources, "things", count=3)
    home, data = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    with serving(lambda _: Reply({})) as server:
        done = subprocess.run(
            [sys.executable, "-P", "-c", textwrap.dedent(ALONE), str(resources.root)],
            cwd=home,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("DLT_")},
                "HOME": str(home), "DLT_DATA_DIR": str(data), "XDG_DATA_HOME": str(home),
                "RUNTIME__DLTHUB_TELEMETRY": "true",
                "RUNTIME__DLTHUB_TELEMETRY_ENDPOINT": f"{server.url}/telemetry",
                "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3 rows read" in done.stderr
    assert server.requests == []
    assert not data.exists()
    assert list(home.rglob("*")) == []


def test_the_step_runs_in_a_worker_thread(resources: ThrowAwayProject) -> None:
    resources.functions(
        RESOURCES
        + """
    import threading

    @dlt.resource
    def where():
        yield {"id": 1, "name": threading.current_thread().name}
    """
    )
    extract(resources, "where")
    job = run(resources)
    assert step_of(job, "pull").rows_out == 1
    (row,) = resources.rows("SELECT name FROM out.things")
    assert row["name"] != "MainThread"
