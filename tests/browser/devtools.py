"""A headless Chromium, spoken to over two pipes: its DevTools protocol, without a library and without a port.

Everything that a page asks for and everything that it complains of is kept (`Page.requests`, `Page.complaints`).
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.servers.chromium import Chromium

SECONDS = 40.0
"""What a browser may take to answer."""
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--no-default-browser-check", "--metrics-recording-only", "--mute-audio", "--remote-debugging-pipe",
)  # fmt: skip

START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Chromium takes the descriptors 3 and 4. (A shell cannot pass on greater ones than 9.)"""

Message = dict[str, Any]


class BrowserError(Exception):
    """The browser refused, failed, or did not answer."""


class Browser:
    """One process of Chromium with a profile of its own. Use as a context manager."""

    def __init__(self, chromium: Chromium) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        to_read, self._writing = os.pipe()
        self._reading, to_write = os.pipe()
        words = [chromium.program, *FLAGS, f"--user-data-dir={self._folder.name}", "about:blank"]
        # In a session of its own: it has many children, and the terminal's Ctrl-C is not meant for them.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", START, str(to_read), str(to_write), *words],
            pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=chromium.environment, start_new_session=True,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._rest = b""
        self._number = 0
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        os.close(self._writing)  # a browser whose pipe has gone ends
        try:
            self._process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()
        os.close(self._reading)
        self._folder.cleanup()

    def page(self, *, width: int = 1200, height: int = 900, dark: bool = False, scripts: bool = True) -> Page:
        """Open a page of this size, in a context of its own: no cookies of another."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.look(width=width, height=height, dark=dark)
        page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        return page

    def call(self, method: str, session: str = "", **parameters: Any) -> Message:
        """Ask for something, and return the answer."""
        self._number += 1
        message: Message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        answer = self.read_until(lambda each: each.get("id") == message["id"])
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        result: Message = answer["result"]
        return result

    def read_until(self, wanted: Callable[[Message], bool], seconds: float = SECONDS) -> Message:
        """Return the first message that is wanted; every event on the way goes to its page."""
        limit = time.monotonic() + seconds
        while True:
            while b"\0" in self._rest:
                line, self._rest = self._rest.split(b"\0", 1)
                message: Message = json.loads(line)
                if page := self._pages.get(message.get("sessionId", "")):
                    page.hear(message)
                if wanted(message):
                    return message
            if not select.select([self._reading], [], [], max(0.0, limit - time.monotonic()))[0]:
                raise BrowserError(f"no answer within {seconds:.0f} s")
            part = os.read(self._reading, 1 << 20)
            if not part:
                raise BrowserError(f"the browser ended with {self._process.wait()}")
            self._rest += part


class Page:
    """One tab. `requests`: addresses that were asked for; `complaints`: errors and warnings of the console."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **parameters: Any) -> Message:
        """Ask for something of this page."""
        return self._browser.call(method, self._session, **parameters)

    def look(self, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Set the size in pixels, and whether the system is dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Go to an address, and wait until everything is loaded."""
        answer = self.call("Page.navigate", url=address)
        if answer.get("errorText"):
            raise BrowserError(f"{address}: {answer['errorText']}")
        self.wait_for("Page.loadEventFired")

    def wait_for(self, event: str, wanted: Callable[[Message], bool] = lambda _: True) -> Message:
        """Wait for an event of this page, and return its parameters."""
        message = self._browser.read_until(
            lambda each: (
                each.get("sessionId") == self._session
                and each.get("method") == event
                and wanted(each["params"])
            )
        )
        parameters: Message = message["params"]
        return parameters

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page; of a promise, what it comes to."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def screenshot(self, file: Path, *, whole: bool = True) -> None:
        """Write what is seen, or the whole page, as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))

    def hear(self, message: Message) -> None:
        """Keep what is to be known of an event."""
        parameters = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{parameters['entry']['source']}: {parameters['entry']['text']}")
