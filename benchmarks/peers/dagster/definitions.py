"""Dagster: assets and ops, run in this process with an instance in memory."""

import sys

from dagster import Definitions, asset, job, materialize, op
from work import score_new


@asset
def scores():
    score_new()


@op
def nothing():
    pass


@job
def nothings():
    for number in range(20):
        nothing.alias(f"nothing_{number:02}")()


definitions = Definitions(assets=[scores], jobs=[nothings])

if __name__ == "__main__":
    done = materialize([scores]) if sys.argv[1] == "scores" else nothings.execute_in_process()
    sys.exit(not done.success)
