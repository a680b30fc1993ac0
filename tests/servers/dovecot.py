"""A real Dovecot on loopback: mailboxes of any user name, TLS of its own, XOAUTH2, and kills on demand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import imaplib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.servers.debian_packages import NotToBeHadError
from tests.servers.dovecot_programs import Programs, find_programs
from tests.servers.places import free_port
from tests.servers.required import unavailable, without_time_limit

PASSWORD = "secret"
"""Of every user."""

_KEY = b"the key that signs tokens, known to this server alone"

_CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
import_environment = TZ LD_LIBRARY_PATH
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2
auth_failure_delay = 0
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_max_userip_connections = 50
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain_port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
mail_location = maildir:~/Maildir
first_valid_uid = 1
"""

_OAUTH2 = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = sub
"""


class Dovecot:
    """The server. `plain_port` speaks IMAP and STARTTLS, `tls_port` TLS; `ca_file` is the certificate's authority."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="dovecot-", dir="/tmp"))
        self.plain_port, self.tls_port = free_port(), free_port()
        self.ca_file = self.folder / "cert.pem"
        self._process: subprocess.Popen[bytes] | None = None
        # As root it runs as nobody, so that there is one set-up for both; its own users need not exist.
        self._owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._configure()

    def start(self) -> None:
        """Start, and wait until it greets."""
        config = self.folder / "dovecot.conf"
        drop: dict[str, Any] = {}
        if os.geteuid() == 0:
            drop = {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
        programs = self._programs
        environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(programs.folder or "")}
        reading = [str(programs.doveconf), "-f", "service=master", "-c", str(config)]
        command = [*reading, "-e", str(programs.dovecot), "-F", "-c", str(config)]
        self._process = subprocess.Popen(
            command, env=environment, cwd="/", start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **drop,
        )  # fmt: skip
        deadline = time.monotonic() + 15
        while not self._greets():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Dovecot does not start: {self.log()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the server with all its processes (SIGKILL), as a crash would."""
        for process in self._stopped_processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        if self._process is not None:
            self._process.communicate(timeout=10)
            self._process = None
        (self.folder / "run" / "master.pid").unlink(missing_ok=True)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all its processes (SIGSTOP): connections stay open, and nobody answers."""
        stopped = self._stopped_processes()
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                with suppress(psutil.NoSuchProcess):  # its master goes on first, and may have ended it
                    process.resume()

    def remove(self) -> None:
        """Kill it, and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return what it wrote to its log, and to its terminal if it has ended."""
        log = self.folder / "log"
        text = log.read_text(errors="replace") if log.exists() else ""
        if (
            self._process is not None
            and self._process.poll() is not None
            and self._process.stderr is not None
        ):
            text += self._process.stderr.read().decode(errors="replace")
        return text

    def connection(self, user: str, **more: Any) -> dict[str, Any]:
        """Return the settings of a connection as this user, without TLS unless `more` says else."""
        keys = {
            "host": "localhost",
            "port": self.plain_port,
            "user": user,
            "password": PASSWORD,
            "tls": "none",
        }
        return {**keys, **more}

    @contextmanager
    def client(self, user: str) -> Iterator[imaplib.IMAP4]:
        """Log in with the standard library's client, to do what other clients do."""
        with imaplib.IMAP4("127.0.0.1", self.plain_port, timeout=10) as client:
            client.login(user, PASSWORD)
            yield client

    def append(self, user: str, messages: Iterable[bytes], folder: str = "INBOX", flags: str = "") -> None:
        """Put messages into a folder, which is made if it is missing."""
        with self.client(user) as client:
            if folder != "INBOX":
                client.create(folder)
            for message in messages:
                status, answer = client.append(folder, flags, "", message)
                assert status == "OK", answer

    def token(self, user: str) -> str:
        """Return a token of OAuth 2 (a JSON Web Token, HS256) for a user."""
        now = int(time.time())
        claims = {"sub": user, "iat": now - 10, "nbf": now - 10, "exp": now + 600, "azp": "default"}
        parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
        signed = ".".join(parts)
        return f"{signed}.{_base64(hmac.digest(_KEY, signed.encode(), hashlib.sha256))}"

    def _configure(self) -> None:
        folder, owner = self.folder, self._owner
        for name in ("run", "state", "mail", "keys/default/HS256"):
            (folder / name).mkdir(parents=True)
        values = {
            "folder": folder, "user": owner.pw_name, "group": _group(owner.pw_gid), "uid": owner.pw_uid,
            "gid": owner.pw_gid, "plain_port": self.plain_port, "tls_port": self.tls_port, "password": PASSWORD,
        }  # fmt: skip
        (folder / "dovecot.conf").write_text(_CONFIG.format(**values))
        (folder / "oauth2.conf").write_text(_OAUTH2.format(folder=folder))
        (folder / "keys/default/HS256/default").write_bytes(base64.b64encode(_KEY))
        _make_certificate(folder)
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.plain_port), timeout=5) as connection:
                return connection.recv(100).startswith(b"* OK")
        except OSError:
            return False

    def _stopped_processes(self) -> list[psutil.Process]:
        """Stop the master, so that it starts no more, and return it and all that it has started."""
        if self._process is None or self._process.poll() is not None:
            return []
        master = psutil.Process(self._process.pid)
        master.suspend()
        return [master, *master.children(recursive=True)]


def _group(gid: int) -> str:
    import grp

    return grp.getgrgid(gid).gr_name


def _make_certificate(folder: Path) -> None:
    """Make a key and a certificate for localhost that is its own authority."""
    names = "subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=localhost", "-addext", names],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def dovecot(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    """One server for all tests of a process; each test has users of its own.

    Without a Dovecot, and without a way to fetch it, the test is skipped; with --require=dovecot it fails.
    """
    try:
        with without_time_limit():
            programs = find_programs()
    except NotToBeHadError as error:
        unavailable(request.config, "dovecot", error)
    server = Dovecot(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()
        programs.remove()
