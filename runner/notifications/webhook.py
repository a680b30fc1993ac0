"""A POST to an address. With the standard library: for one request a client would cost a dependency and a slow import.

Certificates are verified. Redirects are not followed: headers with secrets would go where they lead.
"""

from __future__ import annotations

from http.client import HTTPException
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

if TYPE_CHECKING:
    from email.message import Message

    from runner.settings import NotifySettings

USER_AGENT = "run-pipeline"
MAX_ANSWER = 200


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


def post(receiver: NotifySettings, message_id: str, event: str, body: bytes) -> str:
    """Send `body` (JSON) and return "" when it was taken, else what went wrong. Blocks, for `timeout` per step."""
    assert receiver.url is not None  # noqa: S101 - the model checked it
    headers: dict[str, Any] = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Idempotency-Key": message_id,
        "X-Run-Pipeline-Event": event,
        **{name: value.get_secret_value() for name, value in receiver.headers.items()},
    }
    request = Request(receiver.url.get_secret_value(), data=body, headers=headers, method="POST")  # noqa: S310 - http(s) only, see the model
    try:
        with build_opener(_NoRedirect()).open(request, timeout=receiver.timeout):
            return ""
    except HTTPError as error:
        with error:
            hint = " (redirects are not followed)" if 300 <= error.code < 400 else ""
            answer = error.read(MAX_ANSWER).decode(errors="replace")
        return f"answered {error.code} {error.reason}{hint} {answer}".strip()
    except URLError as error:  # a superclass of HTTPError
        reason = error.reason.strerror if isinstance(error.reason, OSError) else None
        return f"no connection: {reason or error.reason}"
    except (OSError, HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}"
