"""Maintenance keeps a code table fast and small: few large shards, no files that no kept version needs."""
