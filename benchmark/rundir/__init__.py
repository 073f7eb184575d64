"""What lies in a run directory: names, state, digests, lock."""
