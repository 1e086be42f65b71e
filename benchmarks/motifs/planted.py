"""Do hits find what was planted? Precision and recall, and what relevance buys over the same motifs without a model.

    python benchmarks/motifs/planted.py [MODEL] --output DIR [--density] [--figure PNG]

The bundled genome, whole chromosomes, every class. A factor's own motif, and all motifs, are looked for in the
factor's track. Plain FIMO has the same motifs and the p-value threshold that finds as many sites.
--density: also a genome of the same composition in which chance matches stay, where the bundled one has none that
scores as a site: that flatters plain FIMO. What is there already is not read again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from curves import Curve, Measured, measure_calls, rank_matches, sites_overlapped
from figures import PrecisionRecall, plot_curves
from genomes import of_factor, unscrubbed_genome, whole_chromosomes, write_fasta
from gexplain_cli.progress import show_progress
from matches import FIMO, LOOSE_P, Axis, Matches, find_matches, read_calls, read_intervals
from tables import markdown_table, write_json

import gexplain
from gexplain.arrays import IntArray
from gexplain.attributions import open_attributions
from gexplain.calls import DEFAULT_MATCH_P, DEFAULT_Q, call_hits
from gexplain.demo import FACTORS, demo_data
from gexplain.genome.intervals import Interval
from gexplain.models.bundled import DEFAULT_MOTIFS
from gexplain.motifs.database import MotifSet, load_motifs
from gexplain.track_nulls import Attributions

# The matrices that test_data/make_demo_data.py plants, in whichever version the motifs have.
MOTIF_IDS = {"CTCF": "MA0139", "FOXA1": "MA0148", "GABPA": "MA0062", "REST": "MA0138", "USF1": "MA0093"}
NULL_REGIONS = 2_000
OWN, OWN_OF_ALL, ALL = "own motif", "own motif, q among all", "all motifs"


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """One genome: its FASTA, the sites and the decoys in it."""

    name: str
    fasta: Path
    sites: Sequence[Interval]
    decoys: Sequence[Interval]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A factor's sites and decoys on the axis, (start, end) each."""

    axis: Axis
    sites: tuple[IntArray, IntArray]
    decoys: tuple[IntArray, IntArray]

    @classmethod
    def of(cls, planted: Planted, factor: str, axis: Axis) -> Truth:
        return cls(axis, axis.spans(of_factor(planted.sites, factor)), axis.spans(of_factor(planted.decoys, factor)))

    def __len__(self) -> int:
        return len(self.sites[0])

    def measure(self, start: IntArray, end: IntArray) -> Measured:
        return measure_calls(
            sites_overlapped(start, end, *self.sites), len(self), sites_overlapped(start, end, *self.decoys)
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Hits beside plain FIMO of the same motifs at equal recall. primary: the primary ones of the hits alone.

    match_p: the threshold of FIMO, 0 where there is nothing to equal. usual_fimo: at DEFAULT_MATCH_P.
    """

    hits: Measured
    primary: Measured
    fimo: Measured
    usual_fimo: Measured
    match_p: float

    def figures(self) -> dict[str, Any]:
        false = self.hits.false, self.fimo.false
        return {
            "hits": _described(self.hits),
            "primary hits": _described(self.primary),
            "FIMO at equal recall": _described(self.fimo) | {"p": self.match_p},
            "FIMO at the usual p": _described(self.usual_fimo),
            "false hits fewer than FIMO": false[1] - false[0],
            "false hits of FIMO over ours": false[1] / false[0] if false[0] else None,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="human-tf", metavar="MODEL")
    parser.add_argument("--output", type=Path, required=True, help="folder of runs, hits and planted.json")
    parser.add_argument(
        "--figure", type=Path, help="default: OUTPUT/planted.png; of --density planted_unscrubbed.png"
    )
    parser.add_argument("--density", action="store_true", help="the unscrubbed genome, too")
    parser.add_argument("--density-kb", type=int, default=300)
    parser.add_argument("--factors", nargs="+", choices=FACTORS, default=list(FACTORS))
    parser.add_argument("--motifs", default=DEFAULT_MOTIFS)
    parser.add_argument("--null-regions", type=int, default=NULL_REGIONS)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    out: Path = options.output
    model = gexplain.load_model(options.model, device=options.device)
    motifs = load_motifs(options.motifs)
    figures: dict[str, Any] = {
        "model": options.model,
        "motifs": motifs.source,
        "q": DEFAULT_Q,
        "null regions": options.null_regions,
    }
    texts = []
    for planted in planted_genomes(out, options.density_kb if options.density else 0):
        run = score_whole(planted, model, out, options)
        figures[planted.name], panels = {}, []
        for factor in options.factors:
            print(f"{planted.name}: {factor}", file=sys.stderr, flush=True)
            own = load_motifs(options.motifs, [MOTIF_IDS[factor]])
            with open_attributions(run.path, tracks=[factor]) as attributions:
                truth = Truth.of(planted, factor, Axis(attributions.genome.chroms))
                work = out / f"{planted.name}_hits" / factor
                compared, curves = measure_factor(attributions, truth, own, motifs, work)
            figures[planted.name][factor] = {
                "sites": len(truth),
                "decoys": len(truth.decoys[0]),
                "average precision": {name: curve.average_precision() for name, curve in curves.items()},
                **{name: one.figures() for name, one in compared.items()},
            }
            panels.append(PrecisionRecall(f"{factor} ({len(truth)} sites)", curves, compared[OWN].hits))
        figures[planted.name]["together"] = together(figures[planted.name])
        plot_curves(figure_path(options.figure, out, planted.name), panels, called=f"hits, q ≤ {DEFAULT_Q:g}")
        texts += report(planted.name, figures[planted.name])
    write_json(out / "planted.json", figures)
    print("\n\n".join(texts))


def planted_genomes(out: Path, density_kb: int) -> list[Planted]:
    data = demo_data()
    genomes = [
        Planted(
            "bundled",
            data / "genome.fa",
            read_intervals(data / "truth.bed"),
            read_intervals(data / "decoys.bed"),
        )
    ]
    if density_kb:
        sequences, sites, decoys = unscrubbed_genome(density_kb)
        genomes.append(Planted("unscrubbed", write_fasta(out / "unscrubbed.fa", sequences), sites, decoys))
    return genomes


def score_whole(planted: Planted, model: gexplain.Model, out: Path, options: argparse.Namespace) -> gexplain.Run:
    """The run over all chromosomes, with default windows; hits are called of it below."""
    with show_progress(f"{planted.name}, windows", quiet=False) as progress:
        return gexplain.score(
            whole_chromosomes(planted.fasta),
            planted.fasta,
            model,
            output=out / planted.name,
            settings=gexplain.ScoreSettings(target="all", motifs="none", null_regions=options.null_regions),
            progress=progress,
        )


# ---- Measures ----


def measure_factor(
    attributions: Attributions, truth: Truth, own: MotifSet, motifs: MotifSet, work: Path
) -> tuple[dict[str, Comparison], dict[str, Curve]]:
    """What hits of the one track are worth, and the curves of all matches of the factor's own motif."""
    work.mkdir(parents=True, exist_ok=True)
    call_hits(attributions, own, work / "own.bed")
    call_hits(attributions, motifs, work / "all.bed")
    of_own = find_matches(attributions, own, LOOSE_P)
    of_all = find_matches(attributions, motifs, DEFAULT_MATCH_P)
    ids = {motif.id for motif in own}
    compared = {
        OWN: compare(truth, work / "own.bed", of_own),
        OWN_OF_ALL: compare(truth, work / "all.bed", of_own, ids),
        ALL: compare(truth, work / "all.bed", of_all),
    }
    site_M = sites_overlapped(of_own.start, of_own.end, *truth.sites)
    return compared, {name: rank_matches(score, site_M, len(truth)) for name, score in of_own.scores().items()}


def compare(truth: Truth, hits: Path, matches: Matches, ids: set[str] | None = None) -> Comparison:
    """Hits of a BED file, those of some motifs only if ids are given, beside all matches."""
    table = read_calls(hits, ("chrom", "start", "end", "motif", "isPrimary"))
    if ids is not None:
        table = table[table["motif"].isin(ids)]
    start, end = (truth.axis.places(table["chrom"], table[name]) for name in ("start", "end"))
    is_primary = (table["isPrimary"] == 1).to_numpy()
    called = truth.measure(start, end)
    curve = rank_matches(
        matches.scores()[FIMO], sites_overlapped(matches.start, matches.end, *truth.sites), len(truth)
    )
    point = curve.point_that_finds(called.found)
    least = np.inf if point is None else curve.score[point]
    as_good, is_usual = matches.scores()[FIMO] >= least, matches.p < DEFAULT_MATCH_P
    return Comparison(
        hits=called,
        primary=truth.measure(start[is_primary], end[is_primary]),
        fimo=truth.measure(matches.start[as_good], matches.end[as_good]),
        usual_fimo=truth.measure(matches.start[is_usual], matches.end[is_usual]),
        match_p=float(10**-least),
    )


def together(factors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Way of looking to the sums over factors, FIMO with a threshold for each factor, and what follows from them."""
    summed: dict[str, Any] = {}
    for way in (OWN, OWN_OF_ALL, ALL):
        hits, primary, fimo, usual_fimo = (
            Measured(*(sum(one[way][who][name] for one in factors.values()) for name in Measured.__slots__))
            for who in ("hits", "primary hits", "FIMO at equal recall", "FIMO at the usual p")
        )
        summed[way] = Comparison(hits, primary, fimo, usual_fimo, match_p=0.0).figures()
        del summed[way]["FIMO at equal recall"]["p"]
    return summed


def _described(measured: Measured) -> dict[str, Any]:
    precision = measured.precision if measured.called else None
    return asdict(measured) | {"false": measured.false, "precision": precision, "recall": measured.recall}


# ---- What is shown ----


def figure_path(given: Path | None, out: Path, name: str) -> Path:
    path = given or out / "planted.png"
    return path if name == "bundled" else path.with_stem(f"{path.stem}_{name}")


def report(name: str, figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Markdown, a table for each way of looking, and one of average precisions."""
    texts = []
    for way in (OWN, OWN_OF_ALL, ALL):
        rows = []
        for factor, of_factor_ in figures.items():
            one = of_factor_[way]
            hits, fimo, usual = (one[who] for who in ("hits", "FIMO at equal recall", "FIMO at the usual p"))
            ratio = one["false hits of FIMO over ours"]
            rows.append(
                [
                    factor,
                    f"{hits['found']} of {hits['sites']}",
                    _precision(hits),
                    _precision(one["primary hits"]),
                    f"{hits['false']} ({hits['on_decoys']})",
                    str(fimo["found"]),
                    _precision(fimo),
                    f"{fimo['p']:.1e}" if "p" in fimo else "",
                    f"{fimo['false']} ({fimo['on_decoys']})",
                    str(one["false hits fewer than FIMO"]),
                    "" if ratio is None else f"{ratio:.1f}",
                    str(usual["found"]),
                    _precision(usual),
                    f"{usual['false']} ({usual['on_decoys']})",
                ]
            )
        texts.append(
            markdown_table(
                f"{name} genome, {way}: hits at q ≤ {DEFAULT_Q:g}, plain FIMO of the same motifs with the threshold "
                f"that finds as many sites, and FIMO at p < {DEFAULT_MATCH_P:g}. In brackets false ones on decoys.",
                [
                    *("factor", "sites found", "precision", "of primary hits", "false"),
                    *("FIMO: sites found", "precision", "p", "false", "fewer false", "ratio"),
                    *("FIMO, usual p: sites found", "precision", "false"),
                ],
                rows,
            )
        )
    factors = [factor for factor in figures if factor != "together"]
    rankings = list(figures[factors[0]]["average precision"])
    texts.append(
        markdown_table(
            f"{name} genome: average precision of all matches (p < {LOOSE_P:g}) of a factor's own motif, ranked.",
            ["ranked by", *factors, "mean"],
            [
                [
                    ranking,
                    *(f"{figures[factor]['average precision'][ranking]:.3f}" for factor in factors),
                    f"{np.mean([figures[factor]['average precision'][ranking] for factor in factors]):.3f}",
                ]
                for ranking in rankings
            ],
        )
    )
    return texts


def _precision(described: Mapping[str, Any]) -> str:
    value = described["precision"]
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
