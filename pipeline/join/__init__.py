"""The join: pure code. No I/O, no clock, no threads, no logging; time and data come in as arguments."""
