"""Are calls calibrated? False calls in shuffled sequence and in noise, beside those in the planted demo genome.

    python benchmarks/motifs/calibration.py [MODEL] --output DIR [--megabases 5] [--genome FASTA] [--figure PNG]

Shuffled: dinucleotide-shuffled pieces of the genome, read by the model, told from the run's own null. Noise: tracks
that no model made, over the same sequence, told from noise that is drawn anew. Planted: the bundled genome, whole
chromosomes, against its own null. All windows lie side by side. What is there already is not read again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from figures import Uniform, plot_p_values
from genomes import NOISES, shuffled_genome, whole_chromosomes, write_fasta, write_track
from gexplain_cli.progress import show_progress
from matches import read_calls
from tables import markdown_table, write_json

import gexplain
from gexplain.arrays import FloatArray
from gexplain.attributions import default_motifs, open_attributions
from gexplain.calls import DEFAULT_MATCH_P, DEFAULT_Q, call_hits, call_seqlets
from gexplain.demo import demo_data
from gexplain.genome.fasta import Genome
from gexplain.motifs.calibration import benjamini_hochberg
from gexplain.motifs.database import MotifSet, load_motifs
from gexplain.motifs.hits import HitFinder
from gexplain.motifs.pages import read_pages
from gexplain.null import MOST_WINDOWS, PIECE_WINDOWS
from gexplain.track_nulls import Attributions
from gexplain.windows import DEFAULT_WINDOW

if TYPE_CHECKING:
    import pandas as pd

# Neither is the seed of a run's null, which is 0.
SHUFFLE_SEED, NOISE_SEED = 101, 102
# As gexplain score draws of itself for a large run; both runs have the same, or one could call more than the other.
NULL_REGIONS = MOST_WINDOWS // PIECE_WINDOWS
# The null of noise has as many bases as that of a large run.
NOISE_NULL_BASES = 500_000
PER_BASES = 5_000_000
GATE = 0.05
SHARES_AT = (0.001, 0.01, 0.1, 1.0)
KINDS = ("seqlets", "hits", "primary hits")


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls at q < 0.05 in one track. apart: where each chromosome is tested alone, as in a small run."""

    seqlets: int
    seqlets_high: int
    hits: int
    primary_hits: int
    seqlets_apart: int | None
    hits_apart: int | None

    def of_kind(self, kind: str) -> int:
        return int(getattr(self, kind.replace(" ", "_")))


@dataclass(frozen=True, slots=True, eq=False)
class Called:
    """One genome's calls, a track each. bases: that were scored. seqlets, hits: the p-values of any q.

    n_hit_tests: of one track; every base is one, and only those at which a site lies are among the primary hits.
    """

    bases: int
    calls: dict[str, Calls]
    seqlets: pd.DataFrame
    hits: pd.DataFrame
    n_hit_tests: int

    def per_bases(self, track: str, kind: str) -> float:
        """Calls of a kind in as many bases as PER_BASES."""
        return self.calls[track].of_kind(kind) * PER_BASES / self.bases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="human-tf", metavar="MODEL")
    parser.add_argument("--output", type=Path, required=True, help="folder of runs, tables and calibration.json")
    parser.add_argument("--figure", type=Path, help="default: OUTPUT/calibration.png")
    parser.add_argument("--genome", type=Path, default=demo_data() / "genome.fa", help="what is shuffled")
    parser.add_argument("--megabases", type=float, default=5.0)
    parser.add_argument("--chrom-kb", type=int, default=100)
    parser.add_argument("--target", default="all")
    parser.add_argument("--strand", default="both")
    parser.add_argument("--motifs", help="default: those of the model")
    parser.add_argument("--null-regions", type=int, default=NULL_REGIONS, help="of both runs")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    out: Path = options.output
    model = gexplain.load_model(options.model, device=options.device)
    settings = gexplain.ScoreSettings(
        target=options.target,
        strand=options.strand,
        stride=model.window or DEFAULT_WINDOW,
        null_regions=options.null_regions,
        motifs="none",  # they are looked for below
    )
    sequences = shuffled_genome(
        options.genome, round(options.megabases * 1e6), 1_000 * options.chrom_kb, SHUFFLE_SEED
    )
    shuffled = write_fasta(out / "shuffled.fa", sequences)
    runs = {}
    for name, fasta in (("shuffled", shuffled), ("planted", demo_data() / "genome.fa")):
        print(f"{name}: scoring", file=sys.stderr, flush=True)
        with show_progress(f"{name}, windows", quiet=False) as progress:
            runs[name] = gexplain.score(
                whole_chromosomes(fasta), fasta, model, output=out / name, settings=settings, progress=progress
            )
    motifs = load_motifs(options.motifs or default_motifs(runs["shuffled"].path))
    called = {}
    for name, run in runs.items():
        with open_attributions(run.path) as attributions:
            called[name] = call_all(attributions, motifs, out / f"{name}_calls", apart=name == "shuffled")
    for name in NOISES:
        called[name] = call_noise(name, shuffled, motifs, out / "noise")
    plot_p_values(options.figure or out / "calibration.png", p_value_panels(called["shuffled"]))
    figures = all_figures(called) | {
        "model": options.model,
        "motifs": motifs.source,
        "null": {name: run.manifest["calls"]["null"] for name, run in runs.items()},
    }
    write_json(out / "calibration.json", figures)
    print("\n\n".join(report(called, figures)))


