"""What source imap makes of servers that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from runner.errors import SourceBusy, SourceDenied, SourceError, SourceUnavailable
from runner.ports import Row, StopFlag
from runner.settings import Connection
from runner.sources.imap import messages, session
from tests.servers.imap_script import HANG_UP, Answer, ImapScript, imap_script


def read(server: ImapScript, *, keys: dict[str, Any] | None = None, **arguments: Any) -> list[Row]:
    """Read all messages, without another attempt unless asked for."""
    connection = Connection(**server.connection(**(keys or {})))
    return list(messages(connection=connection, stop=StopFlag(), **{"reconnects": 0, **arguments}))


def answering(word: str, answer: Answer) -> Callable[[str], Answer]:
    """Answer commands in which `word` occurs so, the others as usual."""
    return lambda command: answer if word in command.upper() else None


def test_a_server_that_does_what_it_should() -> None:
    with imap_script(lambda command: None) as server:
        (row,) = read(server)
    assert (row["uid"], row["content"], row["cursor"]) == (7, b"hello", "0000000003:0000000007")
    assert server.heard[-1] == "LOGOUT"
    assert not [command for command in server.heard if command.startswith(("SELECT", "UID STORE"))]
    assert any("BODY.PEEK[]" in command for command in server.heard)


GREETINGS = [
    (b"HTTP/1.1 400 Bad Request\r\n", SourceError, "form|refused|broke off|unexpected"),
    (b"* BYE come back later\r\n", SourceError, "come back later"),
    (b"", SourceUnavailable, "no answer for 0.3 s while waiting"),
    (b"* OK " + b"x" * 2_000_000, SourceError, "a line of more than 1000000 bytes"),
]


@pytest.mark.parametrize(("greeting", "kind", "text"), GREETINGS, ids=["http", "bye", "silence", "endless"])
def test_a_greeting_that_is_none(greeting: bytes, kind: type[SourceError], text: str) -> None:
    with imap_script(lambda command: None, greeting) as server, pytest.raises(kind, match=text) as caught:
        read(server, keys={"timeout": 0.3})
    assert "imap 127.0.0.1" in str(caught.value)


ANSWERS = [
    ("LOGIN", (b"", "NO [AUTHENTICATIONFAILED] who are you"), SourceDenied, "who are you"),
    (
        "LOGIN",
        (b"", "NO [UNAVAILABLE] directory is down"),
        SourceUnavailable,
        "cannot log in now.*directory is down",
    ),
    ("LOGIN", (b"", "NO [LIMIT] Too many connections"), SourceBusy, "no further session"),
    ("LOGIN", HANG_UP, SourceUnavailable, "closed the connection"),
    (
        "EXAMINE",
        (b"", "NO there is none"),
        SourceError,
        "'INBOX': the mailbox cannot be opened: there is none",
    ),
    ("EXAMINE", (b"* 1 EXISTS\r\n", "OK"), SourceError, "not understood: None is no number"),
    ("SEARCH", (b"* SEARCH seven\r\n", "OK"), SourceError, "'INBOX': sent a search in a form"),
    ("SEARCH", (b"", "BAD what"), SourceError, "refused a search.*what"),
    ("SEARCH", (b"* BYE going down\r\n", "OK"), SourceUnavailable, "going down"),
    ("SEARCH", (b"?!\r\n", "OK"), SourceError, "unexpected"),
    ("SIZE", (b"* 1 FETCH (UID 7 FLAGS ()\r\n", "OK"), SourceError, "does not end"),
    ("SIZE", (b"* 1 FETCH (UID 7 FLAGS ())\r\n", "OK"), SourceError, "is no number"),
    ("BODY", (b"", "OK nothing to see"), SourceError, "message 7 is there, but was not sent"),
    ("BODY", (b"", "NO [SERVERBUG] disk"), SourceError, "disk"),
    ("BODY", HANG_UP, SourceUnavailable, "'INBOX': closed the connection"),
    (
        "BODY",
        (b"* 1 FETCH (UID 7 BODY[]<0> {2000000000}\r\n", "OK"),
        SourceError,
        "2000000000 bytes; expected at most",
    ),
]


@pytest.mark.parametrize(
    ("word", "answer", "kind", "text"), ANSWERS, ids=[f"{a[0]}-{a[3][:18]}" for a in ANSWERS]
)
def test_an_answer_that_is_none(word: str, answer: Answer, kind: type[SourceError], text: str) -> None:
    with imap_script(answering(word, answer)) as server, pytest.raises(SourceError, match=text) as caught:
        read(server)
    assert type(caught.value) is kind


def test_a_message_that_is_larger_than_told_is_skipped_with_the_reason() -> None:
    large = b"* 1 FETCH (UID 7 BODY[]<0> {11}\r\nhello world)\r\n", "OK"
    with imap_script(answering("BODY", large)) as server:
        (row,) = read(server, max_bytes=10)
    assert (row["content"], row["size"]) == (None, 5)
    assert row["skipped"] == "not fetched: more than the 5 that the server told bytes; max_bytes is 10"


def test_a_message_that_is_deleted_meanwhile_gives_no_row() -> None:
    deleted: list[str] = []

    def script(command: str) -> Answer:
        if "BODY" in command:
            deleted.append(command)
        return (b"", "OK") if deleted and "FETCH" in command else None

    with imap_script(script) as server:
        assert read(server) == []


def test_a_broken_connection_is_made_again_and_goes_on() -> None:
    broken: list[str] = []

    def script(command: str) -> Answer:
        if "BODY" in command and len(broken) < 2:
            broken.append(command)
            return HANG_UP
        return None

    with imap_script(script) as server:
        rows = read(server, reconnects=2)
    assert [row["uid"] for row in rows] == [7]
    assert server.connections == 3


def test_it_is_made_again_only_so_often() -> None:
    with imap_script(answering("BODY", HANG_UP)) as server, pytest.raises(SourceUnavailable):
        read(server, reconnects=1)
    assert server.connections == 2


def test_a_refused_login_is_not_tried_again() -> None:
    with imap_script(answering("LOGIN", (b"", "NO no"))) as server, pytest.raises(SourceDenied):
        read(server, reconnects=5)
    assert server.connections == 1


def test_a_folder_that_is_made_anew_between_two_connections_is_not_mixed_up() -> None:
    opened: list[str] = []

    def script(command: str) -> Answer:
        if "EXAMINE" in command:
            opened.append(command)
            return b"* 1 EXISTS\r\n* OK [UIDVALIDITY %d] fine\r\n" % len(opened), "OK"
        return HANG_UP if "BODY" in command and len(opened) == 1 else None

    with imap_script(script) as server, pytest.raises(SourceUnavailable, match="UIDVALIDITY 1 became 2"):
        read(server, reconnects=2)


def test_text_before_tls_is_not_taken_for_text_within() -> None:
    def script(command: str) -> Answer:
        if command == "CAPABILITY":
            return b"* CAPABILITY IMAP4rev1 STARTTLS\r\n", "OK"
        return (b"", "OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN") if command == "STARTTLS" else None

    with imap_script(script) as server, pytest.raises(SourceError, match="between STARTTLS and TLS"):
        read(server, keys={"tls": "starttls"})
    assert not [command for command in server.heard if "LOGIN" in command]


def test_without_starttls_no_password_is_sent() -> None:
    with imap_script(lambda command: None) as server, pytest.raises(SourceError, match="offers no STARTTLS"):
        read(server, keys={"tls": "starttls"})
    assert server.heard == ["CAPABILITY"]


def test_a_cursor_of_another_form_and_one_cursor_for_two_folders() -> None:
    with imap_script(lambda command: None) as server:
        assert read(server, since="0000000003:0000000007") == []
        assert len(read(server, since="0000000002:0000000009")) == 1
        with pytest.raises(SourceError, match="since is 'yesterday'"):
            read(server, since="yesterday")
        with pytest.raises(Exception, match="2 folders with one cursor"):
            read(server, since="0000000003:0000000007", folders=["INBOX", "Sent"])


def test_a_server_that_does_not_say_goodbye_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "GOODBYE", 0.1)
    never = threading.Event()

    def script(command: str) -> Answer:
        if command == "LOGOUT":
            never.wait(10)
        return None

    with imap_script(script) as server:
        started = time.monotonic()
        assert len(read(server)) == 1
        assert time.monotonic() - started < 2
        never.set()
