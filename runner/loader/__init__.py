"""From the YAML of a project to checked plans: `open_project(settings)` and then `Project`.

reader, scalars, nodes      one file to a tree with positions
index                       which files there are
declarations                files to specs, each read once
parameters, substitution    {param: NAME}
validation, documents       errors of models as problems with file:line:column
checks                      references between steps, tables, functions and settings
flatten                     pipelines to one graph
project                     list, validate, plan
"""

from runner.loader.project import GraphSummary, JobSummary, PipelineSummary, Project, TableUse, open_project

__all__ = ["GraphSummary", "JobSummary", "PipelineSummary", "Project", "TableUse", "open_project"]
