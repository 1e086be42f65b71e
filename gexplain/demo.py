"""The demo: a bundled genome is scored, and what was planted in it is looked for in the tracks.

    gexplain/demo_data/    genome.fa  truth.bed  decoys.bed  regions.bed       made by test_data/make_demo_data.py

Sites are drawn from JASPAR's matrices of five factors, decoys are shuffled sites. Each is judged by the relevance of
its own factor's class, against the same track in the genome's empty stretches (`call_peaks`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from gexplain.errors import ModelError, UsageError
from gexplain.evaluation.localisation import away_from, call_peaks
from gexplain.genome.bed import BedReader, Region
from gexplain.genome.bed_table import format_number
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.genome.tracks import partial_path, write_error
from gexplain.inputs import ScoreSettings, open_inputs
from gexplain.models.bundled import DEFAULT_MODEL
from gexplain.models.model import Model, load_model
from gexplain.reports import complete_report
from gexplain.run_folder import REPORT, Run
from gexplain.runs import score_inputs
from gexplain.scoring import Progress
from gexplain.windows import DEFAULT_WINDOW

FACTORS = ("CTCF", "FOXA1", "GABPA", "REST", "USF1")
"""The factors whose sites are planted; the model needs a class of each name."""

# Bases from an empty region to the next planted thing, at least: the window over it then holds none.
_MOST_WINDOW = 200
_SITES = "demo_sites.tsv"
_OWN_COLUMNS = ("factor", "kind", "peak", "relevance", "threshold", "predicted")


@dataclass(frozen=True, slots=True)
class Planted:
    """A site or a decoy, and what the tracks say of it.

    motif_score: in thousandths of the best score of the factor's motif. relevance: the highest smoothed relevance of
    the factor's class inside it. threshold: what it would exceed by chance in 1 of 1,000 empty places. predicted: the
    class of the window around it.
    """

    interval: Interval
    factor: str
    is_decoy: bool
    motif_score: str
    relevance: float
    threshold: float
    has_peak: bool
    predicted: str


@dataclass(frozen=True, slots=True, eq=False)
class Demo:
    """A finished demo: its run, and all that was planted, sites before decoys."""

    run: Run
    planted: list[Planted]

    @property
    def table(self) -> Path:
        """demo_sites.tsv: a line for each site and decoy."""
        return self.run.path / _SITES

    @property
    def report(self) -> Path:
        """report.html: the run in pictures."""
        return self.run.path / REPORT

    def n_peaks(self, factors: Collection[str] = FACTORS, *, decoys: bool) -> tuple[int, int]:
        """Sites of these factors (or their decoys) with a relevance peak, and how many there are in all."""
        of_kind = [one for one in self.planted if one.factor in factors and one.is_decoy == decoys]
        return sum(one.has_peak for one in of_kind), len(of_kind)


def demo_data() -> Path:
    """The folder of the demo's genome, regions and truth."""
    return Path(str(files("gexplain"))) / "demo_data"


def run_demo(
    output: str | os.PathLike[str],
    model: Model | str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    device: str = "auto",
    force: bool = False,
    progress: Progress | None = None,
    quality_progress: Progress | None = None,
    command: str | None = None,
) -> Demo:
    """The demo's run, in the directory `output`, and its planted sites: the library twin of `gexplain demo`.

    Writes what `score` writes, a track of relevance for every class, its report, and demo_sites.tsv. A finished demo
    in `output` is read again, an interrupted one resumed, another run's output replaced with `force` only.

    Raises ModelError where the model lacks a class of one of the FACTORS, UsageError where it reads windows too wide
    for the demo's genome, and the errors of `score`.
    """
    data = demo_data()
    settings = ScoreSettings(target="all", force=force)
    with open_inputs(data / "regions.bed", data / "genome.fa", settings) as inputs:
        loaded = model if isinstance(model, Model) else load_model(model, device=device)
        _check_model(loaded)
        run = score_inputs(inputs, loaded, output=output, settings=settings, progress=progress, command=command)
        demo = Demo(run, find_planted(run, data))
        _write_table(demo)  # the report lists it
        complete_report(run, loaded, inputs.genome, quality_progress=quality_progress)
    return demo


def find_planted(run: Run, data: Path) -> list[Planted]:
    """What the tracks of a run over the regions of `data` say of every site and decoy in it, sites first."""
    regions = [*BedReader(data / "truth.bed"), *BedReader(data / "decoys.bed")]
    with Genome(data / "genome.fa") as genome:
        chroms = genome.chroms
    background = away_from([region.interval for region in regions], chroms, run.manifest["settings"]["window"])
    table = run.regions()
    predicted = dict(zip(table["name"], table["predicted"], strict=True))
    planted: dict[str, Planted] = {}
    for factor in FACTORS:
        track = _track_of(run, factor)
        relevance = {chrom: run.values(track, Interval(chrom, 0, length)) for chrom, length in chroms.items()}
        own = [region for region in regions if _factor_and_kind(region)[0] == factor]
        peaks = call_peaks(relevance, [region.interval for region in own], background)
        for i, region in enumerate(own):
            name = region.interval.name
            planted[name] = Planted(
                interval=region.interval,
                factor=factor,
                is_decoy=_factor_and_kind(region)[1] == "decoy",
                motif_score=region.score,
                relevance=float(peaks.heights[i]),
                threshold=float(peaks.thresholds[i]),
                has_peak=bool(peaks.is_peak[i]),
                predicted=predicted[name],
            )
    return [planted[region.interval.name] for region in regions]


def _check_model(model: Model) -> None:
    source = model.checkpoint.source
    missing = [factor for factor in FACTORS if factor not in model.labels]
    if missing:
        raise ModelError(
            f"{source}: no class {', '.join(missing)}; the demo plants sites of {', '.join(FACTORS)}",
            detail=f"its classes: {', '.join(model.labels)}",
            hint=f"use {DEFAULT_MODEL}; for other models, gexplain score",
        )
    if (model.window or DEFAULT_WINDOW) > _MOST_WINDOW:
        raise UsageError(
            f"{source} reads {model.window or DEFAULT_WINDOW} bases at once; the demo's sites lie too close for more"
            f" than {_MOST_WINDOW}",
            hint=f"use {DEFAULT_MODEL}; for other models, gexplain score",
        )


def _factor_and_kind(region: Region) -> tuple[str, str]:
    """Of a planted thing's name, such as CTCF_site_7 or CTCF_decoy_7."""
    factor, kind, _ = region.interval.name.split("_")
    return factor, kind


def _track_of(run: Run, factor: str) -> str:
    """The track of a class's relevance."""
    tracks: Mapping[str, Mapping[str, str]] = run.manifest["tracks"]
    return next(name for name, one in tracks.items() if (one["kind"], one["target"]) == ("relevance", factor))


def _write_table(demo: Demo) -> None:
    """Write demo_sites.tsv, whose first six columns are BED's."""
    rows = [("#chrom", "start", "end", "name", "motif_score", "strand", *_OWN_COLUMNS)]
    for one in demo.planted:
        place = one.interval
        kind, peak = "decoy" if one.is_decoy else "site", "yes" if one.has_peak else "no"
        numbers = format_number(one.relevance), format_number(one.threshold)
        bed = place.chrom, str(place.start), str(place.end), place.name, one.motif_score, place.strand
        rows.append((*bed, one.factor, kind, peak, *numbers, one.predicted))
    partial = partial_path(demo.table)
    try:
        partial.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
        partial.replace(demo.table)
    except OSError as error:
        raise write_error(demo.table, error) from error
