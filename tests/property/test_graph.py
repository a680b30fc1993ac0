"""Random graphs and outcomes: `JobGraph` against a model that looks at everything anew after each event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ConfigurationError
from runner.graph import Change, JobGraph
from runner.records import Status
from runner.specs.pipelines import JobSpec
from runner.specs.plan import Barrier, PlannedJob

STEPS = ({"step_id": "read", "op": "read", "dataset": "d", "table": "t"},)
LANDED = (Status.SUCCESS, Status.PARTIAL)
ENDS = st.sampled_from([*LANDED, *LANDED, Status.FAILURE, Status.SKIPPED, Status.CANCELLED])
GROUPS = ("daily", "formation")


def job(
    job_id: str, needs: Iterable[str] = (), after: Iterable[str] = (), stops: Iterable[str] = ()
) -> PlannedJob:
    spec = JobSpec.model_validate({"job_id": job_id, "steps": STEPS})
    return PlannedJob(
        spec=spec, group="g", file=Path("x"), needs=tuple(needs), after=tuple(after), stops=tuple(stops)
    )


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[PlannedJob], list[Barrier]]:
    """Jobs and barriers that refer only to what was drawn before them, in any plan order."""
    names: list[str] = []
    jobs: list[PlannedJob] = []
    barriers: list[Barrier] = []
    for number in range(draw(st.integers(1, 12))):
        some = st.lists(st.sampled_from(names), max_size=4) if names else st.just([])
        if draw(st.integers(0, 3)) == 0:
            barriers.append(Barrier(barrier_id=f"@{number}", members=tuple(draw(some))))
            names.append(f"@{number}")
        else:
            stops = draw(st.sets(st.sampled_from(GROUPS)))
            jobs.append(job(f"j{number}", draw(some), draw(some), sorted(stops)))
            names.append(f"j{number}")
    return draw(st.permutations(jobs)), draw(st.permutations(barriers))


@dataclass
class Model:
    """The rules of the graph, each written down once, without any thought of cost."""

    jobs: list[PlannedJob]
    barriers: list[Barrier]
    ended: dict[str, Status] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)

    def settle(self) -> set[str]:
        """End every barrier and skip every job that the rules say; return the jobs that are ready."""
        before = -1
        while before != len(self.ended):
            before = len(self.ended)
            for barrier in self.barriers:
                if self.all_ended(barrier.members):
                    landed = all(self.ended[name] in LANDED for name in barrier.members)
                    self.ended[barrier.barrier_id] = Status.SUCCESS if landed else Status.FAILURE
            for job in self.jobs:
                if self.is_open(job) and self.is_doomed(job):
                    self.ended[job.job_id] = Status.SKIPPED
        return {job.job_id for job in self.jobs if self.is_open(job)}

    def all_ended(self, names: Iterable[str]) -> bool:
        return all(name in self.ended for name in names)

    def is_open(self, job: PlannedJob) -> bool:
        decided = job.job_id in self.started or job.job_id in self.ended
        return not decided and self.all_ended((*job.needs, *job.after))

    def is_doomed(self, job: PlannedJob) -> bool:
        unmet = any(self.ended[name] not in LANDED for name in job.needs)
        return unmet or any(group in self.stopped for group in job.stops)


@given(plan=plans(), data=st.data())
def test_every_event_does_what_the_rules_say(
    plan: tuple[list[PlannedJob], list[Barrier]], data: st.DataObject
) -> None:
    jobs, barriers = plan
    graph, model = JobGraph(jobs, barriers), Model(jobs, barriers)
    seen: list[str] = []
    number = {job.job_id: place for place, job in enumerate(jobs)}

    def compare(change: Change) -> None:
        ready = [job.job_id for job in change.ready]
        skipped = [job.job_id for job, _ in change.skipped]
        assert ready == sorted(ready, key=number.__getitem__)
        assert skipped == sorted(skipped, key=number.__getitem__)
        assert all(reason for _, reason in change.skipped)
        seen.extend(ready)
        seen.extend(name for name in skipped if name not in seen)
        assert {job.job_id for job in graph.ready} == model.settle()
        outcomes = {name: status for name, status in model.ended.items() if name in number}
        assert graph.outcomes == outcomes

    running: set[str] = set()
    compare(graph.begin())
    while not graph.done:
        ready = [job.job_id for job in graph.ready]
        assert ready or running, "nothing can go on, and yet the run is not done"
        if ready and (not running or data.draw(st.booleans())):
            name = data.draw(st.sampled_from(ready))
            graph.start(name)
            model.started.add(name)
            running.add(name)
            continue
        name = data.draw(st.sampled_from(sorted(running)))
        status = data.draw(ENDS)
        running.remove(name)
        if status is Status.FAILURE:
            for group in jobs[number[name]].stops:
                model.stopped.add(group)
                compare(graph.stop_group(group, name))
        model.ended[name] = status
        compare(graph.finish(name, status))
    assert sorted(seen) == sorted(number), "a job was told of twice, or never"
    assert set(graph.outcomes) == set(number)


@given(plan=plans(), data=st.data())
def test_an_edge_back_is_found_and_the_cycle_is_real(
    plan: tuple[list[PlannedJob], list[Barrier]], data: st.DataObject
) -> None:
    jobs, barriers = plan
    first = data.draw(st.sampled_from([None, *jobs])) if jobs else None
    if first is None:
        JobGraph(jobs, barriers)
        return
    chain = [job(f"k{number}", needs=[f"k{number - 1}"]) for number in range(1, data.draw(st.integers(1, 4)))]
    last = f"k{len(chain)}"
    closed = [*jobs, job("k0", after=[last, first.job_id]), *chain]
    with pytest.raises(ConfigurationError) as caught:
        JobGraph(data.draw(st.permutations(closed)), barriers)
    (problem,) = caught.value.problems
    path = problem.message.rpartition(": ")[2].split(" -> ")
    waits = {one.job_id: (*one.needs, *one.after) for one in closed}
    assert path[0] == path[-1]
    assert set(path) == {f"k{number}" for number in range(len(chain) + 1)}
    assert all(after in waits[before] for before, after in pairwise(path))
