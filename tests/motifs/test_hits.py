"""Hits: from matches and relevance to p, q and primary hits, against plain loops; few on noise, all where planted."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.stats
from tiny_tracks import gaps, noise, random_letters, word_motif

from gexplain.genome.sequence import reverse_complement
from gexplain.motifs import pages
from gexplain.motifs.database import Motif
from gexplain.motifs.hits import HIT, HitFinder, MotifCounts, enrichment, resolve
from gexplain.motifs.pages import Page
from gexplain.motifs.scan import Scanner

MATCH_P = 5e-3
MOTIFS = [
    word_motif("one", "TGACTCAG", sure=0.85),
    word_motif("like-one", "GACTCAGC", sure=0.7),
    word_motif("palindrome", "CACGTG"),
    word_motif("loose", "ANNTTNNA", sure=0.9),
    word_motif("never", "AC"),  # too short for any match of this p
]


def as_pages(track: dict[str, tuple[np.ndarray, str]], n_bases: int = 10_000, reach: int = 0) -> list[Page]:
    """Pages as `read_pages` gives them, without files."""
    made = []
    for chrom, (values, letters) in track.items():
        masked = "".join("N" if math.isnan(value) else letter for value, letter in zip(values, letters, strict=True))
        for start in range(0, len(values), n_bases):
            end = min(start + n_bases, len(values))
            page = Page(chrom, start, values[start : end + reach], masked[start : end + reach], end - start)
            if not np.isnan(page.values[: page.n_own]).all():
                made.append(page)
    return made


def random_track(seed: int, lengths: dict[str, int]) -> dict[str, tuple[np.ndarray, str]]:
    rng = np.random.default_rng(seed)
    return {name: (gaps(rng, noise(rng, n)), random_letters(rng, n)) for name, n in lengths.items()}


def found_rows(finder: HitFinder, track_pages: list[Page], ranks: dict[str, int], q: float = 1.0) -> list[tuple]:
    """(rank, start, end, motif, strand, relevance, relevance_p, p, q) of the hits, in the order they come."""
    with finder.find(track_pages, ranks) as found:
        hits = np.concatenate([np.zeros(0, HIT), *(group for group, _ in found.hits(q))])
        fields = ("rank", "start", "end", "motif", "strand", "relevance", "relevance_p")
        return [(*(hit[field].item() for field in fields), hit["p"], hit["q"]) for hit in hits]


# ---- The oracle: from the matches of a scan, base by base ----


@dataclass
class Slow:
    rows: list[tuple]
    matches: list[int]
    used: list[int]
    inside: list[float]
    outside: list[float]


def slow_matches(motifs, track):
    """(chrom, start, end, motif, strand, p) on the scored bases, and the sum of relevance inside."""
    for chrom, (values, letters) in track.items():
        masked = "".join("N" if math.isnan(value) else letter for value, letter in zip(values, letters, strict=True))
        for one in Scanner(motifs, MATCH_P).scan([masked]):
            total = 0.0
            for position in range(one["start"], one["end"]):
                total += float(values[position])
            yield chrom, int(one["start"]), int(one["end"]), int(one["motif"]), int(one["strand"]), one["p"], total


def slow_span_sums(null, width: int) -> list[float]:
    sums = []
    for values, _ in null.values():
        for start in range(len(values) - width + 1):
            total = 0.0
            for position in range(start, start + width):
                total += float(values[position])
            if not math.isnan(total):
                sums.append(total)
    return sums


def slow_counts(motifs, track, all_matches, used) -> Slow:
    known = {chrom: [not math.isnan(value) for value in values] for chrom, (values, _) in track.items()}
    inside, outside = [], []
    for number in range(len(motifs)):
        covered = {(m[0], at) for m in all_matches if m[3] == number for at in range(m[1], m[2])}
        on, off = [], []
        for chrom, (values, _) in track.items():
            for at, value in enumerate(values.tolist()):
                if known[chrom][at]:
                    (on if (chrom, at) in covered else off).append(value)
        inside.append(sum(on) / len(on) if on else math.nan)
        outside.append(sum(off) / len(off) if off else math.nan)
    return Slow(
        [],
        [len({m[:2] for m in all_matches if m[3] == number}) for number in range(len(motifs))],
        [len({m[:2] for m, _ in used if m[3] == number}) for number in range(len(motifs))],
        inside,
        outside,
    )


def slow_hits(motifs, track, null) -> tuple[Slow, Slow]:
    """The hits and counts of a track, and the counts of its null."""
    sums = {motif.width: sorted(slow_span_sums(null, motif.width)) for motif in motifs}

    def share_of(matches):
        for match in matches:
            spans = sums[match[2] - match[1]]
            yield match, (1 + sum(other >= match[6] for other in spans)) / (1 + len(spans))

    def use(matches):
        return [(match, share) for match, share in share_of(matches) if share <= 0.01]

    def joined(match, share):
        """The product of the two p-values, as its logarithm, in thousandths."""
        return math.floor(-1000 * (math.log10(match[5]) + math.log10(share)))

    def n_bases(of):
        return sum(not math.isnan(value) for values, _ in of.values() for value in values.tolist())

    def points_of_sites(matches, points):
        """Of the primary ones alone, chromosome by chromosome."""
        found = []
        for chrom in {match[0] for match in matches}:
            here = [(match, n) for match, n in zip(matches, points, strict=True) if match[0] == chrom]
            hits = np.zeros(len(here), HIT)
            for hit, ((_, hit["start"], hit["end"], hit["motif"], hit["strand"], hit["match_p"], _), n) in zip(
                hits, here, strict=True
            ):
                hit["points"] = n
            found += [here[i][1] for i, primary in enumerate(slow_resolve(hits, motifs)) if primary == i]
        return found

    real, other = list(slow_matches(motifs, track)), list(slow_matches(motifs, null))
    used, null_used = use(real), use(other)
    have = [joined(*one) for one in used]
    of_null = points_of_sites([match for match, _ in null_used], [joined(*one) for one in null_used])
    sites = points_of_sites([match for match, _ in used], have)
    near = [match for match, share in share_of(real) if 0.01 < share <= 0.1]
    near_points = points_of_sites(near, [math.ceil(-1000 * math.log10(match[5])) for match in near])
    p_values = [(1 + sum(x >= points for x in of_null)) / (1 + n_bases(null)) for points in have]

    def n_false(points: int) -> float:
        """Of what has so many points: the null's in as many bases, and sites that are ignored, by chance."""
        by_chance = (1 + sum(x >= points for x in of_null)) / (1 + n_bases(null)) * n_bases(track)
        return by_chance + sum(min(0.01, 10 ** ((own - points) / 1000)) for own in near_points) / 0.09

    rate = {points: n_false(points) / sum(x >= points for x in sites) for points in sites}
    q_of_site = {points: min(1.0, *(rate[other] for other in sites if other <= points)) for points in sites}
    # A match that is no site has the q of the next worse one that is.
    q_values = [q_of_site[max([x for x in sites if x <= points], default=min(sites))] for points in have]
    slow = slow_counts(motifs, track, real, used)
    slow.rows = [
        (list(track).index(match[0]), *match[1:5], match[6], share, p, q)
        for (match, share), p, q in zip(used, p_values, q_values, strict=True)
    ]
    return slow, slow_counts(motifs, null, other, null_used)


