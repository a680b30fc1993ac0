"""A session with a mail server: `imaplib` over a `Wire`, and its errors as those of a source."""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from runner.errors import SourceBusy, SourceDenied, SourceError, SourceUnavailable
from runner.functions import Stopped
from runner.ports import StopFlag
from runner.sources.imap import responses
from runner.sources.imap.account import Account
from runner.sources.imap.names import Folder
from runner.sources.imap.wire import Wire

_MAX_LINE = 1_000_000
"""Bytes of a line: a search over a window of messages gives at most 11 for each."""

_MAX_OTHER_LITERAL = 65_536
"""Bytes of a literal that is no message, such as the name of a mailbox."""

GOODBYE = 2.0
"""Seconds that the server has to answer a logout; all messages are there by then."""


class _Client(imaplib.IMAP4):
    """The protocol, over a wire. These methods are the ones that `imaplib` means to be overridden."""

    def __init__(self, wire: Wire, account: Account) -> None:
        self._wire = wire
        self._account = account
        self.max_literal = _MAX_OTHER_LITERAL
        super().__init__(account.host, account.port)

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
        """Connect, and secure the connection if it is TLS from the start."""
        del timeout
        self.host, self.port = host, port
        self._wire.connect(host, port)
        if self._account.tls == "implicit":
            self._wire.secure(_context(self._account), host)

    def upgrade(self) -> None:
        """Go on in TLS (STARTTLS); what was said before counts no more (RFC 3501 section 6.2.1)."""
        if "STARTTLS" not in self.capabilities:
            raise SourceError(
                self._wire.server, "offers no STARTTLS", hint='expected tls = "implicit", or "none"'
            )
        status, _ = self.xatom("STARTTLS")
        if status != "OK":
            raise SourceError(self._wire.server, "refused STARTTLS")
        self._wire.secure(_context(self._account), self.host)
        _, data = self.capability()
        self.capabilities = tuple(str(data[-1], "ascii", "replace").upper().split())

    def read(self, size: int) -> bytes:
        """Read a literal. Raises `SourceError` for one that nobody asked for."""
        if size > self.max_literal:
            raise SourceError(self._wire.server, f"sent {size} bytes; expected at most {self.max_literal}")
        return self._wire.read(size)

    def readline(self) -> bytes:
        """Read a line."""
        return self._wire.readline(_MAX_LINE)

    def send(self, data: Any) -> None:
        """Send a command, or a part of one."""
        self._wire.send(data)

    def shutdown(self) -> None:
        """Close the connection."""
        self._wire.close()


