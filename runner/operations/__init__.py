"""One file a verb that is more than rendering. Operations return data; the command line words it."""
