"""Laws of the loader: no input crashes it, flattening keeps every order, specs survive being written and read."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import ConfigurationError
from runner.graph import JobGraph
from runner.loader import Project, open_project
from runner.loader.documents import Document, Report
from runner.loader.flatten import FlatGraph, Flattener
from runner.loader.nodes import Node
from runner.loader.reader import read_yaml
from runner.loader.validation import validate
from runner.settings import Settings
from runner.specs import JobSpec, PipelineSpec, PlannedJob

# --- reading ---

SNIPPETS = st.sampled_from(
    [
        *(
            "a: ",
            "b: ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            "\n",
            "\n  ",
            "? ",
            "|\n",
            ">-\n",
            "&x ",
            "*x",
            "!!t ",
            "'",
            '"',
        ),
        *(
            "#",
            "---\n",
            "...\n",
            "%YAML 1.1\n",
            "no",
            "1:30",
            "\t",
            "\\x",
            "\x00",
            "\ufeff",
            "ä",
            "\u2028",
            "<<: ",
        ),
    ]
)


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
)
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    read_or_refuse(data)


@given(st.lists(SNIPPETS, max_size=40).map("".join))
def test_nothing_like_yaml_crashes_the_reader(text: str) -> None:
    read_or_refuse(text.encode())


def read_or_refuse(data: bytes) -> None:
    try:
        root = read_yaml(data, "f.yaml")
    except ConfigurationError as error:
        for problem in error.problems:
            assert problem.file == "f.yaml"
            assert problem.message
            assert problem.line <= data.count(b"\n") + data.count(b"\r") + data.count(b"\xe2\x80") + 2
            assert str(problem).isprintable()
    else:
        assert isinstance(root.plain(), dict)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text("abc", min_size=1), VALUES, min_size=1, max_size=4))
def test_json_is_read_as_what_it_says(value: dict[str, Any]) -> None:
    """Every value in its only spelling: text in double quotes, numbers with a point when they are floats."""
    assert read_yaml(_as_yaml(value).encode(), "f.yaml").plain() == value


def _as_yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_yaml, value)) + "]"
    if isinstance(value, float):
        text = repr(value)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")
    return json.dumps(value, ensure_ascii=False)  # libyaml reads no surrogate pairs


# --- flattening ---


class Tree:
    """A pipeline as the tests see it: stages (lists of members) or members with edges; each a job or a tree."""

    def __init__(
        self, name: str, stages: list[list[str | Tree]], form: str, workers: list[int | None]
    ) -> None:
        self.name = name
        self.form = form
        self.stages = stages if form == "stages" else [[member for stage in stages for member in stage]]
        self.workers = workers
        self.edges: dict[str, dict[str, list[str]]] = {}

    @property
    def members(self) -> list[str | Tree]:
        return [member for stage in self.stages for member in stage]

    @property
    def pipelines(self) -> list[Tree]:
        return [
            self,
            *(below for member in self.members if isinstance(member, Tree) for below in member.pipelines),
        ]

    def spec(self) -> PipelineSpec:
        data: dict[str, Any] = {"pipeline_id": self.name, "max_workers": self.workers[0]}
        if self.form == "stages":
            data["stages"] = [
                {"name": f"s{number}", "jobs": [name_of(member) for member in stage], "max_workers": workers}
                for number, (stage, workers) in enumerate(zip(self.stages, self.workers[1:], strict=True))
            ]
        else:
            data["jobs"] = {name_of(member): self.edges.get(name_of(member), {}) for member in self.members}
        return PipelineSpec.model_validate(data)

    def effective(self, stage: int) -> int:
        own = self.workers[1 + stage] if self.form == "stages" else None
        return own or self.workers[0] or 1


def name_of(member: str | Tree) -> str:
    return member if isinstance(member, str) else member.name


def jobs_of(member: str | Tree) -> list[str]:
    return (
        [member] if isinstance(member, str) else [job for inner in member.members for job in jobs_of(inner)]
    )


WORKERS = st.sampled_from([None, 1, 2, 5])


@st.composite
def trees(draw: st.DrawFn, depth: int = 3, prefix: str = "p") -> Tree:
    stages: list[list[str | Tree]] = []
    for stage in range(draw(st.integers(1, 3))):
        members: list[str | Tree] = []
        for number in range(draw(st.integers(1, 3))):
            name = f"{prefix}-{stage}{number}"
            nested = depth > 1 and draw(st.integers(0, 3)) == 0
            members.append(draw(trees(depth=depth - 1, prefix=name)) if nested else f"j{name}")
        stages.append(members)
    tree = Tree(prefix, stages, draw(st.sampled_from(["stages", "jobs"])), [])
    tree.workers = [draw(WORKERS) for _ in range(1 + len(tree.stages))]
    if tree.form == "jobs":
        names = [name_of(member) for member in tree.members]
        shuffled = draw(st.permutations(names))  # edges point backwards in some order, not in the one written
        for position, name in enumerate(shuffled[1:], start=1):
            before = st.lists(st.sampled_from(shuffled[:position]), max_size=2, unique=True)
            tree.edges[name] = {"needs": draw(before), "after": draw(before)}
    return tree


def flatten(tree: Tree, workers: int | None = None) -> FlatGraph:
    document = Document("p.yaml", Path("p.yaml"), Node({}, 1, 1))
    report = Report()
    below = {each.name: (document, each.spec()) for each in tree.pipelines}
    graph = Flattener(below, jobs_of(tree), report, workers=workers).flatten(tree.name)
    assert report.problems == []
    return graph


def predecessors(graph: FlatGraph) -> dict[str, set[str]]:
    """All nodes that have ended before a job starts, through barriers and other jobs."""
    direct = {place.job_id: {*place.after, *place.needs} for place in graph.places}
    direct |= {barrier.barrier_id: set(barrier.members) for barrier in graph.barriers}
    found: dict[str, set[str]] = {}

    def visit(node: str) -> set[str]:
        if node not in found:
            found[node] = set()
            found[node] = {*direct[node], *(other for before in direct[node] for other in visit(before))}
        return found[node]

    for node in direct:
        visit(node)
    return found


@given(trees())
def test_every_job_once_and_a_graph_that_runs(tree: Tree) -> None:
    graph = flatten(tree)
    assert sorted(place.job_id for place in graph.places) == sorted(jobs_of(tree))
    step = {"step_id": "s", "op": "read", "dataset": "d", "table": "t"}
    planned = [
        PlannedJob(
            spec=JobSpec.model_validate({"job_id": place.job_id, "steps": [step]}),
            group=place.group,
            file=Path("j.yaml"),
            needs=place.needs,
            after=place.after,
        )
        for place in graph.places
    ]
    JobGraph(planned, graph.barriers)  # refuses unknown references, repeated ids and cycles


@given(trees())
def test_stages_and_single_workers_keep_their_order(tree: Tree) -> None:
    before = predecessors(flatten(tree))
    for pipeline in tree.pipelines:
        for number, stage in enumerate(pipeline.stages):
            for earlier in pipeline.stages[:number]:
                assert_all_before(earlier, stage, before)
            if pipeline.form == "stages" and pipeline.effective(number) == 1:
                for position in range(1, len(stage)):
                    assert_all_before(stage[:position], [stage[position]], before)


def assert_all_before(
    earlier: Sequence[str | Tree], later: Sequence[str | Tree], before: dict[str, set[str]]
) -> None:
    first = {job for member in earlier for job in jobs_of(member)}
    for job in (job for member in later for job in jobs_of(member)):
        assert first <= before[job]


@given(trees())
def test_edges_are_kept_and_one_worker_means_one_after_the_other(tree: Tree) -> None:
    graph = flatten(tree)
    before = predecessors(graph)
    needs = {place.job_id: set(place.needs) for place in graph.places}
    members = {barrier.barrier_id: set(barrier.members) for barrier in graph.barriers}
    for pipeline in tree.pipelines:
        if pipeline.form != "jobs":
            continue
        by_name = {name_of(member): member for member in pipeline.members}
        for name, edges in pipeline.edges.items():
            for other in (*edges["needs"], *edges["after"]):
                assert_all_before([by_name[other]], [by_name[name]], before)
            for job in jobs_of(by_name[name]):
                for other in edges["needs"]:
                    wanted = jobs_of(by_name[other])
                    assert any(set(wanted) <= reached({node}, members) for node in needs[job])
        if pipeline.effective(0) == 1:
            for one in pipeline.members:
                for two in pipeline.members:
                    if one is not two:
                        first, second = jobs_of(one), jobs_of(two)
                        ordered = [
                            set(x) <= before[job] for x, y in ((first, second), (second, first)) for job in y
                        ]
                        assert any(ordered)


def reached(nodes: set[str], members: dict[str, set[str]]) -> set[str]:
    """The jobs that these jobs and barriers stand for."""
    found = set()
    for node in nodes:
        found |= reached(members[node], members) if node in members else {node}
    return found


@given(trees(), st.sampled_from([None, 1, 3]))
def test_limits_are_those_of_the_groups_around_a_job(tree: Tree, workers: int | None) -> None:
    graph = flatten(tree, workers)
    for place in graph.places:
        groups = place.group.split("/")
        around = ["/".join(groups[: length + 1]) for length in range(len(groups))]
        assert [name for name in around if name in place.limits] == list(place.limits)
        assert all(graph.limits[name] > 1 for name in place.limits)
        if workers == 1:
            assert place.limits == ()
        if workers == 3:
            assert set(graph.limits.values()) == {3}


# --- specs ---

IDENTIFIERS = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=10)
FILTERS = st.dictionaries(IDENTIFIERS, st.one_of(TEXT, st.integers(-5, 5), st.booleans()), max_size=3)
READS = st.fixed_dictionaries(
    {"op": st.just("read"), "dataset": IDENTIFIERS, "table": IDENTIFIERS},
    optional={
        "columns": st.lists(IDENTIFIERS, max_size=3),
        "filters": FILTERS,
        "order_by": IDENTIFIERS,
        "limit": st.integers(1, 9),
        "timeout": st.sampled_from(["5m", 3, 0.5]),
        "incremental": st.fixed_dictionaries(
            {
                "mode": st.just("not_exists"),
                "target_dataset": IDENTIFIERS,
                "target_table": IDENTIFIERS,
                "source_key": IDENTIFIERS,
                "target_key": IDENTIFIERS,
            },
            optional={"join_key_suffix": TEXT, "remember_empty": st.booleans()},
        ),
    },
)
CALLS = st.fixed_dictionaries(
    {"op": st.just("call"), "function": st.just("jobs.a:b")},
    optional={"with": st.dictionaries(IDENTIFIERS, SCALARS, max_size=3), "on_bad_row": st.just("quarantine")},
)
WRITES = st.fixed_dictionaries(
    {"op": st.just("write"), "dataset": IDENTIFIERS, "table": IDENTIFIERS},
    optional={
        "key": IDENTIFIERS,
        "mode": st.sampled_from(["upsert", "append"]),
        "commit_every": st.integers(1, 9),
    },
)


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    steps = draw(st.lists(st.one_of(READS, CALLS, WRITES), min_size=1, max_size=4))
    return {
        "job_id": draw(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)),
        "description": draw(TEXT),
        "params": draw(st.dictionaries(IDENTIFIERS, st.just({"type": "int64", "default": 3}), max_size=2)),
        "steps": [{"step_id": f"s{number}", **step} for number, step in enumerate(steps)],
    }


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(jobs())
def test_a_job_survives_being_written_and_read(data: dict[str, Any]) -> None:
    first = load(data)
    again = load(first.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert again == first
    assert load(again.model_dump(mode="json", by_alias=True, exclude_defaults=True)) == first


def load(data: dict[str, Any]) -> JobSpec:
    report = Report()
    document = Document("j.yaml", Path("j.yaml"), read_yaml(_as_yaml(data).encode(), "j.yaml"))
    spec = validate(JobSpec, document, report)
    assert report.problems == []
    assert spec is not None
    return spec


@given(jobs(), st.data())
def test_a_mistake_anywhere_is_told_where_it_is(data: dict[str, Any], choice: st.DataObject) -> None:
    """An unknown key put into any mapping whose keys are known is reported at its line, and nothing else is."""
    number = choice.draw(st.integers(-1, len(data["steps"]) - 1))
    target = data if number == -1 else data["steps"][number]
    target["never_a_key"] = 1
    text = yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False, default_style='"', width=10**6)
    text = (
        text.replace('!!int "', '"')
        .replace('!!bool "', '"')
        .replace('!!float "', '"')
        .replace('!!null "', '"')
    )
    report = Report()
    try:
        document = Document("j.yaml", Path("j.yaml"), read_yaml(text.encode(), "j.yaml"))
    except ConfigurationError:
        pytest.fail(f"not read: {text}")
    validate(JobSpec, document, report)
    lines = text.splitlines()
    found = [problem for problem in report.problems if problem.message == "unknown key 'never_a_key'"]
    assert len(found) == 1
    assert lines[found[0].line - 1].lstrip("- ").startswith('"never_a_key"')
    assert lines[found[0].line - 1].index('"never_a_key"') == found[0].column - 1


# --- whole projects ---

ANYTHING = st.one_of(
    VALUES,
    st.sampled_from(
        [
            "order_id",
            "shop",
            "ops",
            "read",
            "write",
            "../x",
            "2026-01-01",
            "os:system",
            "sys:modules",
            "é\u009f",
            "a" * 300,
        ]
    ),
    st.sampled_from(["a", "zz", None, 3]).map(lambda name: {"param": name}),
    st.sampled_from([["a", "a"], [None], [{"column": "order_no", "op": "in", "value": [1]}]]),
)
KEYS = st.sampled_from([
    "op", "input", "key", "needs", "columns", "filters", "cursor", "incremental", "with", "connection", "limit",
    "mode", "key_prefix", "source_ts", "identify", "set_on_write", "defaults", "timeout", "params", "queue", "zz",
])  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("shop") / "project"
    shutil.copytree(Path(__file__).parents[1] / "fixtures" / "broken" / "_project", folder)
    yield open_project(Settings.load(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop_jobs"]:
        del sys.modules[name]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_stands_anywhere_is_a_problem_and_no_crash(shop: Project, choice: st.DataObject) -> None:
    name = choice.draw(
        st.sampled_from(["jobs/sum_orders", "jobs/load_orders", "pipelines/shop", "tables/shop"])
    )
    file = shop.root / "configs" / f"{name}.yaml"
    original = file.read_text(encoding="utf-8")
    data = yaml.safe_load(original)
    for _ in range(choice.draw(st.integers(1, 3))):
        _damage(data, choice)
    try:
        file.write_text(_as_yaml(data), encoding="utf-8")
        for problem in shop.check():
            assert problem.message
            assert problem.file.startswith(("configs/", "shop_jobs/"))
            assert str(problem).isprintable()
    finally:
        file.write_text(original, encoding="utf-8")


def _damage(data: Any, choice: st.DataObject) -> None:
    """Put something else at, or next to, some place of a file, or take it away."""
    while True:
        if isinstance(data, dict) and data and choice.draw(st.integers(0, 5)):
            key: Any = choice.draw(st.sampled_from(sorted(data)))
        elif isinstance(data, list) and data:
            key = choice.draw(st.integers(0, len(data) - 1))
        elif isinstance(data, dict):
            data[choice.draw(KEYS)] = deepcopy(choice.draw(ANYTHING))
            return
        else:
            return
        if isinstance(data[key], dict | list) and data[key] and choice.draw(st.integers(0, 3)):
            data = data[key]
            continue
        if choice.draw(st.integers(0, 3)):
            data[key] = deepcopy(choice.draw(ANYTHING))
        else:
            del data[key]
        return
