"""Log records of the engine, of libraries and of project functions, and prints of the latter: all to stderr.

Configured by commands that run project code, and nowhere else. structlog is imported for `--log-format
json` only: it costs as much as a small run.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from runner.cli.console import DIM, RED, YELLOW, Styled

if TYPE_CHECKING:
    from runner.cli.invocation import Invocation

_LEVELS = {-2: logging.ERROR, -1: logging.WARNING, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
"""What is told of, by how often -v was said less how often -q: quiet keeps warnings, those of events, too."""
_STYLES = {logging.WARNING: YELLOW, logging.ERROR: RED, logging.CRITICAL: RED}


@contextlib.contextmanager
def captured_output(invocation: Invocation) -> Iterator[None]:
    """Send log records and what functions print to stderr in the chosen form, until the context ends.

    Functions that print would otherwise break the data on stdout and the live lines. Debug messages are taken of the
    engine and of the project: libraries say much at that level, and nothing about a run.
    """
    handler = _json_handler(invocation) if invocation.log_format == "json" else ConsoleHandler(invocation)
    root = logging.getLogger()
    level = _LEVELS[max(-2, min(2, invocation.verbosity))]
    ours = [logging.getLogger(name) for name in ("runner", invocation.settings.package)]
    before = {logger: logger.level for logger in (root, *ours)}
    root.addHandler(handler)
    root.setLevel(max(level, logging.INFO))
    for logger in ours:
        logger.setLevel(level)
    printed = PrintedLines(lambda line: say_printed(invocation, line))
    logging.captureWarnings(True)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield
    finally:
        printed.end()
        logging.captureWarnings(False)
        root.removeHandler(handler)
        for logger, own in before.items():
            logger.setLevel(own)


def say_printed(invocation: Invocation, line: str) -> None:
    """Pass on one line that a function printed."""
    if invocation.log_format == "json":
        from runner.clock import format_utc, utc_now

        invocation.console.say_json(
            {"timestamp": format_utc(utc_now()), "level": "info", "event": "output", "message": line}
        )
    else:
        invocation.console.say(line)


class ConsoleHandler(logging.Handler):
    """Log records as `warning: runner.locks: text`, with the traceback below it."""

    def __init__(self, invocation: Invocation) -> None:
        super().__init__()
        self._console = invocation.console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            level = Styled(f"{record.levelname.lower()}:", _STYLES.get(record.levelno, DIM))
            self._console.say(level, f" {record.name}: {record.getMessage()}")
            if record.exc_info:
                self._console.say_text(logging.Formatter().formatException(record.exc_info), indent="  ")
        except Exception:  # noqa: BLE001 - logging's own rule: a record that cannot be rendered ends nothing
            self.handleError(record)


class PrintedLines(io.TextIOBase):
    """A text stream that hands over whole lines. Each thread has its own unfinished line."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take
        self._partial: dict[int, str] = {}

    def writable(self) -> bool:
        """Yes: this is what print writes to."""
        return True

    def write(self, text: str) -> int:
        """Take a piece of text."""
        thread = threading.get_ident()
        *lines, rest = (self._partial.pop(thread, "") + text).split("\n")
        if rest:
            self._partial[thread] = rest
        for line in lines:
            self._take(line)
        return len(text)

    def end(self) -> None:
        """Hand over lines that were never finished."""
        while self._partial:
            _, text = self._partial.popitem()
            self._take(text)


def event_logger(write: Callable[[dict[str, Any]], None]) -> Any:
    """Return a structlog logger that renders to `write`, which takes the finished entry."""
    import structlog

    return structlog.wrap_logger(
        _Writer(write),
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, _entry],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        context_class=dict,
    )


class _Writer:
    """What structlog calls last: one method a level, all of them write."""

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        self._write = write

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda entry: self._write(entry)


def _entry(_logger: Any, _level: str, entry: MutableMapping[str, Any]) -> tuple[Any, ...]:
    """Hand an entry on to the writer as its one argument."""
    return (ordered(entry),), {}


def ordered(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry in the order of eyes: when, how bad, what, and then the rest."""
    first = {name: entry[name] for name in ("timestamp", "level", "event") if name in entry}
    return {**first, **entry}


def _json_handler(invocation: Invocation) -> logging.Handler:
    """Configure structlog for project functions that use it, and return a handler for everyone else's
    records.
    """
    import structlog

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:3],
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared[4:],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            lambda _logger, _level, entry: invocation.console.render_json(ordered(entry)),
        ],
    )
    return _JsonHandler(invocation, formatter)


class _JsonHandler(logging.Handler):
    """Log records as JSON lines, through the console like everything else."""

    def __init__(self, invocation: Invocation, formatter: logging.Formatter) -> None:
        super().__init__()
        self._console = invocation.console
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            self._console.say_rendered(self.format(record))
        except Exception:  # noqa: BLE001 - logging's own rule: a record that cannot be rendered ends nothing
            self.handleError(record)
