"""Where everything that the command line prints goes through: data on stdout, talk on stderr.

Each piece of text is redacted, then escaped, and only then styled, so that neither a secret nor a control
character of a name, row or error gets out. A reader that went away (`run-pipeline runs | head -1`) ends the
output, not the run.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any, NamedTuple

from runner.cli.escaping import escape, escape_json, lines
from runner.redaction import Redactor

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"
"""ANSI styles (Select Graphic Rendition)."""


class Styled(NamedTuple):
    """Text with a style, where colors are on."""

    text: str
    style: str

    def __str__(self) -> str:
        return self.text


Part = str | Styled
"""A piece of a line."""


class Console:
    """The two streams of the process.

    `color`: auto, always or never. All methods may be called from any thread.
    """

    def __init__(self, *, color: str = "auto", stdout: IO[str] | None = None, stderr: IO[str] | None = None):
        self.redact = Redactor()
        self._stdout = _Stream(stdout or sys.stdout)
        self._stderr = _Stream(stderr or sys.stderr)
        self._lock = threading.RLock()
        self._view: Callable[[Sequence[Part]], None] | None = None
        self.use_color(color)

    def use_color(self, color: str) -> None:
        """Decide on colors: `always`, `never`, or `auto` (a terminal, and neither NO_COLOR nor TERM=dumb)."""
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        for stream in (self._stdout, self._stderr):
            stream.color = color == "always" or (color == "auto" and stream.is_terminal and not plain)

    @property
    def is_live(self) -> bool:
        """Whether stderr is a terminal whose lines can be drawn again."""
        return self._stderr.is_terminal and os.environ.get("TERM") != "dumb"

    def can_encode(self, text: str) -> bool:
        """Whether stdout takes these characters as they are."""
        return self._stdout.can_encode(text)

    def data(self, *parts: Part) -> None:
        """Print one line of data on stdout."""
        self._write(self._stdout, self._line(self._stdout, parts) + "\n")

    def json(self, value: Any, *, indent: int | None = 2) -> None:
        """Print a value as JSON on stdout; `indent=None` keeps it on one line."""
        self._write(self._stdout, self.render_json(value, indent=indent) + "\n")

    def render_json(self, value: Any, *, indent: int | None = None) -> str:
        """Return a value as JSON without secrets and without characters that a terminal would act on."""
        import json

        # Before and after: rendering doubles backslashes, and what is no text yet becomes text by it.
        text = json.dumps(self.redact.data(value), ensure_ascii=False, indent=indent, default=str)
        return escape_json(self.redact(text))

    def say(self, *parts: Part) -> None:
        """Print one line of talk on stderr, or hand it to the live view, which prints it above its own
        lines.
        """
        if self._view is not None:
            self._view(parts)
        else:
            self._write(self._stderr, self._line(self._stderr, parts) + "\n")

    def interpose(self, view: Callable[[Sequence[Part]], None] | None) -> None:
        """Let a live view take what `say` gets, or (None) no longer."""
        self._view = view

    def say_text(self, text: str, *, indent: str = "") -> None:
        """Print text that may have several lines on stderr, each of them indented."""
        for line in lines(self.redact(text)):
            self.say(f"{indent}{line}")

    def say_json(self, value: Any) -> None:
        """Print a value as one line of JSON on stderr."""
        self.say_rendered(self.render_json(value))

    def say_rendered(self, text: str) -> None:
        """Print on stderr a line that `render_json` has made."""
        self._write(self._stderr, text + "\n")

    def draw(self, control: str, content: Sequence[Sequence[Part]]) -> None:
        """Write a terminal sequence of our own and then lines, in one go: the live view's way."""
        text = "".join(f"{self._line(self._stderr, parts)}\n" for parts in content)
        self._write(self._stderr, control + text)

    def flush(self) -> None:
        """Hand everything to the system. Raises `OSError` when stdout could not take it (a full disk)."""
        with self._lock:
            self._stdout.flush()
            self._stderr.flush()

    def _line(self, stream: _Stream, parts: Iterable[Part]) -> str:
        return "".join(
            f"\x1b[{part.style}m{escape(self.redact(part.text))}\x1b[0m"
            if isinstance(part, Styled) and stream.color
            else escape(self.redact(str(part)))
            for part in parts
        )

    def _write(self, stream: _Stream, text: str) -> None:
        with self._lock:
            stream.write(text)


class _Stream:
    """One output stream that survives a missing descriptor and a reader that has gone."""

    def __init__(self, file: IO[str] | None) -> None:
        self.file = file
        self.color = False
        self.is_terminal = file is not None and not file.closed and file.isatty()
        if file is not None and hasattr(file, "reconfigure"):
            file.reconfigure(
                errors="backslashreplace"
            )  # a locale that cannot encode a name must not end a run

    def write(self, text: str) -> None:
        if self.file is None:
            return
        try:
            self.file.write(text)
            if self.is_terminal:
                self.file.flush()
        except BrokenPipeError:
            self._gone()

    def can_encode(self, text: str) -> bool:
        try:
            text.encode(getattr(self.file, "encoding", None) or "utf-8")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def flush(self) -> None:
        if self.file is None:
            return
        try:
            self.file.flush()
        except BrokenPipeError:
            self._gone()

    def _gone(self) -> None:
        """Nobody reads any more; send the rest, also what Python flushes at its end, to nowhere."""
        if self.file is None:
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)
        self.file = None
