"""What the programs tell about themselves: logs and metrics."""
