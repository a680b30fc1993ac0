"""A BigQuery that answers for real, on loopback: a project for each test, faults of one project, what it was asked.

`python -m tests.servers.bigquery` starts one for trying things by hand, and says how a project reaches it.

It is local-bigquery (REST and Storage Read API) with the changes of `bigquery_launcher.py`. A project comes to be when
something is made in it. What it does not do as the service does: bytes and slots are 0 unless a `JobFault` has figures;
clustering and partitioning are not checked; of two transactions on one row the loser gets "Failed to commit".
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.servers import dies_with_parent
from tests.servers.bigquery_venv import LAUNCHER, emulator_python
from tests.servers.places import free_port, new_folder

if TYPE_CHECKING:
    from google.cloud import bigquery

Die = Literal["", "before", "after"]


@dataclass(frozen=True)
class AnswerFault:
    """A fault of HTTP answers. What it meets: `method`, and `contains` in "PATH?QUERY BODY" (the body as JSON).

    `skip`: how many it lets pass first; `times`: how many it spoils, None for all.
    `delay`: seconds before anything is done. Then an error of `status`, with `reason` and `message`, instead of the
    work, or with `after` once the work is done. `cut`: half of the true answer, and the connection is closed.
    `die`: the server is killed, before the work or after it. `status` 0 and nothing else: the true answer, late.
    """

    status: int = 0
    reason: str = "backendError"
    message: str = "injected"
    method: str = ""
    contains: str = ""
    skip: int = 0
    times: int | None = 1
    delay: float = 0
    after: bool = False
    cut: bool = False
    die: Die = ""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Figures:
    """What a query is told to have cost; more than its `maximum_bytes_billed`, and it fails."""

    bytes_processed: int = 0
    bytes_billed: int = 0
    slot_ms: int = 0
    cache_hit: bool = False


@dataclass(frozen=True)
class JobFault:
    """A fault of jobs, while they run. What it meets: `type` (query, load, copy, extract), and `contains` in the SQL.

    (Of others than queries: in the configuration as JSON.) `skip` and `times` as for answers. `delay`: seconds that the
    job takes longer; it can be cancelled. `reason`: it fails so, without having done anything. `die`: the server is
    killed, before the work or after it was recorded. `figures`: what it is told to have cost; no fault at all.
    """

    reason: str = ""
    message: str = "injected"
    type: str = ""
    contains: str = ""
    skip: int = 0
    times: int | None = 1
    delay: float = 0
    die: Die = ""
    figures: Figures | None = None


@dataclass(frozen=True)
class StreamFault:
    """A fault of the Storage Read API. `call`: CreateReadSession or ReadRows; `code`: of gRPC, as UNAVAILABLE.

    Of ReadRows, after so many `messages`. `delay`: seconds before it; without `code` that is all.
    """

    code: str = ""
    message: str = "injected"
    call: str = "ReadRows"
    contains: str = ""
    messages: int = 0
    skip: int = 0
    times: int | None = 1
    delay: float = 0


Fault = AnswerFault | JobFault | StreamFault


@dataclass(frozen=True)
class BigQueryServer:
    """A server that runs. `rest`: the address for clients (`api_endpoint`); `grpc`: HOST:PORT of the Storage API."""

    rest: str
    grpc: str
    folder: Path

    @contextmanager
    def project(self) -> Iterator[BigQueryProject]:
        """A project of its own, removed at the end."""
        project = BigQueryProject(self, f"t-{uuid.uuid4().hex[:12]}")
        try:
            yield project
        finally:
            project.remove()

    def ask(self, method: str, path: str, body: Any = None, seconds: float = 30) -> Any:
        """Send a request of the test's own, and return the answer's JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.rest}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode(errors="replace")[:2000])
            raise

    def log(self) -> str:
        """Return what the server wrote."""
        return (self.folder / "log").read_text(errors="replace")


