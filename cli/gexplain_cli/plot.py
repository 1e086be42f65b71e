"""`gexplain plot`: a figure of one place of a finished run. The twin of `plot_region`."""

from __future__ import annotations

from pathlib import Path

import click

from gexplain.errors import UsageError


@click.command(name="plot", short_help="A figure of one place, for a paper or a talk.")
@click.argument("out")
@click.option(
    "-r",
    "--region",
    "regions",
    multiple=True,
    required=True,
    metavar="CHROM:FIRST-LAST|NAME",
    help="What to draw: a place, 1-based and inclusive; a chromosome; or a scored region by its name. A place comes"
    " before a name.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="Figure to write: .png, .svg or .pdf.  [default: CHROM_FIRST-LAST.png in the current folder]",
)
@click.option(
    "--genes",
    type=click.Path(),
    metavar="FILE",
    help="Genes to draw: GTF, GFF3 or BED12, plain or gzip; read through its tabix index if it has one.",
)
@click.option(
    "--chrom-alias",
    metavar="FILE",
    help="Names of the chromosomes in --genes, as UCSC's chromAlias.txt has them.  [default: with or without chr]",
)
@click.option(
    "--track",
    "tracks",
    multiple=True,
    metavar="NAME",
    help="A class, for its relevance and prediction; or one track of the run, such as coverage; repeatable, drawn in"
    " this order.  [default: every class]",
)
@click.option(
    "--flank",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Draw so many bases more on both sides.",
)
@click.option(
    "--letters",
    type=click.IntRange(min=0, max=5000),
    metavar="N",
    help="Draw relevance as letters where the figure shows at most N bases, else as bars; 0 is never.  [default: 200,"
    " fewer in a narrow figure]",
)
@click.option(
    "--width-mm",
    type=click.FloatRange(min=40, max=500),
    default=180.0,
    show_default=True,
    metavar="MM",
    help="Width; its height follows from what it shows. Journals have columns of 85 to 90 and pages of 180.",
)
@click.option(
    "--dpi",
    type=click.IntRange(min=50, max=1200),
    default=300,
    show_default=True,
    metavar="N",
    help="Dots per inch of a PNG.",
)
@click.option("--genome", metavar="FASTA", help="Where the run's genome is now, if it was moved; letters need it.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors, and the path of the figure.")
def command(
    out: str,
    regions: tuple[str, ...],
    output: str | None,
    genes: str | None,
    chrom_alias: str | None,
    tracks: tuple[str, ...],
    flank: int,
    letters: int | None,
    width_mm: float,
    dpi: int,
    genome: str | None,
    quiet: bool,
) -> None:
    """Draw one place of OUT, a finished run: for each class relevance, seqlets, primary hits and prediction; the
    regions; genes, if given. The path of the figure goes to standard output.

    Relevance tracks share one scale. Where many bases fall on one column of the picture, it has the extremes of all.
    Of a gene with several transcripts the one with the most exonic bases is drawn, or all where there are few.

    \b
    gexplain plot OUT -r chr1:1,001-2,000 --genes genes.gtf.gz -o figure.pdf
    gexplain plot OUT -r peak_17 --flank 200 --track CTCF --track coverage
    """  # noqa: D301 - click wants the control character
    if len(regions) > 1:
        raise UsageError(
            f"a figure shows one place; found {len(regions)} times -r: {', '.join(regions)}",
            hint="give the command once for each",
        )
    if chrom_alias is not None and genes is None:
        raise UsageError("--chrom-alias names the chromosomes of --genes, which is not given", hint="leave it out")
    from gexplain.genome.chromosomes import read_chrom_alias
    from gexplain.report.plot import PlotSettings, check_suffix, default_name, plot_region
    from gexplain.report.plot_content import find_place
    from gexplain.run_folder import open_run

    if output is not None:
        check_suffix(Path(output))
    run = open_run(out)
    interval = find_place(run, regions[0], flank=flank)
    path = Path(output if output is not None else default_name(interval))
    alias = None if chrom_alias is None else read_chrom_alias(chrom_alias)
    settings = PlotSettings(tracks, genes, alias, genome, letters, width_mm, dpi)
    notes = plot_region(run, interval, path, settings)
    if not quiet:
        for note in notes:
            click.echo(f"gexplain: {note}", err=True)
    click.echo(path)
