"""Keeping a code table quick and small: few large shards, no files that nobody needs."""
