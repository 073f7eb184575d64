"""Cohorts: are they sound, how are they split, and a synthetic twin of the real one."""
