"""The code table: its columns, commits, shards, and what of it is published."""
