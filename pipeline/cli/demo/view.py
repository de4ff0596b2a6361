"""What the demo shows: a live view while it runs, and the figures at the end."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipeline.cli.demo.tally import Tally


def live(tally: Tally, published: int, records: int, elapsed_s: float, rate: float) -> RenderableType:
    """Returns the view of a running demo.

    Args:
        tally: what has come out.
        published: source records published so far.
        records: how many there will be, as far as is known.
        elapsed_s: since the first record.
        rate: predictions per second over the last moments.
    """
    grid = Table.grid(padding=(0, 3))
    grid.add_column(style="dim")
    grid.add_column(justify="right")
    grid.add_column(style="dim")
    grid.add_column(justify="right")
    grid.add_row("records published", f"{published:,} of about {records:,}", "seconds", f"{elapsed_s:.0f}")
    grid.add_row("records accounted for", f"{tally.accounted:,}", "lag, records", f"{published - tally.accounted:,}")
    grid.add_row("predictions", f"{tally.predictions:,}", "predictions/s", f"{rate:,.0f}")
    grid.add_row("right, of three inputs", _percent(tally.accuracy(3)), "right, of two", _percent(tally.accuracy(1, 2)))
    grid.add_row("latency p50", _milliseconds(tally.latency_ms(50)), "p99", _milliseconds(tally.latency_ms(99)))
    letters = ", ".join(f"{reason.lower()} {count}" for reason, count in sorted(tally.reasons.items())) or "none yet"
    return Panel(Group(grid, Text(f"dead letters  {letters}", style="dim")), title="trimodal", expand=False)


def figures(tally: Tally, seconds: float, by_label: Mapping[str, int]) -> RenderableType:
    """Returns the closing figures.

    Args:
        tally: what came out.
        seconds: from the first record published to the last prediction read.
        by_label: documents of this run in Elasticsearch.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("source records", f"{tally.accounted:,}, each in one committed output")
    table.add_row(
        "predictions", f"{tally.predictions:,} in {seconds:.1f} s: {tally.predictions / seconds:,.0f} a second"
    )
    table.add_row(
        "latency",
        f"p50 {_milliseconds(tally.latency_ms(50))}, p99 {_milliseconds(tally.latency_ms(99))}, "
        "from the last event's append to the committed prediction, all three inputs there",
    )
    table.add_row(
        "  two inputs", f"p50 {_milliseconds(tally.latency_ms(50, 2))}: they wait for the third until the window closes"
    )
    table.add_row("right, of three inputs", f"{_percent(tally.accuracy(3))} of {tally.answered[3]:,}")
    table.add_row("right, of two", f"{_percent(tally.accuracy(2))} of {tally.answered[2]:,}")
    letters = ", ".join(f"{reason.lower()} {count}" for reason, count in sorted(tally.reasons.items())) or "none"
    table.add_row("dead letters", f"{tally.reasons.total():,}: {letters}")
    documents = ", ".join(f"{label}: {count}" for label, count in sorted(by_label.items()))
    table.add_row("in Elasticsearch", f"{sum(by_label.values()):,} documents by label: {documents}")
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"
