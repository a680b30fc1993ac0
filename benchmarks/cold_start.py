"""How long people wait before anything happens: `--help` and `list`, whole processes.

    python benchmarks/cold_start.py

Required: `--help` 0.15 s, aim 0.10; `list` 0.40 s, aim 0.25. Beside them the floor: a bare interpreter, and one that
imports click.
"""

from __future__ import annotations

from harness import PYTHON, ROOT, Command, alternate, cli, ensure_environment, machine, table, verdict


def main() -> None:
    """Run all in turn, print figures and verdicts."""
    ensure_environment()
    help_ = cli(ROOT, "--help", name="run-pipeline --help")
    list_ = cli(ROOT, "list", name="run-pipeline list")
    click = Command("python -c 'import click'", [str(PYTHON), "-c", "import click"], ROOT)
    bare = Command("python -c ''", [str(PYTHON), "-c", ""], ROOT)
    alternate([help_, list_, click, bare], runs=15, warmup=3)
    print(f"## Cold start; {machine()}\n")
    print(table([help_, list_, click, bare]))
    print(verdict("--help", help_.wall, 0.15, 0.10))
    print(verdict("list", list_.wall, 0.40, 0.25))


if __name__ == "__main__":
    main()
