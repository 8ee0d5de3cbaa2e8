"""Publishing by hand: publishes a version, rolls back, or lists the publications."""
