"""What `benchmarks.fuzz` tries: a module for each target."""
