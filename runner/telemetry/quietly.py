"""What OpenTelemetry's library says about failed exports: kept off the log, and told once, in one line of ours.

The library logs every attempt. Its loggers are the application's, too, so only what is logged in the middle of an
export of ours is kept back: a filter looks at a flag of the thread.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.logs import get_logger

log = get_logger("telemetry")

LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
)
MAX_REASON = 200
_ERRNO = re.compile(r"\[Errno -?\d+\] ([\w ,]+)")
_exporting = threading.local()


class Complaints:
    """The troubles of the exports of one runner: the first is told, the others are its echo."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._warned = False

    def warn(self, what: str, address: str, reason: str) -> None:
        """Say, the first time, that something could not be sent."""
        with self._lock:
            if self._warned:
                return
            self._warned = True
        log.warning("%s could not be sent to %s: %s", what, address, reason or "no answer in time")


def reason_in(record: logging.LogRecord) -> str:
    """Return why an export failed, shortly, out of what the library logs of it."""
    args = record.args if isinstance(record.args, tuple) else ()
    match len(args):
        case 3 if record.msg.startswith("Failed"):  # kind, HTTP status, reason
            text = " ".join(str(part) for part in args[1:] if part is not None)
        case 3:  # reason, kind, seconds
            text = str(args[0])
        case _:
            text = record.getMessage()
    if found := _ERRNO.search(text):
        return found[1]
    return "" if "timed out" in text or "due to timeout" in text else text[:MAX_REASON]


class _Filter(logging.Filter):
    """Hands records of an export of ours to that export, and keeps them back."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record goes on."""
        hear: Callable[[str], None] | None = getattr(_exporting, "hear", None)
        if hear is None:
            return True
        hear(reason_in(record))
        return False


_filter = _Filter()


def keep_quiet() -> None:
    """Put the filter in place, once for the process: it keeps back nothing but what exports of ours say."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_filter)


@contextmanager
def heard_by(hear: Callable[[str], None]) -> Iterator[None]:
    """Hand what the library logs inside, in this thread, to `hear`."""
    _exporting.hear = hear
    try:
        yield
    finally:
        _exporting.hear = None
