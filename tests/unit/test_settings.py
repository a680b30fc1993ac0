"""Settings: which source wins, what an error names, and that no secret is shown."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from runner.errors import ConfigurationError, UsageError
from runner.redaction import Redactor, secret_values
from runner.settings import BigQuerySettings, DuckDBSettings, PostgresSettings, Settings, find_project

CANARY = "canary-7f3a"
Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a project whose runner.toml is given, under an environment that is given."""

    def loading(toml: str = "", *, env: dict[str, str] | None = None, **overrides: Any) -> Settings:
        (tmp_path / "configs").mkdir(exist_ok=True)
        (tmp_path / "configs" / "runner.toml").write_text(toml, encoding="utf-8")
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        return Settings.load(tmp_path, **overrides)

    return loading


def refused(load: Load, toml: str = "", **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(toml, **more)
    return str(caught.value)


# --- sources ---


def test_defaults(load: Load, tmp_path: Path) -> None:
    settings = load()
    assert settings.project == tmp_path
    assert settings.state_dir == tmp_path / "var"
    assert settings.warehouse_path == tmp_path / "var" / "warehouse.duckdb"
    assert settings.runs_dir == tmp_path / "var" / "runs"
    assert settings.max_workers is None
    assert settings.timeouts.query == 300
    assert settings.queues == {"default": 10, "maintenance": 1}


def test_later_sources_win_key_by_key(load: Load, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "warehouse__threads").write_text("2\n")
    (secrets / "run_pipeline_timeouts__job").write_text("3s\n")
    (secrets / "timeouts__run").write_text("4s")
    settings = load(
        '[warehouse]\npath = "toml.db"\nthreads = 1\nmemory_limit = "2GB"\n'
        '[timeouts]\njob = "1s"\nrun = "1s"\nstep = "1s"\n',
        env={
            "RUN_PIPELINE_SECRETS_DIR": str(secrets),
            "RUN_PIPELINE_TIMEOUTS__RUN": "5s",
            "RUN_PIPELINE_WAREHOUSE__PATH": "env.db",
        },
        warehouse={"path": "argument.db"},
    )
    assert isinstance(settings.warehouse, DuckDBSettings)
    assert settings.warehouse.path == "argument.db"
    assert settings.warehouse.threads == 2
    assert settings.warehouse.memory_limit == "2GB"
    assert (settings.timeouts.step, settings.timeouts.job, settings.timeouts.run) == (1, 3, 5)


def test_values_of_the_environment(load: Load) -> None:
    settings = load(
        '[connections.Mail]\nhost = "a"\n',
        env={
            "RUN_PIPELINE_MAX_WORKERS": "4",
            "RUN_PIPELINE_QUEUES__SLOW": "2",
            "RUN_PIPELINE_TIMEOUTS__QUERY": "none",
            "RUN_PIPELINE_TIMEOUTS__GRACE": "1.5",
            "RUN_PIPELINE_CONNECTIONS__MAIL__PORT": "993",
            "RUN_PIPELINE_RETRIES": '{"base_delay": "2s"}',
            "RUN_PIPELINE_BATCH_ROWS": "",
            "RUN_PIPELINE_FALLBACK_PROJECT": "/nowhere",
            "RUN_PIPELINE_SERVICE_HOST": "10.0.0.1",
        },
    )
    assert settings.max_workers == 4
    assert settings.queues == {"default": 10, "maintenance": 1, "slow": 2}
    assert settings.timeouts.query is None
    assert settings.timeouts.grace == 1.5
    assert settings.connections["Mail"].model_dump() == {"host": "a", "port": "993"}
    assert settings.retries.base_delay == 2
    assert settings.batch_rows == 10_000


def test_names_of_the_project_are_spelt_as_in_the_file_or_the_argument(load: Load) -> None:
    settings = load(
        '[connections.Mail]\nUser = "a"\nhost = "a"\n[connections.Mail.OAuth]\nid = "a"\n[queues]\nSlow = 1\n',
        env={
            "RUN_PIPELINE_CONNECTIONS__MAIL__USER": "b",
            "RUN_PIPELINE_CONNECTIONS__MAIL__OAUTH__SCOPE": "b",
            "RUN_PIPELINE_CONNECTIONS__SHOP__USER": "b",
            "RUN_PIPELINE_QUEUES__SLOW": "2",
        },
        connections={"mail": {"host": "c"}, "Shop": {"host": "c"}},
    )
    assert settings.model_dump()["connections"] == {
        "Mail": {"User": "b", "host": "c", "OAuth": {"id": "a", "scope": "b"}},
        "Shop": {"user": "b", "host": "c"},
    }
    assert settings.queues["Slow"] == 2


def test_the_kind_of_warehouse_may_come_from_anywhere_and_is_duckdb_without_one(
    load: Load, tmp_path: Path
) -> None:
    assert isinstance(load('[warehouse]\npath = "x.db"').warehouse, DuckDBSettings)
    assert isinstance(load('[warehouse]\nkind = ""\npath = "x.db"').warehouse, DuckDBSettings)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "warehouse__password").write_text(f"{CANARY}\n")
    server = load(
        '[warehouse]\ndsn = "host=a dbname=b"\nconnect_timeout = "2s"',
        env={
            "RUN_PIPELINE_SECRETS_DIR": str(tmp_path / "secrets"),
            "RUN_PIPELINE_WAREHOUSE__KIND": "postgres",
        },
    ).warehouse
    assert isinstance(server, PostgresSettings)
    assert server.dsn.get_secret_value() == "host=a dbname=b"
    assert server.password is not None
    assert server.password.get_secret_value() == CANARY
    assert server.connect_timeout == 2


