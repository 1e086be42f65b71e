"""`gexplain demo`: the bundled genome scored, and what was planted in it found or not. The twin of `run_demo`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from gexplain_cli.interrupt import InterruptedRunError
from gexplain_cli.memory import keep_freed_memory
from gexplain_cli.options import device_option, model_option, model_or_default
from gexplain_cli.progress import show_stages
from gexplain_cli.report import in_pictures

if TYPE_CHECKING:
    from gexplain.demo import Demo


@click.command(name="demo", short_help="The bundled genome scored: are planted sites found?")
@model_option
@click.option(
    "-o", "--output", metavar="DIR", default="demo_out", show_default=True, help="Directory to write, as score does."
)
@click.option("--force", is_flag=True, help="Replace another run's output.")
@device_option
@click.option(
    "-p",
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="CPU threads; a small model gains little from more.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary; the table alone.")
def command(model: str | None, output: str, force: bool, device: str, threads: int, quiet: bool) -> None:
    """Score a synthetic genome that comes with gexplain, in which sites of CTCF, FOXA1, GABPA, REST and USF1 are
    planted, and shuffled decoys; print how many of either got a relevance peak.

    A site has a peak if the relevance of its factor's class, smoothed over 7 bases, is higher somewhere inside it
    than in 99 % of the places of that width in the genome's empty stretches. DIR gets what `gexplain score --target
    all` writes, and demo_sites.tsv, a line for each site and decoy.
    """
    # Torch is loaded here and not before: help is prompt.
    import torch

    from gexplain.demo import run_demo

    keep_freed_memory()
    torch.set_num_threads(threads)
    name = model_or_default(model)
    try:
        with show_stages("windows", "windows sampled for quality", quiet=quiet) as (progress, quality_progress):
            demo = run_demo(
                output,
                name,
                device=device,
                force=force,
                progress=progress,
                quality_progress=quality_progress,
                command=shlex.join(["gexplain", *sys.argv[1:]]),
            )
    except KeyboardInterrupt:
        again = shlex.join(["gexplain", *(word for word in sys.argv[1:] if word != "--force")])
        raise InterruptedRunError("interrupted", hint=f"to go on: {again}") from None
    click.echo(_table(demo))
    if not quiet:
        click.echo(
            f"every site and decoy is a line of {demo.table}; IGV opens {demo.run.path / 'igv_session.xml'}\n"
            + in_pictures(demo.run.path),
            err=True,
        )


def _table(demo: Demo) -> str:
    from gexplain.demo import FACTORS

    lines = ["factor  sites with a peak  decoys with a peak"]
    for name, factors in [*((factor, [factor]) for factor in FACTORS), ("all", FACTORS)]:
        sites, decoys = (" of ".join(map(str, demo.n_peaks(factors, decoys=one))) for one in (False, True))
        lines.append(f"{name:<6}  {sites:<17}  {decoys}")
    return "\n".join(lines)
