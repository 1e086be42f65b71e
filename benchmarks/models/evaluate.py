"""The gates of the shipped models, for any models side by side: Markdown tables on stdout, all figures as JSON.

    python benchmarks/models/evaluate.py MODEL... --data DATA [--human DIR] [--yeast DIR] [--output DIR]

MODEL: a checkpoint directory, or the name of a shipped model. What is measured follows from its classes: the human
figures where it has those five, the yeast ones where it has Reb1. DATA: the folder that holds yeast/ and motifs/;
--human, --yeast: what prepare.py wrote.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from explanations import NEAR, STRONG, find_sites, measure_explanations
from human import FILES
from measures import (
    RHEE,
    ModelScores,
    MotifScores,
    human_accuracy,
    human_aurocs,
    human_called_bound,
    read_human_test,
    read_motifs,
    read_yeast_test,
    share_with_motif,
    yeast_aurocs,
)
from tracks import NEAR as TRACK_NEAR
from tracks import REACH, measure_tracks, score_promoters
from yeast import FACTORS, MAX_OFFSET, SITE_MARGIN, WINDOW

import gexplain

# "Shows" of the models' issue: at least, and for what is called bound at most.
HUMAN_GATES = {"USF1": 0.994, "REST": 0.99, "GABPA": 0.98, "FOXA1": 0.98, "CTCF": 0.96, "all": 0.87}
YEAST_GATES = {"Reb1": 0.95, "Rap1": 0.93, RHEE: 0.85}
BOUND_GATE = 0.05
BEST_MOTIF = "best JASPAR hit"
NEGATIVES = {
    "both": "unbound promoters and random windows together; * misses its gate",
    "unbound": "unbound promoters alone",
    "random": "random windows alone",
}
PARTS = ("predictions", "explanations", "tracks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--human", type=Path, help="folder of prepare.py human")
    parser.add_argument("--yeast", type=Path, help="folder of prepare.py yeast")
    parser.add_argument(
        "--output", type=Path, default=Path("model_evaluation"), help="for evaluation.json and tracks"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--peaks", type=int, help="at most so many peaks a factor are explained (default: all)")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    figures: dict[str, dict[str, Any]] = {}
    for name in options.models:
        model = gexplain.load_model(name, device=options.device)
        start = time.perf_counter()
        if set(FILES) <= set(model.labels):
            figures[name] = evaluate_human(model, options)
        elif "Reb1" in model.labels:
            figures[name] = evaluate_yeast(model, name, options)
        else:
            parser.error(
                f"{name} has neither the five human factors nor Reb1; its classes: {', '.join(model.labels)}"
            )
        figures[name]["seconds"] = time.perf_counter() - start
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print("\n\n".join(tables(figures)))


def evaluate_human(model: gexplain.Model, options: argparse.Namespace) -> dict[str, Any]:
    if options.human is None:
        raise SystemExit("a human model needs --human, the folder of prepare.py human")
    test = read_human_test(options.human, options.data / "yeast" / "sacCer3.fa.gz")
    motifs = read_motifs(options.data / "motifs")
    figures: dict[str, Any] = {"species": "human"}
    if "predictions" in options.parts:
        scores = ModelScores(model)
        figures["auroc"] = human_aurocs(scores, test)
        figures["auroc_of_motif"] = human_aurocs(MotifScores(motifs), test)
        figures["accuracy"] = human_accuracy(scores, test)
        figures["called_bound"] = human_called_bound(scores, test)
        figures["with_strong_motif"] = share_with_motif(motifs, test, STRONG)
    if "explanations" in options.parts:
        figures |= evaluate_explanations(model, test.peaks, options)
    return figures


def evaluate_yeast(model: gexplain.Model, name: str, options: argparse.Namespace) -> dict[str, Any]:
    if options.yeast is None:
        raise SystemExit("a yeast model needs --yeast, the folder of prepare.py yeast")
    data = options.data / "yeast"
    test = read_yeast_test(options.yeast, data / "sacCer3.fa.gz")
    motifs = read_motifs(options.data / "motifs")
    factors = [factor for factor in FACTORS if factor in model.labels]
    figures: dict[str, Any] = {"species": "yeast", "n": test.counts()}
    if "predictions" in options.parts:
        figures["auroc"] = yeast_aurocs(ModelScores(model), test, factors)
        figures["auroc_of_motif"] = yeast_aurocs(MotifScores(motifs), test, factors)
    if "explanations" in options.parts:
        figures |= evaluate_explanations(model, {factor: test.sites[factor] for factor in factors}, options)
    if "tracks" in options.parts:
        run = score_promoters(model, data, options.output / f"{Path(name).name}_promoters")
        figures["tracks"] = {factor: asdict(one) for factor, one in measure_tracks(run, data).items()}
    return figures


def evaluate_explanations(
    model: gexplain.Model, sequences: Mapping[str, Sequence[str]], options: argparse.Namespace
) -> dict[str, Any]:
    motifs = read_motifs(options.data / "motifs")
    sites = {factor: find_sites(peaks, motifs[factor], options.peaks) for factor, peaks in sequences.items()}
    return {
        "n_with_motif": {factor: len(one.sequences) for factor, one in sites.items()},
        "explanations": dict(measure_explanations(model, sites)),
    }


# ---- Tables ----


def tables(figures: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Markdown, a table after the other."""
    for species, of_species in (("human", human_tables), ("yeast", yeast_tables)):
        chosen = {name: one for name, one in figures.items() if one["species"] == species}
        if any("auroc" in one for one in chosen.values()):
            yield from of_species({name: one for name, one in chosen.items() if "auroc" in one})
    for name, one in figures.items():
        if "explanations" in one:
            yield explanation_table(name, one)
    for name, one in figures.items():
        if "tracks" in one:
            yield track_table(name, one["tracks"])


