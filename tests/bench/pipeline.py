"""The pipeline without the model beside the bare loop."""

from rich.console import Console
from rich.table import Table

from tests.bench.backlog import REALISTIC, SMALL, Work
from tests.bench.comparison import Result, bare_loop, ratios, run_in_turn, spread, trimodal
from tests.bench.report import keep

WORKS = (SMALL, REALISTIC)
_out = Console()


def run(servers: str, runs: int, scale: float) -> None:
    """Measures both in turn over the same backlog, small and realistic."""
    for work in WORKS:
        scaled = work.scaled(scale)
        results = list(run_in_turn(servers, scaled, [bare_loop(), trimodal()], runs))
        show(scaled, results)
        bare, ours = results
        record: dict[str, object] = {
            "work": work.name,
            "contenders": {r.contender.program.name: r.record() for r in results},
        }
        if not (bare.failure or ours.failure):
            record["ratios"] = {"bare loop": [round(ratio, 3) for ratio in ratios(ours, bare)]}
            _out.print(f"trimodal / bare loop: {spread(ratios(ours, bare), '.2f')}")
        keep("pipeline", record)


def show(work: Work, results: list[Result]) -> None:
    """Prints a comparison."""
    table = Table("", "guarantee", title=f"{work.name}: {' + '.join(f'{size:,}' for size in work.payload_bytes)} B")
    for column in ("triples", "triples/s", "CPU s per 1,000", "peak MB", "answers"):
        table.add_column(column, justify="right")
    for result in results:
        name, guarantee = result.contender.program.name, result.contender.guarantee
        if not result.runs:
            table.add_row(name, guarantee, f"{result.triples:,}", "failed", "", "", "")
            _out.print(result.failure)
            continue
        cpu = [run.cpu_s / result.triples * 1_000 for run in result.runs]
        exact = "exact" if all(verdict.is_exact for verdict in result.verdicts) else str(result.verdicts[-1])
        peak = spread([run.peak_mb for run in result.runs])
        table.add_row(name, guarantee, f"{result.triples:,}", spread(result.rates), spread(cpu, ".3f"), peak, exact)
    _out.print(table)
