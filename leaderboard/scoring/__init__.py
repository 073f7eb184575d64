"""From masks to the rows of cases.csv."""
