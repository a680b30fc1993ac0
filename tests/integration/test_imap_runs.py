"""Mail accounts on a real Dovecot, read by pipelines of the job template `ingest_imap`."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.operations.init import init_project
from runner.pipeline_runner import PipelineRunner
from runner.records import PipelineRun
from runner.settings import Settings
from tests.projects import REPOSITORY, ThrowAwayProject, job_of, open_file, rows_of, step_of
from tests.servers.dovecot import Dovecot, dovecot

__all__ = ["dovecot"]

pytestmark = pytest.mark.timeout(240)  # the first one may have to fetch Dovecot

TEMPLATE = REPOSITORY / "configs" / "jobs" / "mail" / "ingest_imap.yaml"
TABLES = REPOSITORY / "configs" / "tables" / "raw.yaml"
_LINE_END = re.compile(rb"\r\n|\r|\n")


def real_messages(count: int, name: str) -> list[bytes]:
    """Return messages of the standard library's own tests and of this repository, each made one of a kind.

    Where Python comes without its tests, the repository's messages are taken more often.
    """
    spec = find_spec("test")
    places = (
        [Path(place) / "test_email" / "data" for place in (spec.submodule_search_locations or [])]
        if spec
        else []
    )
    files = [
        file for place in (*places, REPOSITORY / "configs" / "samples" / "eml") for file in place.rglob("*.*")
    ]
    found = [file.read_bytes() for file in sorted(files) if file.suffix in (".txt", ".eml")]
    assert found
    return [
        b"Message-ID: <%d@%s.example>\r\nDate: Sun, 22 Nov 2026 %02d:%02d:00 +0000\r\n%s"
        % (
            number,
            name.encode(),
            number // 60,
            number % 60,
            _LINE_END.sub(b"\r\n", found[number % len(found)]),
        )
        for number in range(count)
    ]


class Mail:
    """Accounts on the server, and a project with one job of the template for each, in one stage."""

    def __init__(
        self, project: ThrowAwayProject, server: Dovecot, *users: str, old: str = "", new: str = ""
    ) -> None:
        self.project = project
        self.server = server
        self.users = users
        tables = project.root / "configs" / "tables" / "raw.yaml"
        tables.parent.mkdir(parents=True)
        tables.write_text(TABLES.read_text())
        text = TEMPLATE.read_text().replace("folders: [INBOX]", "folders: [INBOX, Work], reconnects: 2")
        assert old in text
        for user in users:
            job = text.replace("ingest_imap", f"ingest_{user}").replace(
                "connection: mail", f"connection: {user}"
            )
            file = project.root / "configs" / "jobs" / f"ingest_{user}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(job.replace(old, new) if old else job)
        jobs = [f"ingest_{user}" for user in users]
        project.pipeline("mail", stages=[{"name": "accounts", "jobs": jobs, "max_workers": 4}])

    def append(self, user: str, messages: list[bytes]) -> None:
        """Put messages into an account, half of them into a second folder."""
        half = len(messages) // 2
        self.server.append(user, messages[:half])
        self.server.append(user, messages[half:], folder="Work")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings: a connection for each account."""
        return {"connections": {user: self.server.connection(user, timeout=5) for user in self.users}}

    def run(self, **overrides: Any) -> PipelineRun:
        """Run all jobs at once."""
        return self.project.run("mail", **self.settings, **overrides)

    def contents(self) -> list[bytes]:
        """Return all messages in the warehouse, sorted."""
        return sorted(row["content"] for row in self.project.rows("SELECT content FROM raw.messages"))


@pytest.fixture
def make_mail(dovecot: Dovecot, project: ThrowAwayProject) -> Callable[..., Mail]:
    """Make accounts and their project."""
    return lambda *users, **more: Mail(project, dovecot, *users, **more)


