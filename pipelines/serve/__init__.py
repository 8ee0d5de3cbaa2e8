"""The query service: answers searches over a published code table, over HTTP."""
