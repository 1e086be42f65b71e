"""Quality: what is measured is what readings made here one at a time say, and laws of it hold."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from tiny import tiny_checkpoint, tiny_cnn, tiny_cnn_state
from tiny_tracks import random_letters, write_fasta

import gexplain
from gexplain import quality
from gexplain.errors import InputError, ModelError, RunError, UsageError
from gexplain.evaluation.metrics import pearson
from gexplain.genome.fasta import Genome
from gexplain.genome.sequence import reverse_complement
from gexplain.models.cnn import CnnConfig, save_cnn_checkpoint
from gexplain.quality import COSTLY_WINDOWS, FRACTIONS, measure_quality, write_quality
from gexplain.report.quality_results import read_quality
from gexplain.run_folder import QUALITY, Run
from gexplain.study.run_windows import draw_regions, draw_windows
from gexplain.windows import Tiling

WINDOW = 60
SHIFT = 6
LABELS = ("none", "promoter", "enhancer")
SHORT = "".join(f"chr1\t{start}\t{start + 50}\n" for start in range(0, 900, 100))
PARTS = ("strand_agreement", "shift_agreement", "deletion", "token_length")


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """chr1 of 6,000 bases with 200 N from 1,000 and IUPAC letters at 3,000; chr2 of a window's 60; chr3 of 40."""
    rng = np.random.default_rng(7)
    letters = list(random_letters(rng, 6000))
    letters[1000:1200] = "N" * 200
    letters[3000:3004] = "RYSW"
    chroms = {"chr1": "".join(letters), "chr2": random_letters(rng, WINDOW), "chr3": random_letters(rng, 40)}
    with Genome(write_fasta(tmp_path_factory.mktemp("quality") / "g.fa", chroms)) as opened:
        yield opened


@pytest.fixture(scope="module")
def make_run(tmp_path_factory, genome):
    """Scores short regions, at the ends of chromosomes and beside N too, and a long one."""

    def make(model, bed: str | None = None, **settings) -> Run:
        folder = tmp_path_factory.mktemp("run")
        if bed is None:
            starts = [0, 400, 960, 1150, 1500, 2050, 2970, 3500, 4100, 5200, 5945]
            bed = "".join(f"chr1\t{at}\t{at + 50}\tr\t0\t{'+-'[i % 2]}\n" for i, at in enumerate(starts))
            bed += "chr1\t2200\t2330\tlong\t0\t-\nchr2\t0\t60\tr\t0\t+\nchr3\t3\t30\tr\t0\t-\n"
        (folder / "r.bed").write_text(bed, errors="surrogateescape")
        wanted = gexplain.ScoreSettings(**{"window": WINDOW, "stride": 30, "null_regions": 0, **settings})
        return gexplain.score(folder / "r.bed", genome.path, model, output=folder / "out", settings=wanted)

    return make


@pytest.fixture(scope="module")
def promoter(make_run, exact_model):
    return make_run(exact_model, target="promoter")


@pytest.fixture(scope="module")
def measured(promoter, exact_model, genome):
    return measure_quality(promoter, exact_model, genome)


def windows_of(run, model, genome, n=64, seed=0):
    """The windows that are measured, in their order."""
    settings = run.manifest["settings"]
    tiling = Tiling(settings["window"], settings["stride"], settings["shifts"])
    drawn = draw_regions(run.path / "regions.tsv", settings["strand"], n, seed)
    return list(draw_windows(drawn, genome, tiling, model, n, seed))


@cache  # many tests ask for the same
def read_both(model, sequence):
    """The relevance of promoter as read on the forward strand, and on the other, turned back."""
    forward, other = gexplain.explain(model, [sequence, reverse_complement(sequence)], "promoter")
    return forward.relevance, other.relevance[::-1]


def fetch(genome, window, by=0):
    return genome.fetch(window.chrom, window.start + by, window.end + by)


def with_settings(run, **changed):
    """The same tables, and another manifest."""
    return Run(run.path, {**run.manifest, "settings": {**run.manifest["settings"], **changed}})


# ---- Agreement ----


