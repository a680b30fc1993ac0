"""What a worker process loads, and how it ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from runner.processes import wire

HEAVY = {
    "anyio",
    "duckdb",
    "pydantic",
    "runner.ports",
    "runner.settings",
    "runner.specs",
    "structlog",
    "yaml",
}


def test_a_process_loads_only_what_rows_need() -> None:
    code = "import json, sys, runner.processes.worker; print(json.dumps(sorted(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30)
    assert HEAVY.isdisjoint(json.loads(found.stdout))


def test_a_process_ends_when_the_other_end_closes_for_writing_and_says_what_it_printed() -> None:
    ours, theirs = socket.socketpair()
    code = f"from runner.processes.worker import main; print('printed'); main({theirs.fileno()})"
    with (
        ours,
        subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdout=subprocess.PIPE
        ) as process,
    ):
        theirs.close()
        ours.shutdown(socket.SHUT_WR)
        output, _ = process.communicate(timeout=30)
    assert output.decode().split() == ["printed"]
    assert process.returncode == 0


def test_a_frame_cut_short_is_an_error_and_a_closed_end_is_none() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(theirs, wire.ROWS, 3, b"abc")
        frame = wire.receive(ours)
        assert frame is not None
        assert (frame[0], frame[1], bytes(frame[2])) == (wire.ROWS, 3, b"abc")
        theirs.sendall(b"half a header"[:5])
        theirs.close()
        try:
            wire.receive(ours)
        except ConnectionResetError as error:
            assert "within a frame" in str(error)  # noqa: PT017 - the socket is needed open until here
        else:
            raise AssertionError("half a frame was taken for none")
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        assert wire.receive(ours) is None


def test_large_frames_go_through_a_small_buffer() -> None:
    ours, theirs = socket.socketpair()
    body = os.urandom(3_000_000)
    child = os.fork()
    if child == 0:  # pragma: no cover - in another process
        wire.send(theirs, wire.ARROW, 1, body)
        os._exit(0)
    with ours:
        theirs.close()
        frame = wire.receive(ours)
        assert frame is not None
        assert bytes(frame[2]) == body
    os.waitpid(child, 0)
