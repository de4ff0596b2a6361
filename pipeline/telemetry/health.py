"""How a program is: alive, ready, and in depth, each with a sentence for whoever asks."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

PROBE_AGAIN_S = 2.0
LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `says` is a sentence."""

    ok: bool
    says: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, by name; all of it must be well."""

    findings: Mapping[str, Finding]

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return all(finding.ok for finding in self.findings.values())


class Health:
    """What a program's main loop says of itself, and what can be asked from outside.

    The loop calls `beat` and `note`; the server's threads call `alive`, `ready` and `deep`.

    Args:
        needs: names of the findings without which the program is not ready, such as "model".
        stalled_after_s: without a step for so long, the main loop counts as stuck.
        clock_s: a monotonic clock.
    """

    def __init__(
        self,
        needs: Sequence[str] = (),
        stalled_after_s: float = 120.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._needs = tuple(needs)
        self._stalled_after_s = stalled_after_s
        self._clock_s = clock_s
        self._began_s = clock_s()
        self._last_step_s: float | None = None
        self._noted: dict[str, Finding] = {}
        self._probes: dict[str, _Probe] = {}

    def beat(self) -> None:
        """The main loop has taken a step."""
        self._last_step_s = self._clock_s()

    def note(self, name: str, says: str, *, ok: bool = True) -> None:
        """Replaces what is known under a name."""
        self._noted[name] = Finding(ok, says)

    def probe(self, name: str, ask: Callable[[], Finding]) -> None:
        """Has something asked whenever the depth is; at most once in `PROBE_AGAIN_S`, in the server's threads."""
        self._probes[name] = _Probe(ask, self._clock_s)

    def alive(self) -> Report:
        """Whether the process works: its main loop took a step lately, or it is still starting."""
        return Report({LOOP: self._loop()})

    def ready(self) -> Report:
        """Whether the program does what it is for."""
        needed = {name: self._noted.get(name, Finding(ok=False, says="Not yet.")) for name in self._needs}
        return Report({LOOP: self._loop(), **needed})

    def deep(self) -> Report:
        """Everything that is known and can be asked."""
        probed = {name: probe.finding() for name, probe in self._probes.items()}
        return Report({**self.ready().findings, **self._noted, **probed})

    def _loop(self) -> Finding:
        if self._last_step_s is None:
            return Finding(ok=True, says=f"It has been starting for {self._clock_s() - self._began_s:.0f} s.")
        ago_s = self._clock_s() - self._last_step_s
        says = f"The main loop took its last step {ago_s:.1f} s ago"
        if ago_s < self._stalled_after_s:
            return Finding(ok=True, says=f"{says}.")
        return Finding(ok=False, says=f"{says}, more than {self._stalled_after_s:.0f} s: it is stuck; restart it.")


class _Probe:
    """Asks one thing, one thread at a time; who comes soon after gets the same answer."""

    def __init__(self, ask: Callable[[], Finding], clock_s: Callable[[], float]) -> None:
        self._ask = ask
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._known: Finding | None = None
        self._asked_s = 0.0

    def finding(self) -> Finding:
        with self._lock:
            if self._known is None or self._clock_s() - self._asked_s >= PROBE_AGAIN_S:
                self._known = self._ask()
                self._asked_s = self._clock_s()
            return self._known