def test_strand_agreement_is_that_of_two_readings_by_hand(promoter, measured, exact_model, genome):
    windows = windows_of(promoter, exact_model, genome)
    expected = [pearson(*read_both(exact_model, fetch(genome, one))) for one in windows]
    assert measured["strand_agreement"]["values"] == pytest.approx(expected, abs=1e-5)
    assert measured["strand_agreement"]["n"] == measured["sample"]["windows"] == len(windows) == 17
    low, median, high = np.quantile(expected, (0.25, 0.5, 0.75))
    assert [measured["strand_agreement"][key] for key in ("low", "median", "high")] == pytest.approx(
        [low, median, high], abs=1e-5
    )


def slow_shift_agreement(run, model, genome):
    """Base by base: what both windows say of the bases that both hold."""
    found = []
    for window in windows_of(run, model, genome):
        end = genome.chroms[window.chrom]
        by = SHIFT if window.end + SHIFT <= end else -SHIFT
        if window.start + by < 0 or window.end + by > end or set(fetch(genome, window, by)) == {"N"}:
            continue
        of_base = defaultdict(list)
        for moved in (0, by):
            both = read_both(model, fetch(genome, window, moved))
            own = {".": (both[0] + both[1]) / 2, "+": both[0], "-": both[1]}[window.strand]
            for i, value in enumerate(own):
                of_base[window.start + moved + i].append(value)
        pairs = [values for values in of_base.values() if len(values) == 2]
        assert len(pairs) == WINDOW - SHIFT
        found.append(np.corrcoef(np.array(pairs).T)[0, 1])
    return found


@pytest.mark.parametrize("strand", ["both", "forward", "region"])
def test_shift_agreement_is_its_slow_oracle(make_run, exact_model, genome, strand):
    run = make_run(exact_model, target="promoter", strand=strand)
    found = measure_quality(run, exact_model, genome)["shift_agreement"]
    expected = slow_shift_agreement(run, exact_model, genome)
    assert found["values"] == pytest.approx(expected, abs=1e-5)
    assert (found["bases"], found["n"]) == (SHIFT, len(expected))
    assert len(expected) > 12


@pytest.fixture(scope="module")
def symmetric_cnn(tmp_path_factory):
    """A CNN whose filters come in pairs, each the other's reverse complement, with the same weights thereafter."""
    # Wide filters: no two places of a window match one equally, of which each strand would take its first.
    config = CnnConfig(3, n_filters=12, filter_width=15, hidden=5)
    state = tiny_cnn_state(config, 3)
    half = state["conv.weight"][:6]
    state["conv.weight"] = torch.cat([half, half.flip(1, 2)])
    state["conv.bias"] = state["conv.bias"][:6].repeat(2)
    state["dense.weight"] = state["dense.weight"][:, :6].repeat(1, 2)
    folder = tmp_path_factory.mktemp("symmetric") / "cnn"
    save_cnn_checkpoint(folder, state, config, labels=LABELS, head="classification", window=WINDOW)
    return gexplain.load_model(folder, device="cpu", dtype="float64")


def test_a_strand_symmetric_model_agrees_wholly(make_run, symmetric_cnn, genome):
    run = make_run(symmetric_cnn, "chr1\t2010\t2900\n", target="promoter")
    found = measure_quality(run, symmetric_cnn, genome)["strand_agreement"]
    assert found["n"] > 20
    assert min(found["values"]) > 1 - 1e-6


def test_no_room_beside_the_windows_is_told(make_run, exact_model, genome):
    run = make_run(exact_model, "chr2\t0\t60\nchr3\t0\t40\n", target="promoter")
    found = measure_quality(run, exact_model, genome)
    assert found["shift_agreement"] == {"missing": "no window of the sample has 6 bases beside it on its chromosome"}
    assert found["strand_agreement"]["n"] == 2


def test_flat_relevance_has_no_agreement(promoter, exact_model, genome, monkeypatch):
    def flat(_, method, passage, *, strand):
        return [np.ones(len(one)) for one in passage.sequences]

    monkeypatch.setattr(quality.Subject, "nucleotides", flat)
    found = measure_quality(promoter, exact_model, genome)
    for part in ("strand_agreement", "shift_agreement"):
        assert found[part] == {"missing": "the relevance of every window is flat"}
    assert found["deletion"]["n"] == 17


