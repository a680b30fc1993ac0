"""Receivers of notifications: web servers and programs that are real, runs that are real, time that is given."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.clock import utc_now
from runner.events import RunStarted
from runner.ids import new_ulid
from runner.notifications import Notifier, Places, Sender
from runner.pipeline_runner.notifying import build_notifier
from runner.redaction import Redactor
from runner.run_store import FileRunStore
from runner.settings import NotifySettings
from tests.projects import ThrowAwayProject, call, extract, write
from tests.receivers import Receiver, listening, receiver, silent_server

__all__ = ["receiver"]

CODE = """
from pathlib import Path

def rows(folder: str):
    yield {"id": "a"}

def check(row, *, folder: str):
    if Path(folder, "fail").exists():
        raise RuntimeError("the till answers with hunter2-secret")
    return row
"""


@pytest.fixture
def shop(project: ThrowAwayProject) -> ThrowAwayProject:
    """A project with a job that fails while there is a file `fail`."""
    arguments = {"folder": str(project.root)}
    project.functions(CODE)
    project.table("s.t", "id string!", key=["id"])
    project.job(
        "greet", extract("rows", arguments=arguments), call("check", arguments=arguments), write("s.t")
    )
    return project


class Watched:
    """A project with one receiver, and a clock that can be set forward."""

    def __init__(self, project: ThrowAwayProject, **receiver: Any) -> None:
        self._project = project
        self.settings = project.settings(notify={"chat": receiver})
        self.store = FileRunStore(self.settings.runs_dir)
        self.later = timedelta()

    def run(self, *, fails: bool, notify: bool = True) -> str:
        """Run once, look, and deliver; return the run's id."""
        flag = self._project.root / "fail"
        if fails:
            flag.touch()
        else:
            flag.unlink(missing_ok=True)
        record = self._project.run("greet", notify=notify)
        assert (record.status.value != "success") is fails
        self.notifier().observe(["greet"])
        self.notifier().deliver()
        return record.pipeline_run_id

    def notifier(self) -> Notifier:
        places = Places(self.settings.state_dir / "notifications", self.settings.state_dir / "locks")
        return Notifier(
            self.settings.notify, self.store, places,
            sender=Sender(host="here", project="/p"), redact=Redactor(), now=self.now,
        )  # fmt: skip

    def now(self) -> datetime:
        return utc_now() + self.later

    @property
    def waiting(self) -> list[str]:
        folder = self.settings.state_dir / "notifications" / "chat"
        return sorted(file.name for file in folder.glob("*") if file.name != "told.json")


def webhook(project: ThrowAwayProject, url: str, **more: Any) -> Watched:
    return Watched(project, kind="webhook", url=url, **more)


def test_a_failure_says_what_failed_and_what_came_last(shop: ThrowAwayProject, receiver: Receiver) -> None:
    run_id = webhook(shop, receiver.url).run(fails=True)

    (message,) = receiver.messages
    assert {key: message[key] for key in ("schema", "id", "event", "pipeline", "run_id", "status")} == {
        "schema": "run-pipeline/notification.v1",
        "id": f"{run_id}.failure",
        "event": "failure",
        "pipeline": "greet",
        "run_id": run_id,
        "status": "failure",
    }
    (reason,) = message["reason"]
    assert (reason["category"], reason["job_id"], reason["step_id"]) == ("function", "greet", "check")
    assert "the till answers" in reason["message"]
    assert message["text"].startswith("greet failed on ")
    assert "run failure" in message["log"][-1]
    assert message["host"] == os.uname().nodename
    assert message["link"] == f"run-pipeline show {run_id} --project /p"
    assert receiver.headers[0]["content-type"] == "application/json"


def test_secrets_of_the_settings_are_in_no_message(shop: ThrowAwayProject, receiver: Receiver) -> None:
    settings = shop.settings(
        notify={"chat": {"kind": "webhook", "url": receiver.url}},
        connections={"till": {"password": "hunter2-secret"}},
    )
    (shop.root / "fail").touch()
    shop.run("greet")  # without the connection: the record holds what is a secret from now on

    notifier = build_notifier(settings, FileRunStore(settings.runs_dir), "run-pipeline")
    notifier.observe(["greet"])
    notifier.deliver()

    text = json.dumps(receiver.messages)
    assert "the till answers with ***" in text
    assert "hunter2-secret" not in text


def test_what_could_not_be_told_is_told_later_in_its_order(shop: ThrowAwayProject) -> None:
    with listening(Receiver(answer=503)) as receiver:
        watched = webhook(shop, receiver.url)
        watched.run(fails=True)
        watched.run(fails=False)
        assert [name.partition(".")[2] for name in watched.waiting] == ["failure.json", "recovery.json"]
        assert receiver.events == ["failure"], "a receiver that did not take one is left alone for a minute"

        receiver.answer = 200
        receiver.messages.clear()
        assert watched.notifier().deliver() == []
        watched.later = timedelta(minutes=2)
        assert [each.problem for each in watched.notifier().deliver()] == ["", ""]

    assert receiver.events == ["failure", "recovery"]
    assert watched.waiting == []


