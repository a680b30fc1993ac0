"""What records of runs tell about time: pure functions, without I/O and without a clock.

Everything that draws runs or tells about them asks here, and works nothing out again.

    timeline.timeline(run)             bars: when each job was ready, began and ended, its steps, lanes
    critical_path.critical_path(run)   the chain of jobs and waits that made the run as long as it was
    history.histories(runs)            series for each job and step out of many runs; rates, shares, failures
    trend.trend(values)                whether a series got slower or faster, by how much, since when
    quantiles                          median, p95, MAD

All times are milliseconds from the start of the run, or durations in milliseconds. Records of running, crashed and
old runs are welcome: what they do not know is left out.
"""
