"""Who is told of the runs of a project, made from its settings."""

from __future__ import annotations

import platform

from runner.notifications import Notifier, Places, Sender
from runner.pipeline_runner.places import locks_dir, notifications_dir
from runner.ports import RunStore
from runner.redaction import Redactor, secret_values
from runner.settings import Settings


def build_notifier(settings: Settings, store: RunStore, program: str) -> Notifier:
    """Return the notifier of these settings. `program` is what people type to see more."""
    redact = Redactor()
    redact.learn(secret_values(settings))
    return Notifier(
        settings.notify,
        store,
        Places(notifications=notifications_dir(settings), locks=locks_dir(settings)),
        sender=Sender(host=platform.node(), project=str(settings.project), program=program),
        redact=redact,
    )
