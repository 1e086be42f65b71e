"""Scanning: matches and p-values against counting all words, against memelite, and against the laws of a scan."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from paths import SHARED, needs_shared

from gexplain.errors import RunError, UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.motifs import scan
from gexplain.motifs.database import Motif, load_motifs
from gexplain.motifs.scan import MATCH, Scanner

MEMES = SHARED / "data" / "motifs"


def random_sequence(seed: int, width: int, letters: str = "ACGT") -> str:
    return "".join(np.random.default_rng(seed).choice(list(letters), width))


def random_motifs(seed: int, widths: list[int], sharpness: float = 0.4) -> list[Motif]:
    rng = np.random.default_rng(seed)
    return [Motif(f"m{i}", "", rng.dirichlet([sharpness] * 4, width)) for i, width in enumerate(widths)]


def rows(matches: np.ndarray) -> list[tuple]:
    return matches.tolist()


def places(matches: np.ndarray) -> list[tuple[int, int, int, int, int]]:
    return matches[["sequence", "motif", "start", "end", "strand"]].tolist()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert places(found) == places(expected)
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-12)
    np.testing.assert_allclose(found["p"], expected["p"], rtol=1e-12)


# ---- The oracle: FIMO from its definition ----


def log_odds(motif: Motif) -> list[dict[str, float]]:
    return [
        {base: math.log2((float(share) + 1e-4) / 0.25) for base, share in zip("ACGT", row, strict=True)}
        for row in motif.probabilities
    ]


def word_score(weights: list[dict[str, float]], word: str) -> float:
    return sum(of_base[letter] for of_base, letter in zip(weights, word, strict=True))


def counted_matches(motif: Motif, sequence: str, p: float) -> list[tuple[int, int, float, float]]:
    """(start, strand, score, p) by way of all 4^W words, each scored in tenths of a bit, rounded base by base."""
    weights = log_odds(motif)
    tenths = [{base: round(10 * weight) for base, weight in of_base.items()} for of_base in weights]
    all_words = [word_score(tenths, word) for word in itertools.product("ACGT", repeat=motif.width)]

    def share_reaching(bin_: int) -> float:
        return sum(score >= bin_ for score in all_words) / len(all_words)

    threshold = next(b for b in range(min(all_words), max(all_words) + 2) if share_reaching(b) < p)
    found = []
    for start in range(len(sequence) - motif.width + 1):
        for strand in (-1, 1):
            word = sequence[start : start + motif.width]
            score = word_score(weights, word if strand == 1 else reverse_complement(word))
            if score > threshold / 10:
                reached = share_reaching(int(score / 0.1)) or share_reaching(max(all_words))
                if reached < p:
                    found.append((start, strand, score, reached))
    return found


@pytest.mark.parametrize(("width", "p"), [(4, 0.01), (4, 0.3), (5, 0.05), (6, 0.002), (6, 0.05), (6, 0.3)])
def test_matches_are_those_of_counting_all_words(width, p):
    motif = random_motifs(width, [width])[0]
    sequence = random_sequence(width, 2000)
    matches = Scanner([motif], p).scan([sequence])
    expected = counted_matches(motif, sequence, p)
    assert [(m["start"], m["strand"]) for m in matches] == [(start, strand) for start, strand, *_ in expected]
    assert len(expected) > 2000 * p / 2
    np.testing.assert_allclose(matches["score"], [score for *_, score, _ in expected], rtol=1e-12)
    np.testing.assert_allclose(matches["p"], [share for *_, share in expected], rtol=1e-9)
    assert (matches["end"] - matches["start"] == width).all()


# .9 scores 18.48 tenths of a bit, counted as 18: six of them are 110, where no word was counted above 108.
ABOVE_ALL_COUNTED = Motif("m", "", np.array([[0.9, 0.04, 0.03, 0.03]] * 6))


def test_the_best_word_has_the_p_value_of_being_the_only_one():
    from memelite import fimo

    one_hot = np.zeros((1, 4, 6), np.int8)
    one_hot[0, 0] = 1
    theirs = fimo({"m": ABOVE_ALL_COUNTED.probabilities.T}, one_hot, threshold=1e-3)[0]
    assert theirs["p-value"].tolist() == [0]
    matches = Scanner([ABOVE_ALL_COUNTED], 1e-3).scan(["AAAAAA"])
    assert places(matches) == [(0, 0, 0, 6, 1)]
    assert matches["p"].tolist() == [pytest.approx(4**-6)]


def test_a_motif_too_short_for_the_threshold_has_no_match():
    # One word in 4096 reaches the top: 2.4e-4.
    assert len(Scanner([ABOVE_ALL_COUNTED], 1e-4).scan(["AAAAAA"])) == 0
    assert len(Scanner([ABOVE_ALL_COUNTED], 2.5e-4).scan(["AAAAAA"])) == 1


def test_words_that_tie_for_the_best_share_its_p_value():
    tied = Motif("m", "", np.array([[0.45, 0.45, 0.05, 0.05]] * 2 + [[1, 0, 0, 0]] * 4))
    assert scan._least_p(tied) == pytest.approx(4 / 4**6)
    assert scan._least_p(ABOVE_ALL_COUNTED) == pytest.approx(4**-6)


# ---- memelite ----


@needs_shared
@pytest.mark.parametrize("group", ["fungi", "vertebrates"])
def test_matches_are_those_of_memelite_on_jaspar(group):
    from memelite import fimo

    path = str(MEMES / f"JASPAR2024_CORE_{group}_latest-version.meme")
    motifs = load_motifs(path).motifs[::4]
    sequences = [random_sequence(seed, 20_000) for seed in range(2)]
    letters = np.array([list(sequence) for sequence in sequences])
    one_hot = (letters[:, None, :] == np.array(list("ACGT"))[None, :, None]).astype(np.int8)
    expected, without_p = {}, set()
    for index, frame in enumerate(fimo({motif.id: motif.probabilities.T for motif in motifs}, one_hot)):
        for row in frame.to_dict("records"):
            key = (row["sequence_name"], index, row["start"], row["end"], 1 if row["strand"] == "+" else -1)
            if row["p-value"] > 0:
                expected[key] = (row["score"], row["p-value"])
            else:
                without_p.add(key)
    matches = Scanner(motifs).scan(sequences)
    found = {tuple(place): (m["score"], m["p"]) for place, m in zip(places(matches), matches, strict=True)}
    assert len(expected) > 100
    assert {key: value for key, value in found.items() if key in expected} == expected
    assert found.keys() - expected.keys() <= without_p


def test_memelite_reads_the_same_file(tmp_path):
    from memelite.io import read_meme, write_meme

    written = {motif.id: motif.probabilities.T for motif in random_motifs(3, [5, 12])}
    path = str(tmp_path / "motifs.meme")
    write_meme(path, written)
    # It writes the shape of a transposed matrix: alength= 4 w= W.
    for motif, theirs in zip(load_motifs(path), read_meme(path).values(), strict=True):
        np.testing.assert_array_equal(motif.probabilities, theirs.T)


# ---- Laws ----


@pytest.fixture(scope="module")
def motifs() -> list[Motif]:
    return random_motifs(1, [7, 8, 12, 19, 5, 1])


@pytest.fixture(scope="module")
def scanner(motifs) -> Scanner:
    return Scanner(motifs, 2e-3)


def test_a_match_is_where_its_letters_are(scanner, motifs):
    sequences = [random_sequence(seed, width, "ACGTACGTACGTN") for seed, width in enumerate([900, 40, 3000])]
    matches = scanner.scan(sequences)
    assert {1, -1} == set(matches["strand"].tolist())
    assert len(matches) > 20
    for m in matches:
        word = sequences[m["sequence"]][m["start"] : m["end"]]
        weights = log_odds(motifs[m["motif"]])
        assert word_score(weights, word if m["strand"] == 1 else reverse_complement(word)) == pytest.approx(
            m["score"]
        )


def test_matches_are_sorted_and_typed(scanner):
    matches = scanner.scan([random_sequence(2, 3000), random_sequence(3, 3000)])
    assert matches.dtype == MATCH
    order = [(m["sequence"], m["start"], m["end"], m["motif"], m["strand"]) for m in matches]
    assert order == sorted(set(order))
    assert {0, 1} == set(matches["sequence"].tolist())


def test_both_strands_of_a_palindrome_match_in_one_place():
    matches = Scanner([Motif("m", "", np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]])]).scan(["CCCACGTACGTCCC"])
    assert places(matches) == [(0, 0, 3, 11, -1), (0, 0, 3, 11, 1)]


def test_the_other_strand_has_mirrored_matches(scanner):
    sequence = random_sequence(4, 5000, "ACGTACGTACGTN")
    forward, backward = scanner.scan([sequence]), scanner.scan([reverse_complement(sequence)])
    mirrored = backward.copy()
    mirrored["start"] = len(sequence) - backward["end"]
    mirrored["end"] = len(sequence) - backward["start"]
    mirrored["strand"] = -backward["strand"]
    assert len(forward) > 20
    assert_same(np.sort(mirrored, order=["start", "end", "motif", "strand"]), forward)


def test_sequences_of_any_length_are_scanned_as_one_by_one(scanner):
    widths = [1, 0, 5, 300, 18, 19, 20, 1000, 2, 0, 700]
    sequences = [random_sequence(seed, width) for seed, width in enumerate(widths)]
    together = scanner.scan(sequences)
    one_by_one = []
    for index, sequence in enumerate(sequences):
        matches = scanner.scan([sequence])
        matches["sequence"] = index
        one_by_one.append(matches)
    assert len(together) > 10
    assert_same(together, np.concatenate(one_by_one))


def test_neighbours_do_not_make_a_match_together():
    scanner = Scanner([Motif("m", "", np.eye(4)[[0, 1, 2, 3, 0, 0, 2, 2]])])
    assert len(scanner.scan(["CACGTAAGGC"])) == 1
    for cut in range(2, 9):
        assert len(scanner.scan(["CACGTAAGGC"[:cut], "CACGTAAGGC"[cut:]])) == 0


@pytest.mark.parametrize("bases", [1, 7, 64, 997])
def test_how_sequences_are_cut_into_calls_changes_no_match(motifs, monkeypatch, bases):
    scanner = Scanner(motifs, 0.05)
    widths = [150, 3, 0, 800, 19, 64] if bases > 1 else [40, 0, 30]
    sequences = [random_sequence(20 + seed, width, "ACGTACGTACGTN") for seed, width in enumerate(widths)]
    whole = scanner.scan(sequences)
    monkeypatch.setattr(scan, "CALL_BASES", bases)
    assert len(list(scan._calls(sequences))) >= len("".join(sequences)) // bases // 2
    assert len(whole) > 5
    assert_same(scanner.scan(sequences), whole)


def test_calls_take_every_base_once_and_are_bounded(monkeypatch):
    monkeypatch.setattr(scan, "CALL_BASES", 100)
    sequences = ["A" * width for width in [250, 0, 30, 30, 30, 30, 100, 1, 99, 7]]
    calls = list(scan._calls(sequences))
    assert all(sum(end - start for _, start, end in pieces) < 200 for pieces in calls)
    taken = [(index, at) for pieces in calls for index, start, end in pieces for at in range(start, end)]
    assert taken == [(index, at) for index, sequence in enumerate(sequences) for at in range(len(sequence))]


@pytest.mark.parametrize("other", ["N", "R", "-", "é", "NNNNNNNN"])
def test_a_match_holds_bases_only(other):
    motif = Motif("m", "", np.eye(4)[[0, 1, 2, 3, 0, 0, 2, 2, 1, 1]])
    scanner = Scanner([motif], 1e-3)
    word = "ACGTAAGGCC"
    assert len(scanner.scan([f"{word}{other}{word}"])) == 2
    for at in range(len(word)):
        assert len(scanner.scan([f"TT{word[:at]}{other}{word[at + 1 :]}TT"])) == 0


def test_matches_beside_gaps_are_where_they_were(scanner):
    first, second = random_sequence(8, 700), random_sequence(9, 900)
    alone = scanner.scan([first, second])
    shift = 3 + len(first) + 5000
    alone["start"] += np.where(alone["sequence"] == 0, 3, shift)
    alone["end"] += np.where(alone["sequence"] == 0, 3, shift)
    alone["sequence"] = 0
    assert len(set((alone["start"] > shift).tolist())) == 2
    assert_same(scanner.scan(["NNN" + first + "N" * 5000 + second + "NN"]), alone)


@pytest.mark.parametrize("sequences", [[], [""], ["N"], ["A"], ["NNNN", "", "NN"], ["ACG", "T"]])
def test_where_nothing_can_match_nothing_does(sequences):
    matches = Scanner(random_motifs(5, [8, 12])).scan(sequences)
    assert matches.dtype == MATCH
    assert rows(matches) == []


def test_a_motif_is_counted_by_its_place_though_others_have_no_match():
    words = ["ACGTTGCA" + "A" * 4, "CCCCCCCCTTTT", "GATTACAGATTA"]
    motifs = [Motif(word, "", np.eye(4)[["ACGT".index(letter) for letter in word]]) for word in words]
    assert places(Scanner(motifs).scan(["TTT" + words[2] + "TT"])) == [(0, 2, 3, 15, 1)]


def test_p_values_are_below_the_threshold_and_not_zero(motifs):
    for p in (1e-3, 1e-2, 1):
        matches = Scanner(motifs, p).scan([random_sequence(6, 4000)])
        assert len(matches) > 0
        assert (matches["p"] < p).all()
        assert (matches["p"] > 0).all()


def test_about_p_of_random_places_match():
    # The p-values of a wide motif are nearly continuous: 2 p L matches are expected on both strands.
    matches = Scanner(random_motifs(7, [14], sharpness=1.0), 1e-2).scan([random_sequence(7, 200_000)])
    assert len(matches) == pytest.approx(2 * 1e-2 * 200_000, rel=0.1)


# ---- What is refused ----


@pytest.mark.parametrize("p", [0, -1e-4, 1.5, math.nan, math.inf])
def test_a_threshold_is_a_probability(p):
    with pytest.raises(UsageError, match="expected 0 < p <= 1"):
        Scanner(random_motifs(1, [5]), p)


def test_no_motifs_are_a_broken_promise():
    with pytest.raises(ValueError, match="at least one motif"):
        Scanner([])


def test_lower_case_is_a_broken_promise():
    with pytest.raises(ValueError, match="lower-case letters in the sequences 0 to 1"):
        Scanner(random_motifs(1, [5])).scan(["ACGTACGT", "ACGTacgt"])


def test_a_machine_without_a_folder_for_compiled_code_is_told_which_to_set(monkeypatch):
    import builtins

    real = builtins.__import__

    def refuse(name: str, *arguments: object, **options: object) -> object:
        if name == "memelite":
            raise RuntimeError("cannot cache function 'logaddexp2': no locator available for file 'fimo.py'")
        return real(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(RunError, match="no folder for its compiled code") as caught:
        Scanner(random_motifs(1, [5]))
    assert "NUMBA_CACHE_DIR" in caught.value.hint
