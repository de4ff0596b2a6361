"""Benchmarks: `make bench`. Ratios count, measured side by side in one run, since machines differ."""
