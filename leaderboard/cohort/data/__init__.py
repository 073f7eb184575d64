"""Facts of the challenge that ship with the package."""
