"""After a run: what people are owed goes to the outbox, and a process of its own sends it.

The run is over by then: recorded, its locks released, its result printed. A receiver that hangs keeps that other
process busy, not this one. Only where the end of this process would end the other one, too (a container, a service of
systemd), it is given a moment; a receiver that did not answer by then is tried again after a later run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runner.logs import get_logger

if TYPE_CHECKING:
    from runner.cli.invocation import Invocation
    from runner.records import PipelineRun

MOMENT_S = 1.0
"""Seconds that a service waits, at most, for a message to be delivered before it ends."""
MAIN = Path(__file__).parents[1] / "__main__.py"

_SENDING: list[subprocess.Popen[bytes]] = []

logger = get_logger(__name__)


def after_run(invocation: Invocation, run: PipelineRun) -> None:
    """Tell of a run, if there is somebody to tell. Never raises: a run is what it is, whoever hears of it."""
    if not invocation.settings.notify:
        return
    try:
        from runner.pipeline_runner.notifying import build_notifier

        notifier = build_notifier(invocation.settings, invocation.store, invocation.program)
        if notifier.observe([run.pipeline_id]):
            _send_in_a_process_of_its_own(invocation)
    except Exception as error:  # noqa: BLE001 - said, and looked at again after the next run
        invocation.console.say(f"notifications: {type(error).__name__}: {error}")


def _send_in_a_process_of_its_own(invocation: Invocation) -> None:
    words = ["--project", str(invocation.settings.project), "-q", "notify", "send"]
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-P", str(MAIN), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _SENDING.append(process)  # an object that is dropped while its process runs would warn of it
    if not _ends_everything():
        return
    try:
        process.wait(MOMENT_S)
    except subprocess.TimeoutExpired:
        logger.debug("the notification is still being sent")


def _ends_everything() -> bool:
    """Tell whether what this process has started ends with it: it is the main process of a container or service.

    SYSTEMD_EXEC_PID: systemd.exec(5); under the system's manager and in containers the parent is process 1.
    """
    return 1 in (os.getpid(), os.getppid()) or os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
