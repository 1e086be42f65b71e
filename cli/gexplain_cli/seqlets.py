"""`gexplain seqlets`: spans of high and low relevance, from a run or any track. The twin of `call_seqlets`."""

from __future__ import annotations

from typing import Any

import click

from gexplain.errors import count
from gexplain_cli.attributions import attribution_options, calling, q_option


@click.command(name="seqlets", short_help="Spans of high and low relevance, as BED.")
@attribution_options
@q_option
def command(q: float, **options: Any) -> None:
    """Write the spans of high and of low relevance in SOURCE that its null does not have: BED6 and track, direction,
    relevance, top base, p, q and region.

    SOURCE is the directory of a finished run, or a bigWig or bedGraph of any tool with its GENOME (FASTA); - is
    standard input. A track without a null is compared with itself, its bases in random order: that is enough for
    noise without order, and too little for tracks whose neighbours are alike.

    \b
    gexplain seqlets OUT | bedtools intersect -a - -b genes.bed -wa -wb
    gexplain seqlets attributions.bw genome.fa --null shuffled.bw shuffled.fa -o seqlets.bed.gz
    """  # noqa: D301 - click wants the control character
    with calling("seqlets", **options) as (attributions, table, progress):
        from gexplain.calls import SEQLETS, call_seqlets

        called = call_seqlets(attributions, table.stream(SEQLETS), q=q, progress=progress)
    table.tell(called, f"{count(sum(called.counts.values()), 'seqlet')} of q at most {q:g}")
