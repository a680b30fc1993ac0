"""Start the BigQuery emulator local-bigquery, changed where tests need more: `LAUNCHER [local-bigquery's arguments]`.

It runs under the emulator's own Python (3.13 or later), in which neither this project nor pytest is installed.

- DuckLake is loaded from its wheel, and functions of GEOGRAPHY are left out: nothing is downloaded.
- `jobTimeoutMs` and `maximumBytesBilled` are enforced.
- MERGE works in a transaction, with named arguments in its source too.
- Jobs that a killed server left running have failed, as the service would say it.
- `/_test/PROJECT/...` sets faults of one project, tells what it was asked for, and removes it (see `bigquery.py`).
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb


def _load_ducklake_from_its_wheel() -> None:
    """Connections have DuckLake; their time zone is set afterwards, when ICU is there."""
    spec = importlib.util.find_spec("duckdb_extension_ducklake")
    assert spec is not None
    assert spec.origin is not None
    extension = next(Path(spec.origin).parent.rglob("ducklake.duckdb_extension"))
    connect: Any = duckdb.connect

    def connected(*arguments: Any, config: dict[str, Any] | None = None, **more: Any) -> Any:
        config = {"threads": 1} | dict(config or {})
        zone = config.pop("TimeZone", None)
        connection = connect(*arguments, config=config, **more)
        connection.execute(f"LOAD '{extension}'")
        if zone:
            connection.execute(f"SET TimeZone='{zone}'")
        return connection

    duckdb.connect = connected


_load_ducklake_from_its_wheel()

import grpc  # noqa: E402
from local_bigquery import app, cli, errors  # noqa: E402
from local_bigquery.engine import database  # noqa: E402
from local_bigquery.grpc import read  # noqa: E402
from local_bigquery.jobs import query, runner, store  # noqa: E402
from local_bigquery.settings import settings  # noqa: E402
from local_bigquery.sql import dialect, rules  # noqa: E402
from sqlglot import exp  # noqa: E402

sys.path.append(str(Path(__file__).parents[2]))

from tests.servers import bigquery_quicker as quicker  # noqa: E402

Fault = dict[str, Any]
"""A fault as `bigquery.py` writes it: `answer`, `job` or `stream` under `kind`."""

# Reasons that the emulator never has: https://cloud.google.com/bigquery/docs/error-messages
errors.STATUSES |= {
    "rateLimitExceeded": (403, "PERMISSION_DENIED"),
    "quotaExceeded": (403, "PERMISSION_DENIED"),
    "backendError": (503, "UNAVAILABLE"),
    "internalError": (500, "INTERNAL"),
    "jobRateLimitExceeded": (400, "RESOURCE_EXHAUSTED"),
    "jobBackendError": (400, "INTERNAL"),
    "jobInternalError": (400, "INTERNAL"),
    "bytesBilledLimitExceeded": (400, "RESOURCE_EXHAUSTED"),
    "resourcesExceeded": (400, "RESOURCE_EXHAUSTED"),
    "responseTooLarge": (403, "PERMISSION_DENIED"),
    "billingNotEnabled": (403, "PERMISSION_DENIED"),
    "tableUnavailable": (400, "UNAVAILABLE"),
}

_TICK = 0.01
MESSAGE_ROWS = 4096
"""Rows of one answer of the Storage Read API."""
_lock = threading.Lock()
_faults: dict[str, list[Fault]] = {}
_requests: dict[str, list[dict[str, Any]]] = {}
_timed_out: dict[tuple[str, str], int] = {}
_detacher = quicker.Detacher()


def _take(project: str, kind: str, name: str, text: str) -> Fault | None:
    """Return the first fault of a project that meets this, and count it. `name`: the method, job type or call."""
    with _lock:
        for fault in _faults.get(project, []):
            meets = fault["kind"] == kind and fault["name"] in ("", name) and fault["contains"] in text
            if not meets or fault["times"] == 0:
                continue
            if fault["skip"]:
                fault["skip"] -= 1
                continue
            if fault["times"] is not None:
                fault["times"] -= 1
            fault["met"] += 1
            return fault
    return None


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- jobs ---------------------------------------------------------------------------------------------------------


def _submit_with_limit(submit: Any) -> Any:
    def submitted(project: str, job_id: str, configuration: Any, *more: Any, **options: Any) -> Any:
        job = submit(project, job_id, configuration, *more, **options)
        limit = int(configuration.jobTimeoutMs or 0)
        if limit > 0 and job.jobReference.jobId:
            timer = threading.Timer(limit / 1000, _end_job, (project, job_id, limit))
            timer.daemon = True
            timer.start()
        return job

    return submitted


def _submitted(project: str, job_id: str) -> Any:
    """Wait for a job that is short, as the emulator does; tell of one that a fault makes long at once."""
    job = runner.wait(project, job_id, 50)  # ms
    running = runner._running.get((project, job_id))
    if running is None or getattr(running, "fault", {}).get("delay"):
        return job
    return runner.wait(project, job_id, runner.SUBMIT_WAIT_MS - 50)


def _end_job(project: str, job_id: str, limit: int) -> None:
    if (project, job_id) in runner._running:
        _timed_out[project, job_id] = limit
        runner.cancel(project, job_id)


def _text_of(job: Any, job_type: str) -> str:
    """Return a query's SQL; of another job, its configuration as JSON."""
    if job_type == "query":
        return job.configuration.query.query or ""
    return json.dumps(job.configuration.dump())