# ---- Deletion ----


def test_curves_begin_and_end_as_by_hand(promoter, measured, exact_model, genome):
    windows = windows_of(promoter, exact_model, genome)
    whole = exact_model.predict([fetch(genome, one) for one in windows])[:, 1].mean()
    found = measured["deletion"]
    assert found["fractions"] == list(FRACTIONS)
    for order in ("relevance", "random", "least"):
        assert found[order][0] == pytest.approx(whole, rel=1e-5)
        assert found[order][-1] == found["random"][-1]


@pytest.mark.parametrize("strand", ["both", "reverse"])
def test_bases_are_substituted_on_the_strands_of_the_run(make_run, exact_cnn, genome, strand):
    run = make_run(exact_cnn, SHORT, target="promoter", strand=strand)
    sequences = [fetch(genome, one) for one in windows_of(run, exact_cnn, genome)]
    found = measure_quality(run, exact_cnn, genome)["deletion"]
    assert found["random"][0] == pytest.approx(exact_cnn.predict(sequences, strand=strand)[:, 1].mean(), rel=1e-5)


@pytest.mark.parametrize("explained", ["logit", "margin"])
def test_the_explained_value_is_that_of_the_run(make_run, exact_model, genome, explained):
    run = make_run(exact_model, target="enhancer", explained=explained, strand="forward")
    logits = exact_model.predict(
        [fetch(genome, one) for one in windows_of(run, exact_model, genome)], strand="forward"
    )
    margin = logits[:, 2] - logits[:, :2].mean(1)
    expected = margin if explained == "margin" else logits[:, 2]
    found = measure_quality(run, exact_model, genome)["deletion"]
    assert found["relevance"][0] == pytest.approx(expected.mean(), rel=1e-5)


def slow_curve(model, genome, window):
    """The value of a window as its most relevant tokens are masked one share after the other, by the track."""
    sequence, values = fetch(genome, window), []
    track = np.mean(read_both(model, sequence), axis=0)
    for strand in "+-":
        (tokens,) = model.tokens([sequence], [strand])
        of_base = track if strand == "+" else track[::-1]
        places = [i for i, (a, b) in enumerate(tokens.spans) if b > a]
        sums = {i: sum(of_base[j] for j in range(*tokens.spans[i])) for i in places}
        order = sorted(places, key=lambda i: -sums[i])
        rows = []
        for fraction in FRACTIONS:
            n = round(fraction * len(places))
            if 0 < fraction < 1:
                n = min(max(n, 1), len(places) - 1)
            ids = tokens.ids.copy()
            ids[order[:n]] = model.tokenizer.mask_id
            rows.append(replace(tokens, ids=ids))
        values.append(model.logits_of_tokens(rows)[:, 1])
    return np.mean(values, axis=0)


def test_tokens_are_masked_by_what_the_track_says_of_their_bases(promoter, measured, exact_model, genome):
    windows = windows_of(promoter, exact_model, genome)
    slow = np.mean([slow_curve(exact_model, genome, one) for one in windows], axis=0)
    assert measured["deletion"]["relevance"] == pytest.approx(slow, abs=1e-5)


def additive(relevance_of, value_of):
    """Planted: what explains a window, and what a model answers that is exactly so."""

    def nucleotides(_, method, passage, *, strand):
        return [relevance_of(one) for one in passage.sequences]

    def predict(sequences, *, strand="both", batch_size=0):
        return np.array([[0.0, value_of(one), 0.0] for one in sequences])

    return nucleotides, predict


def weights(n):
    return np.random.default_rng(5).exponential(size=n)


def is_strong(sequence):
    return np.array([letter in "GC" for letter in sequence], dtype=float)


def plant(monkeypatch, model, relevance_of):
    """A CNN that adds up the weights of the places of G and C."""
    nucleotides, predict = additive(relevance_of, lambda one: float(is_strong(one) @ weights(len(one))))
    monkeypatch.setattr(quality.Subject, "nucleotides", nucleotides)
    monkeypatch.setattr(model, "predict", predict)


def perfect(sequence):
    return (2 * is_strong(sequence) - 1) * weights(len(sequence))


