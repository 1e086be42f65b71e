"""Pages: every scored base once, with its letter, however a track is cut; and files that do not fit are told."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_tracks import gaps, noise, random_letters, write_bigwig, write_fasta

from gexplain.errors import InputError
from gexplain.genome.bigwig import BigWig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.motifs import pages
from gexplain.motifs.pages import Inside, batches, read_null_pages, read_page, read_pages

NAN = float("nan")


@pytest.fixture(scope="module")
def letters():
    rng = np.random.default_rng(1)
    return {"b": random_letters(rng, 500), "empty": random_letters(rng, 60), "a": "ACGTNRYacgt" * 10}


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(2)
    gapped = gaps(rng, noise(rng, 500))
    gapped[100:300] = np.nan  # whole pages without a value
    return {"b": gapped, "a": gaps(rng, noise(rng, 110))}


@pytest.fixture(scope="module")
def genome(tmp_path_factory, letters):
    with Genome(write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", letters)) as opened:
        yield opened


@pytest.fixture(scope="module")
def track(tmp_path_factory, letters, values):
    lengths = {name: len(text) for name, text in letters.items()}
    return write_bigwig(tmp_path_factory.mktemp("track") / "t.bw", lengths, values)


def masked(letters: str, values: np.ndarray) -> str:
    return "".join("N" if value != value else letter for letter, value in zip(letters.upper(), values, strict=True))


@pytest.mark.parametrize("page_bases", [1, 7, 64, 500, 1 << 20])
@pytest.mark.parametrize("reach", [0, 5, 100])
def test_pages_hold_every_scored_base_once_and_what_follows(
    track, genome, letters, values, monkeypatch, page_bases, reach
):
    monkeypatch.setattr(pages, "PAGE_BASES", page_bases)
    seen = {chrom: np.zeros(len(of_chrom), dtype=int) for chrom, of_chrom in values.items()}
    order = []
    for page in read_pages(track, genome, reach=reach):
        end = min(page.start + page.n_own + reach, len(letters[page.chrom]))
        assert 1 <= page.n_own <= page_bases
        assert len(page.values) == len(page.sequence) == end - page.start
        expected = values[page.chrom][page.start : end]
        np.testing.assert_array_equal(page.values, expected)
        assert page.sequence == masked(letters[page.chrom][page.start : end], expected)
        seen[page.chrom][page.start : page.start + page.n_own] += 1
        order.append((list(letters).index(page.chrom), page.start))
    assert order == sorted(order)
    for chrom, of_chrom in values.items():
        assert (seen[chrom][~np.isnan(of_chrom)] == 1).all()
        assert seen[chrom].max() == 1


def test_a_page_without_a_value_is_none(track, genome, monkeypatch):
    monkeypatch.setattr(pages, "PAGE_BASES", 100)
    assert [(page.chrom, page.start) for page in read_pages(track, genome)] == [
        *(("b", start) for start in (0, 300, 400)),
        *(("a", start) for start in (0, 100)),
    ]


def test_a_null_is_not_cut(track, genome, values, monkeypatch):
    monkeypatch.setattr(pages, "PAGE_BASES", 7)
    assert [(page.chrom, page.n_own) for page in read_null_pages(track, genome)] == [("b", 500), ("a", 110)]


def test_small_chromosomes_are_taken_together(monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "PAGE_BASES", 100)
    rng = np.random.default_rng(3)
    lengths = {f"scaffold_{i}": int(rng.integers(1, 40)) for i in range(200)}
    fasta = write_fasta(tmp_path / "g.fa", {name: random_letters(rng, n) for name, n in lengths.items()})
    path = write_bigwig(tmp_path / "t.bw", lengths, {name: noise(rng, n) for name, n in lengths.items()})
    with Genome(fasta) as genome:
        lists = list(batches(read_pages(path, genome)))
    assert [page.chrom for one in lists for page in one] == list(lengths)
    held = [sum(len(page.values) for page in one) for one in lists]
    assert all(100 <= n < 140 for n in held[:-1])


def test_no_pages_are_no_batches():
    assert list(batches([])) == []


def test_a_page_of_nothing_scored_needs_no_sequence(track, genome):
    with BigWig(track) as opened:
        page = read_page(opened, genome, ("empty", 0, 60))
    assert page.sequence == "N" * 60
    assert np.isnan(page.values).all()


# ---- Files that do not fit ----


def fasta_of(tmp_path, lengths):
    rng = np.random.default_rng(4)
    return Genome(write_fasta(tmp_path / "g.fa", {name: random_letters(rng, n) for name, n in lengths.items()}))


def test_a_chromosome_of_the_header_alone_need_not_be_in_the_fasta(tmp_path):
    path = write_bigwig(tmp_path / "t.bw", {"x": 30, "a": 50}, {"a": np.ones(50)})
    with fasta_of(tmp_path, {"a": 50, "b": 20}) as genome:
        assert [page.chrom for page in read_pages(path, genome)] == ["a"]


def test_values_on_a_chromosome_that_the_fasta_lacks_are_told(tmp_path):
    path = write_bigwig(tmp_path / "t.bw", {"x": 30, "a": 50}, {"x": np.array([NAN, 1.0]), "a": np.ones(50)})
    with (
        fasta_of(tmp_path, {"a": 50, "chrX": 30}) as genome,
        pytest.raises(InputError, match=r"t\.bw has values on chromosomes that .*g\.fa lacks: x\n.* has a, chrX\n"),
    ):
        list(read_pages(path, genome))


def test_a_chromosome_of_another_length_is_another_assembly(tmp_path):
    path = write_bigwig(tmp_path / "t.bw", {"a": 50}, {"a": np.ones(50)})
    with (
        fasta_of(tmp_path, {"a": 51}) as genome,
        pytest.raises(InputError, match=r"different assemblies: a has 50 bases in the track and 51 in the FASTA"),
    ):
        list(read_pages(path, genome))


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_infinite_value_is_told_with_its_place(tmp_path, bad):
    values = np.ones(50, dtype=np.float32)
    values[7] = bad  # our writer refuses it, other tools do not

    class Infinite(BigWig):
        def values(self, chrom, start, end):
            return values[start:end]

    path = write_bigwig(tmp_path / "t.bw", {"a": 50}, {"a": np.ones(50)})
    with (
        fasta_of(tmp_path, {"a": 50}) as genome,
        Infinite(path) as track,
        pytest.raises(InputError, match=r"t\.bw has an infinite value at a:8"),
    ):
        read_page(track, genome, ("a", 5, 50))


@pytest.mark.parametrize("seed", range(6))
def test_a_base_is_inside_where_any_region_has_it(seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 60, size=(7, 2)).tolist()
    regions = [Interval("ab"[one % 2], low, low + 1 + high % 9) for one, (low, high) in enumerate(starts)]
    inside = Inside.of(regions)
    for chrom in "abc":
        for start, end in ((0, 70), (13, 14), (30, 51), (69, 70)):
            assert inside.mask(chrom, start, end).tolist() == [
                any(one.chrom == chrom and one.start <= base < one.end for one in regions)
                for base in range(start, end)
            ]


@pytest.mark.parametrize("page_bases", [7, 64, 1 << 20])
@pytest.mark.parametrize("reach", [0, 5])
def test_bases_outside_are_as_if_not_scored(track, genome, letters, values, tmp_path, monkeypatch, page_bases, reach):
    regions = [Interval("a", 30, 50), Interval("b", 20, 90), Interval("b", 60, 99), Interval("b", 300, 310)]
    monkeypatch.setattr(pages, "PAGE_BASES", page_bases)
    cut = {chrom: np.full(len(of_chrom), np.nan, np.float32) for chrom, of_chrom in values.items()}
    for one in regions:
        cut[one.chrom][one.start : one.end] = values[one.chrom][one.start : one.end]
    other = write_bigwig(tmp_path / "cut.bw", {name: len(text) for name, text in letters.items()}, cut)
    found, expected = (
        [(page.chrom, page.start, page.values.tolist(), page.sequence, page.n_own) for page in some]
        for some in (
            read_pages(track, genome, reach=reach, inside=Inside.of(regions)),
            read_pages(other, genome, reach=reach),
        )
    )
    assert repr(found) == repr(expected)  # NaN is not NaN


def test_a_null_without_values_is_told(tmp_path):
    path = write_bigwig(tmp_path / "null.bw", {"a": 50}, {})
    with (
        fasta_of(tmp_path, {"a": 50}) as genome,
        pytest.raises(InputError, match=r"null\.bw has no values.*\n.*fix: give the track of shuffled sequence"),
    ):
        read_null_pages(path, genome)
