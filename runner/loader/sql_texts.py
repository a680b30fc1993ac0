"""The text of a `sql` step: chosen by engine, from the YAML or a file, and where in it each character stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.errors import Problem, did_you_mean
from runner.loader.declarations import LoadedJob, Reading
from runner.loader.documents import Document
from runner.loader.nodes import Path, path_text
from runner.loader.reader import MAX_BYTES
from runner.specs import SqlSpec, SqlText
from runner.sqltext import SqlMistake, position


@dataclass(frozen=True, slots=True)
class LoadedText:
    """A text and its place. `indent`: characters before each of its lines, in the YAML. Where they cannot be known
    (folded or escaped text; not `exact`), a mistake is told where the text begins.
    """

    sql: SqlText
    document: Document
    path: Path
    in_yaml: bool
    exact: bool
    indent: int = 0

    def problem(self, mistake: SqlMistake) -> Problem:
        """Return a mistake as a problem of the file that the text stands in."""
        if self.in_yaml and not self.exact:
            return self.document.problem(
                self.path, mistake.message, expected=mistake.expected, hint=mistake.hint
            )
        line, column = position(self.sql.text, mistake.offset)
        return Problem(
            file=self.sql.file,
            line=self.sql.line + line - 1,
            column=self.indent + column,
            path=path_text(self.path) if self.in_yaml else "",
            message=mistake.message,
            expected=mistake.expected,
            hint=mistake.hint,
        )


def load_text(job: LoadedJob, number: int, step: SqlSpec, reading: Reading, engine: str) -> LoadedText | None:
    """Return the text for an engine; None, and a problem, when there is none or its file cannot be read. None also for
    a text that only a parameter without a value would give.
    """
    key = "statement" if step.statement is not None else "file"
    given = step.statement if step.statement is not None else step.file
    path: Path = ("steps", number, key)
    if isinstance(given, dict):
        texts: Mapping[str, str] = {str(name): text for name, text in given.items()}
        if engine not in texts:
            message = f"there is no {key} for {engine}, the engine of the settings"
            expected = f"a key {engine} beside {', '.join(texts)}"
            reading.report.add(job.document, path, message, expected=expected)
            return None
        path, text = (*path, engine), texts[engine]
    else:
        text = str(given)
    if job.document.unresolved(path):
        return None
    if key == "file":
        return _from_file(job, path, text, reading, engine)
    return _from_yaml(job.document, path, text, engine)


def _from_file(job: LoadedJob, path: Path, name: str, reading: Reading, engine: str) -> LoadedText | None:
    root = reading.index.root.resolve()
    report, document = reading.report, job.document
    try:
        file = (root / name).resolve()
        if not file.is_relative_to(root):
            report.add(document, path, f"{name!r} lies outside of the project", expected="a path below it")
            return None
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        near = [
            each.relative_to(root).as_posix() for each in root.glob("**/*.sql") if "var" not in each.parts
        ]
        report.add(document, path, f"{name!r} cannot be read: {reason}", hint=did_you_mean(name, near))
        return None
    if len(data) > MAX_BYTES:
        report.add(document, path, f"{name!r} is larger than {MAX_BYTES:,} bytes")
        return None
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        report.add(document, path, f"{name!r} is not UTF-8: byte 0x{data[error.start]:02x} at {error.start}")
        return None
    sql = SqlText(
        text=text.replace("\r\n", "\n"), engine=engine, file=file.relative_to(root).as_posix(), line=1
    )
    return LoadedText(sql, document, path, in_yaml=False, exact=True)


def _from_yaml(document: Document, path: Path, text: str, engine: str) -> LoadedText:
    """Find where the text stands in its file: exactly for a block of `|` and for text on one line."""
    node = document.root.nearest(path)
    lines = document.file.read_text(encoding="utf-8-sig").splitlines()
    begin = lines[node.line - 1][node.column - 1 :] if node.line <= len(lines) else ""
    line, indent, exact = node.line, 0, False
    if begin.startswith("|"):
        line += 1
        written = text.rstrip("\n").split("\n")
        body = lines[node.line : node.line + len(written)]
        indent = _indent(body) - _indent(written)
        exact = [each[indent:] for each in body] == written
    else:
        for quote in ("", '"', "'"):
            if begin.startswith(quote + text):
                indent, exact = node.column - 1 + len(quote), True
    sql = SqlText(text=text, engine=engine, file=document.name, line=line)
    return LoadedText(sql, document, path, in_yaml=True, exact=exact, indent=indent)


def _indent(lines: Sequence[str]) -> int:
    """Return how many spaces all lines that are not blank begin with."""
    return min((len(each) - len(each.lstrip(" ")) for each in lines if each.strip()), default=0)
