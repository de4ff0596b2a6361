"""How the process keeps its memory: what Python's collector looks at, and what the C library gives back."""

import ctypes
import gc

_THRESHOLDS = 100_000, 50, 100
# Of glibc's malloc.h: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD, in bytes.
_MALLOC_OPTIONS = {-3: 32 << 20, -1: 1 << 30, -2: 64 << 20}


def spend_little_on_memory() -> None:
    """Does both of what follows."""
    keep_freed_memory()
    collect_garbage_rarely()


def collect_garbage_rarely() -> None:
    """Spares what is loaded by now, and looks at the rest seldom: records hold no cycles that it could find."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def keep_freed_memory() -> None:
    """Keeps what is freed for whoever allocates next; does nothing where there is no glibc.

    Batches of records and tensors are megabytes that come and go: given back to the kernel each time, they cost a page
    fault for every 4 KiB of the next.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC_OPTIONS.items():
            mallopt(option, value)
