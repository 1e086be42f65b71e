"""The null: pieces drawn and shuffled, read as the run itself, kept, found again and gone on with."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny import tiny_cnn_state
from tiny_tracks import random_letters, write_fasta

import gexplain
from gexplain import null
from gexplain.attribution.explainers import TokenExplainer
from gexplain.errors import RunError
from gexplain.genome.bed import Region
from gexplain.genome.bigwig import BigWig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, Strand, parse_region
from gexplain.models.cnn import CnnConfig, save_cnn_checkpoint
from gexplain.null import PIECE_WINDOWS, default_null_regions, draw_null, predicted_classes
from gexplain.pipeline import WindowResult
from gexplain.plan import plan_regions
from gexplain.store import WindowStore, _check_of
from gexplain.windows import Tiling, Window

WINDOW, STRIDE = 64, 32
TILING = Tiling(WINDOW, STRIDE)


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    rng = np.random.default_rng(5)
    chroms = {
        "chr1": random_letters(rng, 3000),
        "gappy": random_letters(rng, 500) + "N" * 2000 + random_letters(rng, 500),
        "small": random_letters(rng, 40),
    }
    return write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", chroms)


@pytest.fixture(scope="module")
def genome(fasta):
    with Genome(fasta) as opened:
        yield opened


def plan_of(genome: Genome, *intervals: Interval, strand="both"):
    return plan_regions([Region(one, 0) for one in intervals], genome.chroms, strand=strand)


def dinucleotides(sequence: str) -> Counter[str]:
    return Counter(first + second for first, second in pairwise(sequence))


SHORT, LONG = Interval("chr1", 500, 530), Interval("chr1", 1000, 2000)


@pytest.mark.parametrize("regions", [[SHORT], [LONG], [SHORT, LONG, Interval("small", 3, 9)]])
@pytest.mark.parametrize("shifts", [1, 5])
def test_a_piece_is_the_shuffled_sequence_of_its_place(genome, regions, shifts):
    pieces = draw_null(plan_of(genome, *regions), genome, Tiling(WINDOW, STRIDE, shifts), 25, seed=1)
    assert len(pieces) == 25
    for piece, shuffled in pieces:
        original = genome.fetch(piece)
        assert dinucleotides(shuffled) == dinucleotides(original)
        assert shuffled != original


def test_pieces_are_what_the_windows_of_their_region_read(genome):
    """One window around a short region; three in a row, on the grid, of a long one; all of a small chromosome."""
    plan = plan_of(genome, SHORT, LONG, Interval("small", 3, 9))
    places = {(one.chrom, one.start, one.end) for one, _ in draw_null(plan, genome, TILING, 300, seed=1)}
    width = WINDOW + (PIECE_WINDOWS - 1) * STRIDE
    starts = TILING.starts(np.array([[1000, 2000]]), np.array([-1]), 3000).tolist()
    expected = {("chr1", start, start + width) for start in starts[: len(starts) - PIECE_WINDOWS + 1]}
    assert places == expected | {("chr1", 483, 547), ("small", 0, 40)}


def test_shifts_widen_a_piece_inside_its_chromosome(genome):
    plan = plan_of(genome, SHORT, Interval("chr1", 0, 10), Interval("chr1", 2990, 3000), Interval("small", 0, 40))
    pieces = draw_null(plan, genome, Tiling(WINDOW, STRIDE, shifts=5), 60, seed=1)
    assert {(one.chrom, one.start, one.end) for one, _ in pieces} == {
        *(("chr1", 481, 549), ("chr1", 0, 66), ("chr1", 2934, 3000)),
        ("small", 0, 40),
    }


def test_long_regions_are_drawn_by_their_windows(genome):
    pieces = draw_null(plan_of(genome, SHORT, LONG), genome, TILING, 400, seed=2)
    n_short = sum(piece.start == 483 for piece, _ in pieces)
    assert abs(n_short - 400 / 33) < 15  # one window beside 32


def test_the_seed_decides(genome):
    plan = plan_of(genome, LONG)
    one, same, other = (draw_null(plan, genome, TILING, 6, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_pieces_of_n_are_drawn_only_where_there_is_nothing_else(genome):
    both = draw_null(plan_of(genome, Interval("gappy", 0, 3000)), genome, TILING, 50, seed=3)
    assert len(both) == 50
    assert all(sequence.count("N") <= 0.5 * len(sequence) for _, sequence in both)
    rest = draw_null(plan_of(genome, Interval("gappy", 510, 530)), genome, TILING, 7, seed=3)
    assert [sequence.count("N") for _, sequence in rest] == [52] * 7
    assert draw_null(plan_of(genome, Interval("gappy", 1000, 1100)), genome, TILING, 7, seed=3) == []


def test_every_strand_has_pieces_of_its_own(genome):
    regions = [*(Interval("chr1", start, start + 30, strand="+") for start in range(100, 2100, 50))]
    plan = plan_of(genome, *regions, Interval("chr1", 2500, 2530, strand="-"), strand="region")
    for n_pieces in (10, 11):
        pieces = draw_null(plan, genome, TILING, n_pieces, seed=4)
        of_strand = Counter(piece.strand for piece, _ in pieces)
        assert len(pieces) == n_pieces
        assert min(of_strand["+"], of_strand["-"]) == 5
        assert all((piece.strand == "-") == (piece.start == 2483) for piece, _ in pieces)
    assert Counter(piece.strand for piece, _ in draw_null(plan, genome, TILING, 1, seed=4)) == {"+": 1, "-": 1}


@pytest.mark.parametrize("bounds", [(100, 5_000), (1, 20), (400, 400)])
@pytest.mark.parametrize("regions", [[SHORT], [LONG], [SHORT] * 7 + [LONG], [SHORT] * 300])
def test_by_default_the_null_costs_what_the_run_costs_within_bounds(genome, monkeypatch, bounds, regions):
    monkeypatch.setattr(null, "LEAST_WINDOWS", bounds[0])
    monkeypatch.setattr(null, "MOST_WINDOWS", bounds[1])
    plan = plan_of(genome, *regions)
    pieces = draw_null(plan, genome, TILING, default_null_regions(plan, TILING), seed=5)
    n_read = sum(1 if piece.width == WINDOW else PIECE_WINDOWS for piece, _ in pieces)
    of_run = sum(1 if region is SHORT else 32 for region in regions)
    wanted = min(max(of_run, bounds[0]), bounds[1])
    assert wanted - PIECE_WINDOWS <= n_read * 1.2
    assert n_read * 0.8 <= wanted + PIECE_WINDOWS


# ---- Read as the run itself ----

REGIONS = [Interval("chr1", 500, 530), Interval("chr1", 1000, 1300), Interval("small", 0, 30)]
SETTINGS = gexplain.ScoreSettings(
    target="promoter", null_regions=6, motifs="none", window=WINDOW, stride=STRIDE, seed=7
)


def score(fasta, model, output, regions=REGIONS, **changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    return gexplain.score(regions, fasta, model, output=output, settings=settings)


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The sequences that a model reads from here on."""
    seen: list[str] = []
    batches = TokenExplainer.batches

    def noting(self, sequences: Sequence[str], *rest):
        seen.extend(sequences)
        return batches(self, sequences, *rest)

    monkeypatch.setattr(TokenExplainer, "batches", noting)
    return seen


