"""The programs. Each file reads from top to bottom as the way of an event."""
