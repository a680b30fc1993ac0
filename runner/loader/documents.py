"""Documents, and problems that point into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilePath

from runner.errors import ConfigurationError, Problem
from runner.loader.nodes import Node, Path, path_text


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file that was read: its name in messages (relative to the project), its path and its tree."""

    name: str
    file: FilePath
    root: Node

    def problem(
        self,
        path: Path,
        message: str,
        *,
        expected: str = "",
        hint: str = "",
        at_key: bool = False,
        whole: bool = False,
    ) -> Problem:
        """Return a problem at `path`: at the value, or `at_key`; a place that does not exist is at its
        parent.

        `whole` keeps the path out of the text: the document as such is meant.
        """
        if at_key:
            line, column = self.root.key_position(path)
        else:
            node = self.root.nearest(path)
            line, column = node.line, node.column
        return Problem(
            message=message,
            file=self.name,
            line=line,
            column=column,
            path="" if whole else path_text(path),
            expected=expected,
            hint=hint,
        )

    def unresolved(self, path: Path) -> bool:
        """Tell whether the value at `path` stands in for a parameter that has no value yet, or lies within
        one.
        """
        node = self.root
        for part in path:
            if node.unresolved:
                return True
            child = node.child(part)
            if child is None:
                return False
            node = child
        return node.unresolved


MAX_MESSAGE = 500
"""Characters of a message; a value that somebody quoted in full may be as long as a file."""


def _cut(text: str) -> str:
    if len(text) <= MAX_MESSAGE:
        return text
    return f"{text[: MAX_MESSAGE // 2]} … {text[-MAX_MESSAGE // 2 :]}"


@dataclass(slots=True)
class Report:
    """Collects problems of any number of files, so that all of them are told at once."""

    problems: list[Problem] = field(default_factory=list)

    def add(
        self,
        document: Document,
        path: Path,
        message: str,
        *,
        expected: str = "",
        hint: str = "",
        at_key: bool = False,
    ) -> None:
        """Note a problem at a place of a document, unless it is about the stand-in of a missing parameter."""
        if document.unresolved(path):
            return
        problem = document.problem(path, _cut(message), expected=expected, hint=hint, at_key=at_key)
        self.problems.append(problem)

    def extend(self, error: ConfigurationError) -> None:
        """Take over the problems of an error."""
        self.problems.extend(error.problems)

    def sorted(self) -> list[Problem]:
        """Return the problems in the order of files, lines and columns, each once."""
        unique = dict.fromkeys(self.problems)
        return sorted(unique, key=lambda item: (item.file, item.line, item.column))

    def raise_if_any(self) -> None:
        """Raise `ConfigurationError` with all problems, if there are any."""
        if self.problems:
            raise ConfigurationError(self.sorted())
