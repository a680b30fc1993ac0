"""The documents: what they tell to do works and prints what they show; what they refer to is there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest
from pydantic import BaseModel

from runner.cli.app import COMMANDS
from runner.cli.exit_codes import ExitCode
from runner.ddl import ENGINE_TABLES
from runner.events import EVENT_TYPES
from runner.functions.function import RESERVED
from runner.records import PerformanceIndicators, PipelineRun, RunRecord, Status, StepTiming
from runner.settings import ENV_PREFIX, Settings
from runner.settings.sources import OWN_VARIABLES
from runner.specs import COLUMN_TYPES, DatasetSpec, JobSpec, PipelineSpec, TableSpec
from tests.documents import Reader, blocks, first_missing
from tests.servers.bigquery import BigQueryProject
from tests.servers.postgres import PostgresProcess
from tests.warm_processes import ROOT, warm_programs

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
GO_TO_POSTGRESQL = DOCS / "how-to" / "go-to-postgresql.md"
GO_TO_BIGQUERY = DOCS / "how-to" / "go-to-bigquery.md"
IN_THE_TUTORIALS_PROJECT = [
    *sorted(set((DOCS / "how-to").glob("*.md")) - {GO_TO_POSTGRESQL, GO_TO_BIGQUERY}),
    REFERENCE / "command-line.md",
    REFERENCE / "settings.md",
]
ALL = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"#+ +(.*?)\s*")
_OWN_TESTS = "bin/test"
"""What the README tells to start is what has started this; it is left out."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `run-pipeline` and `python` of this checkout. (Its path is short: it holds a socket.)"""
    with warm_programs(tmp_path_factory.mktemp("p") / "bin") as folder:
        yield folder


