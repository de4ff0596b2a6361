"""`trimodal model`: trains, measures and describes the model bundle.

The work is in `pipeline.cli.model_work`, which loads PyTorch; it is imported when one of these commands runs.
"""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Train, measure and describe the model.")

CPU_SECONDS = 950.0
TRIPLES = 4_000
SEED = 1_234
ModelOption = Annotated[
    Path | None,
    typer.Option("--model", help="Folder of the bundle (default: TRIMODAL_MODEL_PATH, or the shipped one)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@app.command("train")
def train_model(
    out: Annotated[Path, typer.Argument(help="Folder that the bundle is written to.", file_okay=False)],
    *,
    build: Annotated[Path, typer.Option(help="Where synthesised speech is kept between runs.")] = Path("build/digits"),
    packages: Annotated[Path, typer.Option(help="Where downloaded packages lie.")] = Path("build/packages"),
    cpu_seconds: Annotated[float, typer.Option(help="Processor time to train for.", min=1)] = CPU_SECONDS,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "tri-modal-digits",
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1.0.0",
    refresh_heldout: Annotated[
        bool, typer.Option("--refresh-heldout", help="Replace the repository's held-out digits by new ones.")
    ] = False,
) -> None:
    """Synthesise speech, train on tri-modal digits, calibrate, measure and write a bundle.

    Speech comes from every text-to-speech engine that is found; those that are missing are listed with the commands
    that install them. Synthesis takes about 25 minutes once, training as long as --cpu-seconds says.
    """
    from pipeline.cli import model_work  # noqa: PLC0415

    folders = model_work.Folders(out, build, packages)
    model_work.train_bundle(folders, cpu_seconds, seed, name, version, refresh_heldout=refresh_heldout)


@app.command("evaluate")
def evaluate_model(
    *,
    model: ModelOption = None,
    triples: Annotated[int, typer.Option(help="Noisy triples to draw from the held-out digits.", min=100)] = TRIPLES,
    seed: Annotated[int, typer.Option(help="Of the drawing and the corruption.")] = SEED,
    require_bars: Annotated[bool, typer.Option("--require-bars", help="Exit with 1 if a bar is missed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on the repository's held-out digits; the same seed gives the same figures."""
    from pipeline.cli import model_work  # noqa: PLC0415

    missed = model_work.evaluate_bundle(model, triples, seed, as_json=as_json)
    if require_bars and missed:
        typer.echo(f"error: missed: {', '.join(missed)}", err=True)
        raise typer.Exit(1)


@app.command()
def info(*, model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Show a bundle's name, version, parameters, labels, input specs, precision, temperatures and metrics."""
    from pipeline.cli import model_work  # noqa: PLC0415

    model_work.describe_bundle(model, as_json=as_json)
