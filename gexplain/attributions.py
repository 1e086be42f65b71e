"""Attributions to call seqlets and hits of, opened from what a person has: a finished run, or another tool's track.

OUT (a run) -- its relevance tracks, its null, its regions --+
bigWig or bedGraph + FASTA [+ null] [+ regions] -------------+-- Attributions (see calls.py)
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from gexplain.calls import Attributions, from_run, from_track, read_scored_regions
from gexplain.errors import InputError, UsageError, preview
from gexplain.genome.bed import BedReader
from gexplain.genome.bedgraph import bedgraph_to_bigwig
from gexplain.genome.bigwig import is_bigwig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.models.bundled import motifs_of
from gexplain.null import NULL_FASTA
from gexplain.runs import NULL, open_genome, open_run

Source = str | os.PathLike[str] | BinaryIO


@contextmanager
def open_attributions(
    source: Source,
    genome: str | os.PathLike[str] | None = None,
    *,
    tracks: Sequence[str] = (),
    null: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
    regions: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Iterator[Attributions]:
    """The tracks to call of, with their genome, null and regions, open while it lasts.

    source: the directory of a finished run, or a bigWig or bedGraph (an open binary stream of either, too). genome:
    the FASTA; of a run only where it was moved. tracks: names of the run's relevance tracks, all if empty. null: a
    track of shuffled sequence and its FASTA; regions: a BED. seed: of the null that a track without one is given
    (see `from_track`). A run has its own null and regions.

    Raises InputError and UsageError, naming what does not fit.
    """
    if isinstance(source, str | os.PathLike) and not Path(source).exists():
        raise InputError(
            f"cannot read {source}: there is no such file or directory",
            hint="give the directory that gexplain score -o wrote, or a track and its genome",
        )
    with ExitStack() as stack:
        if isinstance(source, str | os.PathLike) and Path(source).is_dir():
            if null is not None or regions is not None:
                raise UsageError(
                    f"{source} is a run, with a null and regions of its own",
                    hint="leave out --null and --regions, or give one of its tracks, tracks/NAME.bw",
                )
            yield stack.enter_context(_of_run(Path(source), genome, tracks))
            return
        if genome is None:
            raise UsageError("a track needs its genome", hint="give GENOME, the FASTA that the track was made with")
        if tracks:
            raise UsageError("--track chooses among the tracks of a run", hint="leave it out")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gexplain-")))
        opened = stack.enter_context(Genome(genome))
        pair = None
        if null is not None:
            with Genome(null[1]) as null_genome:
                pair = _as_bigwig(null[0], null_genome, folder / "null"), Path(null[1])
        yield from_track(
            _as_bigwig(source, opened, folder),
            opened,
            null=pair,
            regions=None if regions is None else _read_regions(regions, opened),
            seed=seed,
        )


def default_motifs(source: Source) -> str:
    """The motifs to look for where none are named: those that a run was made with, or that suit its model."""
    if not isinstance(source, str | os.PathLike) or not Path(source).is_dir():
        return motifs_of("")
    manifest = open_run(source).manifest
    used = manifest.get("calls", {}).get("motifs")
    return str(used["given as"]) if used else motifs_of(manifest["model"]["source"])


@contextmanager
def _of_run(out: Path, genome: str | os.PathLike[str] | None, tracks: Sequence[str]) -> Iterator[Attributions]:
    run = open_run(out)
    files = run.tracks
    held = [name for name, track in run.manifest["tracks"].items() if track["kind"] == "relevance"]
    unknown = [name for name in tracks if name not in held]
    if unknown:
        raise UsageError(f"{out} has no relevance track {unknown[0]!r}", hint=f"--track takes {preview(held)}")
    if "bigwig" not in run.manifest["settings"]["formats"]:
        raise InputError(f"{out} has no bigWigs to read", hint="score with --format bigwig")
    if not (out / NULL / NULL_FASTA).exists():
        raise InputError(
            f"{out} has no null to tell seqlets and hits from: it was scored with --null-regions 0",
            hint="score again without that; or give one of its tracks and another null:"
            f" {out}/tracks/{held[0]}.bw GENOME --null BIGWIG FASTA",
        )
    with open_genome(run, genome) as opened:
        scored = [name for name in held if run.manifest["tracks"][name]["bases"]]
        chosen = {name: files[name] for name in (tracks or scored)}
        yield from_run(chosen, opened, out / NULL, read_scored_regions(out / "regions.tsv"))


def _as_bigwig(source: Source, genome: Genome, folder: Path) -> Path:
    """A bigWig of the track: the file itself, or one that is made in the folder of a stream or a bedGraph."""
    folder.mkdir(exist_ok=True)
    path = Path(source) if isinstance(source, str | os.PathLike) else folder / "standard_input"
    if not isinstance(source, str | os.PathLike):
        with path.open("wb") as file:
            shutil.copyfileobj(source, file)
    if is_bigwig(path):
        return path
    name = path.name.removesuffix(".gz").removesuffix(".bedGraph").removesuffix(".bg")
    made = folder / f"{name}.bw"
    bedgraph_to_bigwig(path, made, genome.chroms, str(genome.path))
    return made


def _read_regions(path: str | os.PathLike[str], genome: Genome) -> list[Interval]:
    regions = [region.interval for region in BedReader(path)]
    beside = [one for one in regions if one.end > genome.chroms.get(one.chrom, 0) or not one.width]
    if beside:
        one = beside[0]
        raise InputError(
            f"{path}: {one.chrom}:{one.start}-{one.end} (0-based) is empty, or not on a chromosome of {genome.path}",
            detail=f"{len(beside):,} of {len(regions):,} regions are so",
            hint="give the regions of the track's assembly",
        )
    if not regions:
        raise InputError(f"{path}: no regions", hint="give a BED file with at least one line, or leave out --regions")
    return regions
