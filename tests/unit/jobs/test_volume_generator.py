"""The generator for benchmarks: deterministic, as many as asked for, and readable by the jobs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jobs.formation.measurement_events import measurement_event
from jobs.formation.scoring import score
from jobs.forms.canonical import canonize as canonize_response
from jobs.forms.csv_export import responses
from jobs.mail.canonical import canonize as canonize_mail
from jobs.mail.mbox import messages

# A script, not part of a package: it is loaded from its file.
GENERATE = Path(__file__).resolve().parents[3] / "benchmarks" / "generate.py"
FileRow = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The generator as a module."""
    spec = importlib.util.spec_from_file_location("volume_generator", GENERATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mail_is_readable_varied_and_without_repetition(
    generate: ModuleType, tmp_path: Path, file_row: FileRow
) -> None:
    rows = [canonize_mail(row) for row in messages(file_row(generate.mail(tmp_path, 120)))]
    assert len(rows) == 120
    assert len({row["idem_key"] for row in rows}) == 120
    assert sum(row["has_attachment"] for row in rows) == 12
    assert {row["subject"] for row in rows} >= {"Re: Größe 0", "Message 1"}
    assert len({row["thread_id"] for row in rows}) == 100
    assert [row["defects"] for row in rows if row["defects"]] == [["date: 'some day' is not a date"]] * 2


@pytest.mark.parametrize("binding", ["intake_01", "intake_02", "followup"])
def test_complete_responses_score_to_seven_observations(
    generate: ModuleType, tmp_path: Path, file_row: FileRow, binding: str
) -> None:
    (path,) = generate.forms(tmp_path, 30, bindings=(binding,), missing_rate=0)
    events = [measurement_event(canonize_response(row)) for row in responses(file_row(path))]
    rows = [row for event in events for row in score(event, instrument=binding)]
    assert (len(events), len(rows)) == (30, 210)
    assert all(row["value"] is not None for row in rows)


def test_the_same_seed_gives_the_same_files_and_another_seed_others(
    generate: ModuleType, tmp_path: Path
) -> None:
    def made(folder: str, seed: int) -> list[bytes]:
        paths = [generate.mail(tmp_path / folder, 20, seed=seed)]
        paths += generate.forms(tmp_path / folder, 20, bindings=("intake_01", "followup"), seed=seed)
        return [path.read_bytes() for path in paths]

    assert made("a", 1) == made("b", 1)
    assert all(one != other for one, other in zip(made("a", 1), made("c", 2), strict=True))


def test_responses_are_shared_among_bindings_and_numbered_on(
    generate: ModuleType, tmp_path: Path, file_row: FileRow
) -> None:
    paths = generate.forms(tmp_path, 7, bindings=("intake_01", "followup"), first=100)
    ids = [[row["response_id"] for row in responses(file_row(path))] for path in paths]
    assert [len(found) for found in ids] == [4, 3]
    assert ids[0][0] == "intake_01-0000100"


def test_the_script_says_what_it_made(
    generate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate.main(["forms", "3", str(tmp_path), "--bindings", "followup"])
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'followup.csv'}  ")