def assert_counts(found: MotifCounts, slow: Slow) -> None:
    assert found.matches.tolist() == slow.matches
    assert found.used.tolist() == slow.used
    np.testing.assert_allclose(found.inside, slow.inside, rtol=1e-6)
    np.testing.assert_allclose(found.outside, slow.outside, rtol=1e-6)


@pytest.fixture(scope="module")
def track():
    return random_track(1, {"b": 1500, "a": 40, "c": 700})


@pytest.fixture(scope="module")
def null():
    return random_track(2, {f"null_{i}": 220 for i in range(8)})


@pytest.fixture(scope="module")
def slow(track, null):
    return slow_hits(MOTIFS, track, null)


RANKS = {"b": 0, "a": 1, "c": 2}


def test_hits_are_those_of_the_definition(track, null, slow):
    finder = HitFinder(MOTIFS, as_pages(null), match_p=MATCH_P)
    found = found_rows(finder, as_pages(track), RANKS)
    called = [row for row in slow[0].rows if row[-1] <= 1]
    assert len(called) > 5
    assert [row[:5] for row in found] == [row[:5] for row in called]
    np.testing.assert_allclose([row[5:] for row in found], [row[5:] for row in called], rtol=1e-12)


def test_the_least_q_is_that_of_the_best_hit(track, null, slow):
    with HitFinder(MOTIFS, as_pages(null), match_p=MATCH_P).find(as_pages(track), RANKS) as found:
        assert found.least_q == pytest.approx(min(row[-1] for row in slow[0].rows), rel=1e-12)
    with HitFinder(MOTIFS, as_pages(null), match_p=1e-30).find(as_pages(track), RANKS) as found:
        assert found.least_q == 1


