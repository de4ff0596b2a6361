"""`python -m tests.bench [WHAT …]`: measures, keeps the figures, and writes `docs/benchmarks.md`."""

import argparse

from tests.bench import document, indexer, latency, memory, model, overhead, pipeline, scaling
from tests.bench.broker import fresh_stack
from tests.bench.peers import compare as peers

ON_KAFKA = {
    "pipeline": pipeline.run,
    "peers": peers.run,
    "latency": latency.run,
    "memory": memory.run,
    "scaling": scaling.run,
    "model": model.run,
    "overhead": overhead.run,
}
EVERYTHING = (*ON_KAFKA, "indexer", "report")


def main() -> None:
    """Measures what is asked for, each on a broker of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"{', '.join(EVERYTHING)}; without it all of them")
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full work, for a quick look")
    options = parser.parse_args()
    if unknown := [what for what in options.what if what not in EVERYTHING]:
        parser.error(f"unknown: {', '.join(unknown)}; there is {', '.join(EVERYTHING)}")
    for what in options.what or EVERYTHING:
        if what == "report":
            document.write()
        else:
            with fresh_stack() as stack:
                if what == "indexer":
                    indexer.run(stack, options.runs, options.scale)
                else:
                    ON_KAFKA[what](stack.bootstrap_servers, options.runs, options.scale)


if __name__ == "__main__":
    main()
