"""Tracks of relevance and what each is told from: the null of a run, a null of one's own, or the track itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gexplain.arrays import FloatArray
from gexplain.errors import InputError
from gexplain.genome.bigwig import BigWig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, Strand
from gexplain.motifs.pages import Inside, Page, read_null_pages, read_page, read_pages
from gexplain.motifs.seqlets import permuted
from gexplain.motifs.territories import Territories
from gexplain.run_folder import NULL_FASTA

# Of a track that comes without a null: pieces of so many bases, until so many scored ones are held.
_SAMPLE_PIECE, _SAMPLE_BASES = 1 << 16, 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """One track, the regions that its seqlets and hits are told to belong to, and the two nulls of it: stretches of
    values for seqlets, pages for hits.
    """

    path: Path
    territories: Territories
    seqlet_null: Callable[[], Sequence[FloatArray]]
    hit_null: Callable[[], Sequence[Page]]


@dataclass(frozen=True, slots=True, eq=False)
class Attributions:
    """Tracks by name, the genome below them, and what is known of their null.

    larger_null: how to get a larger one, in words. inside: the bases that are looked at, where it is not all.
    is_self_compared: whether the null is made of the track itself.
    """

    tracks: Mapping[str, Attribution]
    genome: Genome
    larger_null: str
    inside: Inside | None = None
    is_self_compared: bool = False

    def n_bases(self) -> int:
        """Bases to be read, those without a value too: what progress counts."""
        return len(self.tracks) * sum(self.genome.chroms.values())


def from_run(
    tracks: Mapping[str, Path],
    genome: Genome,
    null: Path,
    regions: Sequence[Interval],
    strands: Mapping[str, Strand] | None = None,
) -> Attributions:
    """The tracks of a run, against the tracks of the same names in the folder of its null.

    strands: of tracks that were read on the strand of each region, by name; they have the regions of that strand.
    """
    of_strand = {
        strand: Territories.of([region for region in regions if strand is None or region.strand == strand])
        for strand in {(strands or {}).get(name) for name in tracks}
    }

    def attribution(name: str, path: Path) -> Attribution:
        def pages() -> list[Page]:
            with Genome(null / NULL_FASTA) as null_genome:
                return read_null_pages(null / f"{name}.bw", null_genome)

        territories = of_strand[(strands or {}).get(name)]
        return Attribution(path, territories, lambda: [page.values for page in pages()], pages)

    with Genome(null / NULL_FASTA) as pieces:
        larger_null = f"score with a higher --null-regions (now {len(pieces.chroms):,})"
    return Attributions({name: attribution(name, path) for name, path in tracks.items()}, genome, larger_null)


def from_track(
    path: Path,
    genome: Genome,
    *,
    null: tuple[Path, Path] | None = None,
    regions: Sequence[Interval] | None = None,
    seed: int = 0,
) -> Attributions:
    """Any bigWig as the one track, named as its file.

    null: a bigWig and its FASTA, what the same method gives on shuffled sequence. Without one, the null is made of
    the track itself: its bases in random order for seqlets; for hits its values turned against the sequence, so that
    a motif lies on the relevance of another place. regions: all other bases are as if they had not been scored; by
    default the scored stretches.

    Raises InputError for a track without values there, or one that does not fit the FASTA.
    """
    inside = None if regions is None else Inside.of(regions)
    if regions is None:
        regions = scored_stretches(path, genome)
    elif next(read_pages(path, genome, inside=inside), None) is None:
        raise InputError(f"{path} has no values in the regions", hint="give regions that were scored")
    territories = Territories.of(regions)
    if null is not None:
        track, fasta = null

        def null_pages() -> list[Page]:
            with Genome(fasta) as null_genome:
                return read_null_pages(track, null_genome)

        attribution = Attribution(path, territories, lambda: [page.values for page in null_pages()], null_pages)
        larger_null = "give more shuffled sequence with --null"
    else:

        def sampled() -> list[Page]:
            return _sample_pages(path, genome, inside, np.random.default_rng(seed))

        attribution = Attribution(
            path,
            territories,
            lambda: permuted([page.values for page in sampled()], np.random.default_rng([seed, 1])),
            lambda: _turned(sampled(), np.random.default_rng([seed, 2])),
        )
        larger_null = "give one with --null TRACK FASTA"
    name = path.name.removesuffix(".bw").removesuffix(".bigWig").removesuffix(".bigwig")
    return Attributions({name: attribution}, genome, larger_null, inside, is_self_compared=null is None)


def scored_stretches(path: Path, genome: Genome) -> list[Interval]:
    """The stretches of a bigWig that have values, named by their place; InputError where there is none."""
    stretches: list[Interval] = []
    for page in read_pages(path, genome):
        known = np.concatenate([[False], ~np.isnan(page.values), [False]])
        borders = page.start + np.flatnonzero(known[1:] != known[:-1])
        for start, end in borders.reshape(-1, 2).tolist():
            last = stretches[-1] if stretches else None
            if last is not None and last.chrom == page.chrom and last.end == start:  # cut by the page
                start = stretches.pop().start
            stretches.append(Interval(page.chrom, start, end))
    if not stretches:
        raise InputError(f"{path} has no values", hint="give a track with relevance")
    return stretches


def _sample_pages(path: Path, genome: Genome, inside: Inside | None, rng: np.random.Generator) -> list[Page]:
    """Pieces of a track, drawn at random: enough for a null, few enough to be held."""
    with BigWig(path) as track:
        pieces = [
            (chrom, start, min(start + _SAMPLE_PIECE, length))
            for chrom, length in track.chroms.items()
            for start in range(0, length, _SAMPLE_PIECE)
        ]
        sample: list[Page] = []
        n_bases = 0
        for number in rng.permutation(len(pieces)).tolist():
            page = read_page(track, genome, pieces[number], inside=inside)
            n_known = int((~np.isnan(page.values)).sum())
            if n_known:
                sample.append(page)
                n_bases += n_known
            if n_bases >= _SAMPLE_BASES:
                break
    return sample


def _turned(pages: Sequence[Page], rng: np.random.Generator) -> list[Page]:
    """The same pages, the values of all their scored bases moved on by the same number of bases."""
    known = [~np.isnan(page.values) for page in pages]
    values = np.concatenate([page.values[here] for page, here in zip(pages, known, strict=True)])
    moved = np.roll(values, int(rng.integers(len(values) // 4, len(values) - len(values) // 4 + 1)))
    turned = []
    parts = np.split(moved, np.cumsum([here.sum() for here in known])[:-1])
    for page, here, part in zip(pages, known, parts, strict=True):
        own = page.values.copy()
        own[here] = part
        turned.append(replace(page, values=own))
    return turned
