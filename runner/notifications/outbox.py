"""What one receiver was told, and what waits for it: `STATE/notifications/NAME/`.

    told.json                 by name of pipeline: what the receiver knows; and when to try again
    01KH….failure.json        a message that waits, named by its id

A message is written before `told.json` says that it was told, and removed after it was sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.files import Folder, is_folder
from runner.jsonl import dumps
from runner.logs import get_logger
from runner.notifications.transitions import Told

STATE = "told.json"
RETRY_S = 60.0
"""The wait after a first attempt that failed; doubled each time."""
LONGEST_RETRY_S = 3600.0

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one receiver was told, by name. `attempts` that failed in a row, and the earliest time of the next
    (seconds since 1970).
    """

    names: Mapping[str, Told] = field(default_factory=dict)
    attempts: int = 0
    retry_at: float = 0

    def after_failure(self, now: float) -> Ledger:
        """Return it after an attempt that failed at `now`."""
        wait = min(LONGEST_RETRY_S, RETRY_S * 2.0 ** min(self.attempts, 20))
        return replace(self, attempts=self.attempts + 1, retry_at=now + wait)


class Outbox:
    """The folder of one receiver. To be used with the lock of all notifications held; all of it blocks."""

    def __init__(self, folder: Path) -> None:
        self._path = folder

    def ledger(self) -> Ledger:
        """Return what was told; nothing if there is no file, or none that can be read (said in the log)."""
        if not is_folder(self._path):
            return Ledger()
        try:
            with Folder(self._path) as folder:
                data = json.loads(folder.read(STATE))
            names = {name: Told(**told) for name, told in data["names"].items()}
            return Ledger(names, int(data["attempts"]), float(data["retry_at"]))
        except FileNotFoundError:
            return Ledger()
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            logger.warning("%s cannot be read (%r): begun anew", self._path / STATE, error)
            return Ledger()

    def keep(self, ledger: Ledger) -> None:
        """Write what was told."""
        data = {
            "names": {name: asdict(told) for name, told in ledger.names.items()},
            "attempts": ledger.attempts,
            "retry_at": ledger.retry_at,
        }
        with Folder(self._path, make=True) as folder:
            folder.replace(STATE, dumps(data).encode("ascii") + b"\n")

    def put(self, message: Mapping[str, Any]) -> None:
        """Write a message that is to be sent; the same id again replaces it."""
        with Folder(self._path, make=True) as folder:
            folder.replace(f"{message['id']}.json", dumps(message).encode("ascii") + b"\n")

    def waiting(self) -> list[str]:
        """Return the ids of the messages that wait, in the order of their making as far as ids tell it."""
        if not is_folder(self._path):
            return []
        with Folder(self._path) as folder:
            names = [name for name in folder.names() if name.endswith(".json") and not name.startswith(".")]
        return [name.removesuffix(".json") for name in names if name != STATE]

    def get(self, message_id: str) -> dict[str, Any] | None:
        """Return a message; None, and a warning, if its file cannot be read (it is set aside)."""
        with Folder(self._path) as folder:
            content = folder.read(f"{message_id}.json")
            try:
                message = json.loads(content)
            except ValueError as error:
                logger.warning("%s cannot be read (%s): left out", self._path / f"{message_id}.json", error)
                folder.replace(f"{message_id}.damaged", content)
                folder.remove(f"{message_id}.json")
                return None
        return message if isinstance(message, dict) else None

    def remove(self, message_id: str) -> None:
        """Take out a message that was sent."""
        with Folder(self._path) as folder:
            folder.remove(f"{message_id}.json")
