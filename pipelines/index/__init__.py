"""A version of the code table as a searchable folder: codes, columns to filter by, rows."""
