"""Attributions to call seqlets and hits of, opened from what a person has: a finished run, or another tool's track.

OUT (a run) -- its relevance tracks, its null, its regions --+
bigWig or bedGraph + FASTA [+ null] [+ regions] -------------+-- Attributions (see calls.py)
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from gexplain.errors import GexplainError, InputError, UsageError, preview
from gexplain.genome.bed import BedReader
from gexplain.genome.bedgraph import bedgraph_to_bigwig
from gexplain.genome.bigwig import is_bigwig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.models.bundled import motifs_of
from gexplain.motifs.database import load_motifs
from gexplain.run_folder import MANIFEST, NULL, NULL_FASTA, open_genome, open_run, read_scored_regions
from gexplain.track_nulls import Attributions, from_run, from_track

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
    track of shuffled sequence and its FASTA; regions: a BED, all of a track that is looked at. seed: of the null that
    a track without one is given (see `from_track`). A run has its own null and regions.

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
            stack.enter_context(_as_given(null[0], folder / "null"))
            with Genome(null[1]) as null_genome:
                pair = _as_bigwig(null[0], null_genome, folder / "null"), Path(null[1])
        stack.enter_context(_as_given(source, folder / "track"))
        yield from_track(
            _as_bigwig(source, opened, folder / "track"),
            opened,
            null=pair,
            regions=None if regions is None else _read_regions(regions, opened),
            seed=seed,
        )


def default_motifs(source: Source) -> str:
    """The motifs to look for where none are named: those that a run was made with, or that suit its model.

    Raises InputError where those of the run are gone, or other ones by now.
    """
    if not isinstance(source, str | os.PathLike) or not Path(source).is_dir():
        return motifs_of("")
    manifest = open_run(source).manifest
    used = manifest.get("calls", {}).get("motifs")
    if used is None:
        return motifs_of(manifest["model"]["source"])
    spec = str(used["given as"])
    found = load_motifs(spec)
    if found.sha256 != manifest["settings"]["motifs sha256"]:
        raise InputError(
            f"{spec} has changed: these are not the motifs that {source} was scored with ({used['source']})",
            detail=f"their sha256 is {found.sha256}; in {MANIFEST} it is {manifest['settings']['motifs sha256']}",
            hint=f"--motifs {shlex.quote(spec)} takes them as they are now",
        )
    return spec


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
        empty = [name for name in tracks if name not in scored]
        if empty:
            raise InputError(
                f"{out}: the track {empty[0]!r} has no values: every region of its strand is N alone",
                hint=f"--track takes {preview(scored)}",
            )
        chosen = {name: files[name] for name in (tracks or scored)}
        is_by_strand = run.manifest["settings"]["strand"] == "region"
        strands = {name: run.manifest["tracks"][name]["strand"] for name in chosen} if is_by_strand else None
        yield from_run(chosen, opened, out / NULL, read_scored_regions(out / "regions.tsv"), strands)


@contextmanager
def _as_given(source: Source, folder: Path) -> Iterator[None]:
    """Errors inside name a track as it was given, and not by the copy that `_as_bigwig` makes of it in the folder."""
    try:
        yield
    except GexplainError as error:
        copy, is_path = str(folder / _stem(source)), isinstance(source, str | os.PathLike)
        for part, of_stream in (("message", "standard input"), ("detail", "standard input"), ("hint", "-")):
            name = str(source) if is_path else of_stream
            setattr(error, part, getattr(error, part).replace(f"{copy}.bw", name).replace(copy, name))
        raise


def _as_bigwig(source: Source, genome: Genome, folder: Path) -> Path:
    """A bigWig of the track: the file itself, or one that is made in the folder of a stream or a bedGraph."""
    folder.mkdir()
    if isinstance(source, str | os.PathLike):
        path = Path(source)
    else:
        path = folder / _stem(source)
        with path.open("wb") as file:
            shutil.copyfileobj(source, file)
    if is_bigwig(path):
        return path
    made = folder / f"{_stem(source)}.bw"
    bedgraph_to_bigwig(path, made, genome.chroms, str(genome.path))
    return made


def _stem(source: Source) -> str:
    if not isinstance(source, str | os.PathLike):
        return "standard_input"
    return Path(source).name.removesuffix(".gz").removesuffix(".bedGraph").removesuffix(".bg")


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