# ---- Calls ----


def call_noise(name: str, fasta: Path, motifs: MotifSet, out: Path) -> Called:
    """The calls in a track of noise over a FASTA, against the same noise over shuffles of it: no model is asked."""
    rng = np.random.default_rng([NOISE_SEED, list(NOISES).index(name)])
    out.mkdir(parents=True, exist_ok=True)
    null_fasta = write_fasta(out / "null.fa", shuffled_genome(fasta, NOISE_NULL_BASES, NOISE_NULL_BASES, NOISE_SEED))
    paths = []
    for path, genome_path in ((out / f"{name}.bw", fasta), (out / f"{name}.null.bw", null_fasta)):
        with Genome(genome_path) as genome:
            paths.append(write_track(path, genome.chroms, lambda n: NOISES[name](n, rng)))
    with open_attributions(paths[0], fasta, null=(paths[1], null_fasta)) as attributions:
        return call_all(attributions, motifs, out / f"{name}_calls", apart=True)


def call_all(attributions: Attributions, motifs: MotifSet, out: Path, *, apart: bool) -> Called:
    """All seqlets and hits, those of any q, are written to `out`; counted are those of at most DEFAULT_Q."""
    out.mkdir(parents=True, exist_ok=True)
    print(f"{out.name}: calling", file=sys.stderr, flush=True)
    call_seqlets(attributions, out / "seqlets.bed", q=1.0)
    call_hits(attributions, motifs, out / "hits.bed", summary=out / "motif_summary.tsv", q=1.0)
    seqlets, hits = (
        read_calls(out / "seqlets.bed", ("chrom", "track", "direction", "p", "q")),
        read_calls(out / "hits.bed", ("chrom", "track", "p", "q", "isPrimary")),
    )
    calls = {}
    for name in attributions.tracks:
        own_seqlets, own_hits = seqlets[seqlets["track"] == name], hits[hits["track"] == name]
        called_seqlets, called_hits = (own[own["q"] <= DEFAULT_Q] for own in (own_seqlets, own_hits))
        calls[name] = Calls(
            seqlets=len(called_seqlets),
            seqlets_high=int((called_seqlets["direction"] == "high").sum()),
            hits=len(called_hits),
            primary_hits=int((called_hits["isPrimary"] == 1).sum()),
            seqlets_apart=seqlets_apart(own_seqlets) if apart else None,
            hits_apart=hits_apart(attributions, name, motifs) if apart else None,
        )
    n_bases = sum(attributions.genome.chroms.values())  # every base is scored
    return Called(n_bases, calls, seqlets, hits, n_bases)


def seqlets_apart(seqlets: pd.DataFrame) -> int:
    """Seqlets called where each chromosome is tested alone; all p-values are of the one null."""
    groups = seqlets.groupby(["chrom", "direction"])["p"]
    return sum(int((benjamini_hochberg(p.to_numpy()) <= DEFAULT_Q).sum()) for _, p in groups)


def hits_apart(attributions: Attributions, track: str, motifs: MotifSet) -> int:
    """Hits called where each chromosome is tested alone, against the one null."""
    attribution, chroms = attributions.tracks[track], attributions.genome.chroms
    finder = HitFinder(motifs.motifs, attribution.hit_null(), match_p=DEFAULT_MATCH_P)
    pages = read_pages(attribution.path, attributions.genome, reach=finder.reach)
    n_called = 0
    for _, of_chrom in groupby(pages, key=lambda page: page.chrom):
        with finder.find(of_chrom, {chrom: rank for rank, chrom in enumerate(chroms)}) as found:
            n_called += sum(len(group) for group, _ in found.hits(DEFAULT_Q))
    return n_called


# ---- What is shown ----


def p_values(called: Called) -> dict[str, dict[str, tuple[FloatArray, float]]]:
    """Kind of test to track to p-values, and how many tests there are for them: uniform in (0, 1] if calibrated.

    A base without a site has no p-value; those of sites go up to the one of the weakest. They are divided by it, and
    so many tests are theirs as that share of all.
    """
    kinds: dict[str, dict[str, tuple[FloatArray, float]]] = {}
    for direction in ("high", "low"):
        of_direction = called.seqlets[called.seqlets["direction"] == direction].groupby("track")["p"]
        kinds[f"seqlets, {direction}"] = {str(name): (p.to_numpy(), len(p)) for name, p in of_direction}
    sites = called.hits[called.hits["isPrimary"] == 1]
    kinds["primary hits"] = {
        str(name): ((p / p.max()).to_numpy(), float(p.max()) * called.n_hit_tests)
        for name, p in sites.groupby("track")["p"]
    }
    return kinds