def test_who_names_another_kind_names_another_warehouse(load: Load) -> None:
    """The file's keys are those of the kind that it names; a source that names none, or the same, adds to it."""
    toml = '[warehouse]\nkind = "duckdb"\npath = "x.db"\nmax_connections = 3\n[timeouts]\nquery = 7'
    other = load(toml, env={"RUN_PIPELINE_WAREHOUSE__KIND": "postgres"})
    assert other.warehouse == PostgresSettings(kind="postgres")
    assert other.timeouts.query == 7
    assert load(toml, warehouse={"kind": "bigquery"}).warehouse == BigQuerySettings(kind="bigquery")
    same = load(toml, env={"RUN_PIPELINE_WAREHOUSE__KIND": "duckdb", "RUN_PIPELINE_WAREHOUSE__THREADS": "2"})
    assert same.warehouse == DuckDBSettings(path="x.db", max_connections=3, threads=2)
    with pytest.raises(ConfigurationError, match=r"WAREHOUSE__THREADS: .* not a setting of kind postgres"):
        load(toml, env={"RUN_PIPELINE_WAREHOUSE__THREADS": "2"}, warehouse={"kind": "postgres"})


def test_bigquery_from_the_environment(load: Load) -> None:
    warehouse = load(
        '[warehouse]\nkind = "bigquery"\nlocation = "EU"',
        env={
            "RUN_PIPELINE_WAREHOUSE__PROJECT": "p",
            "RUN_PIPELINE_WAREHOUSE__MAXIMUM_BYTES_BILLED": "1000000",
            "RUN_PIPELINE_WAREHOUSE__STAGING_EXPIRATION": "2h",
        },
    ).warehouse
    assert isinstance(warehouse, BigQuerySettings)
    assert (warehouse.project, warehouse.location) == ("p", "EU")
    assert (warehouse.maximum_bytes_billed, warehouse.staging_expiration) == (1_000_000, 7200)


def test_a_warehouse_that_is_no_file_has_no_path(load: Load) -> None:
    with pytest.raises(UsageError, match="of kind postgres is not a file"):
        _ = load('[warehouse]\nkind = "postgres"').warehouse_path


@pytest.mark.parametrize("value", ["1e5", "007", "true", "null", '{"a": 1}', " x "])
def test_a_value_of_a_connection_is_the_text_that_it_is(load: Load, tmp_path: Path, value: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "connections__mail__user").write_text(f"{value}\n")
    mail: Any = load(
        env={
            "RUN_PIPELINE_SECRETS_DIR": str(tmp_path / "secrets"),
            "RUN_PIPELINE_CONNECTIONS__MAIL__PASSWORD": value,
        }
    ).connections["mail"]
    assert mail.password.get_secret_value() == value
    assert mail.user.get_secret_value() == value