def test_counts_are_those_of_the_definition(track, null, slow):
    finder = HitFinder(MOTIFS, as_pages(null), match_p=MATCH_P)
    with finder.find(as_pages(track), RANKS) as found:
        assert_counts(found.counts, slow[0])
    assert_counts(finder.null_counts, slow[1])
    assert min(slow[0].matches[:4]) > 0
    assert slow[0].matches[4] == 0


@pytest.mark.parametrize("n_bases", [5, 11, 64, 700])
def test_how_a_track_is_cut_changes_no_hit_and_no_figure(track, null, slow, monkeypatch, n_bases):
    finder = HitFinder(MOTIFS, as_pages(null), match_p=MATCH_P)
    whole = found_rows(finder, as_pages(track), RANKS)
    monkeypatch.setattr(pages, "PAGE_BASES", 150)  # of a batch: several of the small pages, one of the large
    cut = as_pages(track, n_bases, reach=finder.reach)
    assert len(cut) > 3
    assert found_rows(finder, cut, RANKS) == whole
    with finder.find(cut, RANKS) as found:
        assert_counts(found.counts, slow[0])


def test_an_error_among_the_pages_leaves_no_open_file(track, null):
    """Warnings are errors here, and a file that is not closed is one."""

    def failing():
        yield as_pages(track)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        HitFinder(MOTIFS, as_pages(null), match_p=MATCH_P).find(failing(), RANKS)


@pytest.mark.parametrize("match_p", [MATCH_P, 1e-30])
def test_without_a_match_in_the_null_there_is_no_hit_but_its_counts(track, match_p):
    silent = {"null": (np.ones(50, dtype=np.float32), "G" * 50)}
    finder = HitFinder(MOTIFS, as_pages(silent), match_p=match_p)
    assert finder.null_counts.matches.sum() == 0
    with finder.find(as_pages(track), RANKS) as found:
        assert (found.counts.matches.sum() > 0) == (match_p == MATCH_P)
        assert not list(found.hits(0.05))  # so small a null can tell nothing


def test_only_motifs_that_cannot_match_find_nothing(track, null):
    finder = HitFinder([MOTIFS[4]], as_pages(null), match_p=1e-4)
    with finder.find(as_pages(track), RANKS) as found:
        assert found.counts.matches.tolist() == [0]
        assert not list(found.hits(1))


# ---- Overlapping hits ----


def agrees(one, other, motifs: list[Motif]) -> bool:
    """Pearson's correlation of the two motifs' columns on the bases that both hits have, each on its strand."""

    def share(hit, position: int, base: str) -> float:
        if hit["strand"] > 0:
            return motifs[hit["motif"]].probabilities[position - hit["start"]]["ACGT".index(base)]
        complement = reverse_complement(base)
        return motifs[hit["motif"]].probabilities[hit["end"] - 1 - position]["ACGT".index(complement)]

    both = range(max(one["start"], other["start"]), min(one["end"], other["end"]))
    x = [share(one, position, base) - 0.25 for position in both for base in "ACGT"]
    y = [share(other, position, base) - 0.25 for position in both for base in "ACGT"]
    norm = math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))
    return norm > 0 and sum(a * b for a, b in zip(x, y, strict=True)) / norm >= 0.5


def are_on_same_bases(one, other) -> bool:
    shared = min(one["end"], other["end"]) - max(one["start"], other["start"])
    return shared >= 0.5 * min(one["end"] - one["start"], other["end"] - other["start"])


def slow_resolve(hits, motifs) -> list[int]:
    primary = list(range(len(hits)))
    left = sorted(
        range(len(hits)),
        key=lambda i: (
            -hits[i]["points"].item(),
            *(hits[i][field].item() for field in ("match_p", "start", "strand", "motif")),
        ),
    )
    while left:
        best, *left = left
        beaten = [i for i in left if are_on_same_bases(hits[best], hits[i]) and agrees(hits[best], hits[i], motifs)]
        for i in beaten:
            primary[i] = best
        left = [i for i in left if i not in beaten]
    return primary


