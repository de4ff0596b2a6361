"""Tumbling windows over predictions: pure code. Time comes in as an argument, and so does what was kept before."""