def p_value_panels(called: Called) -> list[Uniform]:
    """High seqlets, low ones, and hits."""
    titles = {
        "seqlets, high": ("Seqlets of high relevance", "p-value"),
        "seqlets, low": ("Seqlets of low relevance", "p-value"),
        "primary hits": ("Sites of motifs that the model uses", "p-value / that of the weakest"),
    }
    return [
        Uniform(
            *titles[kind],
            p_of_track={name: p for name, (p, _) in of_track.items()},
            n_tests={name: n for name, (_, n) in of_track.items()},
        )
        for kind, of_track in p_values(called).items()
    ]


def all_figures(called: Mapping[str, Called]) -> dict[str, Any]:
    planted = called["planted"]
    figures: dict[str, Any] = {"q": DEFAULT_Q, "per bases": PER_BASES, "gate": GATE}
    for name, one in called.items():
        figures[name] = {
            "bases": one.bases,
            "tracks": {track: asdict(calls) for track, calls in one.calls.items()},
            "seqlets of any q": len(one.seqlets),
            "used matches of any q": len(one.hits),
            "share of p-values": p_shares(one),
        }
    figures["ratio to planted"] = {
        name: {kind: ratio(called[name], planted, kind) for kind in KINDS} for name in called if name != "planted"
    }
    figures["ratio to planted, by track"] = {
        track: {
            kind: _quotient(called["shuffled"].per_bases(track, kind), planted.per_bases(track, kind))
            for kind in KINDS
        }
        for track in planted.calls
    }
    return figures


def ratio(called: Called, planted: Called, kind: str) -> float | None:
    """Calls a track and base, as a share of those in the planted genome; None where that has none."""
    return _quotient(_mean_per_bases(called, kind), _mean_per_bases(planted, kind))


def p_shares(called: Called) -> dict[str, dict[str, float]]:
    """Kind of test to the share of p-values up to some levels, of all tracks: uniform ones have the level itself."""
    return {
        kind: {
            f"{level:g}": sum(int((p <= level).sum()) for p, _ in of_track.values())
            / max(1.0, sum(n for _, n in of_track.values()))
            for level in SHARES_AT
        }
        for kind, of_track in p_values(called).items()
    }


def report(called: Mapping[str, Called], figures: Mapping[str, Any]) -> list[str]:
    """Markdown, a table after the other."""
    megabases = f"{PER_BASES / 1e6:g} Mb"
    names = ["shuffled", *NOISES, "planted"]
    shuffled, planted, ratios = called["shuffled"], called["planted"], figures["ratio to planted"]
    rows = [
        [
            f"{name}, mean of {len(called[name].calls)} tracks" if len(called[name].calls) > 1 else name,
            f"{called[name].bases / 1e6:g}",
            *(
                f"{_mean_per_bases(called[name], kind):,.1f}{_share(ratios.get(name, {}).get(kind))}"
                for kind in KINDS
            ),
            *(_apart(called[name], kind) for kind in ("seqlets_apart", "hits_apart")),
        ]
        for name in names
    ]
    summary = markdown_table(
        f"Calls at q ≤ {DEFAULT_Q:g} in {megabases} of one track, and as a share of those in the planted genome "
        f"(gate: at most {GATE:.0%}; * misses it). Apart: each chromosome tested alone.",
        ["sequence", "Mb scored", *KINDS, "seqlets, apart", "hits, apart"],
        rows,
    )
    by_track = markdown_table(
        f"By track, in {megabases}: shuffled / planted.",
        ["track", *KINDS],
        [
            [
                track,
                *(
                    f"{shuffled.per_bases(track, kind):,.1f} / {planted.per_bases(track, kind):,.1f}"
                    for kind in KINDS
                ),
            ]
            for track in planted.calls
        ],
    )
    shares = markdown_table(
        "Share of p-values up to a level; uniform ones have the level itself. Those of primary hits are over that "
        "of the weakest.",
        ["sequence", "tests", *(f"{level:g}" for level in SHARES_AT)],
        [
            [name, kind, *(f"{value:.4f}" for value in at.values())]
            for name in names
            if name != "planted"
            for kind, at in figures[name]["share of p-values"].items()
        ],
    )
    return [summary, by_track, shares]


def _mean_per_bases(called: Called, kind: str) -> float:
    return float(np.mean([called.per_bases(track, kind) for track in called.calls]))


def _quotient(value: float, of: float) -> float | None:
    return value / of if of else None


def _share(value: float | None) -> str:
    return "" if value is None else f" ({value:.2%}{' *' if value > GATE else ''})"


def _apart(called: Called, name: str) -> str:
    counts = [getattr(calls, name) for calls in called.calls.values()]
    return "" if None in counts else f"{np.mean(counts) * PER_BASES / called.bases:,.1f}"


if __name__ == "__main__":
    main()
