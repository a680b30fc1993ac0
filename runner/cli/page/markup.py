"""Text becomes HTML here and nowhere else: redacted, then made visible, then escaped.

`tag` builds an element out of children: a plain `str` among them is text and is escaped, `Html` is markup already. So
nothing has to be remembered where a page is written: what comes from a record is a `str`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache

from runner.cli.escaping import escape, lines


class Html(str):
    """Markup. To make one of a text that was not written here is to lose all protection: use `text`."""

    __slots__ = ()


Content = str | Iterable["Content"] | None
"""What may stand in an element; None is nothing."""
Attribute = str | int | float | bool | None

NOTHING = Html("")
_VOID = frozenset({"br", "hr", "link", "meta"})
"""Elements without an end tag. (Those of SVG close themselves by an end tag, too.)"""

_redact: ContextVar[Callable[[str], str]] = ContextVar("redact", default=str)


@contextmanager
def redacting(redact: Callable[[str], str]) -> Iterator[None]:
    """Within, all text goes through `redact` first."""
    token = _redact.set(redact)
    try:
        yield
    finally:
        _redact.reset(token)


def text(value: str) -> Html:
    """Return a text as HTML, for between tags and within quotes: one line, control and bidi characters visible."""
    return value if isinstance(value, Html) else _escaped(_redact.get()(value))


@lru_cache(maxsize=4096)
def _escaped(value: str) -> Html:
    """The same without redaction; a page has the same names and figures many times."""
    return Html(html.escape(escape(value)))


def text_lines(value: str) -> Html:
    """Return a text of several lines as HTML for `pre`."""
    return Html("\n".join(_escaped(line) for line in lines(_redact.get()(value))))


def join(*contents: Content) -> Html:
    """Return contents one after the other."""
    return Html("".join(_parts(contents)))


def tag(name: str, *contents: Content, **attributes: Attribute) -> Html:
    """Return an element. `class_` is the attribute class, `data_job` data-job; None and False leave one out.

    Names of elements and attributes are written in the program, never taken from data.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*contents)}</{name}>")


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = _attribute_name(key)
    return f" {name}" if value is True else f' {name}="{text(str(value))}"'


@cache
def _attribute_name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _parts(contents: Iterable[Content]) -> Iterator[str]:
    for content in contents:
        if isinstance(content, str):
            yield text(content)
        elif content is not None:
            yield from _parts(content)
