"""The frame of every page: its head, its policy, its style. Whatever is drawn, it asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from runner.cli.page.markup import Content, Html, join, tag
from runner.version import __version__

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect y='2' width='9' "
    "height='3' fill='%232f6fab'/%3E%3Crect x='4' y='7' width='12' height='3' fill='%232f6fab'/%3E%3Crect x='9' "
    "y='12' width='5' height='3' fill='%232f6fab'/%3E%3C/svg%3E"
)
"""A small Gantt chart, within the page: browsers ask for an icon otherwise."""


@cache
def style() -> Html:
    """Return the style sheet."""
    return Html((Path(__file__).parent / "style.css").read_text(encoding="utf-8"))


@cache
def style_source() -> str:
    """Return the style sheet as a content security policy names it: by its digest, and no other is applied."""
    digest = hashlib.sha256(style().encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def policy(*more: str) -> str:
    """Return the content security policy of a page: nothing but its own style and icon. `more` are directives."""
    parts = ("default-src 'none'", f"style-src {style_source()}", "img-src data:", "base-uri 'none'", *more)
    return "; ".join((*parts, "form-action 'none'"))


def document(title: str, *body: Content, head: Content = None, meta_policy: bool = True) -> Html:
    """Return a whole page. `meta_policy`: the page says its policy itself, where no server does."""
    said = policy()
    return join(
        Html("<!doctype html>\n"),
        tag(
            "html",
            tag(
                "head",
                tag("meta", charset="utf-8"),
                tag("meta", http_equiv="Content-Security-Policy", content=said) if meta_policy else None,
                tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
                tag("meta", name_="color-scheme", content="light dark"),
                tag("meta", name_="referrer", content="no-referrer"),
                tag("meta", name_="generator", content=f"run-pipeline {__version__}"),
                tag("title", title),
                tag("link", rel="icon", href=ICON),
                tag("style", style()),
                head,
            ),
            tag("body", body),
            lang="en",
        ),
        Html("\n"),
    )