def test_two_projects_in_one_process_do_not_know_each_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "configs").mkdir(parents=True)
        (tmp_path / name / "configs" / "runner.toml").write_text(f'[warehouse]\npath = "{name}.db"\n')
    one, two = (Settings.load(tmp_path / name) for name in ("one", "two"))
    assert type(one) is type(two) is Settings
    assert one.warehouse_path == tmp_path / "one" / "var" / "one.db"
    assert two.warehouse_path == tmp_path / "two" / "var" / "two.db"
    changed = one.model_copy(update={"max_workers": 2})
    assert (changed.max_workers, changed.warehouse_path) == (2, one.warehouse_path)


def test_settings_do_not_change(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().max_workers = 3  # type: ignore[misc]


# --- where the project and its state are ---


def test_state_folder(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load('state_dir = "state"').state_dir == tmp_path / "state"
    assert load('state_dir = "/srv/state"').state_dir == Path("/srv/state")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/pipe:/var/lib/more")
    assert load().state_dir == Path("/var/lib/pipe")
    assert load('state_dir = "state"').state_dir == tmp_path / "state"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load('state_dir = "~/state"').state_dir == tmp_path / "home" / "state"


def test_the_warehouse_is_relative_to_the_state(load: Load, tmp_path: Path) -> None:
    assert load('state_dir = "s"\n[warehouse]\npath = "w.db"').warehouse_path == tmp_path / "s" / "w.db"
    assert load('[warehouse]\npath = "/data/w.db"').warehouse_path == Path("/data/w.db")


def test_the_project_is_found_upwards_by_variable_and_last_by_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name / "configs").mkdir(parents=True)
        (tmp_path / name / "configs" / "runner.toml").touch()
    inside = tmp_path / "one" / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.setenv("RUN_PIPELINE_FALLBACK_PROJECT", str(tmp_path / "three"))
    monkeypatch.chdir(inside)
    assert find_project() == tmp_path / "one"
    monkeypatch.setenv("RUN_PIPELINE_PROJECT", str(tmp_path / "two"))
    assert find_project() == tmp_path / "two"
    assert find_project("../..") == tmp_path / "one" / "a" / "b" / ".." / ".."
    monkeypatch.delenv("RUN_PIPELINE_PROJECT")
    monkeypatch.chdir(tmp_path)
    assert find_project() == tmp_path / "three"
    monkeypatch.delenv("RUN_PIPELINE_FALLBACK_PROJECT")
    with pytest.raises(UsageError, match="no project here"):
        find_project()
    with pytest.raises(UsageError, match="is not a project"):
        find_project(inside)


# --- errors ---


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "max_workres = 3",
            "configs/runner.toml:1:1: max_workres: unknown setting (did you mean 'max_workers'?)",
        ),
        (
            '\n[warehouse]\n  paht = "x"',
            "configs/runner.toml:3:3: warehouse.paht: unknown setting (did you mean 'path'?)",
        ),
        (
            "[timeout]\nquery = 1",
            "configs/runner.toml:1:1: timeout: unknown setting (did you mean 'timeouts'?)",
        ),
        (
            '[notify.chat]\nkind = "webhook"\nurll = "http://x"',
            "configs/runner.toml:3:1: notify.chat.urll: unknown setting (did you mean 'url'?)",
        ),
        (
            "[retries]\nxyz = 1",
            "configs/runner.toml:2:1: retries.xyz: unknown setting; expected one of base_delay, max_delay",
        ),
        ("max_workers = 0", "configs/runner.toml:1:1: max_workers: 0 is too small; expected at least 1"),
        ('max_workers = "many"', "configs/runner.toml:1:1: max_workers: got 'many'; expected a whole number"),
        ("max_workers = true", "configs/runner.toml:1:1: max_workers: got true; expected a whole number"),
        ("[queues]\nslow = 0", "configs/runner.toml:2:1: queues.slow: 0 is too small; expected at least 1"),
        (
            '[timeouts]\nquery = "soon"',
            (
                "configs/runner.toml:2:1: timeouts.query: 'soon' is not a duration;"
                " expected for example 500ms, 30s, 5m, 2h, 30d"
            ),
        ),
        (
            '[warehouse]\nkind = "sqlite"\npath = "x.db"',
            "configs/runner.toml:2:1: warehouse.kind: got 'sqlite'; expected duckdb, postgres, bigquery",
        ),
        (
            '[warehouse]\nkind = "postgres"\npath = "x.db"',
            "configs/runner.toml:3:1: warehouse.path: not a setting of kind postgres, but of duckdb",
        ),
        (
            '[warehouse]\nkind = "bigquery"\nconnect_timeout = 1',
            "configs/runner.toml:3:1: warehouse.connect_timeout: not a setting of kind bigquery, but of postgres",
        ),
        (
            '[warehouse]\ndsn = "host=x"',
            "configs/runner.toml:2:1: warehouse.dsn: not a setting of kind duckdb, but of postgres",
        ),
        (
            '[warehouse]\nkind = "bigquery"\nprojct = "p"',
            "configs/runner.toml:3:1: warehouse.projct: unknown setting (did you mean 'project'?)",
        ),
        (
            '[warehouse]\nkind = "bigquery"\npriority = "low"',
            "configs/runner.toml:3:1: warehouse.priority: got 'low'; expected interactive or batch",
        ),
        (
            '[warehouse]\nkind = "bigquery"\nprice_per_tib = -1',
            "configs/runner.toml:3:1: warehouse.price_per_tib: -1 is too small; expected at least 0.0",
        ),
        (
            '[warehouse]\nkind = "bigquery"\nmaximum_bytes_billed = 0',
            "configs/runner.toml:3:1: warehouse.maximum_bytes_billed: 0 is too small; expected at least 1",
        ),
        (
            '[warehouse]\nmemory_limit = "1GB; DROP"',
            "configs/runner.toml:2:1: warehouse.memory_limit: got '1GB; DROP'; expected for example 500MB, 2GB",
        ),
        ('warehouse = "x.db"', "configs/runner.toml:1:1: warehouse: got 'x.db'; expected keys with values"),
        ('package = "a/b"', "configs/runner.toml:1:1: package: got 'a/b'; expected a name"),
        (
            'package = "runner"',
            (
                "configs/runner.toml:1:1: package: 'runner' is the engine itself; expected the package of the project's"
                " functions"
            ),
        ),
        ('project = "."', "configs/runner.toml:1:1: project: the project is the folder of this file"),
        ("a = \nb = 1", "configs/runner.toml:1:5: not TOML: Invalid value"),
        ("a = 1\na = 2\n", "configs/runner.toml:2:6: not TOML: Cannot overwrite a value"),
        (
            "\ufeffmax_workers = 1",
            (
                "configs/runner.toml:1:1: not TOML: Invalid statement (the file begins with a byte order mark;"
                " save it as UTF-8 without one)"
            ),
        ),
        (
            "Max_Workers = 1",
            "configs/runner.toml:1:1: Max_Workers: unknown setting (did you mean 'max_workers'?)",
        ),
        (
            'state_dir = "~nobody-of-this-name/state"',
            (
                "configs/runner.toml:1:1: state_dir: no home folder for '~nobody-of-this-name/state';"
                " expected a folder"
            ),
        ),
    ],
)
def test_what_is_wrong_in_the_file(load: Load, toml: str, message: str) -> None:
    assert refused(load, toml) == message


