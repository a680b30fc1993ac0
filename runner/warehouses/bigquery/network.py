"""What is wrong with the network, in one sentence: requests and urllib3 say it in several, with pools and addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3 import exceptions as urllib3_errors

_PORTS = {"http": 80, "https": 443}
_NOT_REACHED = (
    requests.exceptions.ConnectTimeout,
    requests.exceptions.ProxyError,
    requests.exceptions.SSLError,
    urllib3_errors.NewConnectionError,
)


def network_message(error: BaseException) -> str:
    """Return which host and port could not be reached, or gave no whole answer, and why; "" for an error that is not
    about the network.
    """
    found = list(_behind(error))
    if not any(isinstance(item, requests.RequestException) for item in found):
        return ""
    reached = not any(isinstance(item, _NOT_REACHED) for item in found)
    return f"{'no whole answer from' if reached else 'cannot reach'} {_place(found)}: {_reason(found)}"


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it wraps, the outermost first."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and not any(item is other for other in seen):
            seen.append(item)
            yield item
            waiting += [getattr(item, "reason", None), item.__cause__, *item.args]


def _place(found: list[BaseException]) -> str:
    """Return `host:port`, from the request or, where the error does not know it, the pool of connections."""
    for item in found:
        request, pool = getattr(item, "request", None), getattr(item, "pool", None)
        if request is not None and request.url:
            url = urlsplit(request.url)
            return _address(str(url.hostname), url.port or _PORTS.get(url.scheme))
        if pool is not None:
            return _address(pool.host, pool.port)
    return "the service"


def _address(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(found: list[BaseException]) -> str:
    """Return what the system says, or else the innermost error."""
    for item in found:
        if isinstance(item, OSError) and item.strerror:
            return item.strerror
    if any(isinstance(item, requests.Timeout) for item in found):
        return "timed out"
    return str(found[-1]) or type(found[-1]).__name__
