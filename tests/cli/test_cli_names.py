"""Names of pipelines and jobs: near ones in errors, completion in the shell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cli.commands import init
from runner.cli.completion import names_of
from runner.cli.invocation import Invocation
from runner.loader.index import index_project
from tests.cli.demo_project import DemoProject

InProject = Callable[..., int]


@pytest.mark.parametrize(
    ("word", "near"),
    [("lits", "list"), ("validat", "validate"), ("helo", "hello"), ("greet_peopel", "greet_people")],
)
def test_a_mistyped_word_names_what_is_near(
    word: str, near: str, in_project: InProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_project(word) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"did you mean {near!r}?" in shown.err


@pytest.mark.parametrize("more", [("hello",), ("--last", "30d"), ("hello", "--gantt")])
def test_a_mistyped_command_is_told_whatever_stands_behind_it(
    more: tuple[str, ...], in_project: InProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_project("stat", *more) == 2
    expected = "error: 'stat' is neither a command nor a pipeline or job (did you mean 'stats'?)\n"
    assert capsys.readouterr().err == expected


def test_who_asks_for_help_is_told_where_it_is(
    in_project: InProject, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["help"], ["help", "stats"]):
        assert in_project(*words) == 2
        assert capsys.readouterr().err == (
            "error: 'help' is neither a command nor a pipeline or job"
            " (run-pipeline --help, or run-pipeline COMMAND --help)\n"
        )


def test_a_word_too_many_behind_a_name_is_told_as_that(
    in_project: InProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_project("hello", "again") == 2
    assert "Got unexpected extra argument (again)" in capsys.readouterr().err


def test_a_word_that_is_near_to_nothing_says_where_names_are(
    in_project: InProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_project("xyzzy-quux") == 2
    assert "run-pipeline list shows what there is" in capsys.readouterr().err


def test_outside_of_a_project_the_error_says_how_to_get_one(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from runner.cli import main

    monkeypatch.chdir(tmp_path_factory.mktemp("nowhere"))

    assert main(["daily"]) == 2
    assert "run-pipeline init NAME" in capsys.readouterr().err


def test_completion_knows_the_names_that_the_loader_knows(project: DemoProject) -> None:
    project.write("configs/jobs/deep/er/nested.yaml", "job_id: nested\n")

    assert sorted(names_of(str(project.folder))) == index_project(project.folder).ids


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run-pipeline he", {"hello"}),
        ("run-pipeline r", {"run", "runs", "report", "retry", "rescore"}),
        ("run-pipeline run g", {"greet_people"}),
        ("run-pipeline plan ", {"hello", "greet_people", "load_people"}),
        ("run-pipeline --verb", {"--verbose"}),
        ("run-pipeline hello --max", {"--max-workers"}),
        ("run-pipeline stats gr", {"greet_people"}),
        ("run-pipeline logs --job greet_people --step ", {"read_people", "greet", "write_greetings"}),
        ("run-pipeline events --type job.l", {"job.landed"}),
        ("run-pipeline diff last-", {"last-failed"}),
        ("run-pipeline prune --keep-", {"--keep-runs"}),
    ],
)
def test_the_shell_completes_commands_names_and_options(
    words: str, expected: set[str], project: DemoProject
) -> None:
    count = len(words.split()) - (not words.endswith(" "))
    done = project.run(
        _RUN_PIPELINE_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(count),
    )

    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == expected


@pytest.mark.parametrize(
    ("name", "program", "told"),
    [
        ("fresh", "run-pipeline", "cd fresh && run-pipeline hello"),
        ("fresh", "bin/run-pipeline", "cd fresh && ../bin/run-pipeline hello"),
        ("my things/fresh", "bin/run-pipeline", "cd 'my things/fresh' && ../../bin/run-pipeline hello"),
        ("fresh", "/opt/clone/bin/run-pipeline", "cd fresh && /opt/clone/bin/run-pipeline hello"),
    ],
)
def test_init_tells_a_command_that_works_in_the_new_folder(
    name: str,
    program: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    init.command.main([name], obj=Invocation(program=program), standalone_mode=False)

    assert told in capsys.readouterr().err
