"""The keys of a connection to a mail server."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from runner.errors import UsageError
from runner.ports import StopFlag
from runner.settings import Connection
from runner.sources.imap import messages
from runner.sources.imap.account import Account

KEYS = {"host": "imap.example.org", "user": "a@example.org", "password": "hunter2"}


def test_what_is_not_given_is_usual() -> None:
    account = Account.of(Connection(**KEYS))
    assert (account.port, account.tls, account.timeout, account.ca_file) == (993, "implicit", 60.0, None)
    assert account.name == "imap://a%40example.org@imap.example.org"
    assert Account.of(Connection(**{**KEYS, "tls": "starttls"})).port == 143


def test_values_may_be_text_of_the_environment_and_secrets() -> None:
    given: dict[str, Any] = {**KEYS, "host": SecretStr("imap.example.org"), "port": "1993", "timeout": "2.5"}
    account = Account.of(Connection(**given))
    assert (account.host, account.port, account.timeout) == ("imap.example.org", 1993, 2.5)
    assert account.name.endswith("@imap.example.org:1993")
    assert Account.of(Connection(**{**KEYS, "timeout": "2m"})).timeout == 120


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(Account.of(Connection(**KEYS)))


WRONG = [
    ({"hots": "x"}, "unknown key 'hots' (did you mean 'host'?)"),
    ({"password": ""}, "one of password and token is needed"),
    ({"token": "t"}, "one of password and token is needed"),
    ({"tls": "no"}, "tls is 'no' (expected one of implicit, starttls, none)"),
    ({"tls": False}, "tls is False"),
    ({"port": "imap"}, "port is 'imap' (expected a number from 1 to 65535)"),
    ({"port": 70000}, "port is 70000"),
    ({"port": True}, "port is True"),
    ({"host": ""}, "host is missing or no text"),
    ({"user": "a\r\nb"}, "user is missing or no text"),
    ({"ca_file": "ca.pem"}, "ca_file is 'ca.pem' (expected an absolute path)"),
    ({"ca_file": "/nowhere/ca.pem"}, "ca_file /nowhere/ca.pem is not there"),
    ({"timeout": "soon"}, "timeout: 'soon' is not a duration"),
]


@pytest.mark.parametrize(("keys", "text"), WRONG, ids=[text[:30] for _, text in WRONG])
def test_a_key_that_does_not_fit_is_named(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Account.of(Connection(**{**KEYS, **keys}))
    assert text in str(caught.value)
    assert "hunter2" not in str(caught.value)


ARGUMENTS = [
    ({"batch": 501}, "batch is 501 (expected 1 to 500)"),
    ({"max_bytes": 0}, "max_bytes is 0"),
    ({"reconnects": -1}, "reconnects is -1"),
    ({"search": "ALL\r\nA1 LOGOUT"}, "search is 'ALL\\r\\nA1 LOGOUT' (expected a condition of IMAP"),
    ({"search": "SUBJECT {5}"}, "search is"),
    ({"search": "SUBJECT ü"}, "search is"),
    ({"search": ""}, "search is ''"),
]


@pytest.mark.parametrize(("arguments", "text"), ARGUMENTS, ids=[text[:20] for _, text in ARGUMENTS])
def test_an_argument_that_does_not_fit_is_named(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        next(messages(connection=Connection(**KEYS), stop=StopFlag(), **arguments))
    assert text in str(caught.value)