def _execute_with_faults(execute: Any) -> Any:
    """Wait, die or fail as a fault says; the work is a whole job, so that what it recorded is as the service would."""

    def executed(job: Any, job_type: str, session: Any, running: Any, upload: str | None) -> None:
        fault = _take(job.jobReference.projectId, "job", job_type, _text_of(job, job_type)) or {}
        running.fault = fault
        if fault.get("die") == "before":
            _die()
        execute(job, job_type, session, running, upload)
        if fault.get("die") == "after":
            _die()

    return executed


def _work_with_faults(work: Any) -> Any:
    """Wrap what a job does, in the middle of its execution: `(job, …, running, …)`."""

    def worked(job: Any, *more: Any) -> Any:
        running = next(one for one in more if isinstance(one, runner.Running))
        fault = running.fault
        end = time.monotonic() + fault.get("delay", 0)
        while time.monotonic() < end:
            if running.cancelled:
                raise duckdb.InterruptException
            time.sleep(_TICK)
        if fault.get("reason"):
            raise errors.BigQueryError(fault["reason"], fault["message"])
        figures = fault.get("figures")
        query = job.configuration.query
        limit = query.maximumBytesBilled if query else None
        if figures and limit and int(figures["totalBytesBilled"]) > int(limit):
            needed = figures["totalBytesBilled"]
            message = f"Query exceeded limit for bytes billed: {limit}. {needed} or higher required."
            raise errors.BigQueryError("bytesBilledLimitExceeded", message)
        result = work(job, *more)
        if figures and result.query:
            result = result.replace(query=result.query.replace(**figures))
        return result

    return worked


def _done_in_time(done: Any) -> Any:
    """Tell a job that its own limit has ended from one that was cancelled."""

    def finished(job: Any, statistics: Any, error: Any = None) -> Any:
        limit = _timed_out.pop((job.jobReference.projectId, job.jobReference.jobId), None)
        if limit is not None and error is not None and error.reason == "stopped":
            error.message = f"Job execution was cancelled: Job timed out after {limit / 1000:g} sec"
        figures = statistics.query.dump() if statistics.query else {}
        finished_job = done(job, statistics, error)
        more = {name: figures[name] for name in ("totalBytesProcessed", "totalSlotMs") if name in figures}
        return (
            finished_job.replace(statistics=finished_job.statistics.replace(**more)) if more else finished_job
        )

    return finished


def _leave_out_geography() -> None:
    """Its functions need an extension that DuckDB would fetch from its own host."""
    dialect.FUNCTIONS[:] = [path for path in dialect.FUNCTIONS if path.name != "geography.sql"]


def _fail_jobs_of_a_killed_server(jobs: quicker.JobStore) -> None:
    for job in jobs.unfinished():
        error = errors.BigQueryError("backendError", "The job encountered an internal error during execution")
        store.save(runner._done(job, job.statistics, error))


runner.submit = _submit_with_limit(runner.submit)
runner.submitted = _submitted
runner._execute = _execute_with_faults(runner._execute)
runner._query = _work_with_faults(runner._query)
runner._handle = _work_with_faults(runner._handle)
runner._done = _done_in_time(runner._done)


# --- Storage Read API -----------------------------------------------------------------------------------------------


def _note_call(project: str, name: str, body: dict[str, Any]) -> Fault:
    _requests.setdefault(project, []).append({"method": "RPC", "path": name, "query": "", "body": body})
    return _take(project, "stream", name, json.dumps(body)) or {}


def _fail_stream(fault: Fault) -> None:
    time.sleep(fault.get("delay", 0))
    if fault.get("code"):
        raise read.StorageError(grpc.StatusCode[fault["code"]], fault["message"])


