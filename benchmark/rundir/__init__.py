"""The contents of a run directory: names, state, digests, lock."""
