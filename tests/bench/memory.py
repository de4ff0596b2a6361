"""Whether memory stays flat when ten times as much is waiting: the pipeline's peak at 10,000 and 100,000 triples."""

from rich.console import Console

from tests.bench.backlog import REALISTIC, SMALL, Work, fill
from tests.bench.broker import own_topics
from tests.bench.comparison import spread
from tests.bench.programs import measure, python
from tests.bench.report import keep

BACKLOGS = (10_000, 100_000)
LIMIT_S = 240.0
_out = Console()


def run(servers: str, runs: int, scale: float) -> None:
    """Measures both backlogs, of small and of realistic payloads."""
    for kind in (SMALL, REALISTIC):
        peaks: dict[int, list[int]] = {}
        for triples in BACKLOGS:
            work = Work(kind.name, round(triples * scale), kind.payload_bytes)
            backlog = fill(own_topics(servers, f"{kind.name}-{triples}"), work)
            program = python("tests.bench.pipeline_loop", "trimodal")
            found = [measure(program, backlog.settings, work.triples, LIMIT_S) for _ in range(runs)]
            peaks[triples] = [one.peak_mb for one in found]
        ratios = [large / little for little, large in zip(*peaks.values(), strict=True)]
        _out.print(
            f"{kind.name}: {', '.join(f'{n:,}: {spread(mb)} MB' for n, mb in peaks.items())}; {spread(ratios, '.2f')} x"
        )
        keep("memory", {"work": kind.name, "peak_rss_mb": {str(n): mb for n, mb in peaks.items()}, "ratios": ratios})