def random_hits(seed: int) -> tuple[np.ndarray, list[Motif]]:
    """Hits in genome order, no two of one place, motif and strand."""
    rng = np.random.default_rng(seed)
    words = ["TGACTCAG", "GACTCA", "CTGAGTCA", "CACGTG", "ACACGTGTTT", "NNNN"]
    motifs = [word_motif(str(i), word, sure=float(rng.uniform(0.5, 0.97))) for i, word in enumerate(words)]
    hits = np.zeros(25, HIT)
    hits["start"] = np.sort(rng.integers(0, 60, 25))
    hits["motif"] = rng.integers(0, len(motifs), 25)
    hits["end"] = hits["start"] + [motifs[i].width for i in hits["motif"]]
    hits["strand"] = rng.choice([-1, 1], 25)
    hits["points"] = rng.integers(0, 5, 25)
    hits["match_p"] = rng.choice([1e-5, 1e-4], 25)
    distinct = np.unique(hits[["start", "motif", "strand"]], return_index=True)[1]
    return hits[np.sort(distinct)], motifs


@pytest.mark.parametrize("seed", range(25))
def test_primary_hits_are_those_of_the_greedy_loop(seed):
    hits, motifs = random_hits(seed)
    primary = resolve(hits, motifs)
    assert primary.tolist() == slow_resolve(hits, motifs)
    # What the loop is for.
    assert (primary[primary] == primary).all()
    for number, of in enumerate(primary.tolist()):
        assert are_on_same_bases(hits[number], hits[of])
        assert hits["points"][of] >= hits["points"][number]
    kept = hits[primary == np.arange(len(hits))]
    for one, other in itertools.combinations(kept, 2):
        assert not (are_on_same_bases(one, other) and agrees(one, other, motifs))
    assert resolve(kept, motifs).tolist() == list(range(len(kept)))