def test_all_mistakes_are_told_together(load: Load) -> None:
    message = refused(
        load, "max_workers = 0\n[queues]\nslow = 0\n", env={"RUN_PIPELINE_WAREHOUSE__PAHT": "x"}, batch_rows=0
    )
    assert len(message.splitlines()) == 4


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WAREHOUSE__PAHT", "x", "warehouse.paht: unknown setting (did you mean 'path'?)"),
        ("WAREHOSE__PATH", "x", "warehose.path: unknown setting (did you mean 'warehouse'?)"),
        ("MAX_WORKRES", "4", "max_workres: unknown setting (did you mean 'max_workers'?)"),
        ("MAX_WORKERS__X", "4", "max_workers.x: unknown setting; expected RUN_PIPELINE_MAX_WORKERS"),
        (
            "CONNECTIONS__MAIL__",
            "x",
            "connections.mail.: unknown setting; expected a name after every two underscores",
        ),
        ("QUEUES", '{"slow": 0}', "queues.slow: 0 is too small; expected at least 1"),
        ("MAX_WORKERS", "four", "max_workers: got 'four'; expected a whole number"),
        ("QUEUES", "3", "queues: not a JSON object; expected RUN_PIPELINE_QUEUES__KEY, or JSON"),
        ("WAREHOUSE", "x", "warehouse: not a JSON object; expected RUN_PIPELINE_WAREHOUSE__KEY, or JSON"),
        ("WAREHOUSE__KIND", "pg", "warehouse.kind: got 'pg'; expected duckdb, postgres, bigquery"),
        ("WAREHOUSE__DSN", "host=x", "warehouse.dsn: not a setting of kind duckdb, but of postgres"),
    ],
)
def test_what_is_wrong_in_the_environment(load: Load, name: str, value: str, message: str) -> None:
    found = refused(load, env={f"RUN_PIPELINE_{name}": value})
    assert found == f"environment variable RUN_PIPELINE_{name}: {message}"