def _create_session(request: Any, create: Any = read.create_session) -> Any:
    wanted = request.read_session
    body = {"table": wanted.table, "max_stream_count": request.max_stream_count}
    _fail_stream(_note_call(wanted.table.split("/")[1], "CreateReadSession", body))
    return create(request)


def _read_rows(request: Any, read_rows: Any = read.read_rows) -> Any:
    body = {"read_stream": request.read_stream, "offset": request.offset}
    fault = _note_call(request.read_stream.split("/")[1], "ReadRows", body)
    for number, message in enumerate(read_rows(request)):
        if fault and number == fault["messages"]:
            _fail_stream(fault)
        yield message


class _InMessages:
    """A cursor, or a relation of it, whose rows come as Arrow in messages as small as the service's."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def sql(self, text: str) -> _InMessages:
        return _InMessages(self._wrapped.sql(text))

    def to_arrow_reader(self) -> Any:
        return self._wrapped.to_arrow_reader(MESSAGE_ROWS)


class _Messages:
    """The emulator's module `database`, for those who read."""

    def __getattr__(self, name: str) -> Any:
        return getattr(database, name)

    @contextmanager
    def cursor(self) -> Iterator[_InMessages]:
        with database.cursor() as cursor:
            yield _InMessages(cursor)


read.create_session, read.read_rows = _create_session, _read_rows
read.database = _Messages()


# --- HTTP -----------------------------------------------------------------------------------------------------------


class Desk:
    """Notes requests, applies faults to answers, and answers `/_test/`."""

    def __init__(self, server: Any, jobs: quicker.JobStore) -> None:
        self._server = server
        self._jobs = jobs

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._server(scope, receive, send)
            return
        _detacher.enter()
        try:
            await self._answer(scope, receive, send)
        finally:
            _detacher.leave()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body = await _whole_body(receive)
        parts = scope["path"].split("/")
        if parts[1] == "_test":
            result = await asyncio.to_thread(
                _administer, scope["method"], parts[2], parts[3:], body, self._jobs
            )
            await _answer(send, 200, result)
            return
        project = parts[parts.index("projects") + 1] if "projects" in parts[:-1] else ""
        noted = _noted(scope, body)
        _requests.setdefault(project, []).append(noted)
        text = f"{scope['path']}?{scope['query_string'].decode()} {json.dumps(noted['body'])}"
        fault = _take(project, "answer", scope["method"], text)
        await self._serve(scope, _replayed(body, receive), _noting(send, noted), fault)

    async def _serve(self, scope: Any, receive: Any, send: Any, fault: Fault | None) -> None:
        if fault is None:
            await self._server(scope, receive, send)
            return
        await asyncio.sleep(fault["delay"])
        if fault["die"] == "before":
            _die()
        answer: list[Any] = []
        if fault["after"] or fault["cut"] or fault["die"] or not fault["status"]:

            async def keep(message: Any) -> None:
                answer.append(message)

            await self._server(scope, receive, keep)
        if fault["die"]:
            _die()
        if fault["cut"]:
            await _cut(send, answer)
        elif fault["status"]:
            await _answer(send, fault["status"], _error(fault), fault["headers"])
        else:
            for message in answer:
                await send(message)


async def _whole_body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replayed(body: bytes, receive: Any) -> Any:
    messages = iter([{"type": "http.request", "body": body}])

    async def replayed() -> Any:
        return next(messages, None) or await receive()

    return replayed


def _noted(scope: Any, body: bytes) -> dict[str, Any]:
    """Return a request as tests see it; of an upload in two parts, the first, which describes it."""
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    described = body
    if headers.get("content-type", "").startswith("multipart/related"):
        described = body.split(b"\r\n\r\n", 1)[-1].split(b"\r\n--", 1)[0]
    try:
        content = json.loads(described) if described else None
    except ValueError:
        content = None
    return {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "headers": headers,
        "body": content,
        "bytes": len(body),
        "status": None,
    }


def _noting(send: Any, noted: dict[str, Any]) -> Any:
    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            noted["status"] = message["status"]
        await send(message)

    return sent


