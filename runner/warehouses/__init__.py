"""One module an engine; each imports its own driver and is itself imported only when that engine is opened."""
