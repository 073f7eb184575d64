"""From rows to ranks, and how sure they are: pure functions on a long table."""
