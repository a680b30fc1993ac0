"""The order of a run: what becomes ready, what is skipped and why, what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runner.errors import ConfigurationError
from runner.graph import JobGraph
from runner.records import Status
from runner.specs.pipelines import JobSpec
from runner.specs.plan import Barrier, PlannedJob

STEPS = ({"step_id": "read", "op": "read", "dataset": "d", "table": "t"},)


def job(job_id: str, *, needs: str = "", after: str = "", stops: str = "") -> PlannedJob:
    spec = JobSpec.model_validate({"job_id": job_id, "steps": STEPS})
    return PlannedJob(
        spec=spec,
        group="daily",
        file=Path(f"configs/jobs/{job_id}.yaml"),
        needs=tuple(needs.split()),
        after=tuple(after.split()),
        stops=tuple(stops.split()),
    )


def barrier(barrier_id: str, members: str) -> Barrier:
    return Barrier(barrier_id=barrier_id, members=tuple(members.split()))


def ids(jobs: list[PlannedJob]) -> list[str]:
    return [job.job_id for job in jobs]


def ready_after(graph: JobGraph, job_id: str, status: Status = Status.SUCCESS) -> list[str]:
    """Run one job and return what became ready."""
    graph.start(job_id)
    return ids(graph.finish(job_id, status).ready)


def skipped_after(graph: JobGraph, job_id: str, status: Status) -> dict[str, str]:
    """Run one job and return what was skipped, with the reasons."""
    graph.start(job_id)
    return {job.job_id: reason for job, reason in graph.finish(job_id, status).skipped}


# --- order ----------------------------------------------------------------------------------------


def test_ready_jobs_come_in_plan_order() -> None:
    graph = JobGraph([job("c"), job("a", after="z"), job("b"), job("z"), job("y", needs="z")])
    assert ids(graph.begin().ready) == ["c", "b", "z"]
    assert ids(graph.ready) == ["c", "b", "z"]
    assert ready_after(graph, "z") == ["a", "y"]


def test_a_job_waits_for_everything_it_names() -> None:
    graph = JobGraph([job("a"), job("b"), job("c", needs="a", after="b a")])
    graph.begin()
    assert ready_after(graph, "b") == []
    assert ready_after(graph, "a") == ["c"]


@pytest.mark.parametrize("status", [Status.FAILURE, Status.PARTIAL, Status.SKIPPED, Status.CANCELLED])
def test_after_is_satisfied_by_any_end(status: Status) -> None:
    graph = JobGraph([job("a"), job("b", after="a")])
    graph.begin()
    assert ready_after(graph, "a", status) == ["b"]


def test_stages_are_ordered_by_barriers() -> None:
    graph = JobGraph(
        [job("a1"), job("a2"), job("b1", after="@a"), job("b2", after="@a"), job("c", after="@b")],
        [barrier("@a", "a1 a2"), barrier("@b", "b1 b2")],
    )
    assert ids(graph.begin().ready) == ["a1", "a2"]
    assert ready_after(graph, "a2", Status.FAILURE) == []
    assert ready_after(graph, "a1") == ["b1", "b2"]
    assert ready_after(graph, "b1") == []
    assert ready_after(graph, "b2") == ["c"]
    assert not graph.done
    assert ready_after(graph, "c") == []
    assert graph.done
    assert list(graph.outcomes.values()) == ["success", "failure", "success", "success", "success"]


def test_a_barrier_without_members_is_passed_at_once() -> None:
    graph = JobGraph([job("a", needs="@none")], [barrier("@none", "")])
    assert ids(graph.begin().ready) == ["a"]


def test_order_is_transitive_through_skipped_jobs() -> None:
    """`b` is doomed as soon as `x` fails, but `c` comes after `b`, which comes after the long `a`."""
    graph = JobGraph([job("a"), job("x"), job("b", after="a", needs="x"), job("c", after="b")])
    graph.begin()
    graph.start("a")
    assert ready_after(graph, "x", Status.FAILURE) == []
    change = graph.finish("a", Status.SUCCESS)
    assert [skipped.job_id for skipped, _ in change.skipped] == ["b"]
    assert ids(change.ready) == ["c"]


# --- skipping -------------------------------------------------------------------------------------


def test_a_failed_job_skips_those_that_need_it_and_so_on() -> None:
    graph = JobGraph([job("a"), job("b", needs="a"), job("c", needs="b"), job("d", after="c"), job("e")])
    graph.begin()
    graph.start("a")
    change = graph.finish("a", Status.FAILURE)
    assert [(skipped.job_id, reason) for skipped, reason in change.skipped] == [
        ("b", "needs a, which failed"),
        ("c", "needs b, which was skipped"),
    ]
    assert ids(change.ready) == ["d"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Status.FAILURE, {"b": "needs a, which failed"}),
        (Status.SKIPPED, {"b": "needs a, which was skipped"}),
        (Status.CANCELLED, {"b": "needs a, which was cancelled"}),
        (Status.PARTIAL, {}),
        (Status.SUCCESS, {}),
    ],
)
def test_what_satisfies_needs(status: Status, reason: dict[str, str]) -> None:
    graph = JobGraph([job("a"), job("b", needs="a")])
    graph.begin()
    assert skipped_after(graph, "a", status) == reason


def test_the_reason_names_the_job_behind_barriers() -> None:
    graph = JobGraph(
        [job("a"), job("b"), job("c", needs="formation")],
        [barrier("stage-1", "a b"), barrier("formation", "stage-1")],
    )
    graph.begin()
    assert skipped_after(graph, "b", Status.FAILURE) == {}
    assert skipped_after(graph, "a", Status.SUCCESS) == {"c": "needs formation, in which b failed"}


def test_a_stopped_group_skips_what_has_not_started() -> None:
    graph = JobGraph(
        [
            job("running", stops="formation"),
            job("waiting", stops="formation"),
            job("later", after="running", stops="formation"),
            job("outside", after="later"),
            job("apart", stops="other"),
        ]
    )
    graph.begin()
    graph.start("running")
    change = graph.stop_group("formation", "first")
    reason = "formation stops on failure, and first failed"
    assert [(skipped.job_id, text) for skipped, text in change.skipped] == [("waiting", reason)]
    assert ids(graph.ready) == ["apart"]
    change = graph.finish("running", Status.SUCCESS)
    assert [(skipped.job_id, text) for skipped, text in change.skipped] == [("later", reason)]
    assert ids(change.ready) == ["outside"]


def test_stopping_a_group_twice_changes_nothing() -> None:
    graph = JobGraph([job("a", stops="g"), job("b", stops="g")])
    graph.begin()
    assert len(graph.stop_group("g", "x").skipped) == 2
    assert graph.stop_group("g", "y").skipped == []
    assert graph.done


def test_the_rest_can_be_skipped() -> None:
    graph = JobGraph([job("a"), job("b"), job("c", after="a"), job("d", needs="c")])
    graph.begin()
    graph.start("a")
    assert ids(graph.skip_rest("the run was cancelled")) == ["b", "c", "d"]
    assert graph.ready == []
    assert not graph.done
    change = graph.finish("a", Status.CANCELLED)
    assert (change.ready, change.skipped) == ([], [])
    assert graph.done


# --- what is refused ------------------------------------------------------------------------------


def test_a_cycle_is_named() -> None:
    jobs = [job("a"), job("b", needs="a d"), job("c", after="b"), job("d", needs="@s")]
    with pytest.raises(ConfigurationError) as caught:
        JobGraph(jobs, [barrier("@s", "a c")])
    (problem,) = caught.value.problems
    assert problem.message == "a cycle, each waits for the next: b -> d -> @s -> c -> b"
    assert problem.file == "configs/jobs/b.yaml"


def test_a_job_that_needs_itself_is_a_cycle() -> None:
    with pytest.raises(ConfigurationError, match="waits for the next: a -> a"):
        JobGraph([job("a", needs="a")])


def test_every_unknown_reference_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        JobGraph([job("a", needs="x"), job("b", after="a y")], [barrier("@s", "a z")])
    assert [str(problem) for problem in caught.value.problems] == [
        "configs/jobs/a.yaml: a.needs: 'x' is no job of this run",
        "configs/jobs/b.yaml: b.after: 'y' is no job of this run",
        "@s: 'z' is no job of this run",
    ]


def test_an_id_occurs_once() -> None:
    with pytest.raises(ConfigurationError, match="id 'a' occurs more than once"):
        JobGraph([job("a"), job("b"), job("a")])
    with pytest.raises(ConfigurationError, match="id 'a' occurs more than once"):
        JobGraph([job("a")], [barrier("a", "a")])


def test_steps_out_of_order_are_refused() -> None:
    graph = JobGraph([job("a"), job("b", after="a")])
    graph.begin()
    with pytest.raises(ValueError, match="'b' is not ready"):
        graph.start("b")
    with pytest.raises(ValueError, match="'a' is not running"):
        graph.finish("a", Status.SUCCESS)
    graph.start("a")
    with pytest.raises(ValueError, match="'a' is not ready"):
        graph.start("a")
    with pytest.raises(ValueError, match="cannot end as 'running'"):
        graph.finish("a", Status.RUNNING)
    graph.finish("a", Status.SUCCESS)
    with pytest.raises(ValueError, match="'a' is not running"):
        graph.finish("a", Status.SUCCESS)


# --- cost -----------------------------------------------------------------------------------------


@pytest.mark.perf
def test_a_job_costs_microseconds_however_wide_the_stages() -> None:
    first = [job(f"a{number}") for number in range(1000)]
    second = [job(f"b{number}", after="@a") for number in range(1000)]
    stages = [
        barrier("@a", " ".join(ids(first))),
        barrier("@b", " ".join(ids(second))),
    ]
    started = time.process_time()
    graph = JobGraph([*first, *second], stages)
    waiting = graph.begin().ready
    while waiting:
        waiting += ready_graph(graph, waiting.pop())
    assert graph.done
    assert (time.process_time() - started) / 2000 < 50e-6


def ready_graph(graph: JobGraph, ready: PlannedJob) -> list[PlannedJob]:
    graph.start(ready.job_id)
    return graph.finish(ready.job_id, Status.SUCCESS).ready
