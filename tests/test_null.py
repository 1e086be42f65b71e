"""The null: pieces drawn and shuffled, read as the run itself, kept, found again and gone on with."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from tiny_tracks import random_letters, write_fasta

import gexplain
from gexplain import null
from gexplain.attribution.explainers import TokenExplainer
from gexplain.errors import RunError
from gexplain.genome.bed import Region
from gexplain.genome.bigwig import BigWig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.null import PIECE_WINDOWS, default_null_regions, draw_null
from gexplain.plan import plan_regions
from gexplain.windows import Tiling

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
    read = TokenExplainer.read

    def noting(self, sequences: Sequence[str], *rest):
        seen.extend(sequences)
        return read(self, sequences, *rest)

    monkeypatch.setattr(TokenExplainer, "read", noting)
    return seen


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
    assert 0 < len(reads) < n_all
    score(fasta, cnn, tmp_path / "out", **settings)
    assert len(reads) == n_all  # nothing was read twice
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
