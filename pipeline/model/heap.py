"""How glibc's malloc treats the memory of a network that has a process to itself."""

import ctypes

# Of glibc's malloc.h: M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, in bytes.
_MALLOC_OPTIONS = {-3: 2 << 20, -1: 8 << 20}


def keep_freed_memory() -> None:
    """Lets glibc keep a few megabytes of what is freed; does nothing where there is no glibc.

    Without, a third of the network's time are page faults. Not for a process that also holds Kafka's fetches: see
    docs/adr/0014-a-batch-split-among-cores.md.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC_OPTIONS.items():
            mallopt(option, value)
