"""Units of systemd that start runs: what they say, writing them, and what became of them.

units       what is to be started, and the text of its units
installing  units as files of a folder
installed   units that were written, read back
programs    systemctl and systemd-analyze, where there are
calendars   times as systemd understands them
timers      next and last runs
"""
