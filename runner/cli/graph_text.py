"""The graph of a run in the terminal and for other programs: a tree of its groups, Mermaid, Graphviz, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from runner.cli.console import BOLD, DIM, Part, Styled
from runner.cli.wording import count, queue_text

if TYPE_CHECKING:
    from runner.loader import GraphSummary
    from runner.specs import PlannedJob


def tree(graph: GraphSummary) -> Iterator[list[Part]]:
    """Yield lines: groups with their workers and what they come after, jobs with theirs, in the order written.

    The number behind a job is its level: a job comes after jobs of lower levels only.
    """
    levels = levels_of(graph)
    yield [Styled(graph.name, BOLD), *_about_group(graph, graph.name, ())]
    yield from _below(graph, levels, graph.name, "", ())


def levels_of(graph: GraphSummary) -> dict[str, int]:
    """Return the level of each job, from 1: one more than the highest of those before it."""
    jobs = {job.job_id: job for job in graph.jobs}
    members = {barrier.barrier_id: barrier.members for barrier in graph.barriers}

    @cache
    def level(node: str) -> int:
        if node in members:
            return max((level(member) for member in members[node]), default=0)
        job = jobs.get(node)
        return 0 if job is None else 1 + max((level(each) for each in (*job.needs, *job.after)), default=0)

    return {job_id: level(job_id) for job_id in jobs}


def as_data(graph: GraphSummary) -> dict[str, Any]:
    """Return JSON-ready data."""
    levels = levels_of(graph)
    return {
        "name": graph.name,
        "kind": graph.kind,
        "jobs": [
            {
                "job_id": job.job_id,
                "group": job.group,
                "level": levels[job.job_id],
                "queue": job.spec.queue,
                "priority": job.spec.priority,
                "needs": list(job.needs),
                "after": list(job.after),
                "limits": list(job.limits),
            }
            for job in graph.jobs
        ],
        "barriers": [
            {"barrier_id": barrier.barrier_id, "members": list(barrier.members)} for barrier in graph.barriers
        ],
        "max_workers": dict(graph.limits),
    }


def mermaid(graph: GraphSummary) -> Iterator[str]:
    """Yield a Mermaid flowchart: solid arrows need success, dotted ones only keep order."""
    ids = _node_ids(graph)
    yield "flowchart LR"
    for job in graph.jobs:
        yield f"    {ids[job.job_id]}[{json.dumps(job.job_id)}]"
    for barrier in graph.barriers:
        yield f"    {ids[barrier.barrier_id]}(({json.dumps(barrier.barrier_id)}))"
    for source, target, needed in _edges(graph):
        yield f"    {ids[source]} {'-->' if needed else '-.->'} {ids[target]}"


def dot(graph: GraphSummary) -> Iterator[str]:
    """Yield a Graphviz digraph: solid arrows need success, dashed ones only keep order."""
    ids = _node_ids(graph)
    yield f"digraph {json.dumps(graph.name)} {{"
    yield "    rankdir=LR; node [shape=box];"
    for job in graph.jobs:
        yield f"    {ids[job.job_id]} [label={json.dumps(job.job_id)}];"
    for barrier in graph.barriers:
        yield f"    {ids[barrier.barrier_id]} [label={json.dumps(barrier.barrier_id)}, shape=ellipse];"
    for source, target, needed in _edges(graph):
        yield f"    {ids[source]} -> {ids[target]}{'' if needed else ' [style=dashed]'};"
    yield "}"


def _node_ids(graph: GraphSummary) -> Mapping[str, str]:
    nodes = [*(job.job_id for job in graph.jobs), *(barrier.barrier_id for barrier in graph.barriers)]
    return {node: f"n{number}" for number, node in enumerate(nodes)}


def _edges(graph: GraphSummary) -> Iterator[tuple[str, str, bool]]:
    """Yield (before, after, whether success is needed); into a barrier lead its members."""
    for barrier in graph.barriers:
        for member in barrier.members:
            yield member, barrier.barrier_id, True
    for job in graph.jobs:
        for node in job.needs:
            yield node, job.job_id, True
        for node in job.after:
            yield node, job.job_id, False


def _below(
    graph: GraphSummary, levels: Mapping[str, int], group: str, indent: str, known: tuple[str, ...]
) -> Iterator[list[Part]]:
    """Yield the lines of a group's jobs and of the groups in it. `known`: what groups around it have said."""
    entries = list(_entries(graph, group))
    for number, entry in enumerate(entries):
        last = number == len(entries) - 1
        branch, inner = ("└─ ", "   ") if last else ("├─ ", "│  ")
        if isinstance(entry, str):
            common = _common(graph, entry)
            name = entry.removeprefix(f"{group}/")
            yield [f"{indent}{branch}", Styled(name, BOLD), *_about_group(graph, entry, known)]
            yield from _below(graph, levels, entry, f"{indent}{inner}", (*known, *common))
        else:
            yield [f"{indent}{branch}{entry.job_id}", Styled(_about_job(graph, entry, levels, known), DIM)]


def _entries(graph: GraphSummary, group: str) -> Iterator[PlannedJob | str]:
    """Yield what stands directly in a group, in the order written: jobs, and names of groups, each once."""
    seen: set[str] = set()
    for job in graph.jobs:
        if job.group in (group, ""):
            yield job
        elif job.group.startswith(f"{group}/"):
            part = job.group[len(group) + 1 :].partition("/")[0]
            below = f"{group}/{part}"
            if below not in seen:
                seen.add(below)
                yield below


def _common(graph: GraphSummary, group: str) -> tuple[str, ...]:
    """What all first jobs of a group come after: the end of the stage before, in a pipeline of stages."""
    inside = [job for job in graph.jobs if job.group == group or job.group.startswith(f"{group}/")]
    ids = {job.job_id for job in inside} | {
        barrier.barrier_id
        for barrier in graph.barriers
        if barrier.barrier_id == group or barrier.barrier_id.startswith(f"{group}/")
    }
    firsts = [job for job in inside if not ids & {*job.needs, *job.after}]
    if not firsts:
        return ()
    shared = {*firsts[0].needs, *firsts[0].after}.intersection(*({*job.needs, *job.after} for job in firsts))
    return tuple(node for node in (*firsts[0].needs, *firsts[0].after) if node in shared)


def _about_group(graph: GraphSummary, group: str, known: tuple[str, ...]) -> list[Part]:
    workers = graph.limits.get(group)
    said = [count(workers, "worker")] if workers else []
    after = [_short(graph, node) for node in _common(graph, group) if node not in known]
    said += [f"after {', '.join(after)}"] if after and group != graph.name else []
    return [Styled(f"  {', '.join(said)}", DIM)] if said else []


def _about_job(
    graph: GraphSummary, job: PlannedJob, levels: Mapping[str, int], known: tuple[str, ...]
) -> str:
    said = [f"  {levels[job.job_id]}"]
    for word, nodes in (("needs", job.needs), ("after", job.after)):
        own = [_short(graph, node) for node in nodes if node not in known]
        said += [f"{word} {', '.join(own)}"] if own else []
    if job.spec.queue != "default" or job.spec.priority:
        said.append(f"queue {queue_text(job.spec.queue, job.spec.priority)}")
    return ", ".join(said)


def _short(graph: GraphSummary, node: str) -> str:
    return node.removeprefix(f"{graph.name}/")
