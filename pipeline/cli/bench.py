"""`trimodal bench`: how fast the model and the whole pipeline are on this machine.

The work is in `pipeline.cli.bench_model` and `pipeline.cli.bench_pipeline`, which load PyTorch; they are imported when
one of these commands runs. `make bench` compares with others.
"""

from typing import Annotated

import typer

from pipeline.cli import context

app = typer.Typer(no_args_is_help=True, help="Measure the model, or the whole pipeline on the configured broker.")

BATCHES = "1,8,16,32,64,128,256"
_Device = Annotated[str | None, typer.Option(help="Sets serving.device: auto, cpu, cuda or cuda:N.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(f"{text!r} is not a list of batch sizes such as {BATCHES}")
    return sizes


@app.command(name="model")
def bench_model(
    *,
    preset: Annotated[
        str | None, typer.Option(help="small or base, with random weights; without it the configured bundle.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes, comma-separated.")] = BATCHES,
    seconds: Annotated[float, typer.Option(help="How long each figure is measured.", min=0.05)] = 1.0,
    device: _Device = None,
    as_json: _Json = False,
) -> None:
    """Print samples a second, ms a batch, achieved TFLOP/s, share of the card's FP16 peak, and memory."""
    from pipeline.cli import bench_model as work  # noqa: PLC0415

    work.run(context.settings({"serving": {"device": device}}), preset, _sizes(batch), seconds, as_json=as_json)


@app.command(name="pipeline")
def bench_pipeline(
    *,
    triples: Annotated[int, typer.Option(help="Triples of synthetic events.", min=100)] = 5_000,
    device: _Device = None,
    as_json: _Json = False,
) -> None:
    """Publish synthetic events to topics made for it, answer them all, and print how long it took.

    The topics have a prefix of their own on the configured broker, and are deleted in the end.
    """
    from pipeline.cli import bench_pipeline as work  # noqa: PLC0415

    work.run(context.settings({"serving": {"device": device}}), triples, as_json=as_json)
