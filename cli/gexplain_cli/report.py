"""`gexplain report`: the page of a finished run, made again. The twin of `make_report`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gexplain.run_folder import REPORT
from gexplain_cli.options import device_option, refuse_ignored
from gexplain_cli.progress import show_stages


@click.command(name="report", short_help="The page of a finished run, made again.")
@click.argument("out")
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=24,
    show_default=True,
    metavar="N",
    help="Regions shown in detail, with letters.",
)
@click.option(
    "--assembly",
    metavar="NAME",
    help="What UCSC calls the genome, such as hg38: writes the track hub for it.  [default: told from the lengths of"
    " the chromosomes]",
)
@click.option("--genome", metavar="FASTA", help="Where the run's genome is now, if it was moved.")
@click.option(
    "--quality",
    is_flag=True,
    help="Measure the quality of the tracks (again): runs the model on a sample of windows.",
)
@click.option("-m", "--model", metavar="MODEL", help="With --quality: where the run's model is now, if it was moved.")
@device_option
@click.option("-p", "--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.  [default: all]")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    out: str,
    top: int,
    assembly: str | None,
    genome: str | None,
    quality: bool,
    model: str | None,
    device: str,
    threads: int | None,
    quiet: bool,
) -> None:
    """Write OUT/report.html, the page of a finished run: what was predicted and why, in pictures and a table, with
    letters, motifs, profiles, and how far the tracks can be trusted. One file, which opens off-line.

    `gexplain score` makes it, too. The quality is measured there; here with --quality only.

    \b
    gexplain report OUT
    gexplain report OUT --top 100 --assembly hg38
    gexplain view OUT
    """  # noqa: D301 - click wants the control character
    if not quality:
        refuse_ignored(["model", "device", "threads"], "without --quality, which alone runs the model")
    from gexplain.reports import make_report
    from gexplain.run_folder import open_run

    run = open_run(out)
    loaded = None
    if quality:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        from gexplain.models.model import load_model

        loaded = load_model(
            model or run.manifest["model"]["source"], device=device, dtype=run.manifest["settings"]["dtype"]
        )
    with show_stages("windows sampled for quality", "regions", quiet=quiet) as (quality_progress, progress):
        make_report(
            run,
            genome=genome,
            model=loaded,
            assembly=assembly,
            top=top,
            progress=progress,
            quality_progress=quality_progress,
        )
    if not quiet:
        click.echo(in_pictures(run.path), err=True)


def in_pictures(out: Path) -> str:
    """Where to look at a run that has a report."""
    return f"the run in pictures: {out / REPORT}; with tracks: {shlex.join(['gexplain', 'view', str(out)])}"
