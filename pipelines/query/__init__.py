"""Search by example from the command line: a question, its answer as a table, and a sheet of pictures."""