@pytest.fixture(scope="module")
def tutorial(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that is there when someone has followed the tutorial."""
    folder = tmp_path_factory.mktemp("tutorial")
    Reader(folder, programs).follow(DOCS / "tutorial.md")
    return folder / "demo"


def test_the_tutorial_can_be_followed_to_the_letter(tutorial: Path) -> None:
    assert (tutorial / "var" / "warehouse.duckdb").is_file()


@pytest.mark.parametrize("document", IN_THE_TUTORIALS_PROJECT, ids=lambda document: document.stem)
def test_a_document_works_in_the_project_of_the_tutorial(
    document: Path, tutorial: Path, programs: Path, tmp_path: Path
) -> None:
    shutil.copytree(tutorial, tmp_path / "demo")
    Reader(tmp_path / "demo", programs).follow(document)


def test_the_tutorials_project_goes_to_postgresql(
    tutorial: Path, programs: Path, tmp_path: Path, private_postgres: Callable[[int], PostgresProcess]
) -> None:
    """On a server where the administrator has done what is his."""
    server = private_postgres(18).server
    sql = re.search(r"<<'SQL'\n(.*?)SQL\n", GO_TO_POSTGRESQL.read_text(encoding="utf-8"), re.DOTALL)
    assert sql is not None
    with server.connect() as administrator:
        for statement in sql[1].strip().split(";\n"):
            administrator.execute(statement.encode())
    shutil.copytree(tutorial, tmp_path / "demo")
    reader = Reader(
        tmp_path / "demo", programs,
        PGHOST="127.0.0.1", PGPORT=str(server.port), RUN_PIPELINE_WAREHOUSE__PASSWORD="correct horse",
    )  # fmt: skip

    reader.follow(GO_TO_POSTGRESQL)


def test_the_tutorials_project_goes_to_bigquery(
    tutorial: Path, programs: Path, tmp_path: Path, bigquery_project: BigQueryProject
) -> None:
    """To the emulator, as the document tells those who want to try it."""
    shutil.copytree(tutorial, tmp_path / "demo")
    server = bigquery_project.server
    reader = Reader(
        tmp_path / "demo", programs,
        RUN_PIPELINE_WAREHOUSE__ENDPOINT=server.rest, RUN_PIPELINE_WAREHOUSE__STORAGE_ENDPOINT=server.grpc,
    )  # fmt: skip

    reader.follow(GO_TO_BIGQUERY)


def test_the_readme_tells_what_the_sample_project_does(programs: Path, tmp_path: Path) -> None:
    """Its commands run in a copy of the sample project; what it shows is printed by the first and second run."""
    for name in ("configs", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "bin").symlink_to(programs)
    reader = Reader(tmp_path, programs)
    readme = ROOT / "README.md"
    commands = [block.text for block in blocks(readme) if block.kind == "sh"]
    printed = [reader.shell(f"{commands[0].replace(_OWN_TESTS, ':')}").stdout for _ in range(2)]

    shown = [block for block in blocks(readme) if block.kind == ""]
    assert len(shown) == 2
    for block, output in zip(shown, printed, strict=True):
        for line in block.text.replace(
            "bin/run-pipeline", "run-pipeline"
        ).splitlines():  # jobs of a stage end in any order
            assert first_missing(line, output) is None, f"{line}\n--- is not in\n{output}"
    for row in re.findall(
        r"^\| `(bin/run-pipeline [^`]*)` \|", readme.read_text(encoding="utf-8"), re.MULTILINE
    ):
        done = reader.shell(row)
        assert done.returncode == 0, done.stdout
    for text in commands[1:]:
        done = reader.shell(text)
        assert done.returncode == 0, done.stdout


# --- what must be mentioned ---


def test_every_command_stands_in_the_reference_with_an_example() -> None:
    text = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        section = text.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        assert re.search(rf"```sh\n(.*\n)*run-pipeline ({name}\b|shop)", section), name
    for code in ExitCode:
        assert f"\n| {code.value} | " in text, code


def test_every_setting_stands_in_the_reference() -> None:
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    defaults = Settings(project=ROOT).model_dump()
    for path in _setting_paths(Settings):
        assert f"| `{path}` |" in text, path
    for name in defaults["queues"]:
        assert f"| `queues.{name}` |" in text, name
    assert all(f"`{ENV_PREFIX}{name}`" in text for name in OWN_VARIABLES - {"FALLBACK_PROJECT"})
    assert "[connections.NAME]" in text


def test_every_key_of_the_yaml_stands_in_the_reference() -> None:
    text = (REFERENCE / "yaml.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`([^`\s]+)`", text))
    for model in (PipelineSpec, JobSpec, DatasetSpec, TableSpec):
        for key in _keys(model):
            assert key in words, f"{model.__name__}: {key}"
    assert set(COLUMN_TYPES) <= words


def test_every_field_of_the_records_stands_in_the_reference() -> None:
    text = (REFERENCE / "run-store.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`([^`\s]+)`", text))
    for record in (PipelineRun, RunRecord, StepTiming, PerformanceIndicators):
        names = {field.name for field in fields(record)} - {"totals"}
        assert names <= words, record
    for event_type, event in EVENT_TYPES.items():
        assert {event_type, *(field.name for field in fields(event))} <= words, event
    for table in ENGINE_TABLES:
        section = text.partition(f"\n### {table.ref}\n")[2].partition("\n### ")[0]
        assert all(f"`{column.name}`" in section for column in table.columns), table.ref
    assert set(Status) <= words


def test_types_and_reserved_arguments_stand_in_the_reference() -> None:
    text = (REFERENCE / "functions.md").read_text(encoding="utf-8")
    for word in (*COLUMN_TYPES, *RESERVED):
        assert f"\n| `{word}` |" in text, word


@pytest.mark.parametrize("document", ALL, ids=lambda document: document.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    for target in _LINK.findall(_without_blocks(document)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name}: {target}"
        if anchor:
            assert anchor in set(_anchors(file)), f"{document.name}: {target}"


# --- reading models and documents ---


def _setting_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = _models(field.annotation)
        if inner and name != "connections":
            yield from _setting_paths(inner[0], f"{prefix}{name}." + ("NAME." if name == "notify" else ""))
        elif name not in ("project", "queues", "connections"):
            yield f"{prefix}{name}"


def _keys(model: type[BaseModel], seen: frozenset[type[BaseModel]] = frozenset()) -> Iterator[str]:
    """Yield the keys of a model and of every model below it, as they are written."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for inner in _models(field.annotation):
            if inner not in seen:
                yield from _keys(inner, seen | {inner})


def _models(annotation: object) -> list[type[BaseModel]]:
    """Return the models that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        parts = parts[:1]
    return [model for part in parts for model in _models(part)]


def _without_blocks(document: Path) -> str:
    return re.sub(
        r"^ *```.*?^ *```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def _anchors(file: Path) -> Iterator[str]:
    """Yield the anchors of a document's headings, as GitHub makes them."""
    for line in _without_blocks(file).splitlines():
        if heading := _HEADING.fullmatch(line):
            plain = re.sub(r"[`*]", "", heading[1]).lower()
            yield re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