class Session:
    """A connection that is logged in. `folder` is the one that is open, with its `uidvalidity`."""

    def __init__(self, account: Account, stop: StopFlag, wanted: Folder | None = None) -> None:
        """Connect and log in. `wanted`: the folder that it is for, for errors.

        Raises `SourceDenied` for a name or password that does not fit, `SourceBusy` for too many sessions,
        `SourceUnavailable` and `SourceError`, as all methods do.
        """
        self.folder: Folder | None = None
        self.uidvalidity = 0
        self._account = account
        self._wire = Wire(_place(account, wanted), account.timeout, stop)
        try:
            with self._answers("the greeting"):
                self._client = _Client(self._wire, account)
            with self._answers("the login"):
                if account.tls == "starttls":
                    self._client.upgrade()
                self._log_in()
        except BaseException:
            self._wire.close()
            raise

    def folders(self) -> list[Folder]:
        """List the mailboxes that can be opened, in the order of their names."""
        with self._answers("the list of mailboxes"):
            _, data = self._asked(lambda: self._client.list('""', "*"))
            found = [answer for answer in responses.lists(data) if len(answer) == 3]
            folders = [
                Folder.listed(name if isinstance(name, bytes) else name.encode("latin-1"))
                for flags, _, name in found
                if not {"\\noselect", "\\nonexistent"} & {flag.lower() for flag in flags}
            ]
            return sorted(folders, key=lambda folder: folder.name)

    def examine(self, folder: Folder) -> int:
        """Open a mailbox for reading only, and return how many messages it has."""
        self.folder = None
        self._wire.server = _place(self._account, folder)
        with self._answers("the mailbox"):
            status, data = self._client.select(folder.quoted, readonly=True)  # type: ignore[arg-type]
            if status != "OK":
                raise self._refused("the mailbox cannot be opened", data)
            _, validity = self._client.response("UIDVALIDITY")
            self.uidvalidity = responses.number((validity or [None])[-1])
            self.folder = folder
            return responses.number(data[-1])

    def search(self, criteria: str) -> list[int]:
        """Return the UIDs of the messages that match, sorted."""
        with self._answers("a search"):
            _, data = self._asked(lambda: self._client.uid("SEARCH", criteria))
            return sorted(responses.number(word) for line in data if line for word in line.split())

    def items(self, uids: Sequence[int], items: str, *, max_literal: int = 0) -> dict[int, dict[str, Any]]:
        """Fetch items of messages, by UID. Messages that are no more are left out."""
        with self._answers("messages"):
            self._client.max_literal = max(max_literal, _MAX_OTHER_LITERAL)
            _, data = self._asked(lambda: self._client.uid("FETCH", message_set(uids), items))
            wanted = set(uids)
            return {uid: found for uid, found in responses.messages(data).items() if uid in wanted}

    def log_out(self) -> None:
        """Say goodbye; that the server has gone already, or does not answer soon, is no matter."""
        self._wire.timeout = min(self._wire.timeout, GOODBYE)
        try:
            with self._answers("the logout"):
                self._client.logout()
        except (SourceError, Stopped):
            self._wire.close()

    def close(self) -> None:
        """Close without a word, and without waiting."""
        self._wire.close()

    def _log_in(self) -> None:
        account, client = self._account, self._client
        try:
            if account.token:
                client.authenticate("XOAUTH2", _OAuth(account))
            elif "AUTH=PLAIN" in client.capabilities:
                identity = f"\0{account.user}\0{account.password}".encode()
                client.authenticate("PLAIN", lambda _: identity)
            else:
                client.login(account.user, account.password)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise self._denied(str(error)) from None
        except UnicodeError:
            raise SourceError(account.server, "its only way to log in is LOGIN, which is US-ASCII") from None

    def _denied(self, text: str) -> SourceError:
        """Return what a refused login is; RFC 5530 has codes for what passes."""
        text = _plain(text)
        if "[UNAVAILABLE]" in text or "[INUSE]" in text:
            return SourceUnavailable(self._wire.server, f"cannot log in now: {text}")
        if "[LIMIT]" in text or "too many" in text.lower():
            return SourceBusy(self._wire.server, f"allows no further session: {text}")
        how = "token" if self._account.token else "password"
        return SourceDenied(self._wire.server, f"refused user and {how}: {text}")

    def _asked(self, command: Callable[[], tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
        status, data = command()
        if status != "OK":
            raise self._refused("refused the request", data)
        return status, data

    def _refused(self, what: str, data: Sequence[Any]) -> SourceError:
        text = _plain(" ".join(part.decode("utf-8", "replace") for part in data if isinstance(part, bytes)))
        kind = SourceUnavailable if "[UNAVAILABLE]" in text or "[INUSE]" in text else SourceError
        return kind(self._wire.server, f"{what}: {text}")

    @contextmanager
    def _answers(self, what: str) -> Iterator[None]:
        """Turn what `imaplib` raises into errors of a source; `what` is being read."""
        try:
            yield
        except imaplib.IMAP4.abort as error:
            text = _plain(str(error))
            kind = SourceError if "unexpected" in text else SourceUnavailable
            raise kind(self._wire.server, f"broke off at {what}: {text}") from None
        except imaplib.IMAP4.error as error:
            raise SourceError(self._wire.server, f"refused {what}: {_plain(str(error))}") from None
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise SourceError(
                self._wire.server, f"sent {what} in a form that is not understood: {error}"
            ) from error


class _OAuth:
    """The answers of XOAUTH2: the token, and to the error that a server sends as a challenge, nothing."""

    def __init__(self, account: Account) -> None:
        self._answer = f"user={account.user}\x01auth=Bearer {account.token}\x01\x01".encode()

    def __call__(self, challenge: bytes) -> bytes:
        answer, self._answer = self._answer, b""
        return answer


def _place(account: Account, folder: Folder | None) -> str:
    return f"{account.server} {folder.name!r}" if folder else account.server


def message_set(uids: Sequence[int]) -> str:
    """Write sorted UIDs as a set: `1:3,7`."""
    ranges: list[list[int]] = []
    for uid in uids:
        if ranges and ranges[-1][1] == uid - 1:
            ranges[-1][1] = uid
        else:
            ranges.append([uid, uid])
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ranges)


def _context(account: Account) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=account.ca_file)
    except ssl.SSLError as error:
        raise SourceError(
            account.server, f"ca_file {account.ca_file} holds no certificates: {error}"
        ) from None


def _plain(text: str) -> str:
    """Return what a server said on one line, without what could move a cursor, of bounded length."""
    if text.startswith("b'") or text.startswith('b"'):
        text = text[2:-1]
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300].strip()