def test_a_stricter_q_changes_no_primary_hit(track, null):
    """What is left out is worse than all that is kept, and a primary hit is better than its secondary ones."""
    finder = HitFinder(MOTIFS, as_pages(null), match_p=MATCH_P)
    with finder.find(as_pages(track), RANKS) as found:

        def primaries(q: float) -> list[tuple]:
            return [
                (*group[["rank", "start", "motif", "strand"]][i], group["q"][i], *group[["start", "motif"]][of])
                for group, primary in found.hits(q)
                for i, of in enumerate(primary.tolist())
            ]

        q_values = sorted({row[4] for row in primaries(1)})
        q = q_values[(len(q_values) - 1) // 2]
        assert 0 < len(primaries(q)) < len(primaries(1))
        assert primaries(q) == [row for row in primaries(1) if row[4] <= q]


def test_no_group_shares_a_base_with_the_next(track, null):
    finder = HitFinder(MOTIFS, as_pages(null), match_p=MATCH_P)
    with finder.find(as_pages(track), RANKS) as found:
        groups = [group for group, _ in found.hits(1)]
    assert len(groups) > 3
    for one, other in itertools.pairwise(groups):
        assert (one["rank"][0], one["end"].max()) <= (other["rank"][0], other["start"].min())


def test_both_strands_of_a_palindrome_are_one_site():
    hits = np.zeros(2, HIT)
    hits["end"], hits["strand"] = 6, (1, -1)
    assert resolve(hits, [word_motif("E-box", "CACGTG")]).tolist() == [1, 1]  # of equals, the first strand by number


def test_no_hits_are_no_primary_hits():
    assert resolve(np.zeros(0, HIT), MOTIFS).tolist() == []


# ---- The summary ----


def counts(matches: list[int], used: list[int]) -> MotifCounts:
    nothing = np.zeros(len(matches))
    return MotifCounts(np.array(matches), np.array(used), nothing, nothing)


def test_enrichment_is_fishers_exact_test_motif_by_motif():
    rng = np.random.default_rng(4)
    matches, null_matches = rng.integers(1, 80, (2, 40))
    used, null_used = rng.integers(0, matches + 1), rng.integers(0, null_matches + 1)
    ratio, q = enrichment(counts(matches.tolist(), used.tolist()), counts(null_matches.tolist(), null_used.tolist()))
    p = []
    for of, hit, null_of, null_hit in zip(matches, used, null_matches, null_used, strict=True):
        table = [[hit, of - hit], [null_hit, null_of - null_hit]]
        p.append(scipy.stats.fisher_exact(table, alternative="greater").pvalue)
    np.testing.assert_allclose(q, scipy.stats.false_discovery_control(p), rtol=1e-9)
    np.testing.assert_allclose(ratio, ((used + 1) / (matches + 2)) / ((null_used + 1) / (null_matches + 2)))


def test_a_motif_without_a_match_has_no_enrichment_and_counts_for_no_other():
    alone = enrichment(counts([20], [9]), counts([20], [1]))
    among = enrichment(counts([0, 20, 0], [0, 9, 0]), counts([7, 20, 0], [7, 1, 0]))
    assert [among[0][1], among[1][1]] == [alone[0][0], alone[1][0]]
    assert np.isnan([among[0][[0, 2]], among[1][[0, 2]]]).all()


def test_a_motif_that_the_null_has_not_can_be_enriched():
    ratio, q = enrichment(counts([20], [20]), counts([0], [0]))
    assert ratio[0] > 1
    assert q[0] == 1  # nothing to compare with


# ---- Laws: few on noise, all where planted ----

SITE = "TGACTCAGCA"
FACTOR = word_motif("factor", SITE, sure=0.9)
OTHER = word_motif("other", "CCGGAAGTGA", sure=0.9)


def independent(seed: int, n: int) -> list[Page]:
    rng = np.random.default_rng(seed)
    return as_pages({"chr": (noise(rng, n), random_letters(rng, n))})


@pytest.fixture(scope="module")
def noise_hits():
    """Of 24 tracks that know nothing of their sequence: each hit's p, whether any has q <= 0.3, and all tests."""
    p_values, n_called, n_tests = [], 0, 0
    for seed in range(24):
        finder = HitFinder([FACTOR, OTHER], independent(1000 + seed, 60_000), match_p=1e-3)
        rows = found_rows(finder, independent(seed, 15_000), {"chr": 0})
        p_values += [row[7] for row in rows]
        n_called += any(row[8] <= 0.3 for row in rows)
        n_tests += 15_000
    return np.array(p_values), n_called, n_tests


@pytest.mark.parametrize("p", [4e-5, 8e-5, 1.6e-4])
def test_on_noise_p_is_how_often_it_comes(noise_hits, p):
    p_values, _, n_tests = noise_hits
    expected = p * n_tests
    assert abs((p_values <= p).sum() - expected) < 4 * math.sqrt(expected)


def test_on_noise_there_is_seldom_a_hit(noise_hits):
    """At most 0.3 of the tracks may have a hit of q <= 0.3: 7 of 24 and what chance adds."""
    assert 0 < noise_hits[1] <= 7 + 4


def planted(seed: int, n_sites: int, rng_track: np.random.Generator) -> tuple[list[Page], set[int], set[int]]:
    """A genome with sites on both strands, half of them with relevance; where those are, and where the others."""
    rng = np.random.default_rng(seed)
    letters = list(random_letters(rng, 200 * n_sites))
    values = noise(rng_track, len(letters))
    used, unused = set(), set()
    for site in range(n_sites):
        start = 200 * site + int(rng.integers(20, 150))
        letters[start : start + len(SITE)] = SITE if site % 4 < 2 else reverse_complement(SITE)
        if site % 2:
            values[start : start + len(SITE)] += 8
        (used if site % 2 else unused).add(start)
    return as_pages({"chr": (values, "".join(letters))}), used, unused


@pytest.mark.parametrize("seed", range(3))
def test_planted_sites_are_found_where_the_model_uses_them(seed):
    track, used, unused = planted(seed, 60, np.random.default_rng(100 + seed))
    finder = HitFinder([FACTOR, OTHER], independent(200 + seed, 60_000), match_p=1e-3)
    with finder.find(track, {"chr": 0}) as found:
        starts = {int(group["start"][i]) for group, primary in found.hits(0.05) for i in set(primary.tolist())}
    assert len(used) == len(unused) == 30
    assert len(starts & used) >= 28
    # A perfect match is a hit where noise alone puts it among the USED_P highest places: 1.5 of 30 are expected.
    assert len(starts & unused) <= 6
    on_a_site = {start + shift for start in used for shift in range(-len(SITE) + 1, len(SITE))}
    assert len(starts - unused - on_a_site) <= 4  # 1.5 are expected


def test_resolving_has_something_to_resolve():
    assert sum((resolve(*random_hits(seed)) != np.arange(len(random_hits(seed)[0]))).any() for seed in range(25)) > 15
