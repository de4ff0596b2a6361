"""An event in memory and on the wire."""
