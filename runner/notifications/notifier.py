"""Finds out what is owed to each receiver, and delivers it. Everything here blocks: run it in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.clock import parse_utc, utc_now
from runner.errors import HeldByAnother
from runner.locks import LockSet, acquire_all
from runner.logs import get_logger
from runner.notifications.messages import Sender, encoded, message_of
from runner.notifications.outbox import Ledger, Outbox
from runner.notifications.transitions import Owed, Told, after_runs, after_time, new_runs

if TYPE_CHECKING:
    from runner.ports import RunStore
    from runner.records import PipelineRun
    from runner.redaction import Redactor
    from runner.settings import NotifySettings

LOOK_BACK = 100
"""Runs of one name that are looked at, at most, when nobody looked for long."""
LOCK_S = 2.0
"""Seconds that looking waits for another process that looks."""

EXPIRES_S = 7 * 86_400
"""Age at which a message that no attempt could deliver is given up."""

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one message. `problem`: "" when the receiver took it."""

    receiver: str
    message_id: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of the notifications and of the locks."""

    notifications: Path
    locks: Path


class Notifier:
    """The receivers of one project. `now` gives the time (aware UTC)."""

    def __init__(
        self,
        receivers: Mapping[str, NotifySettings],
        store: RunStore,
        places: Places,
        *,
        sender: Sender,
        redact: Redactor,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._receivers = receivers
        self._store = store
        self._places = places
        self._sender = sender
        self._redact = redact
        self._now = now

    def observe(self, names: Iterable[str]) -> bool:
        """Look at the runs of `names` and of those that a receiver names; put what is owed into the outboxes.

        Returns whether something waits that may be sent now. What another process keeps from being looked at is
        looked at by the next run: nothing is lost.
        """
        try:
            with self._lock("notify", LOCK_S):
                for name, receiver in self._receivers.items():
                    self._observe(receiver, self._outbox(name), names)
        except HeldByAnother as error:
            logger.warning("notifications are left to the next run: %s", error)
        return any(self._is_due(name) for name in self._receivers)

    def deliver(self, *, now_or_never: bool = False) -> list[Delivery]:
        """Send what waits. A receiver that failed before is left alone for a while, unless `now_or_never`.

        Another process that is sending is left to it. Each receiver has its `timeout` for each message; after one
        that it did not take, the others wait. Returns what was tried.
        """
        done: list[Delivery] = []
        for name, receiver in self._receivers.items():
            try:
                with self._lock(f"notify.{name}", 0):
                    if now_or_never or self._is_due(name):
                        done += self._empty(name, receiver)
            except HeldByAnother:
                continue
        return done

    def test(self, name: str) -> Delivery:
        """Send one message that says it is a test. Raises `KeyError` for a name that is no receiver."""
        now = self._now()
        owed = Owed("test", "run-pipeline", None, f"test.{now:%Y%m%dT%H%M%S%f}")
        message = message_of(owed, self._store, self._sender, now, self._redact)
        return Delivery(name, owed.id, self._send(self._receivers[name], message))

    # --- looking ---

    def _observe(self, receiver: NotifySettings, outbox: Outbox, names: Iterable[str]) -> None:
        ledger = outbox.ledger()
        known = dict(ledger.names)
        now = self._now()
        owed: list[Owed] = []
        for name in sorted({*names, *receiver.late_after, *receiver.names}):
            if receiver.names and name not in receiver.names:
                continue
            told = known.get(name) or Told(since=now.isoformat())
            told, of_runs = after_runs(told, name, new_runs(self._newest(name), told))
            limit = receiver.late_after.get(name)
            told, of_time = (told, []) if limit is None else after_time(told, name, now, limit)
            owed += [*of_runs, *of_time]
            known[name] = told
        for each in owed:
            if each.event in receiver.on:
                outbox.put(message_of(each, self._store, self._sender, now, self._redact))
        if known != ledger.names:
            outbox.keep(replace(ledger, names=known))

    def _newest(self, name: str) -> Iterator[PipelineRun]:
        """Yield the runs of a name, newest first, reading few unless more are asked for."""
        seen = 0
        for limit in (1, 10, LOOK_BACK):
            runs: Sequence[PipelineRun] = self._store.latest(limit=limit, name=name)
            yield from runs[seen:]
            if len(runs) < limit:
                return
            seen = len(runs)

    # --- sending ---

    def _is_due(self, name: str) -> bool:
        outbox = self._outbox(name)
        return bool(outbox.waiting()) and outbox.ledger().retry_at <= self._now().timestamp()

    def _empty(self, name: str, receiver: NotifySettings) -> list[Delivery]:
        """Send what waits for one receiver until one message is not taken."""
        outbox = self._outbox(name)
        done: list[Delivery] = []
        while waiting := [each for each in outbox.waiting() if each not in {one.message_id for one in done}]:
            message = outbox.get(waiting[0])
            self._note(
                outbox, failed=True
            )  # until it is known better: a kill while it is sent must not go on for ever
            problem = "" if message is None or self._is_old(name, message) else self._send(receiver, message)
            done.append(Delivery(name, waiting[0], problem))
            if not problem and message is not None:
                outbox.remove(waiting[0])
            if not problem:
                self._note(outbox, failed=False)
            else:
                logger.warning("%s was not told of %s, and will be later: %s", name, waiting[0], problem)
                break
        return done

    def _is_old(self, name: str, message: Mapping[str, Any]) -> bool:
        """Tell whether a message waited so long that it would mislead; it is taken out then, with an error."""
        age = self._now() - parse_utc(message["made_at"])
        if age.total_seconds() > EXPIRES_S:
            logger.error("%s was never told of %s: %s", name, message["id"], message["text"])
        return age.total_seconds() > EXPIRES_S

    def _note(self, outbox: Outbox, *, failed: bool) -> None:
        """Note how it went, beside what others note meanwhile."""
        with self._lock("notify", LOCK_S):
            ledger = outbox.ledger()
            if failed:
                outbox.keep(ledger.after_failure(self._now().timestamp()))
            elif ledger.attempts:
                outbox.keep(Ledger(ledger.names))

    def _send(self, receiver: NotifySettings, message: dict[str, Any]) -> str:
        """Send in a thread that nobody waits for longer than the receiver's `timeout`: a name server may hang, too."""
        body = encoded(message, receiver.format)
        answer: list[str] = []

        def work() -> None:
            if receiver.kind == "command":
                from runner.notifications.command import run_command

                answer.append(run_command(receiver.command, message, body, receiver.timeout))
            else:
                from runner.notifications.webhook import post

                answer.append(post(receiver, str(message["id"]), str(message["event"]), body))

        thread = threading.Thread(target=work, name="notification", daemon=True)
        thread.start()
        thread.join(receiver.timeout + (1 if receiver.kind == "command" else 0))
        return self._redact(answer[0]) if answer else f"no answer within {receiver.timeout:g} s"

    def _outbox(self, name: str) -> Outbox:
        return Outbox(self._places.notifications / name)

    def _lock(self, name: str, patience_s: float) -> LockSet:
        """Take a lock, after waiting for at most `patience_s` seconds. Raises `HeldByAnother`."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return acquire_all(self._places.locks, [name], "notifications")
            except HeldByAnother:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.02)
