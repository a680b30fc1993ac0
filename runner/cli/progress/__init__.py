"""Ways to watch a run: a line per event, live lines on a terminal, JSON lines for a journal."""
