"""Fixtures of whole pipelines."""

from tests.projects import make_project, project

__all__ = ["make_project", "project"]