def test_four_accounts_at_once_each_message_once_and_later_only_the_new(
    make_mail: Callable[..., Mail],
) -> None:
    mail = make_mail("anna", "berta", "clara", "dora")
    messages = real_messages(200, "four")
    for number, user in enumerate(mail.users):
        mail.append(user, messages[number * 50 : number * 50 + 50])

    first = mail.run()
    assert (first.status, first.rows_read) == ("success", 200)
    assert mail.contents() == sorted(messages)
    starts = sorted(record.started_at for record in first.jobs if record.started_at)
    ends = sorted(record.completed_at for record in first.jobs if record.completed_at)
    assert starts[-1] < ends[0]  # all four at once

    again = mail.run()
    assert (again.status, again.rows_read, again.rows_written) == ("success", 0, 0)

    new = real_messages(210, "four")[200:]
    mail.append("clara", new)
    third = mail.run()
    assert (third.status, third.rows_read) == ("success", 10)
    assert job_of(third, "ingest_clara").rows_read == 10
    assert mail.contents() == sorted(messages + new)


def test_a_folder_that_is_made_anew_doubles_nothing(make_mail: Callable[..., Mail]) -> None:
    mail = make_mail("emma")
    messages = real_messages(20, "anew")
    mail.append("emma", messages)
    assert mail.run().rows_read == 20
    before = mail.project.rows("SELECT DISTINCT uidvalidity FROM raw.mailbox_messages WHERE folder = 'Work'")
    with mail.server.client("emma") as client:
        client.delete("Work")
    mail.server.append("emma", [*messages[10:], *real_messages(21, "anew")[20:]], folder="Work")

    run = mail.run()
    assert (run.status, run.rows_read) == ("success", 11)
    assert mail.contents() == sorted(real_messages(21, "anew"))
    after = mail.project.rows("SELECT DISTINCT uidvalidity FROM raw.mailbox_messages WHERE folder = 'Work'")
    assert (len(before), len(after)) == (1, 2)
    assert mail.run().rows_read == 0


def test_a_message_in_two_folders_is_one_with_two_places(make_mail: Callable[..., Mail]) -> None:
    mail = make_mail("frieda")
    (message,) = real_messages(1, "twice")
    mail.append("frieda", [message, message])
    assert mail.run().rows_read == 2
    assert mail.contents() == [message]
    places = mail.project.rows("SELECT folder, idem_key FROM raw.mailbox_messages ORDER BY folder")
    assert [place["folder"] for place in places] == ["INBOX", "Work"]
    assert len({place["idem_key"] for place in places}) == 1
    assert mail.run().rows_read == 0


def test_a_message_that_is_too_large_is_known_and_not_asked_for_again(make_mail: Callable[..., Mail]) -> None:
    mail = make_mail("grete", old="reconnects: 2", new="max_bytes: 2000")
    small, large = b"Subject: small\r\n\r\nx\r\n", b"Subject: large\r\n\r\n" + b"x" * 3000
    mail.append("grete", [large, small])
    assert mail.run().rows_read == 2
    assert mail.contents() == [small]
    (place,) = mail.project.rows(
        "SELECT size, idem_key, skipped FROM raw.mailbox_messages WHERE skipped IS NOT NULL"
    )
    assert place == {"size": 3018, "idem_key": None, "skipped": "not fetched: 3018 bytes; max_bytes is 2000"}
    assert mail.run().rows_read == 0


@pytest.fixture
def killer(dovecot: Dovecot) -> Iterator[Callable[[Path], None]]:
    """Kill the server once a file is there, and say so by another one; start it again in the end."""
    threads: list[threading.Thread] = []

    def watch(folder: Path) -> None:
        def kill() -> None:
            deadline = time.monotonic() + 30
            while not (folder / "kill").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            dovecot.kill()
            (folder / "killed").touch()

        threads.append(threading.Thread(target=kill))
        threads[-1].start()

    yield watch
    for thread in threads:
        thread.join()


KILLING = """
    import time
    from pathlib import Path
    from jobs.mail.imap import message as real

    FOLDER = Path({folder!r})
    seen = []

    def message(row, *, source):
        seen.append(row["uid"])
        if len(seen) == 61 and not (FOLDER / "killed").exists():
            (FOLDER / "kill").touch()
            while not (FOLDER / "killed").exists():
                time.sleep(0.01)
        return real(row, source=source)
"""