async def _answer(send: Any, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
    data = json.dumps(content).encode()
    given = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
    coded = [(name.lower().encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": coded})
    await send({"type": "http.response.body", "body": data})


async def _cut(send: Any, answer: list[Any]) -> None:
    """Send half of an answer; the server then closes the connection, since more was promised."""
    start, *parts = answer
    body = b"".join(part.get("body", b"") for part in parts)
    kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    promised = [*kept, (b"content-length", str(len(body) + 1).encode())]
    await send({**start, "headers": promised})
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


def _error(fault: Fault) -> dict[str, Any]:
    one = {"reason": fault["reason"], "domain": "global", "message": fault["message"]}
    return {"error": {"code": fault["status"], "message": fault["message"], "errors": [one]}}


def _administer(method: str, project: str, rest: list[str], body: bytes, jobs: quicker.JobStore) -> Any:
    """Answer `/_test/PROJECT[/faults|/requests|/copy/SOURCE]`."""
    if rest == ["faults"]:
        with _lock:
            if method == "PUT":
                _faults[project] = [{**fault, "met": 0} for fault in json.loads(body)]
            return _faults.get(project, [])
    if rest == ["requests"]:
        return _requests.pop(project, []) if method == "DELETE" else _requests.get(project, [])
    if rest[:1] == ["copy"]:
        return quicker.copy_project(rest[1], project)
    if method == "DELETE" and not rest:
        return _remove(project, jobs)
    return {"error": f"there is no {method} of {rest}"}


def _remove(project: str, jobs: quicker.JobStore) -> dict[str, int]:
    """Cancel a project's jobs and forget all of it, so that the next ones do not have to look through it."""
    for one, job_id in list(runner._running):
        if one == project:
            runner.cancel(one, job_id)
    with _lock:
        _faults.pop(project, None)
        requests = _requests.pop(project, [])
    jobs.forget(project)
    results = [name for name, _, _ in database.objects("emulator", "_results")]
    forgotten = [
        f"DROP TABLE emulator._results.{database.quote(name)}"
        for name in results
        if name.startswith(f"{project}:")
    ]
    forgotten += [
        f"DELETE FROM emulator.{table} WHERE project_id = '{project}'" for table in database.RESOURCES
    ]
    with database.cursor() as cursor:
        cursor.execute(";".join(["BEGIN", *forgotten, "COMMIT"]))
    _detacher.add(project)
    for path in settings.data_dir.glob(f"{project}*"):
        _delete(path)
    return {"requests": len(requests)}


def _delete(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# --- MERGE ---------------------------------------------------------------------------------------------------------


_TEMPORARY = "SELECT table_name FROM duckdb_tables() WHERE temporary"


class _Cursor:
    """A cursor that knows whether it is in a transaction: DuckDB tells no more than that a second BEGIN is refused, and
    aborts the first one for it. The emulator's MERGE begins a transaction of its own, unless that is refused.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._began = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def sql(self, sql: str, **values: Any) -> Any:
        if sql == _TEMPORARY and not self._began:
            sql = "SELECT NULL::VARCHAR WHERE FALSE"  # what a new cursor has
        return self._cursor.sql(sql, **values)

    def execute(self, sql: str, *values: Any) -> Any:
        word = sql[:8].split(" ")[0].rstrip(";").upper()
        if word == "BEGIN" and self._began:
            raise duckdb.TransactionException("there is a transaction already")
        if word in ("BEGIN", "COMMIT", "ROLLBACK"):
            self._began = word == "BEGIN"
        return self._cursor.execute(sql, *values)


def _with_known_transactions(execute: Any) -> Any:
    def executed(cursor: Any, *more: Any, **options: Any) -> Any:
        return execute(_Cursor(cursor), *more, **options)

    return executed


def _name_no_argument(node: Any, context: Any) -> Any:
    """Write `parse_json(x, wide_number_mode => 'round')` as DuckDB's macro takes it, also where a text of the
    emulator's own is parsed again.
    """
    if isinstance(node, exp.Anonymous) and node.name.lower() == "parse_json":
        node.set(
            "expressions", [one.expression if isinstance(one, exp.Kwarg) else one for one in node.expressions]
        )
    return node


query.execute = _with_known_transactions(query.execute)
rules.NODE_RULES.append(_name_no_argument)


def main() -> None:
    """Serve, without a line for each request."""
    import uvicorn

    _leave_out_geography()
    quicker.look_for_no_pandas()
    quicker.ask_for_tables_by_name()
    quicker.merge_at_once()
    quicker.walk_faster()
    quicker.leave_out_types_of_the_catalog()
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)
    serve = uvicorn.run

    def serve_quietly(server: Any, **options: Any) -> None:
        jobs = quicker.keep_jobs_in_memory()
        _fail_jobs_of_a_killed_server(jobs)
        app.add_middleware(Desk, jobs=jobs)
        serve(server, log_level="warning", access_log=False, **options)

    uvicorn.run = serve_quietly  # type: ignore[assignment]  # takes the options of its one caller
    cli.main(sys.argv[1:])


if __name__ == "__main__":
    main()
