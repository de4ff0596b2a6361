"""`python -m tests.bench`: the pipeline without a model beside a bare loop, on the same broker in one run.

`python -m tests.bench.indexer` does the same for the indexer.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.settings import Settings, load
from pipeline.stack import LocalStack
from tests.bench.backlog import REALISTIC, SMALL, Work, fill
from tests.bench.report import keep, machine

ROOT = Path(__file__).resolve().parents[2]
_out = Console()


def settings_for(servers: str, work: Work) -> Settings:
    """Returns settings with topics of this work's own; the window is as shipped."""
    sections = {"kafka": {"bootstrap_servers": servers}, "topics": {"prefix": f"{work.name}-{time.time_ns()}."}}
    return load(None, sections).settings


def measure(module: str, settings: Settings, arguments: list[str]) -> dict[str, float]:
    """Runs one loop as a process with a group of its own; returns its figures."""
    environment = {
        **os.environ,
        "TRIMODAL_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TRIMODAL_KAFKA__GROUP": f"bench-{time.time_ns()}",
        "TRIMODAL_TOPICS__PREFIX": settings.topics.prefix,
        "TRIMODAL_MONITORING__ENABLE_METRICS": "false",
        "TRIMODAL_MONITORING__LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return figures


def compare(servers: str, work: Work, runs: int) -> None:
    """Measures both loops in turn over the same backlog, and prints the medians and the ratio run by run."""
    settings = settings_for(servers, work)
    with _out.status(f"Publishing {work.triples:,} triples ({work.name})"):
        fill(settings, work)
    bare: list[dict[str, float]] = []
    ours: list[dict[str, float]] = []
    for run in range(runs):
        with _out.status(f"{work.name}, run {run + 1} of {runs}"):
            bare.append(
                measure("tests.bench.bare_loop", settings, [servers, settings.topics.prefix, str(work.triples)])
            )
            ours.append(measure("tests.bench.pipeline_loop", settings, [str(work.triples)]))
    ratios = [one["triples_per_s"] / other["triples_per_s"] for one, other in zip(ours, bare, strict=True)]
    table = Table(
        "", "triples/s", "CPU s per 1,000", "peak MB", title=f"{work.name}: {work.triples:,} triples, {runs} runs"
    )
    for name, figures in (("bare loop", bare), ("trimodal", ours)):
        medians = [statistics.median(entry[key] for entry in figures) for key in figures[0]]
        table.add_row(name, f"{medians[0]:,.0f}", f"{medians[1]:.3f}", f"{medians[2]:,.0f}")
    _out.print(table)
    _out.print(f"ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")
    keep("pipeline", {"work": work.name, "machine": machine(), "bare": bare, "trimodal": ours, "ratios": ratios})


def main() -> None:
    """Starts a stack of its own, measures, and ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full work, for a quick look")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        stack = LocalStack(Path(directory), jars=ROOT / ".local" / "jars", bound_to=os.getpid())
        try:
            servers = stack.up(lambda _: None).bootstrap_servers
            for work in (SMALL, REALISTIC):
                scaled = Work(work.name, round(work.triples * options.scale), work.payload_bytes)
                compare(servers, scaled, options.runs)
        finally:
            stack.down(wipe=True)


if __name__ == "__main__":
    main()