def test_a_server_that_is_killed_in_the_middle(
    make_mail: Callable[..., Mail], project: ThrowAwayProject, killer: Callable[[Path], None], tmp_path: Path
) -> None:
    mail = make_mail("hanna", old="jobs.mail.imap:message", new=f"{project.package}.steps:message")
    job = project.root / "configs" / "jobs" / "ingest_hanna.yaml"
    text = job.read_text().replace("reconnects: 2", "batch: 20, reconnects: 1")
    job.write_text(text.replace("commit_every: 10", "commit_every: 1"))
    project.functions(KILLING.format(folder=str(tmp_path)))
    messages = real_messages(200, "killed")
    mail.append("hanna", messages)

    killer(tmp_path)
    run = mail.run(batch_rows=40)
    record = job_of(run)
    error = record.errors[0]
    assert (run.status, error.category, error.step_id) == ("partial", "unavailable", "fetch")
    place = rf"imap localhost:{mail.server.plain_port} '(INBOX|Work)'"
    assert re.search(f"{place}: cannot be reached: Connection refused", error.message)
    landed = mail.contents()
    assert 0 < len(landed) < 200  # what had landed stays
    assert set(landed) < set(messages)

    mail.server.start()
    again = mail.run(batch_rows=40)
    assert (again.status, again.rows_read) == ("success", 200 - len(landed))
    assert mail.contents() == sorted(messages)
    assert mail.run().rows_read == 0


def test_records_and_warehouse_know_no_password(
    make_mail: Callable[..., Mail], project: ThrowAwayProject
) -> None:
    mail = make_mail("ida")
    keys = mail.server.connection("ida", password="correct-horse-battery")
    run = project.run("mail", connections={"ida": keys})
    error = job_of(run).errors[0]
    assert (run.status, error.category) == ("failure", "auth")
    written = b"".join(
        file.read_bytes() for file in project.settings().state_dir.rglob("*") if file.is_file()
    )
    assert b"refused user and password" in written
    assert b"correct-horse-battery" not in written


def test_a_run_that_hangs_on_a_server_is_cancelled_at_once(make_mail: Callable[..., Mail]) -> None:
    mail = make_mail("jana")
    mail.append("jana", real_messages(4, "hang"))
    settings = mail.project.settings(connections={"jana": mail.server.connection("jana", timeout=30)})
    took: list[float] = []

    async def execute() -> None:
        async with PipelineRunner.open(settings) as pipelines:
            await pipelines.open_warehouse()
            with anyio.move_on_after(0.5) as scope:
                await pipelines.run("mail")
            took.append(anyio.current_time() - scope.deadline)
            assert scope.cancelled_caught

    with mail.server.frozen():
        anyio.run(execute)
    assert took[0] < 0.4  # within the grace period: no UncleanCancel


def test_the_time_limit_of_a_step_ends_a_read_that_hangs(make_mail: Callable[..., Mail]) -> None:
    mail = make_mail("karla")
    with mail.server.frozen():
        run = mail.run(timeouts={"step": 0.4})
    record = job_of(run)
    assert record.errors[0].category == "timeout"
    assert 400 <= step_of(record, "fetch").duration_ms < 900


def test_the_project_of_the_template_works(dovecot: Dovecot, tmp_path: Path) -> None:
    made = init_project(tmp_path / "post", "ingest_imap")
    dovecot.append("lena", real_messages(5, "template"))
    settings = Settings.load(made.folder, connections={"mail": dovecot.connection("lena")})

    async def execute() -> list[int]:
        async with PipelineRunner.open(settings) as pipelines:
            runs = [await pipelines.run("mail") for _ in range(2)]
        return [run.rows_read if run.status == "success" else -1 for run in runs]

    try:
        assert anyio.run(execute) == [5, 0]
    finally:
        for module in [name for name in sys.modules if name.split(".")[0] == made.package]:
            del sys.modules[module]
    with open_file(settings.warehouse_path) as connection:
        found = rows_of(connection, "SELECT account, content FROM mail.messages NATURAL JOIN mail.places")
    assert sorted(row["content"] for row in found) == sorted(real_messages(5, "template"))
    assert {row["account"] for row in found} == {f"imap://lena@localhost:{dovecot.plain_port}"}
