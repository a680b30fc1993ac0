"""Tables, and the twin that each picture has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.cli.page.markup import Content, Html, tag


def table(
    head: Sequence[str], rows: Iterable[Sequence[Content]], *, label: str, numbers: Iterable[str] = ()
) -> Html:
    """Return a table that scrolls by itself where the page is narrow.

    `label` names it for who cannot see it; `numbers` are headings whose columns are figures. The first cell of each
    row is its heading.
    """
    classes = ["number" if each in set(numbers) else None for each in head]
    lines = [
        tag("tr", [
            tag("td" if place else "th", cell, class_=class_, scope=None if place else "row")
            for place, (cell, class_) in enumerate(zip(row, classes, strict=True))
        ])
        for row in rows
    ]  # fmt: skip
    top = tag(
        "tr", [tag("th", each, class_=kind, scope="col") for each, kind in zip(head, classes, strict=True)]
    )
    return tag(
        "div", tag("table", tag("thead", top), tag("tbody", lines)),
        class_="scroll", role="region", aria_label=label, tabindex="0",
    )  # fmt: skip


def twin(content: Html, words: str = "As a table") -> Html:
    """Return a table that is opened by who wants it."""
    return tag("details", tag("summary", words), content, class_="twin")


def section(title: str, lead: Content, *contents: Content, id_: str) -> Html:
    """Return a part of the page: its title, one sentence that says what there is to see, and the picture."""
    return tag(
        "section", tag("h2", title, id=f"{id_}-title"), tag("p", lead, class_="lead") if lead else None, contents,
        id=id_, aria_labelledby=f"{id_}-title",
    )  # fmt: skip
