"""`trimodal audit`: the proof that every source record is in exactly one output record."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from pipeline.cli import moments
from pipeline.cli.context import settings
from pipeline.join.audit import Account
from pipeline.kafka.auditing import LISTED, AuditReport, run_audit
from pipeline.telemetry import logs

_out = Console()
_err = Console(stderr=True)

_ALWAYS = ("records", "predicted", "dead_lettered", "open", "lost", "doubled")
_MEANINGS = {
    "lost": "in no output record, though the group has finished with it",
    "doubled": "in more than one output record",
    "unknown": "named by an output record, and there is no such source record",
    "open": "not finished yet by the group",
    "unproven": "finished, and its output may have been deleted by retention",
    "expired": "named by an output record, and no longer among the source records, or before --since",
}


def audit(
    group: Annotated[str | None, typer.Option(help="Sets kafka.group, whose committed positions are used.")] = None,
    since: Annotated[
        str | None, typer.Option(help=f"Only source records that the broker took since then. {moments.HELP}")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most records listed of each kind.")] = LISTED,
    *,
    require_settled: Annotated[
        bool, typer.Option("--require-settled", help="Also exit with 1 while anything is open.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object, for programs.")] = False,
) -> None:
    """Prove that every source record is in exactly one output record, from the topics alone.

    Reads the source topics, predictions and dead letters up to their ends; the pipeline may be running. Exits with 1
    if a record is lost, doubled or made up, with 0 otherwise. A record that the group has not finished with is open.

    A group that began with kafka.start=latest never took the records before: audit it with --since.
    """
    chosen = settings({"kafka": {"group": group}})
    logs.configure(chosen.monitoring, program="audit")
    since_ms = None if since is None else moments.moment_ms(since, "--since", datetime.now(UTC))
    with _progress() as on_progress:
        report = run_audit(chosen, since_ms=since_ms, limit=limit, on_progress=on_progress)
    if as_json:
        _out.print(json.dumps(as_object(report)), markup=False, highlight=False, soft_wrap=True)
    else:
        show(report)
    if not report.balances or (require_settled and not report.is_settled):
        raise typer.Exit(1)


def verdict_line(report: AuditReport) -> str:
    """Returns the verdict in one sentence."""
    total = report.verdict.total
    if not report.balances:
        wrong = {"lost": total.lost, "doubled": total.doubled, "unknown": total.unknown}
        wrong["outputs that do not decode"] = len(report.unreadable)
        listed = ", ".join(f"{count:,} {what}" for what, count in wrong.items() if count)
        return f"The ledger does not balance: {listed}."
    accounted = f"{total.predicted:,} in predictions, {total.dead_lettered:,} in dead letters"
    unproven = f", {total.unproven:,} older than what retention has left" if total.unproven else ""
    return f"The ledger balances: {total.records:,} source records, {accounted}, {total.open:,} open{unproven}."


def as_object(report: AuditReport) -> dict[str, object]:
    """Returns the report for `json.dumps`."""
    verdict = report.verdict
    return {
        "balances": report.balances,
        "settled": report.is_settled,
        "group": report.group,
        "has_committed": report.has_committed,
        "predictions": report.predictions,
        "dead_letters": dict(report.dead_letters),
        "topics": {topic: asdict(account) for topic, account in verdict.topics.items()},
        "total": asdict(verdict.total),
        **asdict(verdict.listed),
        "unreadable": list(report.unreadable),
    }


def show(report: AuditReport) -> None:
    """Prints the accounts, what needs a look, and the verdict."""
    # Piped into another program, a table is not to be cut to 80 columns.
    wide = _out if _out.is_terminal else Console(width=200)
    wide.print(_accounts(report), highlight=False)
    if report.dead_letters:
        reasons = ", ".join(f"{reason.value} {count:,}" for reason, count in report.dead_letters.items())
        _say(f"Dead letters: {reasons}")
    total = asdict(report.verdict.total)
    for kind, records in asdict(report.verdict.listed).items():
        if total[kind]:
            _say(f"\n{kind}: {_MEANINGS[kind]}")
            for source in records:
                _say(f"  {source['topic']}[{source['partition']}]@{source['offset']}")
            if more := total[kind] - len(records):
                _say(f"  ... and {more:,} more (--limit)")
    for kind in ("unproven", "expired"):
        if total[kind]:
            _say(f"\n{kind}: {total[kind]:,}, {_MEANINGS[kind]}")
    if report.unreadable:
        _say("\nOutput records that do not decode, so that nobody knows what they account for:")
        for place in report.unreadable[:LISTED]:
            _say(f"  {place}")
        if (more := len(report.unreadable) - LISTED) > 0:
            _say(f"  ... and {more:,} more")
    if not report.has_committed:
        _say(f"\nThe group {report.group} has committed nothing, so what is in no output counts as open (--group).")
    _out.print(f"\n[bold {'green' if report.balances else 'red'}]{escape(verdict_line(report))}[/]", soft_wrap=True)


def _accounts(report: AuditReport) -> Table:
    total = report.verdict.total
    columns = [*_ALWAYS, *(kind for kind in ("unproven", "unknown", "expired") if getattr(total, kind))]
    table = Table(box=None, pad_edge=False)
    table.add_column("topic")
    for column in columns:
        table.add_column(column.replace("_", "-"), justify="right")

    def cells(account: Account) -> Iterator[str]:
        for column in columns:
            count = getattr(account, column)
            bad = count and column in {"lost", "doubled", "unknown"}
            yield f"[red]{count:,}[/]" if bad else f"{count:,}"

    for topic, account in report.verdict.topics.items():
        table.add_row(escape(topic), *cells(account))
    table.add_row("all", *cells(total), style="bold")
    return table


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on a terminal, and nothing elsewhere."""
    with Progress(console=_err, transient=True, disable=not _err.is_terminal) as progress:
        task = progress.add_task("Reading the topics", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _say(line: str) -> None:
    _out.print(line, markup=False, highlight=False, soft_wrap=True)
