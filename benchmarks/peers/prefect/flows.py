"""Prefect: a flow without a server of its own; Prefect starts a temporary one for the run."""

import sys

from prefect import flow, task
from work import score_new


@task
def score():
    score_new()


@task
def nothing(number):
    return number


@flow
def scores():
    score()


@flow
def nothings():
    for future in [nothing.submit(number) for number in range(20)]:
        future.result()


{"scores": scores, "nothing": nothings}[sys.argv[1]]()
