"""All connections of the process to the server: how many there may be, and those that are idle.

The loop alone keeps the books; opening and closing block and are done in threads.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Generic, Protocol, TypeVar

import adbc_driver_manager
import anyio
import anyio.to_thread

from runner.settings import PostgresSettings
from runner.warehouses.postgres.arrow_session import ArrowSession, open_arrow_session, open_database
from runner.warehouses.postgres.refusals import connecting
from runner.warehouses.postgres.server import APPLICATION, Server
from runner.warehouses.postgres.session import Session, open_session

S = TypeVar("S", Session, ArrowSession)


class Closable(Protocol):
    """What connecting brings."""

    def close(self) -> object:
        """End it. Blocks."""


C = TypeVar("C", bound=Closable)


class Idle(Generic[S]):
    """Sessions of one kind that nobody uses, the last used at the end."""

    def __init__(self) -> None:
        self.sessions: list[S] = []

    def take(self, application: str) -> S | None:
        """Return one that bears the name already, else the last used, else None."""
        for place, session in enumerate(self.sessions):
            if session.application == application:
                return self.sessions.pop(place)
        return self.sessions.pop() if self.sessions else None


class Attempt(Generic[C]):
    """A connection on its way, which is closed if nobody wants it any more. Methods block."""

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._made: C | None = None
        self._wanted = True

    def make(self) -> C:
        """Connect."""
        made = self._connect()
        with self._lock:
            self._made = made
            if not self._wanted:
                made.close()
        return made

    def abandon(self) -> None:
        """Close the session, now or as soon as it is there."""
        with self._lock:
            self._wanted = False
            if self._made is not None:
                self._made.close()


class Connections:
    """The connections to one server, at most `max_connections` of both kinds together, in use or idle.

    Of those in use one is always for short work: a stream that is read slowly holds its connection, and a landing
    that waits for one while all others are read from would wait for ever.
    """

    def __init__(self, settings: PostgresSettings, time_limit: float | None) -> None:
        self.server = Server(settings, time_limit)
        self.threads = anyio.CapacityLimiter(settings.max_connections)
        self._most = settings.max_connections
        self._slots = anyio.Semaphore(settings.max_connections)
        self._streams = anyio.Semaphore(settings.max_connections - 1)
        self._open = 0
        self._sessions: Idle[Session] = Idle()
        self._arrow: Idle[ArrowSession] = Idle()
        self._database: adbc_driver_manager.AdbcDatabase | None = None
        self._first = anyio.Lock()

    @asynccontextmanager
    async def session(self, application: str) -> AsyncIterator[Session]:
        """Lend a psycopg connection, for short work."""
        async with self._slots:
            session = await self._take(self._sessions, application) or await self._opened()
            try:
                yield session
            finally:
                await self._give(self._sessions, session)

    @asynccontextmanager
    async def arrow_session(self) -> AsyncIterator[ArrowSession]:
        """Lend an ADBC connection, for as long as somebody reads from it."""
        async with self._streams, self._slots:
            session = await self._take(self._arrow, APPLICATION) or await self._opened_arrow()
            try:
                yield session
            finally:
                await self._give(self._arrow, session)

    async def close(self) -> None:
        """Close what is idle."""
        idle: list[Session | ArrowSession] = [*self._sessions.sessions, *self._arrow.sessions]
        for session in idle:
            await self._close(session)
        self._sessions.sessions.clear()
        self._arrow.sessions.clear()
        if self._database is not None:
            with suppress(RuntimeError):  # a cancel that did not come back still uses a connection of it
                await anyio.to_thread.run_sync(self._database.close, limiter=self.threads)
            self._database = None

    async def _take(self, idle: Idle[S], application: str) -> S | None:
        """Return an idle session that is alive; the dead are closed on the way."""
        while (session := idle.take(application)) is not None:
            if session.is_usable():
                session.reused, session.answered = True, False
                return session
            await self._close(session)
        return None

    async def _give(self, idle: Idle[S], session: S) -> None:
        if session.is_usable() and not session.interrupts.sent:
            idle.sessions.append(session)
        else:
            await self._close(session)

    async def _opened(self) -> Session:
        await self._make_room()
        try:
            return await self._connecting(partial(open_session, self.server))
        except BaseException:
            self._open -= 1
            raise

    async def _opened_arrow(self) -> ArrowSession:
        await self._make_room()
        try:
            async with self._first:
                if self._database is None:
                    self._database = await self._connecting(partial(open_database, self.server))
            return await self._connecting(partial(open_arrow_session, self._database, self.server))
        except anyio.get_cancelled_exc_class():
            self._open -= 1
            self._database = None  # the attempt that was let go of still uses it
            raise
        except BaseException:
            self._open -= 1
            raise

    async def _connecting(self, connect: Callable[[], C]) -> C:
        """Connect, and let go at once when this is cancelled: a server that does not answer is waited for in vain."""
        attempt = Attempt(partial(connecting, self.server, connect))
        try:
            return await anyio.to_thread.run_sync(attempt.make, abandon_on_cancel=True, limiter=self.threads)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(attempt.abandon, limiter=self.threads)
            raise

    async def _make_room(self) -> None:
        """Count a connection that is about to be opened; where that would be one too many, an idle one goes first:
        there is one, since no more are in use than there may be.
        """
        if self._open >= self._most:
            oldest: list[Session] | list[ArrowSession] = self._sessions.sessions or self._arrow.sessions
            await self._close(oldest.pop(0))
        self._open += 1

    async def _close(self, session: Session | ArrowSession) -> None:
        self._open -= 1
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(session.close, limiter=self.threads)
