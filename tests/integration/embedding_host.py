"""An asyncio application that embeds two runners, as a program of its own: `python embedding_host.py A B ROUNDS`.

Each round it runs `job` of projects A and B at once, cancels one of them somewhere within 0.3 s, and lets the
other finish. It prints what it found as one line of JSON, and nothing else may be on its stdout and stderr.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import threading
from typing import Any

import psutil

from runner import PipelineRunner, Settings

SPAN_S = 0.3
"""How long a run takes, more or less: cancellations are spread over it, later from round to round."""


async def run(project: str, outcomes: list[str]) -> None:
    """Run once; note how it ended."""
    try:
        async with PipelineRunner.open(Settings.load(project)) as pipelines:
            run = await pipelines.run("job")
            outcomes.append(run.status.value)
    except asyncio.CancelledError:
        outcomes.append("cancelled")
        raise


async def one_round(number: int, after: float, projects: list[str]) -> list[str]:
    """Run both at once, and cancel one after so many seconds."""
    outcomes: tuple[list[str], list[str]] = ([], [])
    tasks = [
        asyncio.ensure_future(run(project, found)) for project, found in zip(projects, outcomes, strict=True)
    ]
    await asyncio.sleep(after)
    tasks[number % 2].cancel()
    await asyncio.wait(tasks)
    return [found[-1] for found in outcomes]


def census() -> dict[str, int]:
    """Count what must not grow. Threads: busy ones and those that wait for work, as many as ever
    worked at once.
    """
    process = psutil.Process()
    return {
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "files": process.num_fds(),
        "children": len(process.children()),
    }


def host_state() -> dict[str, Any]:
    """Return what belongs to the host and not to the engine."""
    root, ours = logging.getLogger(), logging.getLogger("runner")
    return {
        "signals": [id(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "handlers": [repr(handler) for handler in root.handlers],
        "level": root.level,
        "ours": [type(handler).__name__ for handler in ours.handlers],
        "propagates": ours.propagate,
        "excepthook": sys.excepthook is sys.__excepthook__,
        "threadhook": threading.excepthook is threading.__excepthook__,
    }


async def main(projects: list[str], rounds: int) -> dict[str, Any]:
    """Do all rounds in one loop."""
    asyncio.get_running_loop().slow_callback_duration = (
        0.5  # -X dev tells; a busy machine is slower than its 0.1
    )
    before = host_state()
    censuses, outcomes = [], []
    for number in range(rounds):
        outcomes.append(await one_round(number, number / rounds * SPAN_S, projects))
        censuses.append(census())
    return {
        "outcomes": outcomes,
        "censuses": censuses,
        "before": before,
        "after": host_state(),
        "structlog": "structlog" in sys.modules,
        "cli": any(name.startswith("runner.cli") for name in sys.modules),
    }


if __name__ == "__main__":
    report = asyncio.run(main(sys.argv[1:3], int(sys.argv[3])))
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(2)
    print(json.dumps(report | {"threads_left": threading.active_count()}))
