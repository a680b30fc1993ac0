"""Nothing printed drives the terminal, and no secret gets out: GUARANTEES, promises 16 and 17."""

from __future__ import annotations

import io
import json
import unicodedata
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.console import Console
from runner.cli.escaping import escape, escape_json
from runner.cli.tables import clip, table, width
from runner.redaction import Redactor
from tests.cli.demo_project import DemoProject

CANARY = 'c4n"ary\\sécret'
LEAKING = """
import logging
import urllib.parse

def apply(row, *, connection):
    secret = connection.password.get_secret_value()
    print("printed", secret)
    logging.getLogger("x").error("logged %s", urllib.parse.quote(secret, safe=""))
    raise RuntimeError(f"could not log in with {secret!r}")
"""


@given(st.text())
def test_escaped_text_is_one_line_without_controls(text: str) -> None:
    shown = escape(text)

    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert not any(
        unicodedata.bidirectional(character) in ("RLO", "LRO", "RLE", "LRE", "PDF") for character in shown
    )


@given(st.text())
def test_text_without_such_characters_is_left_alone(text: str) -> None:
    harmless = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))

    assert escape(harmless) == harmless


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_escaped_json_means_the_same(text: str) -> None:
    shown = escape_json(json.dumps({text: text}, ensure_ascii=False))

    assert json.loads(shown) == {text: text}
    assert escape(shown) == shown


@given(st.text(min_size=4), st.text(), st.text())
def test_no_spelling_of_a_secret_is_left(secret: str, before: str, after: str) -> None:
    redact = Redactor()
    redact.learn([secret])

    for spelled in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
        assert spelled not in redact(f"{before}{spelled}").removeprefix(before) or spelled in "***"


def test_a_secret_within_another_leaves_no_tail() -> None:
    redact = Redactor()
    redact.learn(["hunter2", "hunter2-extended"])

    assert redact("hunter2-extended hunter2") == "*** ***"


@pytest.mark.parametrize("form", ["table", "json"])
def test_secrets_of_connections_never_come_out(form: str, loaded: DemoProject) -> None:
    loaded.add_job("leaking", LEAKING, ", connection: mail")
    toml = (loaded.folder / "configs" / "runner.toml").read_text()
    loaded.write(
        "configs/runner.toml", f"{toml}\n[connections.mail]\nhost = 'h'\npassword = {json.dumps(CANARY)}\n"
    )
    log = "json" if form == "json" else "console"

    outputs = [
        loaded.run("leaking", "-v", "-o", form, "--log-format", log),
        loaded.run("show", "-o", form),
        loaded.run("logs", "-o", form),
        loaded.run("config", "-o", form),
        loaded.run("plan", "leaking", "-o", form),
    ]

    assert outputs[0].returncode == 1
    assert "could not log in with" in outputs[0].stderr
    for done in outputs:
        assert not shows_the_canary(done.stdout + done.stderr)


def shows_the_canary(text: str) -> bool:
    written = (CANARY, repr(CANARY)[1:-1], json.dumps(CANARY)[1:-1], "c4n%22ary", "sécret", "s\\u00e9cret")
    return any(spelling in text for spelling in written)


def test_secrets_of_the_warehouse_never_come_out(loaded: DemoProject) -> None:
    quoted = urllib.parse.quote(CANARY, safe="")
    env = {
        "RUN_PIPELINE_WAREHOUSE__KIND": "postgres",
        "RUN_PIPELINE_WAREHOUSE__DSN": f"postgresql://app:{quoted}@127.0.0.1:1/main?connect_timeout=2",
        "RUN_PIPELINE_WAREHOUSE__PASSWORD": CANARY,
    }

    shown = loaded.run("config", **env)
    outputs = [
        shown,
        loaded.run("config", "show", "--origin", "-o", "json", **env),
        loaded.run("hello", "-vv", "--log-format", "json", **env),
    ]

    assert [done.returncode for done in outputs[:2]] == [0, 0], shown.stderr
    assert 'dsn = "postgresql://app:***@127.0.0.1:1/main?connect_timeout=2"' in shown.stdout
    assert "RUN_PIPELINE_WAREHOUSE__PASSWORD" in outputs[1].stdout
    assert outputs[2].returncode != 0
    for done in outputs:
        assert not shows_the_canary(done.stdout + done.stderr)


def test_hostile_names_and_errors_are_escaped_in_every_form(loaded: DemoProject) -> None:
    hostile = "\x1b]0;owned\x07\r\u202egnp.exe"
    loaded.add_job("hostile", f"def apply(row):\n    raise RuntimeError({hostile!r})\n")
    done = loaded.run("hostile", "--color", "never")
    shown = [
        loaded.run(*words).stdout
        for words in (["show"], ["logs"], ["show", "-o", "json"], ["logs", "-o", "jsonl"])
    ]

    for text in (done.stdout, done.stderr, *shown):
        assert not {"\x1b", "\x07", "\r", "\u202e"} & set(text)
    assert "\\x1b]0;owned\\x07\\r\\u202egnp.exe" in done.stderr


def test_columns_fit_wide_and_combining_characters() -> None:
    lines = [
        "".join(map(str, line))
        for line in table(("a", "b"), [["日本", "x"], ["e\u0301", "y"], ["\x1b", "z"]])
    ]

    assert [width(line) for line in lines] == [7, 7, 7, 7]


@given(st.text(max_size=30), st.integers(1, 20))
def test_clipped_text_fits(text: str, columns: int) -> None:
    assert width(clip(text, columns)) <= max(columns, 1)


def test_text_that_the_locale_cannot_encode_is_written_anyway() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(stdout=stream, stderr=stream)
    console.data("Émilie")
    console.flush()

    assert raw.getvalue() == b"\\xc9milie\n"
