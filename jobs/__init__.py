"""The reference project's own code: real mail and questionnaire forms into a warehouse.

The engine finds these functions through the names in `configs/jobs/**/*.yaml`. They are plain functions: rows
in, rows out; of the engine they know one name, the type alias `runner.Row`.
"""
