"""A version of the code table to what is served: the gate, and publishing by hand."""
