"""The jobs: thin entry points, run as `python -m jobs.x`."""
