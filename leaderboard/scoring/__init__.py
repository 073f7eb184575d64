"""Masks to the rows of cases.csv."""
