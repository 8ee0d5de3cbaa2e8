"""The code table: its columns, commits and shards, and which version is published."""
