"""Runs as HTML: one page that needs nothing but itself, neither scripts nor fonts nor a network.

    view.view_of(run, runs)        what is told of a run: its bars, its critical path, the runs before it
    report.report(view)            the page of a run, for `report` (a file) and for `ui` (live)
    overview.overview(runs)        the page of all pipelines, for `ui`
    markup                         the only place where text becomes HTML: all of it is redacted and escaped

Pictures are SVG with places in percent of the time that they show, so they are exact at any width. Each has a table
twin. Nothing here imports a web framework.
"""
