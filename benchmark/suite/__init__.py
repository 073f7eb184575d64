"""A suite: its config, its jobs, what is done of them, its results."""
