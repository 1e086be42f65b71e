"""Curves: a slow walk along each order finds the same values, and a linear model knows which order is best."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from tiny import tiny_checkpoint

from gexplain.errors import RunError, UsageError
from gexplain.evaluation.curves import FRACTIONS, Claim, Curves, CurveSettings, nucleotide_curves, token_curves
from gexplain.models.model import load_model
from gexplain.tokens import Tokens

CLS, SEP, MASK = 1, 2, 4
ONE = np.ones(1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_dna(rng, width, letters="ACGT"):
    return "".join(rng.choice(list(letters), width))


def random_tokens(rng, n_spelling):
    ends = np.cumsum(rng.integers(1, 6, n_spelling))
    starts = np.append(0, ends[:-1])
    spans = np.vstack([[0, 0], np.stack([starts, ends], axis=1), [0, 0]])
    return Tokens(np.array([CLS, *rng.integers(5, 4000, n_spelling), SEP]), spans)


def chaos(read, n_targets):
    """Logits that anything in the input changes, and that nothing but the input decides."""
    text = read if isinstance(read, str) else ",".join(map(str, read.ids.tolist()))
    return [int.from_bytes(hashlib.md5(f"{text} {i}".encode()).digest()[:4]) / 2**32 for i in range(n_targets)]


class Model:
    """Asked for logits, it remembers the questions."""

    def __init__(self, logits=chaos, n_targets=3):
        self.logits = logits
        self.n_targets = n_targets
        self.questions = []

    def __call__(self, reads):
        self.questions.append(list(reads))
        return np.array([self.logits(read, self.n_targets) for read in reads])

    @property
    def rows(self):
        return [read for question in self.questions for read in question]


def area(fractions, values):
    return sum((fractions[i + 1] - fractions[i]) * (values[i] + values[i + 1]) / 2 for i in range(len(fractions) - 1))


def delta(curves):
    return area(curves.fractions, curves.lerf) - area(curves.fractions, curves.morf)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("fractions", "morf", "lerf"))


def differ(one, other):
    return not np.array_equal(one.morf, other.morf)


# ---- the definitions, walked slowly ----


def slow_value(logits, direction):
    return sum(d * logit for d, logit in zip(direction, logits, strict=True))


def slow_count(fraction: float, n: int) -> int:
    """How many of n positions a share is: one at least, and not all, unless the share is none or all."""
    if fraction in (0, 1) or n == 1:
        return round(fraction * n)
    return min(max(round(fraction * n), 1), n - 1)


def slow_token_curve(tokens, relevance, direction, *, most_first):
    order = sorted(range(len(relevance)), key=lambda i: relevance[i], reverse=most_first)
    spelling = [i for i, (start, end) in enumerate(tokens.spans) if end > start]
    values = []
    for fraction in FRACTIONS:
        ids = tokens.ids.tolist()
        for nth in order[: slow_count(fraction, len(relevance))]:
            ids[spelling[nth]] = MASK
        logits = chaos(Tokens(np.array(ids), tokens.spans), len(direction))
        values.append(slow_value(logits, direction))
    return values


def slow_nucleotide_curve(sequence, donors, relevance, direction, *, most_first):
    order = sorted(range(len(relevance)), key=lambda i: relevance[i], reverse=most_first)
    values = []
    for fraction in FRACTIONS:
        total = 0.0
        for donor in donors:
            letters = list(sequence)
            for position in order[: slow_count(fraction, len(sequence))]:
                letters[position] = donor[position]
            total += slow_value(chaos("".join(letters), len(direction)), direction)
        values.append(total / len(donors))
    return values


def donors_of(sequence, **settings):
    """What stands where all is replaced: one sequence a draw, fewer where two draws are the same."""
    model = Model()
    claim = Claim(sequence, np.arange(float(len(sequence))), np.ones(3))
    nucleotide_curves([claim], model, CurveSettings(fractions=(0, 1), **settings))
    assert model.rows[0] == sequence
    return model.rows[1:]


@pytest.mark.parametrize("n_spelling", [1, 2, 7, 30, 64])
def test_token_curves_are_those_of_a_slow_walk(rng, n_spelling):
    tokens, direction = random_tokens(rng, n_spelling), rng.normal(size=3)
    claims = [Claim(tokens, rng.normal(size=n_spelling), direction) for _ in range(3)]
    for claim, curves in zip(claims, token_curves(claims, Model(), MASK), strict=True):
        assert curves.fractions.tolist() == list(FRACTIONS)
        for most_first, values in ((True, curves.morf), (False, curves.lerf)):
            slow = slow_token_curve(tokens, claim.relevance, direction, most_first=most_first)
            np.testing.assert_allclose(values, slow, rtol=0, atol=1e-12)


@pytest.mark.parametrize("donor", ["random", "shuffled"])
@pytest.mark.parametrize("width", [20, 101, 250])
def test_nucleotide_curves_are_those_of_a_slow_walk(rng, width, donor):
    sequence, direction = random_dna(rng, width), rng.normal(size=3)
    donors = donors_of(sequence, donor=donor)
    assert len(donors) == 5
    claims = [Claim(sequence, rng.normal(1, spread, size=width), direction) for spread in (10, 1e-4, 1e-12)]
    found = nucleotide_curves(claims, Model(), CurveSettings(donor=donor))
    for claim, curves in zip(claims, found, strict=True):
        for most_first, values in ((True, curves.morf), (False, curves.lerf)):
            slow = slow_nucleotide_curve(sequence, donors, claim.relevance, direction, most_first=most_first)
            np.testing.assert_allclose(values, slow, rtol=0, atol=1e-12)


def test_each_claim_has_its_own_direction(rng):
    sequence, relevance = random_dna(rng, 30), rng.normal(size=30)
    first, second, both = nucleotide_curves(
        [Claim(sequence, relevance, np.array(direction)) for direction in ([1.0, 0], [0, 1.0], [2.0, -1.0])],
        Model(n_targets=2),
    )
    assert [first.morf[0], second.morf[0]] == pytest.approx(chaos(sequence, 2))
    np.testing.assert_allclose(both.morf, 2 * first.morf - second.morf, atol=1e-12)
    np.testing.assert_allclose(both.lerf, 2 * first.lerf - second.lerf, atol=1e-12)


def test_only_spelling_tokens_are_masked_and_all_in_the_end(rng):
    tokens, model = random_tokens(rng, 12), Model()
    token_curves([Claim(tokens, rng.normal(size=12), np.ones(3))], model, MASK)
    rows = np.array([row.ids for row in model.rows])
    assert (rows[:, 0] == CLS).all()
    assert (rows[:, -1] == SEP).all()
    assert ((rows == tokens.ids) | (rows == MASK)).all()
    assert sorted(set((rows == MASK).sum(1).tolist())) == sorted({slow_count(fraction, 12) for fraction in FRACTIONS})
    assert all(np.array_equal(row.spans, tokens.spans) for row in model.rows)


# ---- donors ----


def test_random_donors_are_the_three_other_bases_equally_often(rng):
    sequence = random_dna(rng, 3000)
    donors = donors_of(sequence, n_draws=10)
    for base in "ACGT":
        places = [i for i, letter in enumerate(sequence) if letter == base]
        counts = Counter(donor[i] for donor in donors for i in places)
        assert set(counts) == set("ACGT") - {base}
        n = sum(counts.values())
        for count in counts.values():
            assert abs(count - n / 3) < 4 * math.sqrt(n * 1 / 3 * 2 / 3)


def test_draws_are_independent(rng):
    first, second = donors_of(random_dna(rng, 3000), n_draws=2)
    equal = sum(a == b for a, b in zip(first, second, strict=True))
    assert abs(equal - 1000) < 4 * math.sqrt(3000 * 1 / 3 * 2 / 3)


def test_shuffled_donors_keep_dinucleotides_and_differ(rng):
    sequence = random_dna(rng, 200)
    donors = donors_of(sequence, donor="shuffled")
    for donor in donors:
        assert Counter(pairwise(donor)) == Counter(pairwise(sequence))
    assert len({sequence, *donors}) == 6


@pytest.mark.parametrize("donor", ["random", "shuffled"])
def test_what_is_no_base_stays_and_nothing_becomes_so(rng, donor):
    sequence = "NN" + random_dna(rng, 40) + "NRN" + random_dna(rng, 2) + "N" + random_dna(rng, 40)
    is_base = [letter in "ACGT" for letter in sequence]
    donors = donors_of(sequence, donor=donor)
    assert donors
    for other in donors:
        assert other != sequence
        assert [letter in "ACGT" for letter in other] == is_base
        assert all(a == b for a, b, base in zip(sequence, other, is_base, strict=True) if not base)


def test_n_alone_is_asked_once(rng):
    for donor in ("random", "shuffled"):
        model = Model()
        claim = Claim("N" * 20, rng.normal(size=20), np.ones(3))
        (curves,) = nucleotide_curves([claim], model, CurveSettings(donor=donor))
        assert model.rows == ["N" * 20]
        assert np.ptp([curves.morf, curves.lerf]) < 1e-12


# ---- ties ----


def test_a_flat_relevance_is_a_random_order_and_its_reverse():
    """Of 2000 sequences, the first taken is each of 4 positions equally often, and the last given back."""
    firsts = Counter()
    rng = np.random.default_rng(1)
    for _ in range(2000):
        tokens, model = random_tokens(rng, 4), Model()
        token_curves([Claim(tokens, np.zeros(4), np.ones(3))], model, MASK, CurveSettings(fractions=(0, 0.25)))
        taken = [int(np.flatnonzero(row.ids == MASK)[0]) for row in model.rows[1:]]
        assert len(set(taken)) == 2  # the first of the order, and the last of it
        firsts[taken[0]] += 1
    assert set(firsts) == {1, 2, 3, 4}
    assert all(abs(count - 500) < 4 * math.sqrt(2000 * 0.25 * 0.75) for count in firsts.values())


def test_of_equal_values_none_comes_before_a_higher_one(rng):
    sequence, relevance = random_dna(rng, 100), np.repeat([3.0, -0.0, 0.0, -2], 25)
    model = Model()
    settings = CurveSettings(fractions=(0, 0.1, 0.25, 0.6, 0.75, 1), n_draws=1)
    nucleotide_curves([Claim(sequence, relevance, np.ones(3))], model, settings)
    (donor,) = donors_of(sequence, n_draws=1)
    taken = [[i for i in range(100) if row[i] != sequence[i]] for row in model.rows]
    assert sorted(map(len, taken)) == [0, 10, 10, 25, 25, 60, 60, 75, 75, 100]
    for places in taken[1:]:
        kept = set(range(100)) - set(places)
        values = relevance[places]
        others = relevance[sorted(kept)]
        assert not kept or values.min() >= others.max() or values.max() <= others.min()
    assert all(row[i] in (sequence[i], donor[i]) for row in model.rows for i in range(100))
    among_equals = next(places for places in taken if len(places) == 60)
    assert set(range(25)) < set(among_equals)
    assert len(set(among_equals) & set(range(25, 50))) not in (0, 25, 35)  # -0 and 0 are one value


# ---- a model that is a sum knows the right order ----


def linear_token_case(rng, n_spelling):
    """A sum over tokens of a weight each, which is lost where the token is masked."""
    ids = rng.choice(np.arange(5, 1000), n_spelling, replace=False)
    borders = np.arange(n_spelling)
    spans = np.vstack([[0, 0], np.stack([borders, borders + 1], axis=1), [0, 0]])
    weight = dict(zip(ids.tolist(), rng.normal(size=n_spelling).tolist(), strict=True))
    tokens = Tokens(np.array([CLS, *ids, SEP]), spans)

    def logits(read, n_targets):
        return [sum(weight.get(i, 0.0) for i in read.ids.tolist())]

    return tokens, np.array(list(weight.values())), Model(logits, n_targets=1)


def linear_nucleotide_case(rng, width):
    """A sum over positions of a weight for the base; what a position loses, in the mean over the donors."""
    sequence = random_dna(rng, width)
    weights = rng.normal(size=(width, 4))

    def logits(read, n_targets):
        return [sum(weights[i, "ACGT".index(base)] for i, base in enumerate(read))]

    donors = donors_of(sequence)
    (whole,) = logits(sequence, 1)
    loss = [
        sum(whole - logits(sequence[:i] + donor[i] + sequence[i + 1 :], 1)[0] for donor in donors) / len(donors)
        for i in range(width)
    ]
    return sequence, np.array(loss), Model(logits, n_targets=1)


def all_orders(level, rng, n):
    """The delta of the true effects, of their negative, and of every permutation of n ranks."""
    case = linear_token_case if level == "token" else linear_nucleotide_case
    read, effect, model = case(rng, n)
    claims = [
        Claim(read, np.array(relevance, dtype=float), ONE) for relevance in (effect, -effect, *permutations(range(n)))
    ]
    curves = token_curves(claims, model, MASK) if level == "token" else nucleotide_curves(claims, model)
    perfect, worst, *deltas = map(delta, curves)
    return perfect, worst, np.array(deltas)


@pytest.mark.parametrize("level", ["token", "nucleotide"])
@pytest.mark.parametrize("n", [4, 6])
def test_the_true_effects_have_the_largest_delta_of_all_orders(rng, level, n):
    perfect, worst, deltas = all_orders(level, rng, n)
    assert len(deltas) == math.factorial(n)
    assert perfect == pytest.approx(deltas.max(), abs=1e-12)
    assert perfect > np.sort(deltas)[-len(deltas) // 10] > 0
    assert worst == pytest.approx(-perfect, abs=1e-12)
    assert worst == pytest.approx(deltas.min(), abs=1e-12)


@pytest.mark.parametrize("level", ["token", "nucleotide"])
def test_the_mean_delta_of_all_orders_is_zero(rng, level):
    _, _, deltas = all_orders(level, rng, 6)
    assert deltas.mean() == pytest.approx(0, abs=1e-12)
    assert deltas.std() > 0.01


@pytest.mark.parametrize("flat", [True, False])
def test_the_delta_of_a_random_order_is_zero_within_four_standard_errors(rng, flat):
    """Weights that fall along the sequence: an order by position would be seen at once."""
    width = 40
    weights = np.linspace(1, -1, width)

    def logits(read, n_targets):
        return [sum(weight for weight, base in zip(weights, read, strict=True) if base in "AC")]

    sequences = [random_dna(rng, width, "AC") for _ in range(300)]
    relevance = [np.ones(width) if flat else rng.normal(size=width) for _ in sequences]
    claims = [Claim(*one, ONE) for one in zip(sequences, relevance, strict=True)]
    settings = CurveSettings(n_draws=1)
    deltas = np.array([delta(curves) for curves in nucleotide_curves(claims, Model(logits, 1), settings)])
    error = deltas.std(ddof=1) / math.sqrt(len(deltas))
    assert error > 0
    assert abs(deltas.mean()) < 4 * error
    by_position = [Claim(sequence, weights, ONE) for sequence in sequences]
    seen = np.mean([delta(curves) for curves in nucleotide_curves(by_position, Model(logits, 1), settings)])
    assert seen > 20 * error


# ---- what must not matter ----


def mixed_claims(rng):
    sequences = [random_dna(rng, width) for width in (3, 30, 30, 101, 12)]
    return [Claim(sequence, rng.normal(size=len(sequence)).round(1), np.ones(3)) for sequence in sequences * 3]


def mixed_token_claims(rng):
    rows = [random_tokens(rng, n) for n in (1, 7, 7, 30, 12)]
    return [Claim(row, rng.normal(size=len(row.ids) - 2).round(1), np.ones(3)) for row in rows * 3]


def walk(claims, model, **settings):
    made = CurveSettings(**settings)
    if isinstance(claims[0].sequence, str):
        return nucleotide_curves(claims, model, made)
    return token_curves(claims, model, MASK, made)


LEVELS = pytest.mark.parametrize("make", [mixed_claims, mixed_token_claims], ids=["nucleotide", "token"])


@LEVELS
@pytest.mark.parametrize("donor", ["random", "shuffled"])
def test_order_and_company_of_claims_change_no_value(rng, make, donor):
    claims = make(rng)
    together = walk(claims, Model(), donor=donor)
    order = rng.permutation(len(claims))
    shuffled = walk([claims[i] for i in order], Model(), donor=donor)
    assert all(same(together[i], one) for i, one in zip(order, shuffled, strict=True))
    alone = [walk([claim], Model(), donor=donor)[0] for claim in claims]
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))


@LEVELS
@pytest.mark.parametrize("max_rows", [1, 7, 64, 300])
def test_the_size_of_a_question_is_bounded_and_changes_no_value(rng, make, max_rows):
    claims, model = make(rng), Model()
    assert all(
        same(one, other)
        for one, other in zip(walk(claims, Model()), walk(claims, model, max_rows=max_rows), strict=True)
    )
    assert max(map(len, model.questions)) <= max_rows


def test_questions_are_filled_with_the_rows_of_many_sequences(rng):
    claims = [Claim(random_dna(rng, 30), rng.normal(size=30), np.ones(3)) for _ in range(40)]
    model = Model()
    nucleotide_curves(claims * 5, model, CurveSettings(max_rows=1000))
    full = [len(question) for question in model.questions[:-1]]
    assert full
    assert min(full) > 800


def test_a_sequence_is_done_with_in_one_question_that_holds_its_rows(rng):
    """So that few rows are held at once, however many claims there are."""
    claims = [Claim(base * 30, rng.normal(size=30), np.ones(3)) for base in "ACGT"]
    model = Model()
    nucleotide_curves(claims, model, CurveSettings(max_rows=200, fractions=(0, 0.1, 0.2, 0.3, 0.4)))
    originals = [[Counter(row).most_common(1)[0][0] for row in question] for question in model.questions]
    assert [set(found) for found in originals] == [{"A", "C", "G", "T"}]
    model = Model()
    nucleotide_curves(claims, model, CurveSettings(max_rows=60, fractions=(0, 0.1, 0.2, 0.3, 0.4)))
    originals = [[Counter(row).most_common(1)[0][0] for row in question] for question in model.questions]
    assert [set(found) for found in originals] == [{"A"}, {"C"}, {"G"}, {"T"}]


@LEVELS
def test_no_row_of_a_sequence_is_asked_twice(rng, make):
    claims, model = make(rng), Model()
    walk(claims, model, max_rows=100_000)
    rows = [row if isinstance(row, str) else row.ids.tobytes() for row in model.rows]
    assert len(rows) == len(set(rows))


def test_fractions_of_one_count_are_one_question_with_one_value(rng):
    model = Model()
    (curves,) = token_curves([Claim(random_tokens(rng, 3), rng.normal(size=3), np.ones(3))], model, MASK)
    assert len(model.rows) == 6  # 0; 1 and 2 of MoRF, 1 and 2 of LeRF; 3
    counts = [slow_count(fraction, 3) for fraction in FRACTIONS]
    for values in (curves.morf, curves.lerf):
        assert len({*zip(counts, values.tolist(), strict=True)}) == len(set(counts)) == 4


@LEVELS
def test_all_curves_of_a_sequence_start_and_end_alike(rng, make):
    claims = make(rng)
    curves = walk(claims, Model())
    for claim, one, other in zip(claims[:5], curves[:5], curves[5:10], strict=True):
        assert one.morf[0] == one.lerf[0] == other.morf[0] == other.lerf[0]
        assert one.morf[0] == pytest.approx(sum(chaos(claim.sequence, 3)))
        assert one.morf[-1] == one.lerf[-1] == other.morf[-1] == other.lerf[-1]
    assert differ(curves[3], curves[8])


@LEVELS
def test_of_the_opposite_relevance_the_curves_change_places(rng, make):
    claims = [Claim(claim.sequence, rng.normal(size=len(claim.relevance)), claim.direction) for claim in make(rng)]
    opposite = [Claim(claim.sequence, -claim.relevance, claim.direction) for claim in claims]
    for one, other in zip(walk(claims, Model()), walk(opposite, Model()), strict=True):
        assert np.array_equal(one.morf, other.lerf)
        assert np.array_equal(one.lerf, other.morf)


@LEVELS
def test_the_seed_alone_decides(rng, make):
    claims = [Claim(claim.sequence, np.zeros_like(claim.relevance), claim.direction) for claim in make(rng)]
    first, again, other = (walk(claims, Model(), seed=seed)[3] for seed in (7, 7, 8))
    assert same(first, again)
    assert differ(first, other)


@pytest.mark.parametrize("donor", ["random", "shuffled"])
def test_another_seed_draws_other_donors(rng, donor):
    sequence = random_dna(rng, 50)
    assert not set(donors_of(sequence, donor=donor, seed=0)) & set(donors_of(sequence, donor=donor, seed=1))


def test_another_sequence_has_other_donors_and_ties(rng):
    sequence = random_dna(rng, 50)
    neighbour = sequence[:-1] + ("A" if sequence[-1] != "A" else "C")
    assert not {donor[:-1] for donor in donors_of(sequence)} & {donor[:-1] for donor in donors_of(neighbour)}


# ---- a real model ----


def test_curves_of_a_model_go_from_its_logit_to_that_of_nothing(rng, tmp_path):
    model = load_model(tiny_checkpoint(tmp_path / "model"), device="cpu", dtype="float64")
    sequence = random_dna(rng, 60)
    (tokens,) = model.tokens([sequence])
    n = len(tokens.ids) - 2
    mask_id = model.tokenizer.mask_id
    (curves,) = token_curves([Claim(tokens, rng.normal(size=n), np.array([0.0, 1]))], model.logits_of_tokens, mask_id)
    assert curves.morf[0] == pytest.approx(model.predict([sequence], strand="forward")[0, 1], abs=1e-12)
    nothing = Tokens(np.array([tokens.ids[0], *[mask_id] * n, tokens.ids[-1]]), tokens.spans)
    assert curves.lerf[-1] == pytest.approx(model.logits_of_tokens([nothing])[0, 1], abs=1e-12)
    (curves,) = nucleotide_curves([Claim(sequence, rng.normal(size=60), np.array([0.0, 1]))], model.predict)
    assert curves.morf[0] == pytest.approx(model.predict([sequence])[0, 1], abs=1e-12)
    assert curves.morf[-1] == pytest.approx(model.predict(donors_of(sequence))[:, 1].mean(), abs=1e-12)


# ---- what is refused ----


def test_no_claims_have_no_curves():
    assert nucleotide_curves([], Model()) == []
    assert token_curves([], Model(), MASK) == []


@pytest.mark.parametrize("relevance", [[], [1.0, math.nan, 2], [1.0, math.inf, 2], [[1.0, 2, 3]]])
def test_a_relevance_that_orders_nothing_is_refused(relevance):
    with pytest.raises(ValueError, match="relevance"):
        Claim("ACG", np.array(relevance), ONE)


@pytest.mark.parametrize("direction", [[math.nan], [[1.0]]])
def test_a_direction_without_a_value_is_refused(direction):
    with pytest.raises(ValueError, match="direction"):
        Claim("ACG", np.ones(3), np.array(direction))


def test_a_relevance_of_another_length_is_refused(rng):
    with pytest.raises(ValueError, match="for 4 positions"):
        nucleotide_curves([Claim("ACGT", np.ones(5), np.ones(3))], Model())
    tokens = random_tokens(rng, 4)
    with pytest.raises(ValueError, match="for 4 positions"):
        token_curves([Claim(tokens, np.ones(6), np.ones(3))], Model(), MASK)


def test_a_direction_of_another_length_is_refused():
    with pytest.raises(ValueError, match="direction"):
        nucleotide_curves([Claim("ACGT", np.ones(4), ONE)], Model(n_targets=3))


def test_lower_case_is_refused():
    with pytest.raises(ValueError, match="lower-case"):
        nucleotide_curves([Claim("ACgT", np.ones(4), np.ones(3))], Model())


def test_an_answer_that_fits_no_question_is_refused():
    claim = Claim("ACGT", np.ones(4), ONE)
    with pytest.raises(ValueError, match="a row of logits each"):
        nucleotide_curves([claim], lambda reads: np.ones((1, 1)))
    with pytest.raises(RunError, match="not finite"):
        nucleotide_curves([claim], lambda reads: np.full((len(reads), 1), np.nan))


@pytest.mark.parametrize(
    "wrong",
    [
        {"fractions": ()},
        {"fractions": (0.1, 1)},
        {"fractions": (0, 0.5, 0.5, 1)},
        {"fractions": (0, 0.5, 1.5)},
        {"fractions": (0, math.nan, 1)},
        {"donor": "other"},
        {"n_draws": 0},
        {"max_rows": 0},
    ],
)
def test_settings_that_make_no_curve_are_refused(wrong):
    with pytest.raises(UsageError):
        CurveSettings(**wrong)


def test_curves_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="MoRF"):
        Curves(np.zeros(3), np.zeros(3), np.zeros(2))
