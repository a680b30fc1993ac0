"""Explains the incremental reads of a job: do source and target keys meet, and if not, what would mend it.

Background: REQUIREMENTS T3. A read whose keys can never match is silent: it works, and reads everything
every time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace

from runner.errors import UsageError
from runner.operations.doctor.finding import Finding
from runner.operations.doctor.lookback import lookback_findings
from runner.pipeline_runner import PipelineRunner
from runner.ports import IncrementalCounts, IncrementalRead, KeyProfile, ReadQuery, TableShape, Warehouse
from runner.specs import ExtractSpec, ReadSpec, RunPlan, TableRef

MAX_COLUMNS_TRIED = 12
"""Target columns that are compared with when the named one never matches; each costs a pass over both
tables.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReport:
    """What was found about one step. `profile` is None where there was nothing to measure."""

    step_id: str
    source: str
    target: str = ""
    profile: KeyProfile | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing has to be mended."""
        return all(finding.level in ("ok", "note") for finding in self.findings)


async def examine(pipelines: PipelineRunner, plan: RunPlan) -> list[ReadReport]:
    """Examine every read and extract of a job's plan. Opens the warehouse, changes nothing.

    Raises `UsageError` for a pipeline's plan, `HeldByAnother`, `WarehouseError`.
    """
    if plan.kind != "job":
        jobs = ", ".join(job.job_id for job in plan.jobs)
        raise UsageError(f"{plan.name!r} is a pipeline; doctor examines one job", hint=f"its jobs: {jobs}")
    warehouse = await pipelines.open_warehouse()
    shapes = await warehouse.inspect(list(plan.tables))
    (job,) = plan.jobs
    queries = dict(pipelines.read_queries(plan, job))
    reports = []
    for spec in job.spec.steps:
        if isinstance(spec, ReadSpec):
            reports.append(await _read(warehouse, spec, queries[spec.step_id], shapes))
        elif isinstance(spec, ExtractSpec):
            reports.append(_extract(spec))
    return reports


def _extract(spec: ExtractSpec) -> ReadReport:
    if spec.incremental is None:
        finding = Finding(level="note", text="takes every row that the function gives, in every run")
    else:
        text = "rows come from outside and are compared as they arrive; there is no table to measure"
        finding = Finding(level="note", text=text)
    return ReadReport(step_id=spec.step_id, source=spec.origin, findings=(finding,))


async def _read(
    warehouse: Warehouse, spec: ReadSpec, query: ReadQuery, shapes: Mapping[TableRef, TableShape]
) -> ReadReport:
    source = str(spec.ref)
    if query.incremental is None:
        text = "not incremental: reads all rows that its filters leave, in every run"
        return ReadReport(step_id=spec.step_id, source=source, findings=(Finding(level="note", text=text),))
    target = query.incremental.target.ref
    for ref in (spec.ref, target):
        if ref not in shapes:
            finding = Finding(
                level="note", text=f"{ref} does not exist yet: nothing to compare before a first run"
            )
            return ReadReport(step_id=spec.step_id, source=source, target=str(target), findings=(finding,))
    profile = await warehouse.profile(query)
    findings = list(verdicts(profile, query.incremental))
    if profile.source_distinct and profile.target_distinct and not (profile.matched or affix(profile)):
        findings += [
            finding async for finding in _other_columns(warehouse, query, query.incremental, profile)
        ]
    if profile.source_type == profile.target_type:
        findings += [finding async for finding in lookback_findings(warehouse, query)]
        findings.append(outlook(await warehouse.count(query)))
    return ReadReport(
        step_id=spec.step_id, source=source, target=str(target), profile=profile, findings=tuple(findings)
    )


def outlook(counts: IncrementalCounts) -> Finding:
    """Say what the next run would read, and what it leaves out without a counterpart in the target."""
    text = f"the next run reads {counts.new + counts.null_key:,} of {counts.total:,} rows"
    if counts.remembered:
        text += f"; {counts.remembered:,} are remembered: they gave no row, or a quarantined one"
    return Finding(level="note", text=text)


def verdicts(profile: KeyProfile, read: IncrementalRead) -> Iterator[Finding]:
    """Yield what a profile means, the gravest first."""
    if profile.source_type != profile.target_type:
        text = f"the keys have different types: {profile.source_type} against {profile.target_type}"
        yield Finding(level="error", text=f"{text}; declare and load both with the same type")
    yield from _match(profile, read)
    if profile.source_nulls:
        text = f"source rows without a key: {profile.source_nulls:,}; they match nothing and are read in every run"
        yield Finding(level="warning", text=f"{text}; give them a key, or leave them out with a filter")
    if profile.target_nulls:
        yield Finding(
            level="note", text=f"target rows without a key: {profile.target_nulls:,}; they match nothing"
        )
    repeated = profile.source_rows - profile.source_nulls - profile.source_distinct
    if repeated > 0:
        text = f"source rows that share their key with another: {repeated:,}; they are new, and present, together"
        yield Finding(level="note", text=text)


def _match(profile: KeyProfile, read: IncrementalRead) -> Iterator[Finding]:
    if not profile.source_distinct:
        yield Finding(level="note", text="the source has no row with a key: nothing to compare")
    elif not profile.target_distinct:
        yield Finding(level="note", text="the target has no row with a key: everything is new")
    elif not profile.matched:
        part = f"none of the {profile.source_distinct:,} source keys is in the target"
        text = f"{part}: every run reads all of them again"
        yield Finding(level="error", text=f"{text}; {_samples(profile)}")
        yield from _affixes(profile, read)
    else:
        share = 100 * profile.matched / profile.source_distinct
        part = f"{profile.matched:,} of {profile.source_distinct:,} source keys ({share:.1f} %)"
        text = f"{part} are in the target"
        yield Finding(level="ok", text=text)
        if affix(profile):
            text = "most of the others would be with another prefix or suffix: two formats are mixed"
            yield Finding(level="warning", text=f"{text}; {_samples(profile)}")


def affix(profile: KeyProfile) -> tuple[str, str, int] | None:
    """Return the prefix and suffix with which at least half of the keys tried match, and how many do.

    Fewer prove nothing: the key "1" stands somewhere in many a UUID.
    """
    best = max(profile.repairs, key=lambda repair: repair[2], default=("", "", 0))
    return best if best[2] and best[2] * 2 >= profile.sampled else None


def _samples(profile: KeyProfile) -> str:
    source = ", ".join(repr(key) for key in profile.source_samples[:2])
    target = ", ".join(repr(key) for key in profile.target_samples[:2])
    return f"source {source} against target {target}"


def _affixes(profile: KeyProfile, read: IncrementalRead) -> Iterator[Finding]:
    """Yield the repair by a prefix or suffix that lets most keys match."""
    found = affix(profile)
    if found is None:
        return
    prefix, suffix, matching = found
    wanted = {"key_prefix": prefix, "key_suffix": suffix}
    has = {"key_prefix": read.spec.key_prefix, "key_suffix": read.spec.key_suffix}
    lines = [f"{name}: {_quoted(value)}" for name, value in wanted.items() if value or has[name]]
    text = f"{matching:,} of {profile.sampled:,} source keys tried are in the target with"
    yield Finding(level="note", text=text, repair="\n".join(lines))


def _quoted(value: str) -> str:
    """Return a YAML double-quoted scalar (JSON's quoting is a part of it)."""
    import json

    return json.dumps(value, ensure_ascii=False)


async def _other_columns(
    warehouse: Warehouse, query: ReadQuery, read: IncrementalRead, profile: KeyProfile
) -> AsyncIterator[Finding]:
    """Look for a column of the target that holds the source's keys as they are."""
    spec = read.spec
    if len(spec.source_key) > 1 or spec.key_prefix or spec.key_suffix:
        return
    wanted = query.source.column(spec.source_key[0]).type
    columns = [c.name for c in read.target.columns if c.type == wanted and c.name != spec.target_key[0]]
    for name in columns[:MAX_COLUMNS_TRIED]:
        changed = replace(read, spec=spec.model_copy(update={"target_key": (name,)}))
        counts = await warehouse.count(replace(query, incremental=changed))
        if found := counts.present + counts.stale:
            part = f"{found:,} of {profile.source_rows:,} source rows"
            text = f"{part} have their key in another column of the target"
            yield Finding(level="note", text=text, repair=f"target_key: {name}")