@pytest.fixture(scope="module")
def cnn_run(make_run, exact_cnn):
    return make_run(exact_cnn, target="promoter")


def test_a_perfect_explanation_beats_random_order(cnn_run, exact_cnn, genome, monkeypatch):
    plant(monkeypatch, exact_cnn, perfect)
    found = measure_quality(cnn_run, exact_cnn, genome)["deletion"]
    assert found["level"] == "nucleotide"
    assert found["area_difference"]["low"] > 1
    inner = slice(1, -1)
    assert (np.array(found["relevance"])[inner] < np.array(found["random"])[inner]).all()
    assert (np.array(found["random"])[inner] < np.array(found["least"])[inner]).all()


def test_the_perfect_explanation_turned_round_is_as_much_worse(cnn_run, exact_cnn, genome, monkeypatch):
    plant(monkeypatch, exact_cnn, lambda one: -perfect(one))
    assert measure_quality(cnn_run, exact_cnn, genome)["deletion"]["area_difference"]["high"] < -1


def test_random_relevance_is_as_good_as_random_order(cnn_run, exact_cnn, genome, monkeypatch):
    rng = np.random.default_rng(0)
    plant(monkeypatch, exact_cnn, lambda one: rng.normal(size=len(one)))
    area = measure_quality(cnn_run, exact_cnn, genome)["deletion"]["area_difference"]
    assert area["low"] < 0 < area["high"]
    assert abs(area["mean"]) < 0.5


def test_the_area_is_the_mean_gap_between_random_order_and_the_relevance(measured):
    found = measured["deletion"]
    gaps = np.array(found["random"]) - np.array(found["relevance"])
    expected = sum(
        (a + b) / 2 * (y - x) for a, b, x, y in zip(gaps, gaps[1:], FRACTIONS, FRACTIONS[1:], strict=False)
    )
    assert found["area_difference"]["mean"] == pytest.approx(expected, abs=1e-4)


# ---- Token length ----


@pytest.mark.parametrize("projection", ["uniform", "copy"])
def test_token_length_is_its_slow_oracle(make_run, exact_model, genome, projection):
    run = make_run(exact_model, target="promoter", projection=projection)  # windows with N and IUPAC letters, too
    sizes, per_base = defaultdict(list), defaultdict(list)
    for window in windows_of(run, exact_model, genome):
        for sequence in (fetch(genome, window), reverse_complement(fetch(genome, window))):
            (one,) = gexplain.explain(exact_model, [sequence], "promoter", projection=projection)
            for (start, end), value in zip(one.token_spans.tolist(), one.token_relevance, strict=True):
                if end > start and set(sequence[start:end]) <= set("ACGT"):
                    sizes[end - start].append(abs(value))
                    per_base[end - start].append(np.abs(one.relevance[start:end]).mean())
    found = measure_quality(run, exact_model, genome)["token_length"]
    assert found["lengths"] == sorted(sizes)
    assert found["tokens"] == [len(sizes[length]) for length in found["lengths"]]
    assert found["mean_relevance"] == pytest.approx([np.mean(sizes[length]) for length in sorted(sizes)], rel=1e-4)
    assert found["per_base"] == pytest.approx([np.mean(per_base[length]) for length in sorted(sizes)], rel=1e-4)


def test_a_cnn_has_no_token_length(cnn_run, exact_cnn, genome):
    found = measure_quality(cnn_run, exact_cnn, genome)
    assert found["token_length"] == {"missing": "the model reads base by base: it has no tokens of several bases"}
    assert found["deletion"]["n"] == found["strand_agreement"]["n"] == 17


# ---- What is explained ----


@pytest.fixture(scope="module")
def of_all(tmp_path_factory, make_run, genome):
    """A model that predicts two classes, and the quality of a run of all its classes."""
    folder = tiny_cnn(tmp_path_factory.mktemp("mixed") / "cnn", window=WINDOW, seed=4)
    cnn = gexplain.load_model(folder, device="cpu")
    return cnn, measure_quality(make_run(cnn, target="all"), cnn, genome)


def test_all_classes_are_measured_where_each_is_predicted(of_all, make_run, genome):
    cnn, found = of_all
    assert measure_quality(make_run(cnn, target="predicted"), cnn, genome) == found
    assert sum(one["windows"] for one in found["by_class"].values()) == found["sample"]["windows"]
    assert len(found["by_class"]) > 1