@dataclass(frozen=True)
class BigQueryProject:
    """A project. Its `name` is in the path of every request, so faults and notes are its alone."""

    server: BigQueryServer
    name: str

    @contextmanager
    def client(self, **more: Any) -> Iterator[bigquery.Client]:
        """Open a client of the test's own; its requests are noted as others are."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        options = {"api_endpoint": self.server.rest}
        credentials = AnonymousCredentials()
        client = bigquery.Client(self.name, credentials=credentials, client_options=options, **more)
        with closing(client):
            yield client

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement of the test's own, and return its rows; it is noted as others are."""
        with self.client() as client:
            return [tuple(row.values()) for row in client.query_and_wait(sql)]

    def fail(self, *faults: Fault) -> None:
        """Set the faults of this project; they replace those there were."""
        self.server.ask("PUT", f"/_test/{self.name}/faults", [_written(fault) for fault in faults])

    def heal(self) -> None:
        """Forget the faults."""
        self.fail()

    def met(self) -> list[int]:
        """Return how often each of the faults was met, in their order."""
        return [fault["met"] for fault in self.server.ask("GET", f"/_test/{self.name}/faults")]

    def requests(self) -> list[dict[str, Any]]:
        """Return what the server was asked in this project, oldest first.

        Keys: method, path, query, headers, body (JSON; of an upload, what describes it), bytes, status (None while it
        is not answered). Calls of the Storage API have method RPC and the call's name as path.
        """
        noted: list[dict[str, Any]] = self.server.ask("GET", f"/_test/{self.name}/requests")
        return noted

    def copy(self, source: BigQueryProject) -> None:
        """Have the datasets and empty tables of another project; this one has nothing so far."""
        self.server.ask("POST", f"/_test/{self.name}/copy/{source.name}")

    def forget_requests(self) -> None:
        """Begin the notes anew."""
        self.server.ask("DELETE", f"/_test/{self.name}/requests")

    def submitted(self) -> list[dict[str, Any]]:
        """Return the jobs that clients asked for, as they wrote them: jobReference, configuration with labels."""
        return [
            one["body"]
            for one in self.requests()
            if one["method"] == "POST" and one["path"].endswith("/jobs")
        ]

    def jobs(self, state: str = "") -> list[dict[str, Any]]:
        """Return the jobs that there are, as the service does, oldest first. `state`: pending, running or done."""
        wanted = f"&stateFilter={state}" if state else ""
        path = f"/bigquery/v2/projects/{self.name}/jobs?maxResults=100000&projection=full{wanted}"
        found: list[dict[str, Any]] = self.server.ask("GET", path).get("jobs", [])
        return sorted(found, key=lambda job: int(job["statistics"]["creationTime"]))

    def statements(self) -> list[str]:
        """Return the SQL of the query jobs that there are, oldest first; a script is one."""
        configurations = [job["configuration"] for job in self.jobs()]
        return [one["query"]["query"] for one in configurations if "query" in one]

    def running(self) -> list[str]:
        """Return the ids of the jobs that wait or run at this moment."""
        return [job["jobReference"]["jobId"] for state in ("pending", "running") for job in self.jobs(state)]

    def remove(self) -> None:
        """Cancel its jobs, and remove all of it; nothing if the server is gone."""
        with suppress(ConnectionError, urllib.error.URLError):
            self.server.ask("DELETE", f"/_test/{self.name}")


class BigQueryProcess:
    """A server that this process starts, kills and starts again. `server` is how others reach it."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists, is empty, and is removed by `remove`. Raises `NotToBeHadError`."""
        self._python = emulator_python()
        rest, grpc = free_port(), free_port()
        self.server = BigQueryServer(f"http://127.0.0.1:{rest}", f"127.0.0.1:{grpc}", folder)
        self._arguments = ["--host", "127.0.0.1", "--port", str(rest), "--grpc-port", str(grpc)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start (about 2 s), and wait until it answers. What it held before is there again."""
        folder = self.server.folder
        program: list[str | Path] = [self._python, "-I", LAUNCHER, *self._arguments]
        program += ["--project", "first", "--data-dir", folder / "data", "serve"]
        identity = (os.geteuid(), os.getegid())
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                dies_with_parent.command(signal.SIGKILL, identity, *program), cwd=folder, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the BigQuery emulator does not start: {self.server.log()[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the server (SIGKILL), as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    def wait_until_dead(self, seconds: float = 20) -> None:
        """Wait until a fault has killed it. Raises `subprocess.TimeoutExpired`."""
        if self._process is not None:
            self._process.wait(timeout=seconds)
            self._process = None

    def restart(self) -> None:
        """Kill it if it runs, and start it on the same ports; jobs that ran have failed."""
        self.kill()
        self.start()

    def remove(self) -> None:
        """Kill it, and remove its files."""
        self.kill()
        shutil.rmtree(self.server.folder, ignore_errors=True)

    def description(self) -> dict[str, Any]:
        """Return what another process makes a `BigQueryServer` of."""
        return {"rest": self.server.rest, "grpc": self.server.grpc, "folder": str(self.server.folder)}

    def _answers(self) -> bool:
        try:
            self.server.ask("GET", "/bigquery/v2/projects/first/datasets", seconds=5)
        except OSError:
            return False
        return True


def _written(fault: Fault) -> dict[str, Any]:
    """Write a fault as the launcher reads it: what the three kinds have in common under common names."""
    content = asdict(fault)
    match fault:
        case AnswerFault():
            return {**content, "kind": "answer", "name": fault.method}
        case StreamFault():
            return {**content, "kind": "stream", "name": fault.call}
    figures = fault.figures and {
        "totalBytesProcessed": str(fault.figures.bytes_processed),
        "totalBytesBilled": str(fault.figures.bytes_billed),
        "totalSlotMs": str(fault.figures.slot_ms),
        "cacheHit": fault.figures.cache_hit,
    }
    return {**content, "kind": "job", "name": fault.type, "figures": figures}


def main() -> None:
    """Start a server, print how it is reached, and keep it until Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    process = BigQueryProcess(new_folder("bq"))
    try:
        process.start()
        for name, value in (("ENDPOINT", process.server.rest), ("STORAGE_ENDPOINT", process.server.grpc)):
            sys.stdout.write(f"export RUN_PIPELINE_WAREHOUSE__{name}={value}\n")
        sys.stdout.flush()
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        process.remove()


if __name__ == "__main__":
    main()
