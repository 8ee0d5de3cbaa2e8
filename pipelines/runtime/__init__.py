"""What all jobs run on: a Ray cluster, logs, threads, tables on disk."""
