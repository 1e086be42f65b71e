"""`gexplain hits`: motif matches that the model uses, from a run or any track. The twin of `call_hits`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gexplain.errors import UsageError, count
from gexplain_cli.attributions import attribution_options, calling, check_place, q_option
from gexplain_cli.options import match_p_option, motifs_option


@click.command(name="hits", short_help="Motif matches that the model uses, as BED.")
@attribution_options
@motifs_option
@click.option(
    "--motif", "only", multiple=True, metavar="ID|NAME", help="Look for this motif of them only; repeatable."
)
@q_option
@match_p_option
@click.option("--summary", type=click.Path(), metavar="TSV", help="Write a line for each motif and track, too.")
def command(
    motifs: str | None, only: tuple[str, ...], q: float, match_p: float, summary: str | None, **options: Any
) -> None:
    """Write the motif matches in SOURCE that the model uses: BED6 and track, motif, relevance, its share of the
    region's, log-odds, p-values, q, whether it is the primary hit there, and region.

    SOURCE is the directory of a finished run, or a bigWig or bedGraph of any tool with its GENOME (FASTA); - is
    standard input. A track without a null is compared with itself, turned against the sequence.

    \b
    gexplain hits OUT | bedtools intersect -a - -b genes.bed -wa -wb
    gexplain hits OUT --motifs jaspar:fungi --motif REB1 -o reb1.bed
    gexplain hits attributions.bw genome.fa --motifs motifs.meme --null shuffled.bw shuffled.fa
    """  # noqa: D301 - click wants the control character
    if summary is not None:
        check_place(summary, "--summary")
        if Path(summary).absolute() == Path(options["output"]).absolute():
            raise UsageError(f"-o and --summary are both {summary}", hint="give each a file of its own")
    if motifs == "none":
        raise UsageError("--motifs none: hits are matches of motifs", hint="gexplain seqlets needs none")
    from gexplain.motifs.database import load_motifs

    # Before a track is read: a slip in a motif's name is told at once.
    if motifs is None:
        from gexplain.attributions import default_motifs

        motifs = default_motifs(options["source"])
    chosen = load_motifs(motifs, only)
    with calling("hits", **options) as (attributions, table, progress):
        from gexplain.calls import HITS, call_hits

        called = call_hits(
            attributions,
            chosen,
            table.stream(HITS),
            summary=None if summary is None else Path(summary),
            q=q,
            match_p=match_p,
            progress=progress,
        )
    table.tell(
        called, f"{count(sum(called.counts.values()), 'primary hit')} of q at most {q:g}; motifs: {chosen.source}"
    )