def test_what_is_wrong_in_an_argument(load: Load) -> None:
    assert refused(load, warehouse={"threads": -1}) == (
        "argument warehouse: warehouse.threads: -1 is too small; expected at least 1"
    )


def test_what_is_wrong_in_a_secrets_folder(load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    missing = refused(load, env={"RUN_PIPELINE_SECRETS_DIR": str(folder)})
    assert missing == (
        f"environment variable RUN_PIPELINE_SECRETS_DIR: {folder} cannot be read: No such file or directory"
    )
    folder.mkdir()
    (folder / "connections__a__token").write_bytes(b"\xff")
    (folder / "connections__b__token").write_bytes(b"x" * 200_000)
    assert refused(load) == (
        f"{folder}/connections__a__token: not UTF-8\n{folder}/connections__b__token: larger than 100,000 bytes"
    )


def test_an_error_names_the_source_that_won(load: Load, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "timeouts__job").write_text("x")
    (tmp_path / "secrets" / "timeouts__run").write_text("x")
    (tmp_path / "secrets" / "package__x").write_text("x")
    toml = '[timeouts]\nquery = "x"\njob = "x"\n'
    needless = tmp_path / "secrets" / "package__x"
    env = {
        "RUN_PIPELINE_SECRETS_DIR": str(tmp_path / "secrets"),
        "RUN_PIPELINE_TIMEOUTS__RUN": "x",
        "RUN_PIPELINE_TIMEOUTS__STEP": "x",
    }
    assert refused(load, toml, env=env) == f"{needless}: package.x: unknown setting; expected package"
    needless.unlink()
    found = refused(load, toml, timeouts={"step": "x"})
    assert sorted(line.partition(": timeouts.")[0] for line in found.splitlines()) == sorted(
        [
            "configs/runner.toml:2:1",
            f"{tmp_path}/secrets/timeouts__job",
            "environment variable RUN_PIPELINE_TIMEOUTS__RUN",
            "argument timeouts",
        ]
    )


def test_secret_files_of_others_are_left_alone(load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    (folder / "connections__folder").mkdir(parents=True)
    for name in ("tls.der", "project", ".connections__mail__token", "connections__"):
        (folder / name).write_bytes(b"\xff" * 200_000)
    (folder / "connections__mail__user").write_text("a")
    settings = load(env={"RUN_PIPELINE_SECRETS_DIR": str(folder)})
    assert settings.model_dump()["connections"] == {"mail": {"user": SecretStr("a")}}


@pytest.mark.parametrize("toml", ["\x00", "a = [" * 5_000, '"' * 1_000, "\ud800"])
def test_hostile_toml(tmp_path: Path, toml: str) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "runner.toml").write_bytes(toml.encode(errors="surrogatepass"))
    with pytest.raises(ConfigurationError):
        Settings.load(tmp_path)


# --- secrets ---

SECRET_TOML = f"""
[connections.mail]
host = "mail.example"
password = "{CANARY}"
api_key = "{CANARY}"
dsn = "{CANARY}"
url = "imap://someone:{CANARY}@mail.example"
text = "host=a password={CANARY}"
pin_token = 1234567
token_refresh = true
[connections.mail.oauth]
client_secret = "{CANARY}"
[[connections.mail.accounts]]
passphrase = "{CANARY}"
"""


def test_secrets_are_wrapped_at_any_depth(load: Load) -> None:
    mail: Any = load(SECRET_TOML).connections["mail"]
    assert mail.host == "mail.example"
    assert mail.token_refresh is True
    assert mail.pin_token.get_secret_value() == "1234567"
    for value in (
        mail.password,
        mail.api_key,
        mail.dsn,
        mail.oauth["client_secret"],
        mail.accounts[0]["passphrase"],
    ):
        assert isinstance(value, SecretStr)
        assert value.get_secret_value() == CANARY
    assert CANARY in mail.url.get_secret_value()


def test_everything_of_a_secrets_folder_is_a_secret(load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "connections__mail__user").write_text(f"{CANARY}\n")
    (folder / "something_else").write_text(CANARY)
    (folder / ".hidden__x").write_text(CANARY)
    (folder / "connections__folder").mkdir()
    (folder / "connections__folder").rmdir()
    settings = load(env={"CREDENTIALS_DIRECTORY": str(folder)})
    user = settings.connections["mail"].user  # type: ignore[attr-defined]
    assert user.get_secret_value() == CANARY


def test_no_secret_is_shown(load: Load) -> None:
    settings = load(
        SECRET_TOML,
        env={
            "RUN_PIPELINE_CONNECTIONS__SHOP__SECRET": CANARY,
            "RUN_PIPELINE_CONNECTIONS__MAIL__PASSWORD": f"{CANARY}2",
        },
    )
    shown = [
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        json.dumps(settings.model_dump(mode="json")),
    ]
    shown += [repr(settings.connections["mail"]), str(settings.model_dump())]
    assert all(CANARY not in text for text in shown)
    assert settings.connections["shop"].secret.get_secret_value() == CANARY  # type: ignore[attr-defined]


DSNS = [
    ("postgresql://app:{}@db.example:5432/main?sslmode=require", CANARY, CANARY),
    ("postgresql://app:{}@db/main", f"x%20{CANARY}", f"x {CANARY}"),
    ("postgresql://app:{}@db/main", f"p@{CANARY}", f"p@{CANARY}"),
    ("postgresql://db/main?user=app&password={}&sslmode=require", CANARY, CANARY),
    ("host=db user=app password={} dbname=main", CANARY, CANARY),
    ("host=db password = {} dbname=main", f"'it\\'s {CANARY}'", f"it's {CANARY}"),
    ("host=db password={}", f"{CANARY};&x", f"{CANARY};&x"),
    ("host=db sslpassword={}", CANARY, CANARY),
]
"""Connection texts, a password as it is written there, and the password that is meant."""


@pytest.mark.parametrize(("dsn", "written", "meant"), DSNS)
def test_a_connection_text_is_shown_without_its_password(
    load: Load, dsn: str, written: str, meant: str
) -> None:
    toml = f'[warehouse]\nkind = "postgres"\ndsn = {json.dumps(dsn.format(written))}\npassword = "{CANARY}2"'
    settings = load(toml)
    redact = Redactor()
    redact.learn(secret_values(settings))

    assert settings.model_dump(mode="json")["warehouse"]["dsn"] == dsn.format("***")
    assert settings.model_dump(mode="json")["warehouse"]["password"] == "**********"
    shown = (repr(settings), settings.model_dump_json(), str(settings.model_dump()))
    assert all(CANARY not in text for text in shown)
    assert redact(f"could not log in with {meant} there") == "could not log in with *** there"
    assert CANARY not in redact(f"no server at {dsn.format(written)}, {written!r}")


@pytest.mark.parametrize("dsn", ["host=db user=app dbname=main", "postgresql://app@db/main", "", "service=x"])
def test_a_connection_text_without_a_password_is_shown_as_it_is(load: Load, dsn: str) -> None:
    settings = load(f'[warehouse]\nkind = "postgres"\ndsn = "{dsn}"')
    redact = Redactor()
    redact.learn(secret_values(settings))

    assert settings.model_dump(mode="json")["warehouse"]["dsn"] == dsn
    assert redact(f"at {dsn}") == f"at {dsn}"


@pytest.mark.parametrize(
    ("toml", "env"),
    [
        (f'warehouse = "postgresql://a:{CANARY}@b"', {}),
        (f'[warehouse]\nkind = "postgres"\ndsn = ["{CANARY}"]', {}),
        (f'[warehouse]\nkind = "postgres"\npassword = ["{CANARY}"]', {}),
        (f'[warehouse]\ndsn = "{CANARY}"', {}),
        ("", {"RUN_PIPELINE_WAREHOUSE__PASSWORD": CANARY}),
        ("", {"RUN_PIPELINE_WAREHOUSE__PASWORD": CANARY, "RUN_PIPELINE_WAREHOUSE__KIND": "postgres"}),
        ("", {"RUN_PIPELINE_WAREHOUSE": f"postgresql://a:{CANARY}@b"}),
        (f'connections.mail = "{CANARY}"', {}),
        (f'connections = "{CANARY}"', {}),
        (f"{SECRET_TOML}\n[queues]\nx = 0", {}),
        ("", {"RUN_PIPELINE_CONNECTIONS": CANARY}),
        ("", {"RUN_PIPELINE_CONNECTIONS": f'{{"mail": "{CANARY}"}}'}),
        ("", {"RUN_PIPELINE_CONNECTIONS__MAIL": CANARY}),
        ("", {"RUN_PIPELINE_CONECTIONS__MAIL__TOKEN": CANARY}),
    ],
)
def test_no_secret_in_an_error_or_its_traceback(load: Load, toml: str, env: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(toml, env=env)
    assert CANARY not in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_importing_settings_brings_no_readers_of_other_formats() -> None:
    """pydantic-settings loads what it needs for YAML and for secret managers of clouds when they are used."""
    import subprocess
    import sys

    code = "import runner.settings, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"pydantic_settings"} == set(done.stdout.split()) & {
        "pydantic_settings", "yaml", "boto3", "azure", "google", "tomllib", "duckdb", "pyarrow", "anyio", "structlog",
    }  # fmt: skip


# --- telemetry ---


def test_nothing_is_sent_without_an_address(load: Load) -> None:
    telemetry = load().telemetry
    assert not telemetry.is_on
    assert (telemetry.address("traces"), telemetry.address("metrics")) == (None, None)


def test_the_variables_of_opentelemetry_win_over_the_file_and_lose_against_ours(load: Load) -> None:
    toml = '[telemetry]\nendpoint = "http://file:4318"\ntimeout = "3s"\n'

    assert load(toml).telemetry.address("traces") == "http://file:4318/v1/traces"
    standard = load(toml, env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://standard:4318/base/"}).telemetry
    assert standard.address("metrics") == "http://standard:4318/base/v1/metrics"
    assert standard.timeout == 3
    ours = load(toml, env={"RUN_PIPELINE_TELEMETRY__ENDPOINT": "http://ours:4318"}).telemetry
    assert ours.address("traces") == "http://ours:4318/v1/traces"


def test_a_signal_may_have_an_address_of_its_own_and_be_left_out(load: Load) -> None:
    env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces/in", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}
    telemetry = load(env=env).telemetry
    assert (telemetry.address("traces"), telemetry.address("metrics")) == ("https://traces/in", None)

    telemetry = load('[telemetry]\nendpoint = "http://all"', env={"OTEL_METRICS_EXPORTER": "none"}).telemetry
    assert (telemetry.address("traces"), telemetry.address("metrics")) == ("https://traces/in", None)
    assert telemetry.is_on


def test_opentelemetry_is_switched_off_as_everywhere(load: Load) -> None:
    telemetry = load('[telemetry]\nendpoint = "http://all"', env={"OTEL_SDK_DISABLED": "TRUE"}).telemetry
    assert not telemetry.is_on


def test_a_wrong_address_names_the_variable_that_it_came_from(load: Load) -> None:
    message = refused(load, env={"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"})
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in message
    assert "telemetry.endpoint" in message
    assert "expected for example http://collector:4318" in message


def test_an_address_with_a_password_is_refused_and_headers_are_secrets(load: Load) -> None:
    message = refused(load, f'[telemetry]\nendpoint = "https://me:{CANARY}@collector"')
    assert "telemetry.headers" in message
    assert CANARY not in message

    settings = load(f'[telemetry.headers]\nauthorization = "Bearer {CANARY}"')
    assert CANARY not in str(settings)
    assert f"Bearer {CANARY}" in set(secret_values(settings))
