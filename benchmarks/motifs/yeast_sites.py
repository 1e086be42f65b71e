"""Does the model add anything over the motif? Hits of Reb1 and Rap1 against ChIP-exo sites of two test chromosomes.

    python benchmarks/motifs/yeast_sites.py DATA --output DIR [--models yeast-tf yeast-tf-cnn]

DATA: the folder that holds yeast/. The promoters of chromosomes IV and XVI are scored, every class; the factor's
JASPAR matrix is looked for in the factor's track. All its matches there are ranked by FIMO's p-value alone, by the
relevance inside alone, and by both, and a match is true if its middle is within 10 bases of that of a site. Second
truth for Reb1: the peaks of Rhee and Pugh (2011). What is there already is not read again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from curves import (
    Curve,
    Measured,
    bootstrap_average_precision,
    interval,
    measure_calls,
    rank_matches,
    sites_near,
)
from figures import PrecisionRecall, plot_curves
from gexplain_cli.progress import show_progress
from matches import FIMO, JOINED, LOOSE_P, RELEVANCE, UNGATED, Axis, find_matches, read_calls, read_intervals
from tables import markdown_table, write_json

import gexplain
from gexplain.arrays import FloatArray, IntArray
from gexplain.attributions import open_attributions
from gexplain.calls import DEFAULT_Q, call_hits
from gexplain.genome.intervals import Interval
from gexplain.motifs.database import load_motifs

MOTIF_IDS = {"Reb1": "MA0363", "Rap1": "MA0359"}
MOTIFS = "jaspar:fungi"
WITHIN = 10
Q_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
CHIP_EXO, RHEE = "ChIP-exo sites", "Rhee's peaks"


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Sites of one factor in the promoters, one experiment: the middle of each, and the promoter that it is in."""

    factor: str
    name: str
    middles: FloatArray
    promoters: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Curves of one factor's matches against one truth, what was called, and draws of each average precision.

    by_q: what is called at each of Q_LEVELS.
    """

    truth: Truth
    n_matches: int
    curves: dict[str, Curve]
    by_q: dict[float, Measured]
    fimo: Measured
    fimo_p: float
    draws: dict[str, FloatArray]

    @property
    def called(self) -> Measured:
        """The hits at the q that is the default of the command."""
        return self.by_q[DEFAULT_Q]

    def figures(self) -> dict[str, Any]:
        return {
            "sites": len(self.truth.middles),
            "matches": self.n_matches,
            "average precision": {
                name: {"value": curve.average_precision(), "95 %": interval(self.draws[name])}
                for name, curve in self.curves.items()
            },
            "average precision over FIMO": {
                name: {
                    "value": curve.average_precision() - self.curves[FIMO].average_precision(),
                    "95 %": interval(self.draws[name] - self.draws[FIMO]),
                }
                for name, curve in self.curves.items()
                if name != FIMO
            },
            "hits": _described(self.called),
            "hits by q": {f"{q:g}": _described(called) for q, called in self.by_q.items()},
            "FIMO at equal recall": _described(self.fimo) | {"p": self.fimo_p},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--models", nargs="+", default=["yeast-tf", "yeast-tf-cnn"])
    parser.add_argument("--output", type=Path, required=True, help="folder of runs, hits and yeast_sites.json")
    parser.add_argument("--figure", type=Path, help="default: OUTPUT/yeast_sites.png")
    parser.add_argument("--motifs", default=MOTIFS)
    parser.add_argument("--promoters", type=int, help="the first so many only, for a trial")
    parser.add_argument("--null-regions", type=int, help="default: as many as gexplain score draws")
    parser.add_argument("--draws", type=int, default=1_000, help="of the bootstrap")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    out, data = options.output, options.data / "yeast"
    promoters = read_intervals(data / "promoters_chrIV_chrXVI.bed")[: options.promoters]
    figures: dict[str, Any] = {"motifs": load_motifs(options.motifs).source, "q": DEFAULT_Q, "within": WITHIN}
    panels, texts = [], []
    for name in options.models:
        run = score_promoters(name, promoters, data / "sacCer3.fa.gz", options)
        label = Path(name).name
        figures[label] = {"null": run.manifest["calls"]["null"]}
        for result in measure_run(run, promoters, data, options):
            truth = result.truth
            figures[label].setdefault(truth.factor, {})[truth.name] = result.figures()
            title = f"{label}: {truth.factor}, {len(truth.middles)} {truth.name}"
            panels.append(PrecisionRecall(title, result.curves, result.called))
        texts += report(label, figures[label])
    write_json(out / "yeast_sites.json", figures)
    plot_curves(options.figure or out / "yeast_sites.png", panels, called=f"hits, q ≤ {DEFAULT_Q:g}", columns=4)
    print("\n\n".join(texts))


def score_promoters(
    name: str, promoters: Sequence[Interval], fasta: Path, options: argparse.Namespace
) -> gexplain.Run:
    """The run over the promoters, with default windows; hits are called of it below."""
    model = gexplain.load_model(name, device=options.device)
    with show_progress(f"{name}, windows", quiet=False) as progress:
        return gexplain.score(
            promoters,
            fasta,
            model,
            output=options.output / Path(name).name,
            settings=gexplain.ScoreSettings(target="all", motifs="none", null_regions=options.null_regions),
            progress=progress,
        )


# ---- Measures ----


def measure_run(
    run: gexplain.Run, promoters: Sequence[Interval], data: Path, options: argparse.Namespace
) -> Iterator[Result]:
    """The results of every factor that the run has a track of, against every truth of it."""
    for factor, motif_id in MOTIF_IDS.items():
        if factor not in run.tracks:
            continue
        print(f"{run.path.name}: {factor}", file=sys.stderr, flush=True)
        motif = load_motifs(options.motifs, [motif_id])
        hits = run.path.parent / f"{run.path.name}_hits_{factor}.bed"
        with open_attributions(run.path, tracks=[factor]) as attributions:
            axis = Axis(attributions.genome.chroms)
            call_hits(attributions, motif, hits, q=max(Q_LEVELS))
            matches = find_matches(attributions, motif, LOOSE_P)
        table = read_calls(hits, ("chrom", "start", "end", "q"))
        called = (
            middles(*(axis.places(table["chrom"], table[name]) for name in ("start", "end"))),
            table["q"].to_numpy(dtype=np.float64),
        )
        middle_M = middles(matches.start, matches.end)
        clusters = merged(*axis.spans(promoters))
        for truth in truths(factor, data, axis, clusters):
            yield measure(truth, middle_M, matches.scores(), called, promoter_of(middle_M, clusters), options.draws)


def measure(
    truth: Truth,
    middle_M: FloatArray,
    scores: Mapping[str, FloatArray],
    called: tuple[FloatArray, FloatArray],
    promoter_M: IntArray,
    draws: int,
) -> Result:
    """called: the middles of the hits, and their q."""
    n_sites = len(truth.middles)
    site_M = sites_near(middle_M, truth.middles, WITHIN)
    curves = {name: rank_matches(score, site_M, n_sites) for name, score in scores.items()}
    site_H, q_H = sites_near(called[0], truth.middles, WITHIN), called[1]
    by_q = {q: measure_calls(site_H[q_H <= q], n_sites) for q in Q_LEVELS}
    point = curves[FIMO].point_that_finds(by_q[DEFAULT_Q].found)
    least = np.inf if point is None else curves[FIMO].score[point]
    return Result(
        truth=truth,
        n_matches=len(middle_M),
        curves=curves,
        by_q=by_q,
        fimo=measure_calls(site_M[scores[FIMO] >= least], n_sites),
        fimo_p=float(10**-least),
        draws=bootstrap_average_precision(scores, site_M, promoter_M, truth.promoters, draws=draws),
    )


def truths(factor: str, data: Path, axis: Axis, clusters: tuple[IntArray, IntArray]) -> Iterator[Truth]:
    """The factor's sites of either experiment whose middle is in a promoter."""
    files = {CHIP_EXO: "chipexo_sites.bed", **({RHEE: "reb1_peaks_rhee2011.bed"} if factor == "Reb1" else {})}
    for name, file in files.items():
        sites = [site for site in read_intervals(data / file) if site.name == factor]
        middle_S = np.unique(middles(*axis.spans(sites)))
        promoter_S = promoter_of(middle_S, clusters)
        is_inside = promoter_S >= 0
        yield Truth(factor, name, middle_S[is_inside], promoter_S[is_inside])


