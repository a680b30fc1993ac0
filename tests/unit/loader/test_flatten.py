"""Pipelines to one graph, by example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.errors import Problem
from runner.loader.documents import Document, Report
from runner.loader.flatten import FlatGraph, Flattener, JobPlace, topological
from runner.loader.nodes import Node
from runner.specs import Barrier, PipelineSpec


def flatten(
    pipelines: dict[str, dict[str, Any]], *, workers: int | None = None
) -> tuple[FlatGraph, list[Problem]]:
    """Flatten the first of `pipelines`; a member that is no pipeline and begins with `j` is a job."""
    document = Document("p.yaml", Path("p.yaml"), Node({}, 1, 1))
    specs = {
        name: (document, PipelineSpec.model_validate({"pipeline_id": name, **data}))
        for name, data in pipelines.items()
    }
    report = Report()
    jobs = [f"j{number}" for number in range(10)]
    graph = Flattener(specs, jobs, report, workers=workers).flatten(next(iter(pipelines)))
    return graph, report.problems


def stages(*members: list[str], names: str = "abc", **more: Any) -> dict[str, Any]:
    return {
        "stages": [{"name": name, "jobs": jobs} for name, jobs in zip(names, members, strict=False)],
        **more,
    }


def places(graph: FlatGraph) -> dict[str, JobPlace]:
    return {place.job_id: place for place in graph.places}


def test_one_worker_runs_members_in_the_order_written() -> None:
    graph, _ = flatten({"p": stages(["j2", "j1"], ["j0"])})
    assert [(place.job_id, place.after) for place in graph.places] == [
        ("j2", ()),
        ("j1", ("j2",)),
        ("j0", ("p/a",)),
    ]
    assert graph.barriers == [Barrier(barrier_id="p/a", members=("j2", "j1"))]
    assert graph.limits == {}


def test_more_workers_are_a_limit_of_the_stage() -> None:
    graph, _ = flatten({"p": stages(["j0", "j1", "j2"], max_workers=2)})
    assert graph.limits == {"p/a": 2}
    assert [place.limits for place in graph.places] == [("p/a",)] * 3
    assert all(place.after == () and place.group == "p/a" for place in graph.places)


def test_the_stage_wins_over_the_pipeline_and_the_argument_over_both() -> None:
    spec = {"stages": [{"name": "a", "jobs": ["j0", "j1"], "max_workers": 3}], "max_workers": 2}
    assert flatten({"p": spec})[0].limits == {"p/a": 3}
    assert flatten({"p": spec}, workers=5)[0].limits == {"p/a": 5}
    assert flatten({"p": spec}, workers=1)[0].limits == {}


def test_a_sub_pipeline_dissolves() -> None:
    graph, _ = flatten(
        {
            "daily": stages(["ingest"], ["formation"], names=["ingest", "formation"]),  # type: ignore[arg-type]
            "ingest": stages(["j0", "j1"], names=["mail"], max_workers=4),  # type: ignore[arg-type]
            "formation": stages(["j2"], ["j3", "j4"], names=["events", "observations"], max_workers=2),  # type: ignore[arg-type]
        }
    )
    found = places(graph)
    assert found["j0"].group == "daily/ingest/mail"
    assert found["j3"].group == "daily/formation/observations"
    assert found["j2"].after == ("daily/ingest/mail",)
    assert found["j3"].after == ("j2",)
    assert found["j3"].limits == ("daily/formation/observations",)
    assert graph.limits == {
        "daily/ingest/mail": 4,
        "daily/formation/events": 2,
        "daily/formation/observations": 2,
    }


def test_limits_are_nested_outermost_first() -> None:
    graph, _ = flatten({"p": stages(["q", "j0"], max_workers=2), "q": stages(["j1", "j2"], max_workers=3)})
    assert places(graph)["j1"].limits == ("p/a", "p/a/q/a")
    assert places(graph)["j0"].limits == ("p/a",)
    assert graph.limits == {"p/a": 2, "p/a/q/a": 3}


def test_a_stage_of_the_name_of_its_only_pipeline_shares_its_group() -> None:
    graph, _ = flatten(
        {
            "p": {"stages": [{"name": "q", "jobs": ["q"], "max_workers": 2}]},
            "q": {"jobs": {"j0": {}, "j1": {}}, "max_workers": 4},
        }
    )
    assert places(graph)["j0"].group == "p/q"
    assert graph.limits == {"p/q": 2}
    assert places(graph)["j0"].limits == ("p/q",)


def test_one_worker_outside_orders_whole_sub_pipelines() -> None:
    graph, _ = flatten({"p": stages(["q", "j0"]), "q": stages(["j1", "j2"], max_workers=3)})
    assert places(graph)["j0"].after == ("p/a/q/a",)
    assert places(graph)["j1"].after == places(graph)["j2"].after == ()


def test_needs_of_a_sub_pipeline_go_to_all_its_jobs_and_after_to_its_first() -> None:
    graph, _ = flatten(
        {
            "p": {"jobs": {"j0": {}, "j1": {}, "q": {"needs": ["j0"], "after": ["j1"]}}, "max_workers": 4},
            "q": stages(["j2"], ["j3"]),
        }
    )
    found = places(graph)
    assert (found["j2"].needs, found["j2"].after) == (("j0",), ("j1",))
    assert (found["j3"].needs, found["j3"].after) == (("j0",), ("j2",))


def test_needs_of_a_whole_sub_pipeline() -> None:
    graph, _ = flatten(
        {
            "p": {"jobs": {"j0": {"needs": ["q"]}, "q": {}}, "max_workers": 4},
            "q": stages(["j1", "j2"], ["j3"]),
        }
    )
    assert places(graph)["j0"].needs == ("p/q",)
    assert Barrier(barrier_id="p/q", members=("p/q/a", "j3")) in graph.barriers


def test_jobs_with_one_worker_follow_what_they_wait_for() -> None:
    graph, _ = flatten({"p": {"jobs": {"j0": {"needs": ["j2"]}, "j1": {}, "j2": {}}}})
    assert [(place.job_id, place.needs, place.after) for place in graph.places] == [
        ("j1", (), ()),
        ("j2", (), ("j1",)),
        ("j0", ("j2",), ()),
    ]


def test_stops_are_the_pipelines_around_that_stop() -> None:
    graph, _ = flatten(
        {
            "p": stages(["q", "j0"], stop_on_failure=True),
            "q": stages(["r", "j1"]),
            "r": stages(["j2"], stop_on_failure=True),
        }
    )
    found = places(graph)
    assert (found["j0"].stops, found["j1"].stops, found["j2"].stops) == (("p",), ("p",), ("p", "r"))


def test_a_pipeline_reached_twice_is_told_once() -> None:
    _, problems = flatten({"p": stages(["q"], ["q"]), "q": stages(["j0", "j1"])})
    assert [problem.message for problem in problems] == ["'q' stands in p/a and in p/b"]


def test_pipelines_nested_without_end() -> None:
    chain = {f"q{number}": stages([f"q{number + 1}"]) for number in range(40)}
    _, problems = flatten({**chain, "q40": stages(["j0"])})
    assert [problem.message for problem in problems] == ["pipelines nested deeper than 32"]


def test_topological_order_is_the_order_written_where_it_can_be() -> None:
    assert topological({"a": ["c"], "b": [], "c": [], "d": ["a"]}) == (["b", "c", "a", "d"], [])
    assert topological({"a": ["a"]}) == ([], ["a", "a"])
    assert topological({"a": ["b"], "b": ["c"], "c": ["b"], "d": []}) == (["d"], ["b", "c", "b"])


def test_topological_order_of_a_long_chain() -> None:
    names = [f"n{number}" for number in range(5_000)]
    waits = {name: names[number + 1 : number + 2] for number, name in enumerate(names)}
    assert topological(waits)[0] == names[::-1]


def test_stages_are_told_of_with_the_jobs_of_their_own() -> None:
    """Sub-pipelines have stages of their own; the narrowest of the limits around a stage counts."""
    outer = {
        "stages": [
            {"name": "a", "jobs": ["q"], "max_workers": 3},
            {"name": "b", "jobs": ["j4", "r", "j5"], "event": "shop.b"},
        ]
    }
    graph, problems = flatten({
        "p": outer,
        "q": stages(["j0", "j1"], ["j2"], max_workers=5),
        "r": {"jobs": {"j3": {}}},
    })  # fmt: skip
    assert problems == []
    assert [
        (stage.name, stage.group, stage.event, stage.max_workers, stage.jobs) for stage in graph.stages
    ] == [
        ("a", "p/a/q/a", None, 3, ("j0", "j1")),
        ("b", "p/a/q/b", None, 3, ("j2",)),
        ("b", "p/b", "shop.b", 1, ("j4", "j5")),
    ]
