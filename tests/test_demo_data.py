"""The demo's genome is what it claims: truth complete, decoys dead, and made by its script byte for byte."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gexplain.demo import FACTORS, demo_data
from gexplain.genome.fasta import Genome
from gexplain.genome.sequence import reverse_complement

SCRIPT = Path(__file__).parents[1] / "test_data" / "make_demo_data.py"
BACKGROUND = (0.29, 0.21, 0.21, 0.29)
N_EACH = 30


def read_rows(name):
    rows = [line.split("\t") for line in (demo_data() / name).read_text().splitlines()]
    return [(chrom, int(start), int(end), *rest) for chrom, start, end, *rest in rows]


@pytest.fixture(scope="module")
def genome():
    with Genome(demo_data() / "genome.fa") as opened:
        return {chrom: opened.fetch(chrom, 0, length) for chrom, length in opened.chroms.items()}


@pytest.fixture(scope="module")
def motifs():
    """Factor to log-odds in bits, (width, 4), with one pseudo-site."""
    text = (SCRIPT.parent / "demo_motifs.meme").read_text()
    found = {}
    for block in text.split("MOTIF ")[1:]:
        head, _, rest = block.partition("\n")
        n_sites = int(re.search(r"nsites= (\d+)", rest)[1])
        rows = [[float(share) for share in line.split()] for line in re.findall(r"^[\d. ]+$", rest, re.MULTILINE)]
        found[head.split()[1]] = np.array(
            [
                [
                    math.log2((share * n_sites + base) / (n_sites + 1) / base)
                    for share, base in zip(row, BACKGROUND, strict=True)
                ]
                for row in rows
            ]
        )
    return found


def shares(bases, log_odds):
    """(n - width + 1,): the better strand's log-odds at each start, as a share of the motif's best."""
    of_base = {base: i for i, base in enumerate("ACGT")}
    both = []
    for strand in (bases, reverse_complement(bases)):
        codes = np.array([of_base[base] for base in strand])
        words = np.lib.stride_tricks.sliding_window_view(codes, len(log_odds))
        scores = log_odds[np.arange(len(log_odds)), words].sum(1)
        both.append(scores if strand is bases else scores[::-1])
    return np.maximum(*both) / log_odds.max(1).sum()


def test_the_script_makes_the_committed_bytes(tmp_path):
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, SCRIPT, "--out", tmp_path], check=True, env=environment, timeout=300)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["decoys.bed", "genome.fa", "genome.fa.fai", "regions.bed", "truth.bed"]
    assert [name for name in made if (tmp_path / name).read_bytes() != (demo_data() / name).read_bytes()] == []


def test_the_motifs_are_jaspar_s_with_their_licence(motifs):
    text = (SCRIPT.parent / "demo_motifs.meme").read_text()
    assert re.findall(r"^MOTIF (\S+) (\S+)$", text, re.MULTILINE) == [
        ("MA0139.2", "CTCF"),
        ("MA0148.5", "FOXA1"),
        ("MA0062.4", "GABPA"),
        ("MA0138.3", "REST"),
        ("MA0093.4", "USF1"),
    ]
    assert "CC BY 4.0" in text
    assert "jaspar.elixir.no" in text
    assert tuple(motifs) == FACTORS


def test_composition_is_like_that_of_human(genome):
    bases = "".join(genome.values())
    assert len(bases) == 100_000
    assert set(bases) == set("ACGT")
    n_c, n_g = bases.count("C"), bases.count("G")
    assert (n_c + n_g) / len(bases) == pytest.approx(0.41, abs=0.015)
    assert bases.count("CG") * len(bases) / (n_c * n_g) < 0.35
    pieces = [bases[i : i + 2_500] for i in range(0, len(bases), 2_500)]
    gc = [(piece.count("G") + piece.count("C")) / len(piece) for piece in pieces]
    assert max(gc) - min(gc) > 0.15


def test_thirty_sites_and_decoys_a_factor():
    for name, kind in (("truth.bed", "site"), ("decoys.bed", "decoy")):
        names = [row[3] for row in read_rows(name)]
        assert sorted(names) == sorted(f"{factor}_{kind}_{i}" for factor in FACTORS for i in range(1, N_EACH + 1))


def test_sites_spell_their_motif_on_their_strand(genome, motifs):
    for chrom, start, end, name, score, strand in read_rows("truth.bed"):
        log_odds = motifs[name.split("_")[0]]
        bases = genome[chrom][start:end]
        share = shares(bases, log_odds)[0]
        assert share > 0.599, name
        assert int(score) == pytest.approx(1000 * share, abs=1.1)
        own = bases if strand == "+" else reverse_complement(bases)
        score_own = log_odds[range(len(own)), ["ACGT".index(base) for base in own]].sum()
        # USF1's motif is nearly a palindrome: the other strand may score a little better.
        assert score_own / log_odds.max(1).sum() > (0.599 if not name.startswith("USF1") else 0.4), name


def test_both_strands_are_used():
    strands = [row[5] for row in read_rows("truth.bed")]
    assert min(strands.count("+"), strands.count("-")) > 50
    assert {row[5] for row in read_rows("decoys.bed")} == {"."}


def test_decoys_match_their_motif_nowhere_near(genome, motifs):
    for chrom, start, end, name, *_ in read_rows("decoys.bed"):
        log_odds = motifs[name.split("_")[0]]
        width = len(log_odds)
        around = genome[chrom][start - width + 1 : end + width - 1]  # every place that shares a base with the decoy
        assert shares(around, log_odds).max() < 0.402, name


def test_truth_is_complete(genome, motifs):
    planted = {(row[0], row[1], row[3].split("_")[0]) for row in read_rows("truth.bed")}
    matches = {
        (chrom, int(start), factor)
        for factor, log_odds in motifs.items()
        for chrom, bases in genome.items()
        for start in np.flatnonzero(shares(bases, log_odds) > 0.601)
    }
    assert matches <= planted
    assert len(matches) > 0.98 * len(planted)


def test_planted_things_keep_apart_so_that_a_window_holds_one(genome):
    rows = sorted(read_rows("truth.bed") + read_rows("decoys.bed"))
    gaps = [right[1] - left[2] for left, right in pairwise(rows) if left[0] == right[0]]
    assert min(gaps) > 101


def test_every_region_is_a_window_around_one_planted_thing_or_empty():
    planted = {row[3]: row for row in read_rows("truth.bed") + read_rows("decoys.bed")}
    regions = read_rows("regions.bed")
    assert len(regions) == len({row[3] for row in regions}) == 2 * 5 * N_EACH + 350
    offsets = set()
    for chrom, start, end, name, *_ in regions:
        assert end - start == 101
        if name in planted:
            assert (planted[name][0], start < planted[name][1], planted[name][2] < end) == (chrom, True, True)
            offsets.add(planted[name][1] - start)
        else:
            gaps = [max(row[1] - end, start - row[2]) for row in planted.values() if row[0] == chrom]
            assert name.startswith("empty_")
            assert min(gaps) >= 200
    assert len(offsets) > 30  # a site's place in its window tells nothing
