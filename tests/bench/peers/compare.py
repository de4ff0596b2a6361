"""Everybody on the same work, on the same broker, in one run."""

from rich.console import Console

from tests.bench.backlog import Work
from tests.bench.comparison import bare_loop, ratios, run_in_turn, spread, trimodal
from tests.bench.peers.catalogue import NotInstalled, all_peers, versions
from tests.bench.pipeline import WORKS, show
from tests.bench.report import keep

_out = Console()


def run(servers: str, runs: int, scale: float) -> None:
    """Measures the bare loop, us and every peer that can be installed."""
    with _out.status("Installing the peers"):
        peers = dict(all_peers())
    missing = {name: str(peer) for name, peer in peers.items() if isinstance(peer, NotInstalled)}
    for name, reason in missing.items():
        _out.print(f"{name} is left out: {reason}")
    for work in WORKS:
        _compare(servers, work.scaled(scale), runs, missing)


def _compare(servers: str, work: Work, runs: int, missing: dict[str, str]) -> None:
    peers = [peer for _, peer in all_peers() if not isinstance(peer, NotInstalled)]
    results = list(run_in_turn(servers, work, [bare_loop(), trimodal(), *peers], runs))
    show(work, results)
    ours = results[1]
    beside = {
        r.contender.program.name: ratios(ours, r)
        for r in results
        if r is not ours and not r.failure and not ours.failure
    }
    for name, values in beside.items():
        _out.print(f"trimodal / {name}: {spread(values, '.2f')}")
    contenders = {result.contender.program.name: result.record() for result in results}
    keep(
        "peers",
        {
            "work": work.name,
            "contenders": contenders,
            "ratios": {name: [round(value, 3) for value in values] for name, values in beside.items()},
            "missing": missing,
            "versions": versions(),
        },
    )
