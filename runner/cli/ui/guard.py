"""Who is answered: a browser of this machine's user that came from here, with the token, and only reads.

Any page in the world may make a browser ask 127.0.0.1. So the name by which we are asked must be ours (another
name may be pointed at this address), a request that another page sent is refused, and without the token,
which only the terminal shows, there is nothing to see. The token comes once in the address, then a cookie has it.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runner.cli.page.document import policy

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
HEADERS = {
    "Content-Security-Policy": policy("script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer."""

Refusal = Callable[[str], Response]


class Guard:
    """Stands before an application.

    `token`: what a browser has to show. `cookie`: the name of its cookie; cookies of one machine are shared by all of
    its ports. `host`: the address that is listened on. `refuse` makes the answer to who is not let in.
    """

    def __init__(self, app: ASGIApp, *, token: str, cookie: str, host: str, refuse: Refusal) -> None:
        self._app = app
        self._token = token
        self._cookie = cookie
        self._loopback = is_loopback(host)
        self._own = host.lower()
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            return
        app = self._turned_away(scope) or self._app

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await app(scope, receive, with_headers)

    def _turned_away(self, scope: Scope) -> Response | None:
        """The answer to who is not let in; None for who is."""
        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD"):
            return Response("only GET is answered\n", 405, {"Allow": "GET, HEAD"}, "text/plain")
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            return Response("asked for by a name that is not served here\n", 421, media_type="text/plain")
        if _is_foreign(headers, host):
            return Response("requests of other pages are not answered\n", 403, media_type="text/plain")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if "token" in query:
            return self._let_in(scope["path"], query)
        if not any(self._fits(value) for value in _cookies(headers, self._cookie)):
            return self._refuse("the address with the token, which the command printed, opens this page")
        return None

    def _let_in(self, path: str, query: dict[str, list[str]]) -> Response:
        """Take the token out of the address, so that neither the history nor a screenshot keeps it."""
        if not self._fits(query.pop("token")[-1]):
            return self._refuse("this token is not, or no longer, the one that the command printed")
        rest = f"?{urlencode(query, doseq=True)}" if query else ""
        # Two slashes in front would be another host.
        response = RedirectResponse("/" + path.lstrip("/\\") + rest, status_code=303)
        response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        return response

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token.encode())

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server: by an address, or by a name that nobody else can point at it."""
        found = _HOST.fullmatch(host)
        if not found:
            return False
        name = found["name"].lower()
        if name in (self._own, "localhost"):
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or not self._loopback


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine only."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether another page sent the request. A link that a person follows may come from anywhere."""
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        return True
    site = headers.get("sec-fetch-site", "none")
    return site not in ("none", "same-origin") and headers.get("sec-fetch-mode") != "navigate"


def _cookies(headers: Headers, name: str) -> list[str]:
    pairs = (part.strip().partition("=") for each in headers.getlist("cookie") for part in each.split(";"))
    return [value for key, _, value in pairs if key == name]