def n_kept(out) -> int:
    """Windows of the run and its null, not of N alone, that an interrupted run left."""
    total = 0
    for path in (out / ".unfinished").glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as store:
            total += store.execute("select count(*) from windows where scored").fetchone()[0]
    return total


def null_files(out) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "null").iterdir() if path.suffix != ".fai"}


def test_the_null_is_a_genome_of_the_pieces_in_lines(fasta, genome, cnn, tmp_path):
    score(fasta, cnn, tmp_path)
    pieces = draw_null(plan_of(genome, *REGIONS), genome, TILING, 6, seed=7)
    text = (tmp_path / "null" / "null.fa").read_text()
    assert max(map(len, text.splitlines())) <= 60
    with Genome(tmp_path / "null" / "null.fa") as shuffled:
        assert [shuffled.fetch(name, 0, n) for name, n in shuffled.chroms.items()] == [one for _, one in pieces]
        assert list(shuffled.chroms) == [f"null_{i}" for i in range(1, 7)]
    first = pieces[0][0]
    assert text.startswith(f">null_1 {first.chrom}:{first.start + 1:,}-{first.end:,} .\n")


@pytest.mark.parametrize("changes", [{}, {"strand": "region"}, {"shifts": 3, "weight": "probability"}])
def test_its_tracks_are_those_of_scoring_its_fasta(fasta, cnn, tmp_path, changes):
    regions = [dataclasses.replace(one, strand="-" if one.start == 500 else "+") for one in REGIONS]
    run = score(fasta, cnn, tmp_path / "out", regions, **changes)
    shuffled = tmp_path / "out" / "null" / "null.fa"
    strands = [line.split()[2] for line in shuffled.read_text().splitlines() if line.startswith(">")]
    with Genome(shuffled) as genome:
        whole = [
            Interval(name, 0, n, strand=strand)
            for (name, n), strand in zip(genome.chroms.items(), strands, strict=True)
        ]
    alone = score(shuffled, cnn, tmp_path / "alone", whole, null_regions=0, **changes)
    assert set(strands) == ({"+", "-"} if changes.get("strand") else {"."})
    for name in run.tracks:
        with BigWig(tmp_path / "out" / "null" / f"{name}.bw") as one, BigWig(alone.tracks[name]) as other:
            assert one.chroms == other.chroms
            for chrom, length in one.chroms.items():
                np.testing.assert_allclose(
                    one.values(chrom, 0, length), other.values(chrom, 0, length), atol=1e-6, err_msg=f"{name} {chrom}"
                )


