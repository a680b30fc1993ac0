"""Sources that the engine brings along: extract functions behind `op: extract` with `source: NAME`.

Each module is imported only by a run that uses it, and brings its client in from an extra of the distribution.
"""
