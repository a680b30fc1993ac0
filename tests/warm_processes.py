"""Processes that start fast: forks of one that has imported everything that commands need.

Documents and the tests of the command line start `run-pipeline` and `python` hundreds of times; most of the time of
each would go into imports. Here both are small scripts that hand their arguments, folder, environment and streams to
a server, which forks: the child does what the program would do, in a process of its own. Signals do not reach it.

    python warm_processes.py SOCKET       the server, until its stdin ends
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_REQUEST = 1_000_000
LIMIT_S = 60
"""A program that takes longer is killed."""

_CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(request).to_bytes(4)], [0, 1, 2])
server.sendall(request)
code = int(server.recv(10) or 99)
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextmanager
def warm_programs(folder: Path) -> Iterator[Path]:
    """Make the programs `run-pipeline` and `python` in a folder, which is returned, and serve them until the end."""
    folder.mkdir()
    address = str(folder / "socket")
    for name in ("run-pipeline", "python"):
        (folder / name).write_text(_CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
        (folder / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == b"ready\n"
        yield folder
    finally:
        server.kill()  # who is served waits for a process of its own; an end of its own could wait for anything
        server.wait()
        server.stdin.close()
        server.stdout.close()


def serve(address: str) -> None:
    """Fork for each request, until stdin ends."""
    import select

    sys.path.insert(0, str(ROOT))
    _import_everything()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            readable, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in readable:
                return
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:  # programs of one pipe wait for each other: each is waited for by itself
                    try:
                        listener.close()
                        _answer(connection)
                    finally:
                        os._exit(0)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    continue


def _import_everything() -> None:
    import importlib

    from runner.cli.app import COMMANDS

    for info in COMMANDS.values():
        importlib.import_module(info.module)
    for name in (
        "anyio._backends._asyncio", "dateutil.relativedelta", "duckdb", "pyarrow", "pyarrow.compute", "pyarrow.ipc",
        "pydantic", "structlog", "tomllib", "ulid", "yaml",
        "runner.cli.execution", "runner.cli.failures", "runner.cli.loop", "runner.loader.checks",
        "runner.operations.doctor",
        "runner.cli.progress.live", "runner.operations.plan", "runner.operations.rescore", "runner.pipeline_runner",
        "runner.pipeline_runner.notifying", "runner.run_store",
        "runner.steps.call", "runner.steps.extract", "runner.steps.read", "runner.steps.write",
        "runner.warehouses.duckdb",
    ):  # fmt: skip
        importlib.import_module(name)


def _answer(connection: socket.socket) -> None:
    """Start the program that a request names, wait for it, and send its exit code."""
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    request = b""
    while len(request) < int.from_bytes(head):
        request += connection.recv(MAX_REQUEST)
    child = os.fork()
    if child == 0:
        connection.close()
        signal.alarm(LIMIT_S)
        _become(streams, *json.loads(request))
    for stream in streams:
        os.close(stream)
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _become(
    streams: list[int], program: str, arguments: list[str], folder: str, environment: dict[str, str]
) -> None:
    """Be the program in this process, and end with its exit code."""
    code = 98
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - they live as long as the process
            for number, mode in enumerate("rww")
        )
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        code = _run_pipeline(arguments) if program == "run-pipeline" else _python(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:  # noqa: BLE001 - as the interpreter does at the end of a program
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run_pipeline(arguments: list[str]) -> int:
    from runner.cli import main

    sys.argv = ["run-pipeline", *arguments]
    main()
    return 0


def _python(arguments: list[str]) -> int:
    """Run a script, the text after -c, or the module after -m; with warnings as errors where that is asked for."""
    if os.environ.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")
    if arguments[0] == "-P":
        arguments = arguments[1:]  # no folder comes to sys.path for -c and -m anyway
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return 0
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "-c", "exec"), {"__name__": "__main__"})
        return 0
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).absolute().parent))
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
