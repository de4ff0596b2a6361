"""How often Python looks for garbage that its reference counts do not see."""

import gc

_THRESHOLDS = 100_000, 50, 100


def collect_garbage_rarely() -> None:
    """Spares what is loaded by now, and looks at the rest seldom: records hold no cycles that it could find."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
