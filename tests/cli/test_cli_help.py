"""Help, names and usage errors: what a person meets first."""

from __future__ import annotations

import importlib
import re

import click
import pytest

from runner.cli import main
from runner.cli.app import COMMANDS, build_app
from runner.cli.options import RunnerCommand, global_options
from runner.loader import index

Captured = pytest.CaptureFixture[str]


def loaded_command(name: str) -> RunnerCommand:
    command = importlib.import_module(COMMANDS[name].module).command
    assert isinstance(command, RunnerCommand)
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_with_an_example(name: str, capsys: Captured) -> None:
    assert main([name, "--help"]) == 0

    shown = capsys.readouterr()
    assert shown.err == ""
    assert f"  run-pipeline {name}" in shown.out or name == "run"
    assert "Examples:\n  " in shown.out
    assert "--project" in shown.out
    # What an argument is stands in the text: a name of it among the options would say nothing.
    assert [line for line in shown.out.splitlines() if re.fullmatch(r"  \[?[A-Z|.]+\]?(\.\.\.)?", line)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_in_the_table_is_the_first_line_of_the_commands_own_help(name: str) -> None:
    command = loaded_command(name)

    assert command.name == name
    assert (command.help or "").partition("\n\n")[0] == COMMANDS[name].summary


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_explained(name: str) -> None:
    options = [param for param in loaded_command(name).params if isinstance(param, click.Option)]

    assert [option.name for option in options if not option.help] == []


def test_help_lists_every_command_and_every_exit_code(capsys: Captured) -> None:
    from runner.cli.exit_codes import ExitCode

    assert main(["--help"]) == 0

    text = capsys.readouterr().out
    for name, info in COMMANDS.items():
        assert f"  {name}" in text
        assert info.summary in text
    for code in ExitCode:
        assert f"  {int(code)}  " in text


def test_version_names_clients_that_are_installed_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.cli.commands import version

    monkeypatch.setattr(version, "CLIENTS", ("psycopg", "a-client-that-nobody-has"))

    assert version.component_versions()["psycopg"].startswith("3.")
    assert "a-client-that-nobody-has" not in version.component_versions()


def test_no_command_can_be_the_name_of_a_pipeline() -> None:
    assert set(COMMANDS) <= index.COMMANDS


def test_global_options_stand_before_and_after_the_command(capsys: Captured) -> None:
    assert main(["-o", "jsonl", "version"]) == 0
    before = capsys.readouterr().out
    assert main(["version", "-o", "jsonl"]) == 0
    after = capsys.readouterr().out

    assert before == after
    assert before.startswith('{"run-pipeline": ')


def test_the_option_after_the_command_wins_and_verbosity_adds_up() -> None:
    from runner.cli.invocation import Invocation

    invocation = Invocation()
    build_app().main(
        ["-v", "-o", "json", "version", "-vq", "-o", "jsonl"], standalone_mode=False, obj=invocation
    )

    assert (invocation.output, invocation.verbosity) == ("jsonl", 1)


def test_global_options_mean_fields_of_the_invocation() -> None:
    from runner.cli.invocation import Invocation

    names = {option.name for option in global_options()} - {"verbose", "quiet"}

    assert names <= set(Invocation.__dataclass_fields__)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["version", "--colour"], "No such option '--colour'"),
        (["runs", "--limit", "0"], "'--limit'"),
        (["-o", "xml", "version"], "'xml' is not one of"),
        (["run"], "Missing argument 'NAME'"),
    ],
)
def test_a_usage_error_is_2_on_stderr_and_says_where_help_is(
    words: list[str], message: str, capsys: Captured
) -> None:
    assert main(words) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert "--help says more" in shown.err


def test_without_words_the_help_is_talk_not_data(capsys: Captured) -> None:
    assert main([]) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Commands:" in shown.err


def test_version_is_an_option_too(capsys: Captured) -> None:
    from runner.version import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"run-pipeline {__version__}\n"
