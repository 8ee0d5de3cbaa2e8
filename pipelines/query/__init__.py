"""Search by example from the command line: the answer as a table, as GeoJSON, and as pictures."""
