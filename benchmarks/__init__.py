"""Benchmarks: `python -m benchmarks.x`. Each prints ratios within one run; the last line is JSON."""