def middles(start: IntArray, end: IntArray) -> FloatArray:
    """The middle base of each span, or the border of the two."""
    return (start + end - 1) / 2


def merged(start: IntArray, end: IntArray) -> tuple[IntArray, IntArray]:
    """(start, end) of the stretches that spans cover; spans that touch are one."""
    order = np.argsort(start, kind="stable")
    start, reached = start[order], np.maximum.accumulate(end[order])
    is_first = np.append(True, start[1:] > reached[:-1])
    return start[is_first], reached[np.append(is_first[1:], True)]


def promoter_of(middle: FloatArray, clusters: tuple[IntArray, IntArray]) -> IntArray:
    """The number of the cluster of promoters that each middle is in, -1 for none."""
    start, end = clusters
    number = np.searchsorted(start, middle, side="right") - 1
    is_inside = (number >= 0) & (middle < end[number])
    return np.where(is_inside, number, -1)


def _described(measured: Measured) -> dict[str, Any]:
    precision = measured.precision if measured.called else None
    return {
        **{name: asdict(measured)[name] for name in ("called", "true", "found", "sites")},
        "precision": precision,
        "recall": measured.recall,
    }


# ---- What is shown ----


def report(model: str, figures: Mapping[str, Any]) -> list[str]:
    """Markdown: average precisions, and the hits beside FIMO at equal recall."""
    results = [(f"{factor}, {truth}", one) for factor in MOTIF_IDS for truth, one in figures.get(factor, {}).items()]
    rankings = (FIMO, RELEVANCE, JOINED, UNGATED)
    return [
        markdown_table(
            f"{model}: average precision of all matches (p < {LOOSE_P:g}) in the promoters, ranked; in brackets the "
            "middle 95 % of a bootstrap over promoters. Last: what joining adds to FIMO alone, same draws.",
            ["truth", "sites", "matches", *rankings, f"{JOINED} - {FIMO}"],
            [
                [
                    name,
                    str(one["sites"]),
                    str(one["matches"]),
                    *(_with_interval(one["average precision"][ranking], "") for ranking in rankings),
                    _with_interval(one["average precision over FIMO"][JOINED], "+"),
                ]
                for name, one in results
            ],
        ),
        markdown_table(
            f"{model}: hits at q ≤ {DEFAULT_Q:g}, and FIMO with the p-value that finds as many sites.",
            [*("truth", "hits", "recall", "precision"), *("FIMO: matches", "recall", "precision", "p")],
            [
                [
                    name,
                    *_called(one["hits"]),
                    *_called(one["FIMO at equal recall"]),
                    f"{one['FIMO at equal recall']['p']:.1e}",
                ]
                for name, one in results
            ],
        ),
        markdown_table(
            f"{model}: does q hold? Hits up to a q, and in brackets the share of them at a site.",
            ["truth", *(f"q ≤ {q:g}" for q in Q_LEVELS)],
            [
                [
                    name,
                    *(
                        f"{of_q['called']}" + ("" if of_q["precision"] is None else f" ({of_q['precision']:.2f})")
                        for of_q in one["hits by q"].values()
                    ),
                ]
                for name, one in results
            ],
        ),
    ]


def _with_interval(one: Mapping[str, Any], sign: str) -> str:
    low, high = one["95 %"]
    return f"{one['value']:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _called(one: Mapping[str, Any]) -> list[str]:
    return [str(one["called"]), f"{one['recall']:.3f}", "" if one["precision"] is None else f"{one['precision']:.3f}"]


if __name__ == "__main__":
    main()
