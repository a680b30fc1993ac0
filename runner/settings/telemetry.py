"""Where traces and metrics of runs go: `[telemetry]`, or the standard variables of OpenTelemetry.

Of those variables the ones that say where to and what are settings here; all others (certificates, compression,
sampling, attributes of the resource, headers) are read by OpenTelemetry's own library.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from runner.settings.values import Seconds

Signal = Literal["traces", "metrics"]


def check_address(value: str) -> str:
    """Refuse what is no address, and one with a password: addresses are shown."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an address; expected for example http://collector:4318")
    if "@" in parts.netloc:
        raise ValueError("an address with a name or password in it; expected them in telemetry.headers")
    return value


Address = Annotated[str, AfterValidator(check_address)]

ADDRESSES = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "endpoint",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "traces_endpoint",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "metrics_endpoint",
}
DISABLED = "OTEL_SDK_DISABLED"
SIGNALS: dict[Signal, str] = {"traces": "OTEL_TRACES_EXPORTER", "metrics": "OTEL_METRICS_EXPORTER"}


class TelemetrySettings(BaseModel):
    """Off without an address. `endpoint`: the collector's, to which `/v1/traces` and `/v1/metrics` are added;
    `traces_endpoint` and `metrics_endpoint` are whole and win. `signals`: what of them is sent. `timeout`: seconds that
    one export may take, and that the end of a runner waits for the last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: Address | None = None
    traces_endpoint: Address | None = None
    metrics_endpoint: Address | None = None
    headers: dict[str, SecretStr] = {}
    signals: tuple[Signal, ...] = ("traces", "metrics")
    timeout: Annotated[Seconds, Field(le=60)] = 2.0

    def address(self, signal: Signal) -> str | None:
        """Return where a signal goes; None: it is not sent."""
        if signal not in self.signals:
            return None
        own = self.traces_endpoint if signal == "traces" else self.metrics_endpoint
        return own or (f"{self.endpoint.rstrip('/')}/v1/{signal}" if self.endpoint else None)

    @property
    def is_on(self) -> bool:
        """Whether anything is sent."""
        return any(self.address(signal) for signal in SIGNALS)


def standard_variables() -> Iterator[tuple[str, str, Any]]:
    """Yield what OpenTelemetry's variables say of these settings: the variable, the key, and its value.

    An empty variable counts as not set, as their specification says.
    """
    for variable, key in ADDRESSES.items():
        if value := os.environ.get(variable):
            yield variable, key, value
    off = [
        (variable, signal)
        for signal, variable in SIGNALS.items()
        if os.environ.get(variable, "").strip().lower() == "none"
    ]
    if os.environ.get(DISABLED, "").strip().lower() == "true":
        yield DISABLED, "signals", ()
    elif off:
        yield off[0][0], "signals", tuple(name for name in SIGNALS if name not in {each for _, each in off})
