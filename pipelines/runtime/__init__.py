"""What a process runs with: a Ray cluster, logs, threads, tables on disk."""
