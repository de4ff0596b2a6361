"""The `trimodal` command: options that all commands share, and what an error looks like."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.cli import bench, context, dead_letters, index, model, offsets, produce, run, stack, topics
from pipeline.cli.audit import audit
from pipeline.cli.consume import consume
from pipeline.cli.demo import demo
from pipeline.cli.expected import EXPECTED
from pipeline.cli.explain import explain
from pipeline.cli.search import search
from pipeline.cli.show_settings import show_settings

INTERRUPTED = 130

app = typer.Typer(
    name="trimodal",
    help="Joins speech, image and sensor events on Kafka, classifies them in batches and accounts for every record.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(stack.app, name="stack")
app.add_typer(topics.app, name="topics")
app.add_typer(produce.app, name="produce")
app.add_typer(run.app, name="run")
app.command()(consume)
app.command()(search)
app.add_typer(index.app, name="index")
app.command()(audit)
app.command()(explain)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(offsets.app, name="offsets")
app.add_typer(model.app, name="model")
app.add_typer(bench.app, name="bench")
app.command(name="settings")(show_settings)
app.command()(demo)


@app.callback()
def _common(
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings (also TRIMODAL_CONFIG_PATH).", dir_okay=False)
    ] = None,
    bootstrap_servers: Annotated[str | None, typer.Option(help="Sets kafka.bootstrap_servers.")] = None,
) -> None:
    overrides = {} if bootstrap_servers is None else {"kafka": {"bootstrap_servers": bootstrap_servers}}
    context.use(config, overrides)


def main() -> None:
    """Runs the command line; an expected error is a sentence and exit code 1, not a traceback."""
    try:
        app()
    except EXPECTED as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
