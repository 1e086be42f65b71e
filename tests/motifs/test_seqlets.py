"""Seqlets: spans by the definition, the same however a track is cut, calibrated where there is nothing to find."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import kstest

from gexplain.motifs.calibration import StreamingBH, benjamini_hochberg
from gexplain.motifs.seqlets import (
    BASE_QUANTILE,
    GAP,
    Spans,
    calibrate_seqlets,
    find_spans,
    permuted,
    stream_spans,
)

RNG = np.random.default_rng
NAN = math.nan


def slow_spans(values: Iterable[float], tau: float, direction: str) -> list[tuple]:
    """(start, end, high, excess, sum, top) from the definition, base by base; NaN ends a span."""
    sign = 1 if direction == "high" else -1
    relevance = [sign * float(value) for value in values]
    groups: list[list[int]] = []
    for i, value in enumerate(relevance):
        if not value > sign * tau:
            continue
        if groups:
            between = relevance[groups[-1][-1] + 1 : i]
            if len(between) <= GAP and not any(math.isnan(one) for one in between):
                groups[-1].append(i)
                continue
        groups.append([i])
    spans = []
    for group in groups:
        start, end = group[0], group[-1] + 1
        excess = total = 0.0
        for i in range(start, end):
            excess += max(0.0, relevance[i] - sign * tau)
            total += relevance[i]
        top = max(group, key=lambda i: relevance[i])  # the first of equals
        spans.append((start, end, direction == "high", excess, sign * total, top))
    return spans


def rows(spans: Spans) -> list[tuple]:
    columns = (spans.start, spans.end, spans.high, spans.excess, spans.sum, spans.top)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def slow_stream(values: Iterable[float], tau_high: float, tau_low: float) -> list[tuple]:
    return sorted(slow_spans(values, tau_high, "high") + slow_spans(values, tau_low, "low"))


def streamed(pieces: list[tuple[str, int, np.ndarray]], tau_high: float, tau_low: float) -> list[tuple]:
    return [(chrom, *row) for chrom, spans in stream_spans(pieces, tau_high, tau_low) for row in rows(spans)]


def cut(values: np.ndarray, cuts: Iterable[int]) -> list[tuple[str, int, np.ndarray]]:
    edges = [0, *sorted(cuts), len(values)]
    return [("chr1", a, values[a:b]) for a, b in pairwise(edges)]


def iid_noise(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n).astype(np.float32)


def token_noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """Runs of equal values, 3 to 9 long, as a track of tokens has them."""
    lengths = rng.integers(3, 10, n // 3)
    return np.repeat(rng.standard_normal(len(lengths)), lengths)[:n].astype(np.float32)


NOISES = {"iid": iid_noise, "token-like": token_noise}
TRACKS = {
    "iid": iid_noise,
    "token-like": token_noise,
    "ties": lambda rng, n: (rng.integers(-3, 4, n) / 2).astype(np.float32),
    "all negative": lambda rng, n: -np.abs(iid_noise(rng, n)),
    "mostly beyond": lambda rng, n: iid_noise(rng, n) + np.float32(1.5),
    "flat": lambda rng, n: np.full(n, 0.5, dtype=np.float32),
}


# Spans


@pytest.mark.parametrize("direction", ["high", "low"])
@pytest.mark.parametrize("kind", TRACKS)
def test_spans_are_those_of_the_definition(kind, direction):
    for seed in range(40):
        rng = RNG(seed)
        values = TRACKS[kind](rng, int(rng.integers(0, 60)))
        tau = float(rng.choice([0.0, 0.5, 1.0, 1.3])) * (1 if direction == "high" else -1)
        assert rows(find_spans(values, tau, direction=direction)) == slow_spans(values, tau, direction)


def test_runs_join_over_gaps_of_two_and_not_of_three():
    spans = find_spans(np.array([3.0, 0, -1, 5, 5, 0, 0, 0, 2]), 1.0, direction="high")
    assert rows(spans) == [(0, 5, True, 2.0 + 4 + 4, 12.0, 3), (8, 9, True, 1.0, 2.0, 8)]


def test_a_low_span_mirrors_a_high_one():
    values = token_noise(RNG(0), 500)
    high, low = find_spans(values, 0.8, direction="high"), find_spans(-values, -0.8, direction="low")
    assert [(a, b, e, -s, t) for a, b, _, e, s, t in rows(low)] == [
        (a, b, e, s, t) for a, b, _, e, s, t in rows(high)
    ]
    assert len(high) > 10
    assert not low.high.any()
    assert (low.excess > 0).all()


def test_a_base_equal_to_tau_is_not_beyond_it():
    # 0.1 as float32 is above 0.1: the threshold is not rounded to the values' precision.
    assert len(find_spans(np.full(9, 0.5), 0.5, direction="high")) == 0
    assert len(find_spans(np.full(9, 0.1, dtype=np.float32), float(np.float32(0.1)), direction="high")) == 0
    assert len(find_spans(np.full(9, 0.1, dtype=np.float32), 0.1, direction="high")) == 1


def test_a_single_base_is_a_span():
    assert rows(find_spans(np.array([2.0]), 0.5, direction="high")) == [(0, 1, True, 1.5, 2.0, 0)]
    assert len(find_spans(np.empty(0), 0.5, direction="high")) == 0


@pytest.mark.parametrize("bad", [NAN, np.inf, -np.inf])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(ValueError, match=r"NaN|infinite"):
        find_spans(np.array([0.0, bad]), 0.5, direction="high")


# Streams


@pytest.mark.parametrize("kind", TRACKS)
def test_streamed_spans_are_those_of_the_definition_however_the_track_is_cut(kind):
    for seed in range(12):
        rng = RNG(seed)
        values = TRACKS[kind](rng, int(rng.integers(1, 80)))
        if seed % 2:
            values[rng.random(len(values)) < 0.08] = NAN
        tau_high, tau_low = float(rng.choice([0.0, 0.5, 1.0])), -float(rng.choice([0.0, 0.5, 1.0]))
        expected = [("chr1", *row) for row in slow_stream(values, tau_high, tau_low)]
        for n_cuts in (0, 1, 8, len(values)):
            cuts = rng.integers(0, len(values) + 1, n_cuts)  # repeats make empty pieces
            assert streamed(cut(values, cuts), tau_high, tau_low) == expected
        assert streamed(cut(values, range(1, len(values))), tau_high, tau_low) == expected


def test_a_span_longer_than_its_pieces_is_one_span():
    values = np.abs(iid_noise(RNG(0), 30_000)) + np.float32(0.2)
    assert streamed(cut(values, range(100, 30_000, 100)), 0.1, -0.1) == [
        ("chr1", *row) for row in slow_spans(values, 0.1, "high")
    ]
    assert len(slow_spans(values, 0.1, "high")) == 1


def test_spans_come_in_the_order_of_the_track():
    # A low span in a gap of a high one, which ends later.
    values = np.array([2.0, 2, -3, 2, 0, 0, 0, -2])
    for cuts in ([], [3], range(1, 8)):
        found = streamed(cut(values, cuts), 1.0, -1.0)
        assert [row[1:4] for row in found] == [(0, 4, True), (2, 3, False), (7, 8, False)]


def test_no_span_crosses_a_gap_or_a_chromosome():
    ones = np.ones(3)
    pieces = [("chr1", 0, ones), ("chr1", 4, ones), ("chr1", 7, ones), ("chr2", 10, ones), ("chr3", 13, ones)]
    assert [row[:3] for row in streamed(pieces, 0.5, -0.5)] == [
        ("chr1", 0, 3),
        ("chr1", 4, 10),
        ("chr2", 10, 13),
        ("chr3", 13, 16),
    ]


def test_what_else_was_scored_changes_no_span():
    values = iid_noise(RNG(2), 3_000)
    values[1_000:1_010] = NAN
    whole = streamed([("chr1", 0, values)], 1.0, -1.0)
    alone = streamed([("chr1", 1_010, values[1_010:])], 1.0, -1.0)
    assert alone == [row for row in whole if row[1] >= 1_010]
    assert len(alone) > 100


def test_spans_are_yielded_as_they_end():
    read = []

    def pieces():
        for start in range(0, 100_000, 100):
            read.append(start)
            yield "chr1", start, iid_noise(RNG(start), 100)

    for _, spans in stream_spans(pieces(), 1.0, -1.0):
        assert read[-1] - 500 < spans.start[0] <= read[-1] + 100


@pytest.mark.parametrize(
    "second", [("chr1", 2), ("chr1", 0), ("chr0", 5)], ids=["overlap", "back", "chromosome returns"]
)
def test_pieces_out_of_order_are_refused(second):
    pieces = [("chr0", 0, np.zeros(3)), ("chr1", 0, np.zeros(3)), (*second, np.zeros(3))]
    with pytest.raises(ValueError, match="comes after chr1:3"):
        list(stream_spans(pieces, 1.0, -1.0))


@pytest.mark.parametrize(("tau_high", "tau_low"), [(-0.1, -0.5), (0.5, 0.1), (NAN, -1.0)])
def test_thresholds_on_the_wrong_side_of_0_are_refused(tau_high, tau_low):
    with pytest.raises(ValueError, match="0 is not between"):
        list(stream_spans([("chr1", 0, np.zeros(3))], tau_high, tau_low))


def test_no_pieces_have_no_spans():
    assert list(stream_spans([], 1.0, -1.0)) == []
    assert list(stream_spans([("chr1", 0, np.full(5, NAN))], 1.0, -1.0)) == []


# The null


@pytest.mark.parametrize("kind", TRACKS)
def test_thresholds_are_quantiles_on_their_side_of_0(kind):
    null = [TRACKS[kind](RNG(seed), 200) for seed in range(5)]
    null[2][50:70] = NAN
    calibration = calibrate_seqlets(null)
    ordered = sorted(float(value) for stretch in null for value in stretch if not math.isnan(value))
    n = len(ordered)
    place = math.ceil(BASE_QUANTILE * (n - 1))
    assert calibration.tau_high == max(0.0, ordered[place])
    assert calibration.tau_low == min(0.0, ordered[n - 1 - place])
    assert sum(1 for value in ordered if value > calibration.tau_high) <= n * (1 - BASE_QUANTILE)


def test_the_null_is_the_excess_of_the_null_tracks_spans():
    null = [token_noise(RNG(seed), 300) for seed in range(6)]
    null[1][::37] = NAN
    calibration = calibrate_seqlets(null)
    high = [row[3] for one in null for row in slow_spans(one, calibration.tau_high, "high")]
    low = [row[3] for one in null for row in slow_spans(one, calibration.tau_low, "low")]
    assert (calibration.high.n, calibration.low.n) == (len(high), len(low))
    spans = next(iter(stream_spans([("chr1", 0, token_noise(RNG(9), 2_000))], 0.5, -0.5)))[1]
    expected = [
        (1 + sum(1 for one in (high if is_high else low) if one >= excess)) / (1 + len(high if is_high else low))
        for _, _, is_high, excess, _, _ in rows(spans)
    ]
    assert calibration.p_values(spans).tolist() == expected
    assert {*spans.high.tolist()} == {True, False}


def test_a_flat_null_knows_nothing():
    calibration = calibrate_seqlets([np.zeros(100)])
    assert (calibration.tau_high, calibration.tau_low, calibration.high.n, calibration.low.n) == (0, 0, 0, 0)
    assert math.copysign(1, calibration.tau_low) == 1  # and not -0, which would be printed
    assert calibration.p_values(find_spans(np.array([5.0, 0, 0, 0, 1]), 0.0, direction="high")).tolist() == [1, 1]


@pytest.mark.parametrize("null", [[], [np.full(4, NAN)]])
def test_a_null_track_without_a_value_is_refused(null):
    with pytest.raises(ValueError, match="no value"):
        calibrate_seqlets(null)


def test_permuting_keeps_values_and_gaps():
    stretches = [iid_noise(RNG(seed), 50 * seed) for seed in range(4)]
    stretches[2][10:30] = NAN
    shuffled = permuted(stretches, RNG(0))
    assert [len(one) for one in shuffled] == [0, 50, 100, 150]
    whole, before = np.concatenate(shuffled), np.concatenate(stretches)
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(before))
    np.testing.assert_array_equal(np.sort(whole), np.sort(before))
    assert (whole[~np.isnan(whole)] != before[~np.isnan(before)]).mean() > 0.9
    assert permuted([], RNG(0)) == []


# Calibration: what the p- and q-values promise


def p_values_of(track: np.ndarray, null: np.ndarray) -> np.ndarray:
    calibration = calibrate_seqlets([null])
    chunks = stream_spans([("chr1", 0, track)], calibration.tau_high, calibration.tau_low)
    return np.concatenate([calibration.p_values(spans) for _, spans in chunks])


@pytest.mark.parametrize("kind", NOISES)
def test_p_values_of_noise_are_uniform_against_a_null_of_its_kind(kind):
    p = p_values_of(NOISES[kind](RNG(1), 50_000), NOISES[kind](RNG(2), 700_000))
    assert len(p) > 700
    assert kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize("wrong", ["weaker", "permuted", "other kind"])
def test_p_values_against_a_wrong_null_are_not_uniform(wrong):
    null = {
        "weaker": token_noise(RNG(2), 700_000) * 0.8,
        "permuted": permuted([token_noise(RNG(2), 700_000)], RNG(3))[0],
        "other kind": iid_noise(RNG(2), 700_000),
    }[wrong]
    assert kstest(p_values_of(token_noise(RNG(1), 50_000), null), "uniform").pvalue < 1e-6


def n_runs_with_a_seqlet(kind: str, null: Callable[[np.random.Generator], np.ndarray]) -> int:
    """In how many of 40 tracks of noise something has q < 0.05. One span is enough where the null is 50 times it."""
    runs = [p_values_of(NOISES[kind](RNG(seed), 4_000), null(RNG(1_000 + seed))) for seed in range(40)]
    return sum(bool((benjamini_hochberg(p) < 0.05).any()) for p in runs)


@pytest.mark.parametrize("kind", NOISES)
def test_noise_seldom_has_a_seqlet(kind):
    # One run in 20 may: more than 6 of 40 have a chance of 0.3 %.
    assert n_runs_with_a_seqlet(kind, lambda rng: NOISES[kind](rng, 200_000)) <= 6


def test_noise_of_tokens_has_seqlets_against_a_permuted_null():
    assert n_runs_with_a_seqlet("token-like", lambda rng: permuted([token_noise(rng, 200_000)], rng)[0]) == 40


@pytest.mark.parametrize("kind", NOISES)
def test_planted_bumps_are_found_with_few_false_ones(kind):
    track, null = NOISES[kind](RNG(5), 200_000), NOISES[kind](RNG(6), 200_000)
    centres = np.arange(1_000, 200_000, 1_000)
    for offset in range(-4, 5):
        track[centres + offset] += np.where(centres % 2_000, 6.0, -6.0)  # high and low by turns
    calibration = calibrate_seqlets([null])
    pieces = cut(track, range(4_096, 200_000, 4_096))
    batches = [spans for _, spans in stream_spans(pieces, calibration.tau_high, calibration.tau_low)]
    tested = StreamingBH()
    for spans in batches:
        tested.add(calibration.p_values(spans))
    is_called = [(tested.q_values(calibration.p_values(spans)) < 0.05).tolist() for spans in batches]
    called = [
        row
        for spans, kept in zip(batches, is_called, strict=True)
        for row, q in zip(rows(spans), kept, strict=True)
        if q
    ]
    is_true = [any(start <= c < end and high == bool(c % 2_000) for c in centres) for start, end, high, *_ in called]
    assert sum(is_true) > 0.95 * len(centres)
    assert is_true.count(False) <= 0.1 * len(called)
