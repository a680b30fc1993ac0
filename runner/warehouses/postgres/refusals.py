"""Why a connection does not come about, by SQLSTATE.

libpq keeps only the words of a server that refuses a connection, in the server's language. So after a failure it is
asked once more, with libpq's trace of the protocol, in which the SQLSTATE stands. psycopg has the trace on Linux only;
elsewhere a refusal without it counts as a server that is not available.
"""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Callable
from typing import TypeVar

from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn

from runner.clock import monotonic_ns
from runner.warehouses.postgres.faults import DRIVER_ERRORS, sqlstate, translate
from runner.warehouses.postgres.server import Server

T = TypeVar("T")

UNAUTHENTICATED = "28P01"
"""What a server says of a wrong password. One that asks for a password and gets none says nothing: libpq gives up."""

_READ_BYTES = 1_000_000
_STATE = re.compile(r'^B\t\d+\tErrorResponse\t S "[^"]*" (?:V "[^"]*" )?C "([0-9A-Z]{5})"', re.MULTILINE)


def connecting(server: Server, connect: Callable[[], T]) -> T:
    """Return what `connect` does. Blocks. Raises errors of ours that tell why there is no connection."""
    started = monotonic_ns()
    try:
        return connect()
    except DRIVER_ERRORS as error:
        took_all = monotonic_ns() - started >= server.settings.connect_timeout * 0.9e9
        state = sqlstate(error) or ("" if took_all else refusal(server))
        raise translate(error, state=state) from error


def refusal(server: Server) -> str:
    """Connect; return the SQLSTATE with which the server refuses that, "" where it does not say one. Blocks."""
    if sys.platform != "linux":
        return ""
    connection = pq.PGconn.connect_start(make_conninfo(**server.parameters()).encode())
    trace = os.memfd_create("trace")  # only in memory: what authenticates us may stand there
    try:
        connection.trace(os.dup(trace))
        connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        _poll(connection, server.settings.connect_timeout)
        if connection.needs_password:
            return UNAUTHENTICATED
        connection.untrace()  # writes what is left
        found = _STATE.findall(os.pread(trace, _READ_BYTES, 0).decode("utf-8", "replace"))
        return found[-1] if found else ""
    finally:
        connection.finish()
        os.close(trace)


def _poll(connection: PGconn, seconds: float) -> None:
    """Wait until there is a connection, or there will be none."""
    ended = (pq.PollingStatus.OK, pq.PollingStatus.FAILED)
    deadline = monotonic_ns() + seconds * 1e9
    while connection.status != pq.ConnStatus.BAD and (wanted := connection.connect_poll()) not in ended:
        left = deadline - monotonic_ns()
        poll = select.poll()
        poll.register(
            connection.socket, select.POLLIN if wanted == pq.PollingStatus.READING else select.POLLOUT
        )
        if left <= 0 or not poll.poll(left / 1e6):
            return
