"""Where the clock of every loop starts. It imports nothing, so that a bare loop stays bare."""

import json
import sys
import time


def say_first() -> None:
    """Says that the first byte has been read: `{"first": seconds since the epoch}`, on a line of its own."""
    sys.stdout.write(json.dumps({"first": time.time()}) + "\n")
    sys.stdout.flush()
