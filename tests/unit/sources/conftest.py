"""Fixtures of sources: a project to run them in."""

from tests.projects import make_project, project

__all__ = ["make_project", "project"]