def test_a_kept_null_is_found_again(fasta, cnn, tmp_path, reads):
    """Another q is another run; the null of the last one serves it."""
    score(fasta, cnn, tmp_path)
    kept, n_first = null_files(tmp_path), len(reads)
    reads.clear()
    score(fasta, cnn, tmp_path, q=0.5, force=True)
    assert null_files(tmp_path) == kept
    assert len(reads) < n_first
    with Genome(tmp_path / "null" / "null.fa") as shuffled:
        pieces = [shuffled.fetch(name, 0, n) for name, n in shuffled.chroms.items()]
    assert not any(one in piece for one in reads for piece in pieces)


@pytest.mark.parametrize(
    "changes", [{"seed": 8}, {"null_regions": 5}, {"stride": 20}, {"method": "gradient-x-input"}, {"target": "none"}]
)
def test_a_null_of_other_settings_is_replaced(fasta, cnn, tmp_path, changes):
    score(fasta, cnn, tmp_path / "out")
    before = null_files(tmp_path / "out")
    score(fasta, cnn, tmp_path / "out", force=True, **changes)
    score(fasta, cnn, tmp_path / "fresh", **changes)
    after = null_files(tmp_path / "out")
    assert after != before
    assert after == null_files(tmp_path / "fresh")


@pytest.mark.parametrize("lost", ["null.json", "null.fa", "promoter.bw"])
@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_null_with_a_file_lost_or_damaged_is_made_again(fasta, cnn, tmp_path, lost, is_damaged):
    score(fasta, cnn, tmp_path)
    whole = null_files(tmp_path)
    file = tmp_path / "null" / lost
    if is_damaged:
        file.write_bytes(file.read_bytes()[:-9])
    else:
        file.unlink()
    score(fasta, cnn, tmp_path, q=0.5, force=True)
    assert null_files(tmp_path) == whole


def test_a_null_is_whole_only_with_a_note_that_can_be_read(fasta, cnn, tmp_path):
    score(fasta, cnn, tmp_path)
    whole = null_files(tmp_path)
    (tmp_path / "null" / "null.json").write_text(whole["null.json"].decode()[:40])
    (tmp_path / "null" / "promoter.bw").write_bytes(b"cut off")
    score(fasta, cnn, tmp_path, q=0.5, force=True)
    assert null_files(tmp_path) == whole


