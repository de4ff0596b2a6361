"""How the process keeps its memory: what Python's collector looks at, and what the C library gives back."""

import ctypes
import gc

_THRESHOLDS = 100_000, 50, 100
# Of glibc's malloc.h, in bytes: M_MMAP_THRESHOLD, above which a block is no arena's but the kernel's, and
# M_TRIM_THRESHOLD, how much each arena (there is one a thread) keeps at most at its end.
_MALLOC_OPTIONS = {-3: 2 << 20, -1: 8 << 20}


def spend_little_on_memory() -> None:
    """Does both of what follows."""
    keep_freed_memory()
    collect_garbage_rarely()


def collect_garbage_rarely() -> None:
    """Spares what is loaded by now, and looks at the rest seldom: records hold no cycles that it could find."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def keep_freed_memory() -> None:
    """Keeps a few megabytes of what is freed for whoever allocates next; does nothing where there is no glibc.

    Batches of records and tensors are megabytes that come and go: given back to the kernel each time, they cost a page
    fault for every 4 KiB of the next, a third of the network's time on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC_OPTIONS.items():
            mallopt(option, value)
