"""A broker for the benchmarks: a local stack of its own, ended with the run."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.settings import Settings, load
from pipeline.stack import LocalStack, StackAddresses

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def fresh_stack() -> Iterator[StackAddresses]:
    """Starts a stack in a temporary folder; yields where it answers."""
    with tempfile.TemporaryDirectory() as directory:
        stack = LocalStack(Path(directory), jars=ROOT / ".local" / "jars", bound_to=os.getpid())
        try:
            yield stack.up(lambda _: None)
        finally:
            stack.down(wipe=True)


def own_topics(servers: str, name: str) -> Settings:
    """Returns settings with topics of their own; everything else is as shipped."""
    prefix = f"{name}-{time.time_ns()}."
    return load(None, {"kafka": {"bootstrap_servers": servers}, "topics": {"prefix": prefix}}).settings
