"""Source imap against a real Dovecot: what it reads, over which connections, and how it stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from runner.errors import SourceDenied, SourceError, SourceUnavailable
from runner.functions import Stopped
from runner.ports import Row, StopFlag
from runner.settings import Connection
from runner.sources.imap import messages, reading
from tests.servers.dovecot import Dovecot, dovecot

__all__ = ["dovecot"]

pytestmark = pytest.mark.timeout(240)  # the first one may have to fetch Dovecot

TEXT = b"Subject: number %d\r\n\r\nText\r\n"


def rows_of(
    server: Dovecot, user: str, keys: dict[str, Any] | None = None, **arguments: Any
) -> Iterator[Row]:
    """Read as a user; `keys` change the connection."""
    given = {
        name: value for name, value in server.connection(user, **(keys or {})).items() if value is not None
    }
    return messages(connection=Connection(**given), **{"stop": StopFlag(), "reconnects": 0, **arguments})


def test_a_row_says_what_came_where_it_lies_and_when(dovecot: Dovecot) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    dovecot.append("rows", [TEXT % 1], flags="(\\Seen)")
    dovecot.append("rows", [TEXT % 2])
    first, second = rows_of(dovecot, "rows")
    mailbox = f"imap://rows@localhost:{dovecot.plain_port}/INBOX;UIDVALIDITY={first['uidvalidity']}"
    assert before < first.pop("internal_date") < datetime.now(UTC) + timedelta(seconds=5)
    assert first == {
        "account": f"imap://rows@localhost:{dovecot.plain_port}",
        "mailbox": mailbox,
        "url": f"{mailbox}/;UID=1",
        "folder": "INBOX",
        "uidvalidity": first["uidvalidity"],
        "uid": 1,
        "cursor": f"{first['uidvalidity']:010d}:0000000001",
        "flags": ["\\Seen"],
        "size": len(TEXT % 1),
        "content": TEXT % 1,
        "skipped": None,
    }
    assert (second["uid"], second["flags"]) == (2, [])
    with dovecot.client("rows") as client:  # reading has set no flag
        client.select("INBOX", readonly=True)
        assert client.search(None, "UNSEEN") == ("OK", [b"2"])


def test_only_what_comes_after_the_cursor_of_its_mailbox(dovecot: Dovecot) -> None:
    dovecot.append("since", [TEXT % number for number in range(5)])
    found = list(rows_of(dovecot, "since"))
    since = {found[0]["mailbox"]: found[2]["cursor"], "another": "9999999999:9999999999"}
    assert [row["uid"] for row in rows_of(dovecot, "since", since=since)] == [4, 5]
    assert [row["uid"] for row in rows_of(dovecot, "since", since=found[4]["cursor"])] == []
    assert [row["uid"] for row in rows_of(dovecot, "since", search="SUBJECT 3", since={})] == [4]


def test_folders_by_name_and_pattern(dovecot: Dovecot) -> None:
    dovecot.append("folders", [TEXT % 0])
    for number, name in enumerate(('"Archive.2025"', '"Archive.2026"', "Spam", '"Gel&APY-scht"'), start=1):
        dovecot.append("folders", [TEXT % number], folder=name)

    def read(*folders: str, **more: Any) -> list[tuple[str, bytes]]:
        return [
            (row["folder"], row["content"].split()[2])
            for row in rows_of(dovecot, "folders", folders=list(folders), **more)
        ]

    assert read("Archive.*", "INBOX") == [("Archive.2025", b"1"), ("Archive.2026", b"2"), ("INBOX", b"0")]
    assert read("Gelöscht") == [("Gelöscht", b"4")]
    assert sorted(read("*", exclude=["Spam", "Archive*"])) == [("Gelöscht", b"4"), ("INBOX", b"0")]
    with pytest.raises(SourceError, match=r"no folder matches 'Archiv/\*' \(there are .*Archive.2025"):
        read("INBOX", "Archiv/*")
    with pytest.raises(SourceError, match="'Archiv': the mailbox cannot be opened: Mailbox doesn't exist"):
        read("Archiv")


def test_windows_batches_and_groups_lose_nothing(dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WINDOW", 7)
    monkeypatch.setattr(reading, "GROUP_BYTES", 300)
    dovecot.append("windows", [TEXT % number for number in range(40)])
    with dovecot.client("windows") as client:
        client.select("INBOX")
        client.store("3,17,18,19,40", "+FLAGS", "\\Deleted")
        client.expunge()
    uids = [uid for uid in range(1, 40) if uid not in (3, 17, 18, 19)]
    assert [row["uid"] for row in rows_of(dovecot, "windows", batch=6)] == uids


def test_messages_deleted_by_another_client_meanwhile_take_no_others_with_them(
    dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WINDOW", 5)
    dovecot.append("deleted", [TEXT % number for number in range(30)])
    found = rows_of(dovecot, "deleted", batch=5)
    uids = [row["uid"] for row in islice(found, 3)]
    with dovecot.client("deleted") as client:
        client.select("INBOX")
        client.store("2,4,9,20:22", "+FLAGS", "\\Deleted")
        client.expunge()
    uids += [row["uid"] for row in found]
    assert set(range(1, 31)) - set(uids) <= {4, 9, 20, 21, 22}
    assert uids == sorted(set(uids))
    assert not {9, 20, 21, 22} & set(uids)


def test_a_message_above_the_limit_is_told_and_not_fetched(
    dovecot: Dovecot, caplog: pytest.LogCaptureFixture
) -> None:
    dovecot.append("large", [TEXT % 1, TEXT % 2 + b"x" * 1000, TEXT % 3])
    rows = list(rows_of(dovecot, "large", max_bytes=500))
    assert [row["content"] is None for row in rows] == [False, True, False]
    size = len(TEXT % 2) + 1000
    assert rows[1]["skipped"] == f"not fetched: {size} bytes; max_bytes is 500"
    assert rows[1]["size"] == size
    assert "'INBOX': 1 of 3 messages have more than max_bytes = 500 bytes and were not fetched" in caplog.text


# --- connections -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_tls_with_an_authority_of_its_own(dovecot: Dovecot, tls: str) -> None:
    dovecot.append(f"tls-{tls}", [TEXT % 1])
    port = dovecot.tls_port if tls == "implicit" else dovecot.plain_port
    keys = {"tls": tls, "port": port, "ca_file": str(dovecot.ca_file)}
    assert [row["content"] for row in rows_of(dovecot, f"tls-{tls}", keys)] == [TEXT % 1]
    with pytest.raises(SourceError, match="its certificate is not trusted: self-signed") as caught:
        next(rows_of(dovecot, "tls", {**keys, "ca_file": None}))
    assert type(caught.value) is SourceError
    with pytest.raises(SourceError, match=r"not valid for '127\.0\.0\.1'"):
        next(rows_of(dovecot, "tls", {**keys, "host": "127.0.0.1"}))


def test_tls_on_the_wrong_port_and_a_file_without_certificates(dovecot: Dovecot, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"TLS failed .*starttls"):
        next(rows_of(dovecot, "tls", {"tls": "implicit"}))
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    with pytest.raises(SourceError, match=r"ca\.pem holds no certificates"):
        next(rows_of(dovecot, "tls", {"tls": "starttls", "ca_file": str(empty)}))


def test_a_token_instead_of_a_password(dovecot: Dovecot) -> None:
    dovecot.append("token", [TEXT % 1])
    keys = {"password": None, "token": dovecot.token("token")}
    assert [row["content"] for row in rows_of(dovecot, "token", keys)] == [TEXT % 1]
    with pytest.raises(SourceDenied, match="refused user and token") as caught:
        next(rows_of(dovecot, "token", {**keys, "token": "x" + dovecot.token("token")}))
    assert dovecot.token("token")[:20] not in str(caught.value)


def test_a_wrong_password_and_one_of_many_letters(dovecot: Dovecot) -> None:
    with pytest.raises(SourceDenied, match="refused user and password") as caught:
        next(rows_of(dovecot, "denied", {"password": 'geheim "\\ ü {3}'}))
    assert "geheim" not in str(caught.value)


def test_nobody_listens_and_no_such_host(dovecot: Dovecot) -> None:
    with pytest.raises(SourceUnavailable, match=r"imap localhost:1: cannot be reached: Connection refused"):
        next(rows_of(dovecot, "x", {"port": 1}))
    with pytest.raises(SourceUnavailable, match="the host cannot be found"):
        next(rows_of(dovecot, "x", {"host": "nowhere.invalid"}))


# --- a server that hangs ---------------------------------------------------------------------------------


def test_a_server_that_hangs_is_given_up_after_the_timeout(dovecot: Dovecot) -> None:
    dovecot.append("hangs", [TEXT % number for number in range(3)])
    found = rows_of(dovecot, "hangs", {"timeout": 0.4}, batch=1)
    assert next(found)["uid"] == 1
    with dovecot.frozen():
        started = time.monotonic()
        with pytest.raises(
            SourceUnavailable, match=r"'INBOX': no answer for 0\.4 s while waiting for its answer"
        ):
            next(found)
        assert 0.4 <= time.monotonic() - started < 1.5


@pytest.mark.parametrize("moment", ["greeting", "reading"])
def test_a_read_that_hangs_ends_when_it_is_stopped(dovecot: Dovecot, moment: str) -> None:
    dovecot.append("stopped", [TEXT % number for number in range(3)])
    stop = StopFlag()
    found = rows_of(dovecot, "stopped", batch=1, stop=stop)
    if moment == "reading":
        next(found)
    ended: list[float] = []

    def read() -> None:
        with pytest.raises(Stopped):
            next(found)
        ended.append(time.monotonic())

    with dovecot.frozen():
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        stop.stopped = True
        asked = time.monotonic()
        thread.join(5)
    assert ended
    assert ended[0] - asked < 0.4


def test_what_is_no_longer_wanted_is_closed_without_waiting(dovecot: Dovecot) -> None:
    dovecot.append("closed", [TEXT % number for number in range(3)])
    found = rows_of(dovecot, "closed", batch=1)
    next(found)
    with dovecot.frozen():
        started = time.monotonic()
        found.close()  # type: ignore[attr-defined]
        assert time.monotonic() - started < 0.1
