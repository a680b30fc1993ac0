"""Who is told when runs fail, recover, or do not come: `[notify.NAME]`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from runner.settings.values import Seconds

Word = Annotated[str, Field(min_length=1)]


class NotifySettings(BaseModel):
    """One receiver. `kind` webhook: a POST to `url`; command: a program that gets the same JSON on stdin.

    `on`: which events it is told of. `names`: of which pipelines and jobs that are run (empty: all). `late_after`:
    by name, the seconds after its last success at which it is late.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["webhook", "command"]
    url: SecretStr | None = None
    headers: dict[str, SecretStr] = {}
    format: Literal["json", "slack"] = "json"
    command: tuple[Word, ...] = ()
    on: tuple[Literal["failure", "recovery", "late"], ...] = ("failure", "recovery", "late")
    names: tuple[Word, ...] = ()
    late_after: dict[str, Seconds] = {}
    timeout: Annotated[Seconds, Field(le=60)] = 10.0

    @model_validator(mode="after")
    def _has_a_way(self) -> Self:
        if self.kind == "command" and not self.command:
            raise ValueError("kind command without one; expected command = [PROGRAM, ARGUMENT, …]")
        if self.kind == "webhook":
            scheme, found, rest = (self.url.get_secret_value() if self.url else "").partition("://")
            if scheme.lower() not in ("http", "https") or not found or not rest.strip("/"):
                raise ValueError("kind webhook without an address; expected url = https://…")
        return self
