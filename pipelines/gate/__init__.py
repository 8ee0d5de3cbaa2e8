"""Is a version of the code table fit to be served? The checks, and publishing what passes them."""
