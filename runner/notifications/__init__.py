"""Tells people when runs fail, recover, or do not come. Never a part of a run: it works from the run store, after it.

What is owed follows from the runs in the store and from what each receiver was told (`transitions`). What is owed is
first written to the outbox, then noted as told, then sent, then taken out of the outbox (`outbox`, `notifier`): a kill
at any point sends a message twice at worst, under the same id, and never drops one.

    transitions   which messages a sequence of runs owes; pure
    messages      what a message says
    outbox        what each receiver was told and what waits for it, in files
    webhook, command   the two ways to a receiver
    notifier      observe, deliver
"""

from runner.notifications.messages import NOTIFICATION_SCHEMA, Sender
from runner.notifications.notifier import Delivery, Notifier, Places

__all__ = ["NOTIFICATION_SCHEMA", "Delivery", "Notifier", "Places", "Sender"]
