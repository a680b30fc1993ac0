"""The operations of a job, one file each. They do not know each other; the composition root picks by `op`."""
