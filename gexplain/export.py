"""Exports: what a finished run found, in the formats of other programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gexplain.errors import RunError, UsageError, preview
from gexplain.genome.bed_table import BedTable
from gexplain.genome.intervals import Interval, Strand
from gexplain.motifs.modisco import (
    ATTRIBUTIONS,
    INDEX,
    INSTANCES,
    SEQUENCES,
    ModiscoExport,
    centre_windows,
    fit_width,
    index_chroms,
    read_instances,
    write_modisco,
)
from gexplain.run_folder import Run, open_genome, open_run, read_scored_regions


def export_modisco(
    run: Run | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    track: str | None = None,
    width: int | None = None,
    genome: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> ModiscoExport:
    """Write what `modisco motifs` takes of a finished run: the library twin of `gexplain export modisco`.

    output: the folder, by default `modisco` in the run's. track: which relevance, where the run has several; of a run
    by strand, the name without .plus and .minus takes each region from its strand's track. width: nucleotides of the
    windows, by default the regions' median width, and the model's window at least. genome: the FASTA, where it was
    moved. force: replace what was exported before.

    Raises InputError for what is no finished run and for another genome, UsageError for a track that the run has not
    and a width that does not fit, RunError where the folder holds an export or cannot be written.
    """
    run = run if isinstance(run, Run) else open_run(run)
    folder = Path(output) if output is not None else run.path / "modisco"
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; expected a directory to write to", hint="give another -o")
    if not force and any((folder / name).exists() for name in (SEQUENCES, ATTRIBUTIONS, INDEX)):
        raise RunError(f"{folder} holds an export already", hint="give another -o, or --force to replace it")
    tracks = _choose_tracks(run, track)
    by_strand = run.manifest["settings"]["strand"] == "region"
    regions = [
        region if by_strand else Interval(region.chrom, region.start, region.end, region.name, next(iter(tracks)))
        for region in read_scored_regions(run.path / "regions.tsv")
    ]
    regions = [region for region in regions if region.strand in tracks]
    with open_genome(run, genome) as opened:
        wanted = width if width is not None else fit_width(regions, least=run.manifest["settings"]["window"])
        windows = centre_windows(regions, wanted, opened.chroms)
        return write_modisco(folder, windows, tracks, opened)


def write_instances(results: str | os.PathLike[str], index: str | os.PathLike[str], table: Any) -> int:
    """Write the places of modisco's patterns as a BED table to a path or stream; returns how many there are."""
    rows = read_instances(results, index)
    with BedTable(table, INSTANCES, index_chroms(index)) as file:
        file.write(rows)
    return len(rows)


def _choose_tracks(run: Run, name: str | None) -> dict[Strand, Path]:
    """The bigWigs of one relevance, by strand."""
    if "bigwig" not in run.manifest["settings"]["formats"]:
        raise UsageError(f"{run.path} has no bigWigs to read values from", hint="score with --format bigwig")
    files, held = run.tracks, _relevance_tracks(run.manifest)
    listed = preview(held, most=20)
    if name is None:
        if len(held) > 1:
            raise UsageError(
                f"{run.path} has several relevance tracks: {listed}", hint="choose one with --track NAME"
            )
        name = next(iter(held))
    single = {stem: {strand: stem} for stems in held.values() for strand, stem in stems.items()}
    chosen = (single | held).get(name)
    if chosen is None:
        raise UsageError(f"{run.path} has no relevance track {name!r}", hint=f"--track takes one of: {listed}")
    return {strand: files[stem] for strand, stem in chosen.items()}


def _relevance_tracks(manifest: Mapping[str, Any]) -> dict[str, dict[Strand, str]]:
    """What --track takes: names, without what tells strands apart, to the track of each strand."""
    held: dict[str, dict[Strand, str]] = {}
    by_strand = manifest["settings"]["strand"] == "region"
    for stem, track in manifest["tracks"].items():
        if track["kind"] == "relevance":
            name = stem.removesuffix(".plus").removesuffix(".minus") if by_strand else stem
            held.setdefault(name, {})[track["strand"]] = stem
    return held
