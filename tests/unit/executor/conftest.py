"""Fixtures of the executor."""

from tests.projects import make_project, project

__all__ = ["make_project", "project"]
