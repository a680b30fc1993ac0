"""The rules of the house that no linter knows. Each failure names the place and what to do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

EMPTY_NAMES = {"base", "common", "core", "helpers", "misc", "util", "utils"}
"""Names under which anything could be put, and in which nothing is found."""

NOT_FOR = {
    "runner.graph": {"anyio", "asyncio", "datetime", "os", "pathlib", "time", "runner.clock", "runner.files"},
    "runner.scheduler": {"aiofiles", "asyncio", "time"},
    "runner.executor": {"aiofiles", "asyncio", "time"},
}
"""The graph is pure; the scheduler and the executor also run on trio, under a simulated clock."""

FOREIGN = {
    "a path of one machine": re.compile(r"(?<![\w.*~}\])])/(?:home/\w|Users/\w|root/|work/\w)"),
    "a package registry": re.compile(
        r"pythonhosted[.]org|pypi[.]org/simple|registry[.]npmjs|(?:extra-)?index-url *="
    ),
}


@dataclass(frozen=True)
class Source:
    """One Python file: its path in the repository, its module name, its lines and its tree."""

    path: Path
    module: str
    lines: int
    tree: ast.Module

    def at(self, node: ast.stmt | ast.expr) -> str:
        """`path:line`, as editors understand it."""
        return f"{self.path}:{node.lineno}"

    def imports(self) -> Iterator[tuple[ast.stmt, str]]:
        """Every module that is imported, `from a import b` as `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


@cache
def sources(*packages: str) -> list[Source]:
    """Every Python file of these packages, parsed once."""
    found = []
    for package in packages or ("runner", "jobs"):
        for file in sorted((REPOSITORY / package).rglob("*.py")):
            path = file.relative_to(REPOSITORY)
            text = file.read_text(encoding="utf-8")
            module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            found.append(Source(path, module, text.count("\n"), ast.parse(text, str(path))))
    return found


def report(offences: list[str], advice: str) -> None:
    """Fail with one line for each offence."""
    if offences:
        pytest.fail("\n".join([advice, *offences]), pytrace=False)


def test_import_direction() -> None:
    """The contracts of pyproject.toml: layers, siblings, jobs and engine."""
    # In a process of its own: import-linter configures the logging of the one it runs in.
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*lint, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def test_nothing_inside_imports_the_facade() -> None:
    """`runner/__init__` is for those outside; a module inside that imports it closes a cycle."""
    modules = {source.module for source in sources("runner")}
    offences = [
        f"{source.at(node)}: imports {name}"
        for source in sources("runner")
        if source.module != "runner"
        for node, name in source.imports()
        if name == "runner" or (name.startswith("runner.") and name.count(".") == 1 and name not in modules)
    ]
    report(offences, "Import from the module that defines it, not from the facade `runner`:")


def test_only_the_cli_prints() -> None:
    """A library that prints cannot be embedded."""
    offences = [
        source.at(node)
        for source in sources()
        if not source.module.startswith("runner.cli")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    report(offences, "Only runner/cli prints; emit an event or log with runner.logs:")


def test_only_settings_and_cli_read_the_environment() -> None:
    """So that two runners in one process can be configured apart."""
    names = {"environ", "environb", "getenv"}
    offences = [
        source.at(node)
        for source in sources()
        if not source.module.startswith(("runner.cli", "runner.settings"))
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.Attribute) and node.attr in names)
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and names & {alias.name for alias in node.names}
        )
    ]
    report(offences, "Only Settings.load and the CLI read the environment; take the value as an argument:")


@pytest.mark.parametrize("module", sorted(NOT_FOR))
def test_pure_modules(module: str) -> None:
    """What the graph, the scheduler and the executor must not know."""
    offences = [
        f"{source.at(node)}: imports {name}"
        for source in sources("runner")
        if source.module == module or source.module.startswith(f"{module}.")
        for node, name in source.imports()
        if any(name == banned or name.startswith(f"{banned}.") for banned in NOT_FOR[module])
    ]
    report(offences, f"{module} stays free of these; take what you need as an argument:")


def test_names_say_what_is_inside() -> None:
    """No drawer for everything."""
    offences = [
        str(source.path)
        for source in sources()
        if EMPTY_NAMES & {part.strip("_") for part in source.module.split(".")}
    ]
    report(offences, "Name the file after what it does:")


def test_files_are_small() -> None:
    """A file that one reads in one go."""
    offences = [
        f"{source.path}: {source.lines} lines" for source in sources() if source.lines > MAX_FILE_LINES
    ]
    report(offences, f"Over {MAX_FILE_LINES} lines; make it a folder of the same name:")


def test_functions_are_small() -> None:
    """A function that fits on a screen."""
    offences = [
        f"{source.at(node)}: {node.name}, {length} lines"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    report(offences, f"Over {MAX_FUNCTION_LINES} lines; ask what it does besides the one thing:")


def test_public_names_are_documented() -> None:
    """Modules, classes and functions; methods where their name does not say it."""
    offences = []
    for source in sources():
        if not ast.get_docstring(source.tree):
            offences.append(f"{source.path}:1: the module")
        for node in source.tree.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            overload = any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)
            if not (node.name.startswith("_") or overload or ast.get_docstring(node)):
                offences.append(f"{source.at(node)}: {node.name}")
    report(offences, "Without a docstring; say what it is for, not what it is called:")


def test_nothing_belongs_to_one_machine() -> None:
    """No tracked file knows the computer it was written on, nor where packages are downloaded."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    offences = []
    for name in filter(None, listing.stdout.split("\0")):
        file = REPOSITORY / name
        if not file.is_file() or file.is_symlink():
            continue
        content = file.read_bytes()
        if b"\0" in content[:8192]:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            offences += [
                f"{name}:{number}: {what}: {line.strip()[:80]}"
                for what, p in FOREIGN.items()
                if p.search(line)
            ]
    report(offences, "Tracked files are for every machine:")
