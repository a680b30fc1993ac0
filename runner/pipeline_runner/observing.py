"""Whether the runs of a runner are traced, and by what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.to_thread

from runner.extras import install_command
from runner.ids import Trace, trace_of
from runner.logs import get_logger
from runner.recorder import Observer
from runner.redaction import Redactor, secret_values
from runner.settings import Settings
from runner.statement_log import told_to
from runner.version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from runner.telemetry import Telemetry
    from runner.telemetry.sending import Sending

log = get_logger("telemetry")


class Providers(NamedTuple):
    """OpenTelemetry's, of the application: what is None is not told."""

    tracers: TracerProvider | None = None
    meters: MeterProvider | None = None

    @property
    def are_given(self) -> bool:
        """Whether there is any."""
        return self.tracers is not None or self.meters is not None


NO_PROVIDERS = Providers()


class Tracing:
    """Traces the runs of one runner: with the application's providers, or as the settings say, or not at all."""

    def __init__(self, settings: Settings, providers: Providers, resources: AsyncExitStack) -> None:
        self._settings = settings
        self._providers = providers
        self._lock = anyio.Lock()
        self._telemetry: Telemetry | None = None
        self._is_off = not (providers.are_given or settings.telemetry.is_on)
        self._sending: Sending | None = None
        # Before anything else is opened, so that it ends last: nobody waits for a file that a collector holds up.
        resources.push_async_callback(self._close)

    @asynccontextmanager
    async def of_run(self, name: str, traceparent: str | None) -> AsyncIterator[tuple[Trace, list[Observer]]]:
        """Yield the trace of a run that begins now, and who is to be told of its events."""
        telemetry = None if self._is_off else await self._made()
        if telemetry is None:
            yield trace_of(traceparent), []
            return
        run = telemetry.begin(name, traceparent)
        try:
            with told_to(run.on_statement):
                yield run.trace, [run.on_event]
        finally:
            run.close()

    async def _made(self) -> Telemetry | None:
        async with self._lock:
            if self._telemetry is None and not self._is_off:
                # In a thread: it imports a library, which takes a tenth of a second or two.
                self._telemetry = await anyio.to_thread.run_sync(self._make)
                self._is_off = self._telemetry is None
        return self._telemetry

    def _make(self) -> Telemetry | None:
        redact = Redactor()
        redact.learn(secret_values(self._settings))
        try:
            from runner.telemetry import Telemetry

            if self._providers.are_given:
                return Telemetry(*self._providers, version=__version__, redact=redact)
            from runner.telemetry.sending import Sending
        except ImportError as error:
            packages = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
            log.warning("nothing is traced: %s; %s", error, install_command(*packages))
            return None
        self._sending = sending = Sending(self._settings.telemetry, __version__)
        return Telemetry(sending.tracer_provider, sending.meter_provider, version=__version__, redact=redact)

    async def _close(self) -> None:
        if self._sending is not None:
            await anyio.to_thread.run_sync(self._sending.close)
