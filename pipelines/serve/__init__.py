"""A published code table to answers over HTTP."""
