"""What `with:` says to `source: http`, checked and put in order.

The same checks run when a project is loaded (`problems_of`) and when a step begins (`Arguments.of`): a value of a
parameter may come as late as that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.clock import parse_duration

_RATE = re.compile(r"(?P<count>\d{1,6})/(?P<unit>s|m|h)", re.ASCII)
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}

OF_PAGINATION = {
    "none": (),
    "link": ("next_path", "page_size", "page_size_param"),
    "cursor": ("cursor_path", "cursor_param", "page_size", "page_size_param"),
    "page": ("page_param", "start_page", "last_page", "page_size", "page_size_param"),
}
"""The arguments that each kind of pagination understands."""


class BadArgument(ValueError):
    """An argument that does not fit. `argument` names it; the text may end in "; expected …"."""

    def __init__(self, argument: str, text: str) -> None:
        super().__init__(text)
        self.argument = argument


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """How to come from one page to the next. A path is () where the kind of pagination has none."""

    kind: str
    next_path: tuple[str, ...]
    cursor_path: tuple[str, ...]
    cursor_param: str
    page_param: str
    start_page: int
    ends_short: bool
    page_size: int | None
    page_size_param: str
    max_pages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait and how often to try. All times in seconds; `max_bytes` bounds one unpacked page."""

    timeout: float
    attempts: int
    retry_for: float
    max_wait: float
    spacing: float
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How records become rows. `records`: the path to their list, None to look for it. `fields`: column by path."""

    records: tuple[str, ...] | None
    fields: Mapping[str, tuple[str, ...]] | None
    timestamps: tuple[str, ...]
    dates: tuple[str, ...]
    decimals: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """All of it. `params` and `headers` are sent with every request, `since_param` names the one for `since`."""

    path: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    since_param: str | None
    paging: Paging
    patience: Patience
    shape: Shape

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Arguments:
        """Read the arguments of `records`, all of them, by name. Raises `BadArgument`."""
        return cls(
            path=given["path"],
            params=given["params"] or {},
            headers=given["headers"] or {},
            since_param=given["since_param"],
            paging=_paging(given),
            patience=_patience(given),
            shape=_shape(given),
        )


def problems_of(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (argument, text) for what does not fit: at most one for each part of the arguments."""
    for part in (_paging, _patience, _shape):
        try:
            part(given)
        except BadArgument as error:
            yield error.argument, str(error)


def _paging(given: Mapping[str, Any]) -> Paging:
    kind = given["pagination"]
    known = OF_PAGINATION[kind]
    for others in OF_PAGINATION.values():
        for name in others:
            if name not in known and given[name] is not None:
                kinds = " or ".join(other for other, names in OF_PAGINATION.items() if name in names)
                raise BadArgument(name, f"pagination {kind!r} has no {name}; expected pagination: {kinds}")
    for name in ("cursor_path", "cursor_param") if kind == "cursor" else ():
        if not given[name]:
            raise BadArgument("pagination", f"pagination 'cursor' without {name}; expected both")
    if given["page_size_param"] and not given["page_size"]:
        raise BadArgument("page_size_param", "page_size_param without page_size; expected both")
    if given["last_page"] == "short" and not given["page_size"]:
        raise BadArgument("last_page", "last_page 'short' without page_size; expected what is a full page")
    return Paging(
        kind=kind,
        next_path=_path("next_path", given),
        cursor_path=_path("cursor_path", given),
        cursor_param=given["cursor_param"] or "",
        page_param=given["page_param"] or "page",
        start_page=1 if given["start_page"] is None else given["start_page"],
        ends_short=given["last_page"] == "short",
        page_size=_positive("page_size", given),
        page_size_param=given["page_size_param"] or "per_page",
        max_pages=_positive("max_pages", given) or 1,
    )


def _patience(given: Mapping[str, Any]) -> Patience:
    if given["retries"] < 0:
        raise BadArgument("retries", f"retries is {given['retries']}; expected 0 or more")
    return Patience(
        timeout=_seconds("request_timeout", given),
        attempts=given["retries"] + 1,
        retry_for=_seconds("retry_for", given),
        max_wait=_seconds("max_wait", given),
        spacing=_spacing(given["rate_limit"]),
        max_bytes=_positive("max_bytes", given) or 1,
    )


def _shape(given: Mapping[str, Any]) -> Shape:
    fields = given["fields"]
    if isinstance(fields, list):
        fields = {name: name for name in fields}
    if fields is not None and not all(isinstance(path, str) and path for path in fields.values()):
        raise BadArgument("fields", f"fields is {fields!r}; expected names, or column: path")
    return Shape(
        records=_path("records", given) if given["records"] is not None else None,
        fields={name: _split("fields", path) for name, path in fields.items()} if fields else None,
        timestamps=tuple(given["timestamps"]),
        dates=tuple(given["dates"]),
        decimals=given["floats"] == "decimal",
    )


def _path(name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    return () if given[name] is None else _split(name, given[name])


def _split(name: str, text: str) -> tuple[str, ...]:
    """Read a dotted path."""
    parts = tuple(text.split("."))
    if not all(parts):
        raise BadArgument(name, f"{text!r} is no path; expected names with dots between them: data.items")
    return parts


def _positive(name: str, given: Mapping[str, Any]) -> int | None:
    value: int | None = given[name]
    if value is not None and value < 1:
        raise BadArgument(name, f"{name} is {value}; expected 1 or more")
    return value


def _seconds(name: str, given: Mapping[str, Any]) -> float:
    try:
        return parse_duration(given[name])
    except ValueError as error:
        raise BadArgument(name, str(error)) from None


def _spacing(rate: str | None) -> float:
    """Return the seconds between two requests at a rate of `5/s`, `100/m` or `1000/h`."""
    if rate is None:
        return 0.0
    match = _RATE.fullmatch(rate)
    if not match or not int(match["count"]):
        raise BadArgument("rate_limit", f"{rate!r} is no rate; expected for example 5/s, 100/m, 1000/h")
    return _UNIT_SECONDS[match["unit"]] / int(match["count"])
