"""Events in: builders for each kind of input, the publisher, and the replay of the demo data."""