def test_by_class_is_made_of_the_windows_of_each(of_all):
    _, found = of_all
    areas = [one["area_difference"] * one["windows"] for one in found["by_class"].values()]
    mean = found["deletion"]["area_difference"]["mean"]
    assert sum(areas) / found["sample"]["windows"] == pytest.approx(mean, abs=1e-4)


def test_one_class_is_explained_in_every_window(measured):
    assert list(measured["by_class"]) == ["promoter"]
    assert measured["by_class"]["promoter"]["strand_agreement"] == measured["strand_agreement"]["median"]
    assert measured["sample"]["explained"] == "the logit of promoter"


@pytest.mark.parametrize("head", ["regression", "multi_label"])
@pytest.mark.parametrize("target", [None, "all", "predicted", "enhancer"])
def test_every_head_and_target_is_measured(tmp_path, make_run, genome, head, target):
    cnn = gexplain.load_model(tiny_cnn(tmp_path / "cnn", head=head, window=WINDOW), device="cpu")
    found = measure_quality(make_run(cnn, SHORT, target=target), cnn, genome, n_regions=6)
    assert not any("missing" in found[part] for part in PARTS[:3])
    assert found["sample"]["windows"] == 6


def test_a_regression_of_one_output_is_measured(tmp_path, make_run, genome):
    folder = tiny_checkpoint(tmp_path / "m", labels=["score"], n_targets=1, head="regression", scale=0.5)
    model = gexplain.load_model(folder, device="cpu")
    found = measure_quality(make_run(model, SHORT), model, genome, n_regions=6)
    assert not any("missing" in found[part] for part in PARTS)
    assert found["sample"]["explained"] == "the model's output, score"


@pytest.mark.parametrize("method", ["occlusion-base", "saliency", "attention", "random"])
def test_every_kind_of_method_is_measured(make_run, model, genome, method):
    found = measure_quality(make_run(model, SHORT, target="promoter", method=method), model, genome, n_regions=2)
    missing = {part for part in PARTS if "missing" in found[part]}
    # Where every base has a value of its own, nothing is to be said of tokens.
    assert missing == ({"token_length"} if method == "occlusion-base" else set())


# ---- The sample ----


def test_a_costly_method_is_measured_on_fewer_windows(promoter, exact_model, genome, monkeypatch):
    assert measure_quality(promoter, exact_model, genome)["sample"]["windows"] > COSTLY_WINDOWS
    monkeypatch.setattr(quality, "COSTLY_WINDOWS", 2)
    costly = with_settings(promoter, method="occlusion-token")
    assert measure_quality(costly, exact_model, genome)["sample"]["windows"] == 2
    monkeypatch.setattr(quality, "LARGE_MODEL", 10)
    assert measure_quality(promoter, exact_model, genome)["sample"]["windows"] == 2


def test_one_region_has_no_interval(make_run, exact_model, genome):
    run = make_run(exact_model, "chr1\t400\t450\n", target="promoter")
    found = measure_quality(run, exact_model, genome)
    assert (found["sample"]["regions"], found["sample"]["windows"]) == (1, 1)
    assert found["deletion"]["area_difference"]["low"] is None
    assert found["strand_agreement"]["n"] == 1


def test_ambiguous_bases_are_those_of_all_regions(make_run, exact_model, genome):
    run = make_run(exact_model, "chr1\t400\t500\nchr1\t950\t1050\nchr1\t2990\t3090\n", target="promoter")
    found = measure_quality(run, exact_model, genome, n_regions=1)["ambiguous"]
    assert found == {"share_of_bases": 0.18, "regions": 3, "regions_over_10_percent": 1}


def test_the_same_twice_and_in_any_order(promoter, measured, exact_model, genome, tmp_path):
    header, *rows = (promoter.path / "regions.tsv").read_text().splitlines()
    (tmp_path / "regions.tsv").write_text("\n".join([header, *reversed(rows)]) + "\n")
    again = measure_quality(Run(tmp_path, promoter.manifest), exact_model, genome)
    assert json.dumps(again) == json.dumps(measured)


