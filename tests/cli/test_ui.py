"""`ui`: who is answered, what streams, and how it ends."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runner.fold import fold_run
from runner.operations.init import init_project
from runner.run_store import FileRunStore
from runner.testing.timed_history import timed_history
from tests.browser.scenes import START, jobs, retries, series
from tests.cli.demo_project import REPOSITORY, DemoProject

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]

SECONDS = 40


@dataclass(frozen=True)
class Served:
    """A server that was started, and how to ask it."""

    process: subprocess.Popen[str]
    port: int
    token: str

    @property
    def cookie(self) -> str:
        """What a browser sends that was let in."""
        return f"run_pipeline_ui_{self.port}={self.token}"

    def ask(self, path: str = "/", method: str = "GET", *, cookie: bool = True, **headers: str) -> Answer:
        """Ask once; `headers` with _ for -."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as connection:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if cookie:
                sent["Cookie"] = self.cookie
            connection.request(method, path, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())

    @contextmanager
    def stream(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """Open a stream of server-sent events."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as connection:
            connection.request("GET", path, headers={"Cookie": self.cookie})
            with connection.getresponse() as response:
                yield response


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str


@pytest.fixture
def runs_dir(project: DemoProject) -> Path:
    """The run store of the project."""
    return project.folder / "var" / "runs"


@pytest.fixture
def served(project: DemoProject) -> Served:
    """The ui of the project."""
    return serve(project)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The ui of a project without runs, one for all tests that only knock."""
    project = DemoProject(init_project(tmp_path_factory.mktemp("guarded") / "demo").folder)
    yield serve(project)
    project.end()


def serve(project: DemoProject) -> Served:
    process = project.start("ui", "--port", "0", "-o", "json")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    url = urlsplit(json.loads(line)["url"])
    assert url.hostname == "127.0.0.1"
    return Served(process, url.port or 0, parse_qs(url.query)["token"][0])


def events(stream: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Server-sent events up to the end of the stream: (event, data)."""
    event = "message"
    for raw in stream:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield event, json.loads(line.removeprefix("data: "))
            event = "message"


def test_only_the_token_opens_it_and_it_does_not_stay_in_the_address(guarded: Served) -> None:
    assert guarded.ask(cookie=False).status == 403
    assert guarded.ask("/?token=guessed", cookie=False).status == 403
    assert guarded.ask(cookie=False, Cookie=f"run_pipeline_ui_{guarded.port}=guessed").status == 403
    assert guarded.ask(cookie=False, Cookie=f"another={guarded.token}").status == 403

    let_in = guarded.ask(f"/run/x?token={guarded.token}&a=1", cookie=False)
    assert let_in.status == 303
    assert let_in.headers["location"] == "/run/x?a=1"
    cookie = let_in.headers["set-cookie"]
    assert cookie.startswith(guarded.cookie + ";")
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert guarded.ask().status == 200


def test_it_never_leads_elsewhere(guarded: Served) -> None:
    for path in ("//evil.example/", "/\\evil.example/", "///evil.example"):
        answer = guarded.ask(f"{path}?token={guarded.token}", cookie=False)
        assert answer.headers["location"].startswith("/evil.example"), path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "192.168.0.1"}, 421),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:9999"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "https://localhost:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),
        ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}, 200),
    ],
)
def test_only_its_own_pages_are_answered(headers: dict[str, str], status: int, guarded: Served) -> None:
    assert guarded.ask(cookie=True, **headers).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_nothing_but_reading(method: str, guarded: Served) -> None:
    assert guarded.ask(method=method).status in (400, 405)


def test_every_answer_says_what_it_may_do(runs_dir: Path, served: Served) -> None:
    (run_id,) = series(runs_dir, "daily", 1)

    answers = [
        served.ask(), served.ask(f"/run/{run_id}"), served.ask("/name/daily"), served.ask("/live.js"),
        served.ask("/nowhere"), served.ask(cookie=False), served.ask(Host="evil.example"), served.ask(method="HEAD"),
    ]  # fmt: skip

    assert [answer.status for answer in answers] == [200, 200, 200, 200, 404, 403, 421, 200]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script-src 'self'; connect-src 'self'; frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    "path",
    ["/run/nobody", "/run/..%2f..%2fetc", "/name/nobody", "/run/01KH86YNR0BWFS5ZF3K0GWBDHX", "/configs"],
)
def test_what_is_not_there_is_not_found(path: str, guarded: Served) -> None:
    assert guarded.ask(path).status == 404


def test_pages_tell_of_runs_and_lead_to_each_other(runs_dir: Path, served: Served) -> None:
    assert "Nothing has run yet" in served.ask().body
    ids = series(runs_dir, "daily", 2)
    series(runs_dir, "nightly", 1, of=1)

    overview = served.ask().body
    for name in ("daily", "nightly"):
        assert f'href="/name/{name}"' in overview
    assert f'href="/run/{ids[0]}"' in overview
    assert f"run <code>{ids[1]}</code>" in served.ask("/name/daily").body
    assert f'href="/run/{ids[0]}"' in served.ask(f"/run/{ids[1]}").body


def test_retries_are_not_what_is_usual(runs_dir: Path, served: Served) -> None:
    series(runs_dir, "daily", 2)
    retries(runs_dir, 5)

    assert "usually 4.3 s" in served.ask().body


def test_a_damaged_run_is_told_and_the_others_are_shown(runs_dir: Path, served: Served) -> None:
    good, bad = series(runs_dir, "daily", 2)
    folder = next(runs_dir.glob(f"*/{bad}-*"))
    (folder / "run.json").unlink()
    (folder / "events.jsonl").write_bytes(b"no json\n{}\n")

    assert served.ask(f"/run/{bad}").status == 404
    assert served.ask(f"/run/{good}").status == 200
    assert "crashed" in served.ask().body


def test_a_run_under_way_streams_until_it_is_over(runs_dir: Path, served: Served) -> None:
    told = timed_history("daily", list(jobs(3)), started_at=START)
    run_id = told[0].run_id
    writer = FileRunStore(runs_dir).create(run_id, "daily", START)
    writer.append(told[:3])

    with served.stream(f"/live/run/{run_id}") as response:
        stream = events(response)
        kind, first = next(stream)
        assert (kind, first["title"]) == ("message", "daily: running")
        writer.append(told[3:])
        writer.write_run(fold_run(told, run_id=run_id, alive=False))
        writer.close()
        rest = list(stream)

    assert rest[-1] == ("end", None)
    assert rest[-2][1]["title"] == "daily: success"
    assert 'data-job="form_obs_02"' in rest[-2][1]["parts"]


def test_what_begins_and_what_is_over(runs_dir: Path, served: Served) -> None:
    with served.stream("/live/") as response:
        stream = events(response)
        assert "Nothing has run yet" in next(stream)[1]["parts"]
        (run_id,) = series(runs_dir, "daily", 1)
        assert any("/name/daily" in data["parts"] for _, data in stream)

    with served.stream(f"/live/run/{run_id}") as response:
        assert [kind for kind, _ in events(response)] == ["message", "end"]
    assert "data-stream" not in served.ask(f"/run/{run_id}").body
    assert 'data-stream="/live/name/daily"' in served.ask("/name/daily").body


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_streams(number: int, code: int, served: Served) -> None:
    with served.stream("/live/") as stream:
        assert stream.readline().startswith(b"data: ")
        served.process.send_signal(number)
        stream.read()  # up to the end, which comes
    out, said = served.process.communicate(timeout=SECONDS)
    assert (served.process.returncode, out) == (code, "")
    assert said.strip() == f"ended by {signal.Signals(number).name}"
    with pytest.raises(ConnectionRefusedError):
        served.ask()


def test_two_serve_beside_each_other_with_tokens_of_their_own(project: DemoProject) -> None:
    first, second = serve(project), serve(project)

    assert first.token != second.token
    assert second.ask(cookie=False, Cookie=first.cookie).status == 403
    assert second.ask(Cookie=f"{first.cookie}; {second.cookie}", cookie=False).status == 200


def test_a_taken_port_is_said(in_project: InProject, capsys: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert in_project("ui", "--port", str(port)) == 2

    assert f"port {port} is taken (--port 0 takes a free one)" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.com"])
def test_other_machines_are_kept_out_unless_asked(host: str, in_project: InProject, capsys: Captured) -> None:
    assert in_project("ui", "--host", host, "--port", "0") == 2

    assert "--public" in capsys.readouterr().err


def test_asked_for_it_listens_to_other_machines_too(project: DemoProject) -> None:
    process = project.start("ui", "--host", "0.0.0.0", "--public", "--port", "0", "-o", "json")
    assert process.stdout is not None
    url = urlsplit(json.loads(process.stdout.readline())["url"])
    served = Served(process, url.port or 0, parse_qs(url.query)["token"][0])

    assert served.ask(Host="192.168.1.7:80").status == 200
    assert served.ask(Host="evil.example").status == 421
    assert served.ask(cookie=False).status == 403


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_extra_is_told_with_the_command_that_installs_it(
    missing: str, project: DemoProject, tmp_path: Path
) -> None:
    absent = tmp_path / "absent" / f"{missing}.py"
    absent.parent.mkdir()
    absent.write_text(f"raise ModuleNotFoundError('No module named {missing}', name={missing!r})\n")

    process = project.start("ui", PYTHONPATH=f"{absent.parent}:{REPOSITORY}")
    out, said = process.communicate(timeout=SECONDS)

    assert (process.returncode, out) == (2, "")
    assert f"ui needs {missing}, which is not installed" in said
    assert "install starlette uvicorn" in said.replace(" -m pip", "")
    assert "Traceback" not in said
