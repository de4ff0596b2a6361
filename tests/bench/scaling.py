"""Two replicas beside one, on the same backlog. The clock includes the rebalance when the second joins."""

import os

from rich.console import Console

from tests.bench.backlog import REALISTIC, SMALL, fill
from tests.bench.broker import own_topics
from tests.bench.comparison import spread
from tests.bench.programs import measure, python
from tests.bench.report import keep

LIMIT_S = 180.0
_out = Console()


def run(servers: str, runs: int, scale: float) -> None:
    """Measures one and two replicas in turn."""
    program = python("tests.bench.pipeline_loop", "trimodal")
    for kind in (SMALL, REALISTIC):
        work = kind.scaled(scale)
        settings = fill(own_topics(servers, work.name), work).settings
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(runs):
            for replicas, found in rates.items():
                found.append(work.triples / measure(program, settings, work.triples, LIMIT_S, replicas).seconds)
        ratios = [two / one for one, two in zip(*rates.values(), strict=True)]
        _out.print(
            f"{work.name}: one {spread(rates[1])}, two {spread(rates[2])} triples/s; {spread(ratios, '.2f')} x "
            f"on {os.cpu_count()} cores, broker included"
        )
        keep(
            "scaling",
            {
                "work": work.name,
                "triples": work.triples,
                "triples_per_s": {str(n): [round(rate) for rate in found] for n, found in rates.items()},
                "ratios": [round(ratio, 3) for ratio in ratios],
            },
        )