def human_tables(figures: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    first = next(iter(figures.values()))
    gates = [HUMAN_GATES[name] for name in (*FILES, "all")]
    yield _table(
        "Human: AUROC of the 500 test peaks of a factor against their dinucleotide shuffles, and accuracy on the six "
        "balanced classes. Score: the factor's logit less the background's, the mean of both strands. "
        "* misses its gate.",
        ["model", *FILES, "accuracy"],
        [
            ["gate", *(f"≥ {gate:g}" for gate in gates)],
            *(
                [name, *map(_marked, [*(one["auroc"][factor] for factor in FILES), one["accuracy"]["all"]], gates)]
                for name, one in figures.items()
            ),
            [BEST_MOTIF, *(f"{first['auroc_of_motif'][factor]:.3f}" for factor in FILES), ""],
        ],
    )
    yield _table(
        "Human: accuracy on each class.",
        ["model", *first["accuracy"]],
        [[name, *(f"{value:.3f}" for value in one["accuracy"].values())] for name, one in figures.items()],
    )
    gated = first["with_strong_motif"]
    yield _table(
        "Human: share called bound (background is not the highest class) of what is no peak. Gate: at most "
        f"{BOUND_GATE:g} of genome-like sequence, which shuffles of peaks are not; * misses it. Flanks of peaks are "
        "open chromatin, with binding sites in them. Last row: the share with a hit of any factor's motif of "
        f"{STRONG:g} of its best score.",
        ["model", *first["called_bound"]],
        [
            *(
                [
                    name,
                    *(
                        f"{value:.3f}{' *' if kind in gated and value > BOUND_GATE else ''}"
                        for kind, value in one["called_bound"].items()
                    ),
                ]
                for name, one in figures.items()
            ),
            [
                "a strong motif hit",
                *(f"{gated[kind]:.3f}" if kind in gated else "" for kind in first["called_bound"]),
            ],
        ],
    )


def yeast_tables(figures: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    first = next(iter(figures.values()))
    n = first["n"]
    yield (
        f"Yeast, chromosomes IV and XVI, windows of {WINDOW} bases. Score: the factor's logit less the background's, "
        f"the mean of both strands. Positives: windows with a ChIP-exo site up to {MAX_OFFSET} bases off the centre "
        f"({', '.join(f'{factor} {n[factor]}' for factor in FACTORS)}); Rhee's Reb1 peaks merged where they overlap, "
        f"windows centred on the clusters ({n[RHEE]}). Negatives: {n['unbound']:,} windows tiled upstream of the TSS "
        f"of unbound promoters and {n['random']:,} random windows, no site of any factor within {SITE_MARGIN} bases; "
        f"off Rhee's clusters {n['unbound_free']:,} and {n['random_free']:,}."
    )
    positives = list(dict.fromkeys(kind for one in figures.values() for kind in one["auroc"]))
    for negatives, what in NEGATIVES.items():
        gates = YEAST_GATES if negatives == "both" else {}
        rows = [
            *([["gate", *(f"≥ {gates[kind]:g}" if kind in gates else "" for kind in positives)]] if gates else []),
            *(
                [name, *(_of_kind(one["auroc"], kind, negatives, gates) for kind in positives)]
                for name, one in figures.items()
            ),
            [BEST_MOTIF, *(_of_kind(first["auroc_of_motif"], kind, negatives, {}) for kind in positives)],
        ]
        yield _table(f"Yeast: AUROC against {what}.", ["model", *positives], rows)


def _of_kind(aurocs: Mapping[str, Mapping[str, float]], kind: str, negatives: str, gates: Mapping[str, float]) -> str:
    return _marked(aurocs[kind][negatives], gates.get(kind, 0)) if kind in aurocs else ""


def explanation_table(name: str, figures: Mapping[str, Any]) -> str:
    n = figures["n_with_motif"]
    return _table(
        f"{name}: share of sequences whose base of highest relevance is within {NEAR} bases of the best motif hit / "
        f"share of positive relevance in it, where that hit has at least {STRONG:g} of the motif's best score; in "
        "brackets the same of any such hit.",
        ["relevance", *(f"{factor} ({n[factor]})" for factor in n)],
        [
            [
                way,
                *(
                    f"{of_factor[factor]['top']:.2f} / {of_factor[factor]['mass']:.2f} "
                    f"({of_factor[factor]['top_any']:.2f} / {of_factor[factor]['mass_any']:.2f})"
                    for factor in n
                ),
            ]
            for way, of_factor in figures["explanations"].items()
        ],
    )


def track_table(name: str, tracks: Mapping[str, Mapping[str, float]]) -> str:
    return _table(
        f"{name}: tracks of `gexplain score` over the promoters of IV and XVI against the ChIP-exo sites in them. "
        f"Top base: the highest within {REACH} bases of a site is within {TRACK_NEAR} of it. AUROC: windows of "
        f"{WINDOW} bases side by side, with a site or without, by the highest value of the track.",
        ["factor", "sites", "top base", "by chance", "windows with a site", "AUROC, prediction", "AUROC, relevance"],
        [
            [
                factor,
                f"{one['n_sites']}",
                f"{one['top_near']:.3f}",
                f"{one['top_near_random']:.3f}",
                f"{one['n_bound']} of {one['n_windows']:,}",
                f"{one['by_prediction']:.3f}",
                f"{one['by_relevance']:.3f}",
            ]
            for factor, one in tracks.items()
        ],
    )


def _marked(value: float, gate: float) -> str:
    return f"{value:.3f}" if value >= gate else f"{value:.3f} *"


def _table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join([caption, "", *(f"| {' | '.join(line)} |" for line in lines)])


if __name__ == "__main__":
    main()