def test_what_nobody_took_for_a_week_is_given_up_and_said(
    shop: ThrowAwayProject, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(Receiver(answer=503)) as receiver:
        watched = webhook(shop, receiver.url)
        run_id = watched.run(fails=True)
        watched.later = timedelta(days=8)
        watched.notifier().deliver()

    assert watched.waiting == []
    assert f"chat was never told of {run_id}.failure" in caplog.text
    assert receiver.events == ["failure"]


def test_a_receiver_that_hangs_does_not_keep_the_next_one_waiting_for_long(
    shop: ThrowAwayProject, receiver: Receiver
) -> None:
    with silent_server() as url:
        watched = webhook(shop, url, timeout=0.2)
        both = {"chat": watched.settings.notify["chat"], "mail": _webhook(receiver.url)}
        watched.settings = watched.settings.model_copy(update={"notify": both})
        watched.run(fails=True)

    assert receiver.events == ["failure"]
    assert len(watched.waiting) == 1


def _webhook(url: str) -> NotifySettings:
    return NotifySettings.model_validate({"kind": "webhook", "url": url})


def test_only_what_it_wants_to_hear_of_is_told(shop: ThrowAwayProject, receiver: Receiver) -> None:
    watched = webhook(shop, receiver.url, on=["recovery"], names=["greet", "other"])
    watched.run(fails=True)
    watched.run(fails=False)
    assert receiver.events == ["recovery"]

    elsewhere = webhook(shop, receiver.url, names=["other"])
    elsewhere.run(fails=True)
    assert receiver.events == ["recovery"]


def test_nobody_is_told_of_a_run_that_asked_for_it(shop: ThrowAwayProject, receiver: Receiver) -> None:
    watched = webhook(shop, receiver.url)

    watched.run(fails=True, notify=False)
    watched.run(fails=False)
    watched.run(fails=True, notify=False)

    assert receiver.events == []


def test_a_run_without_an_end_is_a_failure(shop: ThrowAwayProject, receiver: Receiver) -> None:
    watched = webhook(shop, receiver.url)
    watched.run(fails=False)
    run_id = new_ulid()
    writer = watched.store.create(run_id, "greet", utc_now())
    writer.append(
        [RunStarted(run_id=run_id, name="greet", jobs=(("greet", ""),), max_workers=None, as_of=utc_now())]
    )
    watched.notifier().observe(["greet"])
    assert watched.waiting == [], "it is under way"
    writer.close()

    watched.run(fails=False)

    assert receiver.events == ["failure", "recovery"]
    assert receiver.messages[0]["status"] == "crashed"


def test_a_pipeline_is_late_once_and_then_well_again(shop: ThrowAwayProject, receiver: Receiver) -> None:
    watched = webhook(shop, receiver.url, late_after={"greet": "1h"})
    watched.run(fails=False)
    for hours in (0.5, 1.1, 1.2, 30):
        watched.later = timedelta(hours=hours)
        watched.notifier().observe([])
        watched.notifier().deliver()
    watched.later = timedelta()
    watched.run(fails=False)

    assert receiver.events == ["late", "recovery"]
    assert receiver.messages[0]["run_id"] is None
    assert receiver.messages[0]["text"] == "greet is late on here"


def test_a_program_gets_the_message_on_stdin_and_its_words_in_the_environment(
    shop: ThrowAwayProject, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    script = f'cat > {told}.json; echo "$NOTIFY_EVENT $NOTIFY_PIPELINE $NOTIFY_STATUS" > {told}.txt'
    watched = Watched(shop, kind="command", command=["sh", "-c", script])

    run_id = watched.run(fails=True)

    assert Path(f"{told}.txt").read_text() == "failure greet failure\n"
    assert json.loads(Path(f"{told}.json").read_text())["run_id"] == run_id


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["sh", "-c", "echo no line >&2; exit 3"], "sh ended with 3: no line"),
        (["no-such-program-here"], "no-such-program-here"),
        (["sh", "-c", "sleep 60 & sleep 60"], "did not end within 0.2 s and was killed"),
    ],
)
def test_a_program_that_fails_is_said(command: list[str], problem: str, shop: ThrowAwayProject) -> None:
    watched = Watched(shop, kind="command", command=command, timeout="200ms")

    assert problem in watched.notifier().test("chat").problem


def test_slack_gets_a_text(shop: ThrowAwayProject, receiver: Receiver) -> None:
    assert webhook(shop, receiver.url, format="slack").notifier().test("chat").problem == ""

    assert list(receiver.messages[0]) == ["text"]
    assert "sends a test" in receiver.messages[0]["text"]


def test_a_redirect_is_not_followed(shop: ThrowAwayProject) -> None:
    with listening(Receiver(answer=302)) as receiver:
        problem = webhook(shop, receiver.url, headers={"X-Key": "abcdefgh"}).notifier().test("chat").problem

    assert "redirects are not followed" in problem
    assert len(receiver.headers) == 1
