"""Exact search over packed binary codes."""
