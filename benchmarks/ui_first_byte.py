"""How soon `ui` answers with a store of 10,000 runs: the first byte of its pages, asked for over HTTP.

    .venv-test/bin/python benchmarks/ui_first_byte.py [FOLDER]

It takes a Python with the extra `ui`, as that of the tests. Required: 100 ms, of the first time and of the median. The
store is `seed_runs.py`'s, in the state folder FOLDER; it is made anew (30 s) unless there is one.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from harness import ROOT, ensure_environment, machine
from seed_runs import seed

RUNS, ROUNDS = 10_000, 15
PAGES = ("/", "/name/orders", "/name/shop", "/name/nightly")
"""The overview, and pages of 30 runs: of 1, 12 and 30 jobs each."""
REQUIRED_MS = 100.0


def main() -> None:
    """Make the store if there is none, ask, print the times."""
    ensure_environment()
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder))


def measure(state: Path) -> None:
    """Start the server on the store in the state folder `state`, and ask it."""
    if not (state / "runs").exists():
        seed(state / "runs", RUNS)
    command = [sys.executable, "-P", "-m", "runner", "ui", "--port", "0", "-o", "json"]
    environment = {**os.environ, "RUN_PIPELINE_STATE_DIR": str(state), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        if not said:
            sys.exit(
                "ui has not started, see above: is this .venv-test/bin/python, after bin/test has made it?"
            )
        url = urlsplit(json.loads(said)["url"])
        cookie = f"run_pipeline_ui_{url.port}={parse_qs(url.query)['token'][0]}"
        print(f"## First byte of ui, a store of {RUNS:,} runs; {machine()}\n")
        print(
            "| page | first byte, first time | first byte | slowest | whole page |\n|---|---:|---:|---:|---:|"
        )
        slowest: list[float] = []
        for page in PAGES:
            asked = [first_and_last_byte_ms(url.port or 0, page, cookie) for _ in range(ROUNDS)]
            times = [first for first, _ in asked]
            figures = (
                times[0],
                statistics.median(times),
                max(times),
                statistics.median(last for _, last in asked),
            )
            print(f"| `{page}` | " + " | ".join(f"{each:.0f} ms" for each in figures) + " |")
            slowest.append(max(figures[:2]))
        server.send_signal(signal.SIGINT)
    verdict = "ok" if max(slowest) <= REQUIRED_MS else "MISSED"
    print(f"\nfirst byte within {REQUIRED_MS:.0f} ms: {verdict}")


def first_and_last_byte_ms(port: int, page: str, cookie: str) -> tuple[float, float]:
    """Return the milliseconds from a request, on a new connection, to the first byte of the page and to its last."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", page, headers={"Cookie": cookie})
    response = connection.getresponse()
    assert response.status == http.HTTPStatus.OK, response.status
    response.read(1)
    first = time.perf_counter() - began
    response.read()
    last = time.perf_counter() - began
    connection.close()
    return first * 1000, last * 1000


if __name__ == "__main__":
    main()
