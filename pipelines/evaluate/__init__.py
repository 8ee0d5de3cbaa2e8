"""A bundle and labelled chips to figures and a report."""
