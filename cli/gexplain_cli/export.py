"""`gexplain export`: a finished run in the formats of other programs. The twin of `gexplain.export`."""

from __future__ import annotations

import shlex
import sys

import click

from gexplain.errors import count


@click.group(name="export", short_help="A finished run in the formats of other programs.")
def command() -> None:
    """A finished run in the formats of other programs."""


@command.command(name="modisco", short_help="What `modisco motifs` takes.")
@click.argument("out")
@click.option("-o", "--output", metavar="DIR", help="Directory to write.  [default: OUT/modisco]")
@click.option("--track", metavar="NAME", help="Relevance track, where the run has several.")
@click.option(
    "--width",
    type=int,
    metavar="N",
    help="Nucleotides around each region's middle, even.  [default: the regions' median width, and the model's window"
    " at least]",
)
@click.option("--genome", metavar="FASTA", help="Where the run's genome is now, if it was moved.")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@click.option("-q", "--quiet", is_flag=True, help="No summary.")
def modisco(
    out: str, output: str | None, track: str | None, width: int | None, genome: str | None, force: bool, quiet: bool
) -> None:
    """Write sequences.npz, attributions.npz and index.bed of the scored regions of OUT, a finished run, for
    TF-MoDISco (`pip install modisco`).

    Row i of the arrays is line i of index.bed, so that patterns come back to the genome with `gexplain export
    modisco-hits`.
    """
    from gexplain.export import export_modisco

    done = export_modisco(out, output, track=track, width=width, genome=genome, force=force)
    if done.n_without_relevance:
        left_out = count(done.n_without_relevance, "window")
        click.echo(f"gexplain: warning: {left_out} left out: no base of theirs has relevance", err=True)
    if done.n_unscored:
        click.echo(
            f"gexplain: warning: {done.unscored_share:.1%} of the bases have no relevance: they are 0", err=True
        )
    if not quiet:
        run = ["modisco", "motifs", "-s", str(done.folder / "sequences.npz")]
        run += ["-a", str(done.folder / "attributions.npz"), "-w", str(done.width), "-n", "20000"]
        run += ["-o", str(done.folder / "modisco_results.h5")]
        click.echo(f"{count(done.n_windows, 'window')} of {done.width:,} bases in {done.folder}; next:", err=True)
        click.echo(f"    {shlex.join(run)}", err=True)


@command.command(name="modisco-hits", short_help="Where modisco's patterns lie, as BED.")
@click.argument("results", metavar="H5")
@click.argument("index", metavar="INDEX")
@click.option(
    "-o", "--output", default="-", show_default=True, metavar="FILE", help="BED to write; - is standard output."
)
def modisco_hits(results: str, index: str, output: str) -> None:
    """Write where the instances of the patterns in H5, a result of `modisco motifs`, lie on the genome: BED6, and the
    sign of the pattern, the instance's summed relevance and its region. INDEX is the index.bed beside the arrays that
    modisco read.
    """
    from gexplain.export import write_instances

    write_instances(results, index, sys.stdout if output == "-" else output)
