"""From one page to the next, and when to stop.

A stop that comes too early loses rows without a word, one that never comes fills the disk. So a numbered page counts as
the last one only when it is empty (or `last_page: short` says otherwise), and going in circles is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol
from urllib.parse import urlencode, urljoin, urlsplit

from runner.sources.http.access import origin
from runner.sources.http.arguments import Paging
from runner.sources.http.pages import BadPage, Page, at_path
from runner.sources.http.rows import query_texts


class Pagination(Protocol):
    """Knows the first URL, and the one after a page."""

    def first(self) -> str:
        """Return the URL of page 1."""

    def after(self, page: Page, body: bytes) -> str | None:
        """Return the URL of the page after this one; None: it was the last. Raises `BadPage`."""


def pagination_of(paging: Paging, url: str, params: Mapping[str, Any]) -> Pagination:
    """Return the pagination of that kind, for the pages of `url` with the query parameters `params`."""
    params = dict(params)
    if paging.page_size is not None:
        params.setdefault(paging.page_size_param, paging.page_size)
    kinds: dict[str, type[_Pages]] = {"link": _Links, "cursor": _Cursors, "page": _Numbers, "none": _Pages}
    return kinds[paging.kind](paging, url, params)


class _Pages:
    """One page only."""

    def __init__(self, paging: Paging, url: str, params: Mapping[str, Any]) -> None:
        self.paging, self.url, self.params = paging, url, params
        self._seen: set[bytes] = set()

    def first(self) -> str:
        return with_query(self.url, self.params)

    def after(self, page: Page, body: bytes) -> str | None:
        return None

    def refuse_circles(self, mark: str | bytes, text: str) -> None:
        """Note a mark of what comes next; the second time it is an error."""
        digest = blake2b(
            mark if isinstance(mark, bytes) else mark.encode(errors="replace"), digest_size=16
        ).digest()
        if digest in self._seen:
            raise BadPage(text)
        self._seen.add(digest)


class _Links(_Pages):
    """The next page is a link: of the header `Link` with rel="next", or in the document at `next_path`."""

    def first(self) -> str:
        url = super().first()
        self.refuse_circles(url, "")
        return url

    def after(self, page: Page, body: bytes) -> str | None:
        link = (
            at_path(page.document, self.paging.next_path) if self.paging.next_path else page.links.get("next")
        )
        if link in (None, ""):
            return None
        if not isinstance(link, str):
            raise BadPage(f"its next link is {link!r:.80}; expected a URL")
        try:
            url = urljoin(page.url, link)
            elsewhere = origin(url) != origin(page.url)
        except ValueError:
            raise BadPage(f"its next link is {link!r:.80}; expected a URL") from None
        if elsewhere:
            raise BadPage(f"its next link leads to another host ({urlsplit(url).netloc.rpartition('@')[2]})")
        self.refuse_circles(url, "its next link leads to a page that was read before")
        return url


class _Cursors(_Pages):
    """The document says at `cursor_path` what to send as `cursor_param`; nothing there: that was the last page."""

    def after(self, page: Page, body: bytes) -> str | None:
        cursor = at_path(page.document, self.paging.cursor_path)
        if cursor in (None, "", False):
            return None
        if isinstance(cursor, bool) or not isinstance(cursor, str | int):
            raise BadPage(f"its cursor is {cursor!r:.80}; expected text or a whole number")
        self.refuse_circles(f"{cursor}", f"its cursor {cursor!r:.80} came before: the pages go in circles")
        return with_query(self.url, {**self.params, self.paging.cursor_param: cursor})


class _Numbers(_Pages):
    """Pages are numbered; the first one without records (or with less than `page_size`) is the last."""

    def first(self) -> str:
        return self._numbered(self.paging.start_page)

    def after(self, page: Page, body: bytes) -> str | None:
        size = self.paging.page_size
        if not page.records or (self.paging.ends_short and size is not None and len(page.records) < size):
            return None
        self.refuse_circles(
            body, f"it is the same as one before: does the API know the parameter {self.paging.page_param!r}?"
        )
        return self._numbered(self.paging.start_page + page.number)

    def _numbered(self, number: int) -> str:
        return with_query(self.url, {**self.params, self.paging.page_param: number})


def with_query(url: str, params: Mapping[str, Any]) -> str:
    """Return a URL with query parameters added to those it has."""
    query = urlencode(query_texts(params), doseq=True)
    if not query:
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}{query}"
