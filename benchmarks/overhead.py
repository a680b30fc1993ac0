"""What the engine itself costs: 1,000 jobs that do nothing, and four that wait.

    python benchmarks/overhead.py

Required: 1.0 ms a job in the run, aim 0.5, every record on disk at exit; four jobs that wait 0.5 s with four workers:
speed-up 3.9, at most 20 ms over 0.5 s in the run. By hand: the same functions in an anyio task group, without records.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from statistics import median

from harness import ROOT, alternate, by_hand, cli, ensure_environment, machine, project, table, verdict

JOBS = 1_000
_NOTHING = """
job_id: {name}
steps:
  - step_id: nothing
    op: extract
    function: jobs.idle:nothing
"""
_WAIT = """
job_id: {name}
steps:
  - step_id: wait
    op: extract
    function: jobs.idle:wait
"""
_CODE = '''
"""Functions that bring nothing."""

import anyio


async def nothing():
    """Give no rows."""
    return
    yield {}


async def wait():
    """Give no rows after half a second."""
    await anyio.sleep(0.5)
    return
    yield {}
'''


def _pipeline(name: str, jobs: list[str], workers: int) -> str:
    return f"pipeline_id: {name}\nmax_workers: {workers}\nstages:\n  - name: all\n    jobs: [{', '.join(jobs)}]\n"


def _configs() -> dict[str, str]:
    idle = [f"idle_{number:04}" for number in range(JOBS)]
    waits = [f"wait_{number}" for number in range(4)]
    configs = {f"configs/jobs/{name}.yaml": _NOTHING.format(name=name) for name in idle}
    configs |= {f"configs/jobs/{name}.yaml": _WAIT.format(name=name) for name in waits}
    configs["configs/pipelines/idle.yaml"] = _pipeline("idle", idle, 4)
    configs["configs/pipelines/waiting.yaml"] = _pipeline("waiting", waits, 1)
    return configs


def _run(folder: Path, *arguments: str) -> dict[str, object]:
    """Run once and return the PipelineRun that it printed; every record must be on disk."""
    output = subprocess.run(
        [str(ROOT / "bin" / "run-pipeline"), "--project", str(folder), "-q", "-o", "json", *arguments],
        check=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    run: dict[str, object] = json.loads(output)
    (stored,) = (folder / "var" / "runs").glob(f"*/{run['pipeline_run_id']}-*")
    assert len(list((stored / "jobs").glob("*.json"))) == len(run["jobs"])  # type: ignore[arg-type]
    return run


def main() -> None:
    """Measure both, print figures and verdicts."""
    ensure_environment()
    with project(_configs(), {"jobs/__init__.py": "", "jobs/idle.py": _CODE}) as folder:
        _run(folder, "waiting")
        per_job = [float(_run(folder, "idle")["duration_ms"]) / JOBS for _ in range(5)]  # type: ignore[arg-type]
        apart = [float(_run(folder, "waiting")["duration_ms"]) for _ in range(3)]  # type: ignore[arg-type]
        together = [float(_run(folder, "waiting", "--max-workers", "4")["duration_ms"]) for _ in range(5)]  # type: ignore[arg-type]
        ours = cli(folder, "-q", "idle", name=f"run-pipeline, {JOBS} jobs")
        hand = by_hand("idle.py", folder, str(JOBS))
        alternate([ours, hand], runs=3)
    print(f"## Overhead; {machine()}\n")
    print(table([ours, hand]))
    print(verdict("in the run, a job", median(per_job), 1.0, 0.5, "ms"))
    print(verdict("four waits of 0.5 s, four workers, above 0.5 s", median(together) - 500, 20, 20, "ms"))
    speed_up = median(apart) / median(together)
    print(f"- speed-up: {speed_up:.2f}; must 3.9: {'meets' if speed_up >= 3.9 else 'MISSES'} the requirement")


if __name__ == "__main__":
    main()
