"""Four jobs that read 50 pages of an HTTP API each: 4 workers against 1.

    python benchmarks/http_pages.py

Each page takes the server 200 ms and holds 100 records; every job writes its 5,000 rows. Required: with 4 workers at
least 3.8 times as fast as with 1. The interpreter that runs this needs the extra `http`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from urllib.parse import parse_qs, urlsplit

from harness import ROOT, machine, project

JOBS, PAGES, RECORDS, WAIT = 4, 50, 100, 0.2
RUNS = 3
MUST = 3.8

_TABLES = """
dataset: raw
tables:
""" + "".join(
    f"""
  - table: items_{number}
    columns:
      - {{name: id, type: int64, required: true}}
      - {{name: name, type: string}}
      - {{name: updated_at, type: timestamp}}
    key: [id]
"""
    for number in range(JOBS)
)
_JOB = """
job_id: read_{number}
steps:
  - step_id: pull
    op: extract
    source: http
    connection: api
    with:
      path: items
      pagination: cursor
      cursor_path: next
      cursor_param: cursor
      timestamps: [updated_at]
  - step_id: write
    op: write
    dataset: raw
    table: items_{number}
"""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer with a page, after its wait."""
        page = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
        first = page * RECORDS
        items = [
            {"id": first + n, "name": f"item {first + n}", "updated_at": "2026-03-01T10:00:00Z"}
            for n in range(RECORDS)
        ]
        body = json.dumps({"items": items, "next": page + 1 if page + 1 < PAGES else None}).encode()
        time.sleep(WAIT)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def _server() -> Iterator[str]:
    """Serve on loopback; give the base URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _configs(url: str) -> dict[str, str]:
    jobs = [f"read_{number}" for number in range(JOBS)]
    return {
        "configs/runner.toml": f'[connections.api]\nbase_url = "{url}"\n',
        "configs/tables/raw.yaml": _TABLES,
        "configs/pipelines/api.yaml": (
            f"pipeline_id: api\nstages:\n  - name: all\n    jobs: [{', '.join(jobs)}]\n"
        ),
        **{f"configs/jobs/{job}.yaml": _JOB.format(number=number) for number, job in enumerate(jobs)},
    }


def _run(folder: Path, workers: int) -> tuple[float, float]:
    """Run once into a new warehouse; return the seconds of the run, and of the whole process."""
    for file in (folder / "var").glob("warehouse.duckdb*"):
        file.unlink()
    started = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-P", str(ROOT / "runner" / "__main__.py"), "--project", str(folder), "-q", "-o", "json",
         "api", "--max-workers", str(workers)],
        check=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    process = time.perf_counter() - started
    run = json.loads(output)
    assert (run["status"], run["rows_written"]) == ("success", JOBS * PAGES * RECORDS)
    return run["duration_ms"] / 1000, process


def main() -> None:
    """Measure in turn, print figures and the verdict."""
    alone: list[tuple[float, float]] = []
    together: list[tuple[float, float]] = []
    with _server() as url, project(_configs(url), {}) as folder:
        for _ in range(RUNS):
            alone.append(_run(folder, 1))
            together.append(_run(folder, JOBS))
    print(f"## {JOBS} jobs of {PAGES} pages with {WAIT * 1000:g} ms each; {machine()}, {RUNS} runs in turn\n")
    print("| workers | run s, median (min to max) | process s, median |\n|---|---|---|")
    for workers, measured in ((1, alone), (JOBS, together)):
        runs = [run for run, _ in measured]
        whole = median(process for _, process in measured)
        print(f"| {workers} | {median(runs):.2f} ({min(runs):.2f} to {max(runs):.2f}) | {whole:.2f} |")
    ratio = median(one[0] / four[0] for one, four in zip(alone, together, strict=True))
    word = "meets" if ratio >= MUST else "MISSES"
    print(f"\n- the servers' waits alone: {PAGES * WAIT:g} s a job")
    print(f"- speed-up: {ratio:.2f}; must {MUST}: {word} the requirement")


if __name__ == "__main__":
    main()
