"""The routes, and the stream of a page that changes."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from runner.cli.page.markup import tag
from runner.cli.ui.guard import Guard
from runner.cli.ui.pages import Pages, Shown
from runner.errors import DamagedRecord, RunNotFound, UsageError

EVERY_S = 1.0
"""Seconds between two looks at what a page shows."""
SHARE = 0.1
"""The part of one processor that a stream may take: what takes long is looked at less often."""
STILL_S = 15.0
"""Seconds after which a silent stream says something, so that a connection without a reader is noticed."""

Show = Callable[[], Shown]


class Ui:
    """The application. `closing` is set when the server is about to end: streams end then."""

    def __init__(self, pages: Pages, closing: Callable[[], anyio.Event]) -> None:
        self._pages = pages
        self._closing = closing
        self._script = (Path(__file__).parent / "live.js").read_text(encoding="utf-8")

    def guarded(self, *, token: str, cookie: str, host: str) -> Guard:
        """Return the application behind its guard."""
        routes = [
            Route("/", self._page),
            Route("/run/{run_id}", self._page),
            Route("/name/{name}", self._page),
            Route("/live/", self._stream),
            Route("/live/run/{run_id}", self._stream),
            Route("/live/name/{name}", self._stream),
            Route("/live.js", self._live_script),
        ]
        missing = {404: self._missing}
        app = Starlette(routes=routes, exception_handlers=missing)
        return Guard(app, token=token, cookie=cookie, host=host, refuse=self._refuse)

    def _show(self, request: Request) -> Show:
        if run_id := request.path_params.get("run_id"):
            return partial(self._pages.run, run_id)
        if name := request.path_params.get("name"):
            return partial(self._pages.name, name)
        return self._pages.overview

    async def _page(self, request: Request) -> Response:
        try:
            shown = await anyio.to_thread.run_sync(self._show(request))
        except RunNotFound:
            return self._missing(request, None)
        except (DamagedRecord, UsageError) as error:
            return HTMLResponse(self._pages.refusal("This run cannot be read", str(error)), 404)
        return StreamingResponse(self._drawn(shown, request.url.path), media_type="text/html")

    async def _drawn(self, shown: Shown, path: str) -> AsyncIterator[str]:
        """Yield a page: its frame at once, the rest when it is drawn."""
        before, after = self._pages.frame(shown, f"/live{path}")
        yield before
        yield await anyio.to_thread.run_sync(shown.draw) + after

    async def _stream(self, request: Request) -> Response:
        return StreamingResponse(self._changes(self._show(request)), media_type="text/event-stream")

    async def _changes(self, show: Show) -> AsyncIterator[str]:
        """Yield what a page shows as server-sent events, each time that it has become another."""
        closing = self._closing()
        last, said_at = "", time.monotonic()
        while not closing.is_set():
            began = time.monotonic()
            try:
                shown = await anyio.to_thread.run_sync(show)
                parts = await anyio.to_thread.run_sync(shown.draw)
            except (RunNotFound, DamagedRecord, UsageError):
                yield "event: end\ndata: null\n\n"
                return
            now = time.monotonic()
            if parts != last:
                last, said_at = parts, now
                yield f"data: {json.dumps({'title': shown.title, 'parts': last})}\n\n"
            elif now - said_at > STILL_S:
                said_at = now
                yield ": still here\n\n"
            if not shown.goes_on:
                yield "event: end\ndata: null\n\n"
                return
            with anyio.move_on_after(max(EVERY_S, (now - began) / SHARE)):
                await closing.wait()

    async def _live_script(self, _request: Request) -> Response:
        return Response(self._script, media_type="text/javascript")

    def _missing(self, _request: Request, _error: Exception | None) -> Response:
        said = ["There is no such run. ", tag("a", "All pipelines", href="/")]
        return HTMLResponse(self._pages.refusal("Not found", said), 404)

    def _refuse(self, why: str) -> Response:
        return HTMLResponse(self._pages.refusal("Not open", f"{why[0].upper()}{why[1:]}."), 403)