@pytest.mark.parametrize("stops", [2, 3])
def test_an_interrupted_null_is_gone_on_with(fasta, cnn, tmp_path, monkeypatch, reads, stops):
    monkeypatch.setattr("gexplain.pipeline.MIN_POOL", 4)
    settings = {"batch_size": 1, "null_regions": 9}
    score(fasta, cnn, tmp_path / "whole", **settings)
    n_all = len(reads)
    fetch, pools = Genome.fetch, []

    def failing(self, *place):
        if self.path.name == "null.fa":
            pools.append(place)
            if len(pools) > 4 * (stops - 1):
                raise KeyboardInterrupt
        return fetch(self, *place)

    reads.clear()
    monkeypatch.setattr(Genome, "fetch", failing)
    with pytest.raises(KeyboardInterrupt):
        score(fasta, cnn, tmp_path / "out", **settings)
    monkeypatch.setattr(Genome, "fetch", fetch)
    kept = n_kept(tmp_path / "out")
    assert 0 < kept < n_all
    reads.clear()
    score(fasta, cnn, tmp_path / "out", **settings)
    assert len(reads) == n_all - kept
    assert null_files(tmp_path / "out") == null_files(tmp_path / "whole")


def test_an_interrupted_run_may_go_on_with_another_null(fasta, cnn, tmp_path, monkeypatch):
    """What the null is does not change the windows of the run."""
    with monkeypatch.context() as patch:
        patch.setattr(null.Null, "fill", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            score(fasta, cnn, tmp_path / "out")
    score(fasta, cnn, tmp_path / "out", seed=9)
    score(fasta, cnn, tmp_path / "fresh", seed=9)
    assert null_files(tmp_path / "out") == null_files(tmp_path / "fresh")


def test_a_null_that_was_given_up_is_not_left_behind(fasta, cnn, tmp_path, monkeypatch):
    def interrupt(out, **changes):
        with monkeypatch.context() as patch:
            patch.setattr(null.Null, "fill", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                score(fasta, cnn, out, **changes)

    interrupt(tmp_path / "without")
    score(fasta, cnn, tmp_path / "without", null_regions=0)
    assert not (tmp_path / "without" / "null").exists()

    score(fasta, cnn, tmp_path / "kept")
    files = null_files(tmp_path / "kept")
    interrupt(tmp_path / "kept", seed=9, force=True)
    score(fasta, cnn, tmp_path / "kept")  # the null that lies there is this run's
    assert null_files(tmp_path / "kept") == files


def test_a_null_that_cannot_be_written_is_a_run_error(fasta, cnn, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(null, "NULL_FASTA", "absent/null.fa")
        with pytest.raises(RunError, match=r"cannot write .*null"):
            score(fasta, cnn, tmp_path / "out")


def test_a_null_is_described_in_the_manifest(fasta, cnn, tmp_path):
    run = score(fasta, cnn, tmp_path)
    with Genome(tmp_path / "null" / "null.fa") as shuffled:
        assert run.manifest["calls"]["null"] == {"regions": 6, "bases": sum(shuffled.chroms.values()), "seed": 7}
    assert json.loads((tmp_path / "null" / "null.json").read_text())["key"]["window"] == WINDOW


# ---- Of a run that explains what is predicted ----

LABELS = ("none", "promoter", "enhancer")
MIXED = [*REGIONS, Interval("chr1", 1600, 2400), Interval("gappy", 300, 700)]


@pytest.fixture(scope="module")
def undecided(genome, tmp_path_factory):
    """A tiny CNN that predicts each of its three classes about as often."""
    config = CnnConfig(len(LABELS), n_filters=12, filter_width=7, hidden=5)
    state = tiny_cnn_state(config, seed=1)

    def load(name: str):
        folder = tmp_path_factory.mktemp("undecided") / name
        options = {"labels": LABELS, "head": "classification", "window": WINDOW}
        return gexplain.load_model(save_cnn_checkpoint(folder, state, config, **options), device="cpu")

    windows = [genome.fetch("chr1", start, start + WINDOW) for start in range(0, 2900, STRIDE)]
    state["classifier.bias"] -= torch.tensor(load("biased").predict(windows).mean(0))
    return load("undecided")


def null_pieces(out) -> list[tuple[str, Interval, str, Strand]]:
    """Name, place, sequence and strand of every piece."""
    with Genome(out / "null" / "null.fa") as shuffled:
        text = (out / "null" / "null.fa").read_text()
        headers = [line[1:].split() for line in text.splitlines() if line.startswith(">")]
        return [
            (name, parse_region(place, {}), shuffled.fetch(name, 0, shuffled.chroms[name]), strand)
            for name, place, strand in headers
        ]


def windows_by_definition(genome, regions, shifts: int) -> Iterator[tuple[Interval, int]]:
    """The windows that each region asks for, with its place in the list."""
    for nth, region in enumerate(regions):
        length = genome.chroms[region.chrom]
        width = min(WINDOW, length)
        starts = [(region.start + region.end) // 2 - width // 2]
        if region.width > width:
            starts = [region.start // STRIDE * STRIDE]
            while starts[-1] + width < region.end:
                starts.append(starts[-1] + STRIDE)
        for start in starts:
            for shift in range(shifts):
                first = min(max(0, start + shift - shifts // 2), length - width)
                yield Interval(region.chrom, first, first + width), nth


def class_by_definition(model, genome, regions, place: Interval, strand: Strand, shifts: int = 1) -> int:
    """The class predicted for the window in the middle of a place, by plain search; strand "." reads both."""
    best: tuple[float, int] | None = None
    found = -1
    for window, nth in windows_by_definition(genome, regions, shifts):
        letters = genome.fetch(window.chrom, window.start, window.end)
        is_inside = window.chrom == place.chrom and place.start <= window.start and window.end <= place.end
        if not is_inside or set(letters) == {"N"} or (strand != "." and regions[nth].strand != strand):
            continue
        distance = abs((window.start + window.end) / 2 - (place.start + place.end) / 2)
        if best is None or (distance, window.start) < best:
            best = (distance, window.start)
            reads = {".": "both", "+": "forward", "-": "reverse"}[strand]
            found = int(model.predict([letters], strand=reads)[0].argmax())
    return found


def read_null(out, name: str) -> dict[str, np.ndarray]:
    with BigWig(out / "null" / f"{name}.bw") as track:
        return {chrom: track.values(chrom, 0, length) for chrom, length in track.chroms.items()}


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("explained", ["logit", "margin"])
def test_where_one_class_is_predicted_the_null_is_that_of_this_target(
    fasta, genome, undecided, tmp_path, label, explained
):
    windows = [Interval("chr1", start, start + WINDOW) for start in range(0, 2900, STRIDE)]
    logits = undecided.predict([genome.fetch(one) for one in windows])
    regions = [one for one, best in zip(windows, logits.argmax(1), strict=True) if LABELS[best] == label]
    settings = {"null_regions": 12, "explained": explained, "weight": "probability"}
    score(fasta, undecided, tmp_path / "predicted", regions, target="predicted", **settings)
    score(fasta, undecided, tmp_path / "named", regions, target=label, **settings)
    one, other = null_files(tmp_path / "predicted"), null_files(tmp_path / "named")
    assert one["null.fa"] == other["null.fa"]
    for suffix in (".bw", ".prediction.bw"):
        assert one[f"predicted{suffix}"] == other[f"{label}{suffix}"]
    of_pieces = undecided.predict([letters for _, _, letters, _ in null_pieces(tmp_path / "named")]).argmax(1)
    assert any(LABELS[best] != label for best in of_pieces)  # else it could not go wrong


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strand": "region", "explained": "margin"},
        {"shifts": 4, "weight": "probability"},
        {"method": "gradient-x-input", "batch_size": 1},
    ],
)
def test_a_piece_explains_the_class_predicted_where_it_was_drawn(fasta, genome, undecided, tmp_path, changes):
    """Each piece's track is that of scoring the null's FASTA for the class of the window in the piece's middle."""
    regions = [dataclasses.replace(one, strand="-" if one.start == 1600 else "+") for one in MIXED]
    score(fasta, undecided, tmp_path / "out", regions, target="predicted", null_regions=25, **changes)
    pieces = null_pieces(tmp_path / "out")
    whole = [Interval(name, 0, len(letters), strand=strand) for name, _, letters, strand in pieces]
    shuffled = tmp_path / "out" / "null" / "null.fa"
    runs = [
        score(shuffled, undecided, tmp_path / label, whole, target=label, null_regions=0, **changes)
        for label in LABELS
    ]
    classes = set()
    for name, place, letters, strand in pieces:
        best = class_by_definition(undecided, genome, regions, place, strand, changes.get("shifts", 1))
        classes.add(best)
        suffix = {".": "", "+": ".plus", "-": ".minus"}[strand]
        for stem in ("", ".prediction"):
            np.testing.assert_allclose(
                read_null(tmp_path / "out", f"predicted{stem}{suffix}")[name],
                runs[best].values(f"{LABELS[best]}{stem}{suffix}", Interval(name, 0, len(letters))),
                atol=1e-6,
                err_msg=f"{place} {LABELS[best]}",
            )
    assert classes == {0, 1, 2}


def test_a_piece_of_one_window_is_an_explanation_of_its_sequence(fasta, genome, undecided, tmp_path):
    regions = [Interval("chr1", start, start + 20) for start in range(100, 2500, 90)]
    score(fasta, undecided, tmp_path, regions, target="predicted", null_regions=15, strand="forward")
    tracks = read_null(tmp_path, "predicted")
    for name, place, letters, _ in null_pieces(tmp_path):
        best = int(gexplain.explain(undecided, [genome.fetch(place)])[0].logits.argmax())
        one = gexplain.explain(undecided, [letters], best)[0]
        np.testing.assert_allclose(tracks[name], one.relevance, atol=1e-5)


def test_the_class_of_a_piece_is_that_of_the_scored_window_in_its_middle(tmp_path):
    chroms = {"chr1": 1000, "chr2": 1000}
    classes = {  # None: of N alone
        ("chr1", 0, "+"): 0,
        ("chr1", 32, "+"): 1,
        ("chr1", 64, "+"): 2,
        ("chr1", 96, "+"): 0,
        ("chr1", 32, "-"): 2,
        ("chr1", 200, "+"): 1,
        ("chr1", 232, "+"): None,
        ("chr1", 264, "+"): 2,
        ("chr1", 400, "+"): None,
        ("chr1", 432, "+"): 1,
        ("chr2", 300, "+"): None,
        ("chr2", 332, "+"): 0,
        ("chr2", 500, "+"): 0,
    }
    with WindowStore(tmp_path / "windows.sqlite", chroms, TILING, {}) as scored:
        for (chrom, start, strand), best in classes.items():
            window = Window(chrom, start, start + WINDOW, strand)
            arrays = () if best is None else (np.eye(3)[best], np.zeros((1, WINDOW)), np.zeros((1, 6)))
            scored.add([WindowResult(window, 0, *arrays)])

        def class_of(chrom, start, end, strand):
            return predicted_classes([Interval(chrom, start, end, strand=strand)], scored)[0]

        assert class_of("chr1", 0, 128, "+") == 1
        assert class_of("chr1", 0, 128, "-") == 2
        assert class_of("chr1", 32, 160, "+") == 2
        assert class_of("chr1", 0, 64, "+") == 0
        assert class_of("chr1", 30, 98, "+") == 1  # wider by shifts
        assert class_of("chr1", 0, 96, "+") == 0  # of two as near, the first
        assert class_of("chr1", 200, 328, "+") == 1  # that in the middle has none
        most_common = 0  # four of ten
        assert class_of("chr1", 400, 464, "+") == most_common  # not that of 432, which reaches out of it
        assert class_of("chr2", 300, 366, "+") == most_common
        pieces = [Interval("chr2", 300, 366, strand="+"), Interval("chr1", 264, 328, strand="+")]
        assert predicted_classes(pieces, scored) == [most_common, 2]


def test_a_null_of_predicted_classes_is_kept(fasta, undecided, tmp_path, reads):
    score(fasta, undecided, tmp_path, MIXED, target="predicted")
    kept = null_files(tmp_path)
    reads.clear()
    score(fasta, undecided, tmp_path, MIXED, target="predicted", q=0.5, force=True)
    assert null_files(tmp_path) == kept
    pieces = [letters for _, _, letters, _ in null_pieces(tmp_path)]
    assert reads
    assert not any(one in letters for one in reads for letters in pieces)


@pytest.mark.parametrize("changed", ["genome", "regions"])
@pytest.mark.parametrize("target", ["predicted", "promoter"])
def test_a_null_is_replaced_where_other_classes_may_be_predicted(
    genome, undecided, tmp_path, monkeypatch, reads, changed, target
):
    """Even if it is of the same letters: its pieces are drawn, and shuffled, to the same here."""
    drawn = [
        (Interval("chr1", start, start + WINDOW), genome.fetch("chr1", start + 7, start + 71)) for start in (64, 512)
    ]
    monkeypatch.setattr("gexplain.scoring.draw_null", lambda *_: drawn)
    letters = genome.fetch("chr1", 0, 2000)
    before = write_fasta(tmp_path / "before.fa", {"chr1": letters})
    regions = [Interval("chr1", start, start + WINDOW) for start in (64, 512)]
    after = before
    if changed == "genome":
        after = write_fasta(tmp_path / "after.fa", {"chr1": letters[::-1]})
    score(before, undecided, tmp_path / "out", regions, target=target)
    kept = null_files(tmp_path / "out")[f"{target}.bw"]
    if changed == "regions":
        regions = [*regions, Interval("chr1", 900, 950)]
    reads.clear()
    score(after, undecided, tmp_path / "out", regions, target=target, force=True)
    n_read = len(reads)
    score(after, undecided, tmp_path / "fresh", regions, target=target)
    assert null_files(tmp_path / "out") == null_files(tmp_path / "fresh")
    assert n_read == len(regions) + (len(drawn) if target == "predicted" else 0)
    # Of the two, only the genome does change what is predicted here.
    assert (null_files(tmp_path / "out")[f"{target}.bw"] != kept) == (changed == "genome" and target == "predicted")


@pytest.mark.parametrize("n_pools", [1, 2, 3])
def test_a_null_of_predicted_classes_goes_on_after_a_kill(fasta, undecided, tmp_path, monkeypatch, reads, n_pools):
    """What a killed process leaves is a copy of its folder: no window of the run or committed pool is read again."""
    monkeypatch.setattr("gexplain.pipeline.MIN_POOL", 4)
    settings = {"target": "predicted", "batch_size": 1, "null_regions": 9}
    score(fasta, undecided, tmp_path / "whole", MIXED, **settings)
    n_all = len(reads)
    reads.clear()
    add = WindowStore.add

    def copying(self, results):
        add(self, results)
        if self.path.name.startswith("null-"):
            self.commit()
            pools.append(len(results))
            if len(pools) == n_pools:
                shutil.copytree(tmp_path / "out", tmp_path / "killed")
                raise KeyboardInterrupt

    pools: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(WindowStore, "add", copying)
        with pytest.raises(KeyboardInterrupt):
            score(fasta, undecided, tmp_path / "out", MIXED, **settings)
    kept = n_kept(tmp_path / "killed")
    assert 0 < sum(pools) < kept < n_all
    reads.clear()
    score(fasta, undecided, tmp_path / "killed", MIXED, **settings)
    assert len(reads) == n_all - kept
    assert null_files(tmp_path / "killed") == null_files(tmp_path / "whole")


def test_an_interrupted_null_of_other_classes_is_read_anew(fasta, undecided, tmp_path, monkeypatch):
    """Near ties may be decided otherwise where windows are read again: no piece may be of two classes."""
    monkeypatch.setattr("gexplain.pipeline.MIN_POOL", 4)
    settings = {"batch_size": 1, "null_regions": 9}
    add = WindowStore.add

    def failing(self, results):
        add(self, results)
        if self.path.name.startswith("null-"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WindowStore, "add", failing)
        with pytest.raises(KeyboardInterrupt):
            score(fasta, undecided, tmp_path / "out", MIXED, target="predicted", **settings)
    with closing(sqlite3.connect(tmp_path / "out" / ".unfinished" / "windows.sqlite")) as held, held:
        logits = np.array([0, 0, 9], "<f8").tobytes()
        for place, relevance, books in held.execute("select place, relevance, books from scored").fetchall():
            check = _check_of(place, logits, relevance, books)
            held.execute("update scored set logits = ?, held = ? where place = ?", (logits, check, place))
    score(fasta, undecided, tmp_path / "out", MIXED, target="predicted", **settings)
    score(fasta, undecided, tmp_path / "named", MIXED, target="enhancer", **settings)
    assert null_files(tmp_path / "out")["predicted.bw"] == null_files(tmp_path / "named")["enhancer.bw"]
