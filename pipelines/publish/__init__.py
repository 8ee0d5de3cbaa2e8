"""Publishing by hand: a version, the one before it again, or a list of what was published."""
