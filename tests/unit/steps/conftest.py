"""Fixtures of steps, which are tested in small projects."""

from tests.projects import make_project, project

__all__ = ["make_project", "project"]
