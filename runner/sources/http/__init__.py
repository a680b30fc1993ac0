"""`op: extract` with `source: http`: records of a JSON API, page by page.

Needs the extra `http` (httpx2), which is imported when a step of it begins.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Literal

from runner.errors import SourceError
from runner.extras import install_command
from runner.ports import Row
from runner.settings import Connection
from runner.sources.http.access import Access
from runner.sources.http.arguments import Arguments, BadArgument, problems_of
from runner.sources.http.client import SOURCE, Answer, Client, open_client, shown_bytes
from runner.sources.http.pace import LOOK_EVERY, Pace
from runner.sources.http.pages import BadPage, Page, decoded
from runner.sources.http.pagination import pagination_of
from runner.sources.http.rows import row_of
from runner.specs import Cursor


async def records(
    connection: Connection | None = None,
    since: object = None,
    *,
    path: str = "",
    params: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    since_param: str | None = None,
    records: str | None = None,
    fields: list[str] | dict[str, str] | None = None,
    timestamps: list[str] = [],  # noqa: B006 - never changed
    dates: list[str] = [],  # noqa: B006
    floats: Literal["float", "decimal"] = "float",
    pagination: Literal["none", "link", "cursor", "page"] = "none",
    next_path: str | None = None,
    cursor_path: str | None = None,
    cursor_param: str | None = None,
    page_param: str | None = None,
    start_page: int | None = None,
    last_page: Literal["empty", "short"] | None = None,
    page_size: int | None = None,
    page_size_param: str | None = None,
    max_pages: int = 10_000,
    rate_limit: str | None = None,
    request_timeout: str | float = "60s",
    retries: int = 5,
    retry_for: str | float = "5m",
    max_wait: str | float = "60s",
    max_bytes: int = 64 * 1024 * 1024,
) -> AsyncGenerator[Row, None]:
    """Yield the records of all pages. docs/how-to/read-an-http-api.md says what each argument means.

    Raises `SourceUnavailable`, `SourceBusy`, `SourceDenied`, and `SourceError` for a page that cannot be used.
    """
    given, access, url = _begin(dict(locals()))
    async with open_client(access, url, given.headers, given.patience) as client:
        pace = Pace()
        async for page in _pages(client, access, given, url, since, pace):
            for number, record in enumerate(page.records):
                yield row_of(record, given.shape)
                if not number % LOOK_EVERY:
                    await pace.look()


def problems(
    given: Mapping[str, Any], *, connection: Connection | None, cursor: Cursor | None
) -> Iterator[tuple[str, str]]:
    """Yield (argument, text) for what the signature alone does not say; argument "" is the step itself.

    `given`: the step's `with`. `connection`: the one of the settings. `cursor`: the step's, None when it has none.
    """
    if find_spec("httpx2") is None:
        yield (
            "",
            f"source http needs httpx2, which is not installed; expected it: {install_command('httpx2')}",
        )
    call = inspect.signature(records).bind_partial(**given)
    call.apply_defaults()
    yield from problems_of(call.arguments)
    if cursor and cursor.by:
        yield "", "`cursor` has `by`, and a request takes one value of since; expected a cursor without it"
    if cursor and not given.get("since_param"):
        yield "", "the step has `cursor`, but nothing says how to send it; expected since_param"
    if given.get("since_param") and not cursor:
        yield "since_param", "since_param without `cursor: {…}`; expected both"
    try:
        Access.of(connection).url(call.arguments["path"])
    except ValueError as error:
        yield "path" if "path" in given else "", str(error)


def _begin(arguments: Mapping[str, Any]) -> tuple[Arguments, Access, str]:
    """Read the arguments. Raises `SourceError` for what the checks at load could not know."""
    try:
        access = Access.of(arguments["connection"])
        return Arguments.of(arguments), access, access.url(arguments["path"])
    except BadArgument as error:
        raise SourceError(SOURCE, f"{error.argument}: {error}") from None
    except ValueError as error:
        raise SourceError(SOURCE, str(error)) from None


async def _pages(
    client: Client, access: Access, given: Arguments, url: str, since: object, pace: Pace
) -> AsyncGenerator[Page, None]:
    """Yield page after page. Raises `SourceError` that names the page."""
    params = dict(given.params)
    if given.since_param and since is not None:
        params[given.since_param] = since
    pagination = pagination_of(given.paging, url, params)
    number, next_url = 1, pagination.first()
    while True:
        answer = await client.get(next_url, f"page {number}")
        try:
            page = await _page(answer, number, given, pace)
            following = pagination.after(page, answer.body)
        except BadPage as error:
            place = f"page {number}, {access.shown(answer.url)}"
            text = f"{place}: {error}; it begins {shown_bytes(answer.body)}"
            raise SourceError(SOURCE, access.redact(_with_type(text, answer))) from None
        yield page
        if following is None:
            return
        number, next_url = number + 1, following
        if number > given.paging.max_pages:
            raise SourceError(SOURCE, f"there is a page {number}, max_pages is {given.paging.max_pages}")


async def _page(answer: Answer, number: int, given: Arguments, pace: Pace) -> Page:
    """Read an answer as a page. Raises `BadPage`."""
    if answer.status == 204:  # "no content" is an answer, too
        return Page(number, answer.url, answer.links, None, ())
    document, found = await decoded(
        answer.body, given.shape.records, decimals=given.shape.decimals, pace=pace
    )
    return Page(number, answer.url, answer.links, document, found)


def _with_type(text: str, answer: Answer) -> str:
    """Add the content type where it already says that this is no JSON."""
    kind = answer.content_type.partition(";")[0].strip()
    return text if not kind or "json" in kind else f"{text} (content type {kind[:60]!r})"
