"""`trimodal settings`: every setting, its value, and where it came from."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli import context

HIDDEN = "********"
SECRETS = {"elasticsearch.password", "elasticsearch.api_key", "kafka.client_options"}


def show_settings(
    changed: Annotated[bool, typer.Option("--changed", help="Only those that are not at their default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object, for programs.")] = False,
) -> None:
    """Print every setting with its value, where the value came from, and what it means."""
    rows = [
        (name, HIDDEN if name in SECRETS and value else value, origin, description)
        for name, value, origin, description in context.loaded().rows()
        if not changed or origin != "default"
    ]
    if as_json:
        typer.echo(json.dumps({name: {"value": value, "from": origin} for name, value, origin, _ in rows}, default=str))
        return
    if not rows:
        typer.echo("Every setting is at its default.")
        return
    table = Table("setting", "value", "from", "meaning", show_lines=False)
    for name, value, origin, description in rows:
        table.add_row(name, "" if value is None else str(value), origin, description)
    Console().print(table)
