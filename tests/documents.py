"""Markdown documents as programs: their blocks are executed as a reader would, and their outputs compared.

The convention, by the info string of a fenced block:

    ```sh            executed by `sh -e`; the folder that it ends in is where the next one begins
    ```sh exit=2     the same, and its exit code is 2
    ```text          directly after one of these: lines of its output, in this order. Lines may be left out.
                     Ids, times, durations and widths of columns may differ; `…` stands for anything.
    ```yaml a/b.yaml (any language and a path) is written to that path
    ```console and everything else is only read
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 120
_FENCE = re.compile(r"(?P<indent> *)```(?P<info>.*)")
_VARIABLE = (
    (re.compile(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b|\b01[0-9A-HJKMNP-TV-Z]{8}\b"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min|h)\b"), "<duration>"),
    (re.compile(r'(_ms": )[\d.]+'), r"\1<duration>"),
    (re.compile(r"\b\d+(\.\d+)? %"), "<share>"),
    (re.compile(r"\b[\d,]+\.\d\d rows/s"), "<rate>"),
    (re.compile(r"(─|-)\1+"), r"\1"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the words of its info string, its text, and the line of the document it begins in.

    `follows`: nothing but blank lines stands between it and the block before.
    """

    info: tuple[str, ...]
    text: str
    line: int
    follows: bool

    @property
    def kind(self) -> str:
        """The first word of the info string, or ""."""
        return self.info[0] if self.info else ""


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a document, in their order."""
    found: list[Block] = []
    inside: list[str] | None = None
    info, indent, begin, follows = "", "", 0, False
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.fullmatch(line)
        if inside is None and fence:
            inside, info, indent, begin = [], fence["info"], fence["indent"], number
        elif inside is not None and fence and not fence["info"]:
            text = "".join(f"{each.removeprefix(indent)}\n" for each in inside)
            found.append(Block(tuple(info.split()), text, begin, follows))
            inside, follows = None, True
        elif inside is not None:
            inside.append(line)
        elif line.strip():
            follows = False
    assert inside is None, f"{document}:{begin}: the block is not closed"
    return found


def normalized(line: str) -> str:
    """Return a line without what differs from run to run."""
    for pattern, replacement in _VARIABLE:
        line = pattern.sub(replacement, line)
    return line.strip()


def first_missing(expected: str, output: str) -> str | None:
    """Return the first expected line that is not in the output after the one before, or None."""
    lines = iter([normalized(line) for line in output.splitlines()])
    for line in expected.splitlines():
        wanted = normalized(line)
        if wanted in ("", "…"):
            continue
        pattern = re.compile(".*".join(map(re.escape, wanted.split("…"))))
        if not any(pattern.fullmatch(found) for found in lines):
            return line
    return None


class Reader:
    """Someone who does what a document says, beginning in the folder `start`.

    On the `PATH` stand first the programs of `bin_folder`: `run-pipeline`, as an installation would have it, and
    the `python` that it belongs to. `variables` are set in their environment.
    """

    def __init__(self, start: Path, bin_folder: Path, **variables: str) -> None:
        self.folder = start
        self._memo = bin_folder / "folder"
        self._env = {
            **os.environ,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
            "DOCUMENT_FOLDER": str(self._memo),
            **variables,
        }

    def follow(self, document: Path) -> None:
        """Do everything that a document says; fails at the first thing that is not as it says."""
        output = ""
        for block in blocks(document):
            place = f"{document.name}:{block.line}"
            if block.kind == "sh":
                output = self.execute(block, place)
            elif block.kind == "text" and block.follows:
                missing = first_missing(block.text, output)
                assert missing is None, f"{place}: not in the output: {missing}\n--- the output was\n{output}"
            elif len(block.info) == 2:
                self.write(block.info[1], block.text)

    def execute(self, block: Block, place: str = "") -> str:
        """Run a block of shell commands and return what they printed, stdout and stderr together."""
        options = dict(option.split("=") for option in block.info[1:])
        done = self.shell(block.text)
        wanted = int(options.get("exit", 0))
        assert done.returncode == wanted, (
            f"{place}: exit code {done.returncode}, not {wanted}\n{block.text}\n{done.stdout}"
        )
        return done.stdout

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run shell commands in the reader's folder, and go where they went."""
        done = subprocess.run(
            ["sh", "-ec", f'{text}\npwd > "$DOCUMENT_FOLDER"'],
            cwd=self.folder, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            self.folder = Path(self._memo.read_text(encoding="utf-8").strip())
        return done

    def write(self, path: str, text: str) -> None:
        """Write a file that the document shows."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
