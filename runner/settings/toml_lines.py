"""Lines of runner.toml, for messages: the TOML parser keeps none. Nothing here runs unless something is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Problem
from runner.settings.places import SETTINGS_FILE

Keys = tuple[str, ...]
_TABLE = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"(\s*)([A-Za-z0-9_.\"' -]+?)\s*=")
_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a value: a file with line and column, or a variable, a secret or an argument by its
    name.
    """

    file: str
    line: int = 0
    column: int = 0

    def problem(self, message: str, *, path: str = "", expected: str = "", hint: str = "") -> Problem:
        """Return a problem at this place."""
        return Problem(
            message=message,
            file=self.file,
            line=self.line,
            column=self.column,
            path=path,
            expected=expected,
            hint=hint,
        )


RUNNER_TOML = Origin(SETTINGS_FILE.as_posix())


def toml_places(file: Path) -> Iterator[tuple[Keys, Origin]]:
    """Yield where tables and keys stand. Good enough for messages: values are not understood, only lines."""
    table: Keys = ()
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _keys(header[1])
            yield table, Origin(RUNNER_TOML.file, number, line.index("[") + 1)
        elif key := _KEY.match(line):
            yield (*table, *_keys(key[2])), Origin(RUNNER_TOML.file, number, len(key[1]) + 1)


def place_of(file: Path, keys: Keys) -> Origin:
    """Return where `keys` stand in the file; the file as a whole if no line names them."""
    return dict(toml_places(file)).get(keys, RUNNER_TOML)


def not_readable(file: Path, error: Exception) -> Problem:
    """Return why runner.toml cannot be read: what the file system or the parser said."""
    if isinstance(error, OSError):
        return RUNNER_TOML.problem(f"cannot be read: {error.strerror}")
    if isinstance(error, UnicodeDecodeError | RecursionError):
        return RUNNER_TOML.problem("cannot be read: not UTF-8, or nested too deep")
    message = str(error)
    position = _POSITION.search(message)
    line, column = (int(position[1]), int(position[2])) if position else (0, 0)
    hint = ""
    if file.read_bytes().startswith(b"\xef\xbb\xbf"):  # editors of Windows write it, the parser takes none
        hint = "the file begins with a byte order mark; save it as UTF-8 without one"
    return Origin(RUNNER_TOML.file, line, column).problem(
        f"not TOML: {_POSITION.sub('', message)}", hint=hint
    )


def _keys(text: str) -> Keys:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