def test_another_seed_draws_other_windows(promoter, exact_model, genome):
    one, other = (measure_quality(promoter, exact_model, genome, n_regions=4, seed=seed) for seed in (1, 2))
    assert one["strand_agreement"]["values"] != other["strand_agreement"]["values"]


def test_progress_ends_with_all_windows(promoter, exact_model, genome):
    told = []
    measure_quality(promoter, exact_model, genome, progress=lambda *done: told.append(done))
    assert told == [(16, 17), (17, 17)]


def test_another_model_is_refused(promoter, exact_cnn, model, genome):
    with pytest.raises(ModelError, match="another model than"):
        measure_quality(promoter, exact_cnn, genome)
    with pytest.raises(ModelError, match=r"float32\n.*in float64"):
        measure_quality(promoter, model, genome)


def test_nothing_to_draw_is_refused(promoter, exact_model, genome):
    with pytest.raises(UsageError, match="at least 1 of each"):
        measure_quality(promoter, exact_model, genome, n_regions=0)


# ---- The file ----


def test_what_is_written_is_read(measured, tmp_path):
    path = write_quality(Run(tmp_path, {}), measured)
    assert path == tmp_path / QUALITY
    assert read_quality(path) == measured
    assert [one.name for one in tmp_path.iterdir()] == [QUALITY]


def test_names_that_are_no_unicode_come_back(tmp_path, measured):
    hostile = "</script>\udce9\x00é\u2028"
    renamed = {**measured, "by_class": {hostile: measured["by_class"]["promoter"]}}
    assert list(read_quality(write_quality(Run(tmp_path, {}), renamed))["by_class"]) == [hostile]


def test_a_file_that_cannot_be_written_leaves_the_old_one(measured, tmp_path, monkeypatch):
    path = write_quality(Run(tmp_path, {}), measured)
    before = path.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(RunError, match="no space left"):
        write_quality(Run(tmp_path, {}), {**measured, "sample": {}})
    assert path.read_text() == before
    assert [one.name for one in tmp_path.iterdir()] == [QUALITY]


def drop(*keys):
    def change(found):
        for key in keys[:-1]:
            found = found[key]
        del found[keys[-1]]

    return change


def put(value, *keys):
    def change(found):
        for key in keys[:-1]:
            found = found[key]
        found[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (drop("deletion"), "deletion is 'nothing'; expected an object"),
        (drop("by_class"), "by_class is 'nothing'"),
        (drop("strand_agreement", "median"), r"strand_agreement.median is None; expected a number from -1 to 1"),
        (put(1.5, "strand_agreement", "values", 0), r"strand_agreement.values.0 is 1.5"),
        (put(3, "strand_agreement", "n"), "strand_agreement.values is .*; expected a list of 3 numbers"),
        (put(True, "deletion", "relevance", 1), "deletion.relevance.1 is True"),
        (put("word", "deletion", "level"), "expected token or nucleotide"),
        (put([0, 0.5, 0.5], "deletion", "fractions"), "expected rising numbers"),
        (put(None, "deletion", "area_difference", "low"), "area_difference.low is None"),
        (put(-9, "deletion", "area_difference", "high"), "low, mean and high in this order"),
        (put(1e400, "ambiguous", "share_of_bases"), "Infinity"),
        (put(10**400, "ambiguous", "regions"), "too large"),
        (put([], "token_length", "lengths"), "token_length.lengths is"),
        (put(7, "shift_agreement", "missing"), "shift_agreement.missing is 7; expected text"),
        (put({"missing": "x"}, "sample"), "sample.regions is None"),
    ],
)
def test_a_broken_file_is_one_clear_error(measured, tmp_path, change, told):
    broken = json.loads(json.dumps(measured))
    change(broken)
    path = tmp_path / QUALITY
    path.write_text(json.dumps(broken))
    with pytest.raises(InputError, match=told) as caught:
        read_quality(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null", b"[" * 100_000])
def test_what_is_no_json_object_is_an_error_too(tmp_path, content):
    path = tmp_path / QUALITY
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no measured quality of a run"):
        read_quality(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*no such file"):
        read_quality(tmp_path / QUALITY)
