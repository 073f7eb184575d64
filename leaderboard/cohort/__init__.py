"""What a case is, the trees that cohorts come in, and whose case it is."""
