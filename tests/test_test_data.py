"""The test data is what its README says, and its script makes it again, byte for byte."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn import functional as F

TEST_DATA = Path(__file__).parents[1] / "test_data"
FACTORS = {"CTCF", "FOXA1", "GABPA", "REST", "USF1"}
SPECIALS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]


def read_rows(name):
    rows = [line.split("\t") for line in (TEST_DATA / name).read_text().splitlines()]
    return [(chrom, int(start), int(end), *rest) for chrom, start, end, *rest in rows]


@pytest.fixture(scope="module")
def genome():
    records = (TEST_DATA / "genome.fa").read_text().split(">")[1:]
    return {chrom: lines.replace("\n", "") for chrom, _, lines in (record.partition("\n") for record in records)}


@pytest.fixture(scope="module")
def motifs():
    """Log-odds in bits, (width, 4)."""
    text = (TEST_DATA / "motifs.meme").read_text()
    shares = re.search(r"^A (\S+) C (\S+) G (\S+) T (\S+)$", text, re.MULTILINE).groups()
    background = np.array(shares, float)
    found = re.findall(r"^MOTIF (\S+)\n.* w= (\d+) .*\n((?:[\d. ]+\n)+)", text, re.MULTILINE)
    matrices = {factor: np.array(rows.split(), float).reshape(int(width), 4) for factor, width, rows in found}
    return {factor: np.log2(matrix / background) for factor, matrix in matrices.items()}


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(TEST_DATA / "tiny_checkpoint/tokenizer.json"))


@pytest.fixture(scope="module")
def weights():
    return load_file(TEST_DATA / "tiny_checkpoint/model.safetensors")


def score_share(bases, log_odds):
    """The log-odds of bases as long as the motif, as a share of the best; the better strand."""
    codes = ["ACGT".index(base) for base in bases]
    strands = (log_odds, log_odds[::-1, ::-1])
    return max(table[range(len(codes)), codes].sum() for table in strands) / log_odds.max(axis=1).sum()


# The script


@pytest.mark.parametrize("n_threads", [1, 5])
def test_script_makes_the_committed_bytes(tmp_path, n_threads):
    environment = os.environ | {"RAYON_NUM_THREADS": str(n_threads), "PYTHONHASHSEED": str(n_threads)}
    script = TEST_DATA / "make_test_data.py"
    subprocess.run([sys.executable, script, "--out", tmp_path], check=True, env=environment, timeout=300)
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 13
    assert sum((tmp_path / path).stat().st_size for path in made) < 2_000_000
    assert [path for path in made if (tmp_path / path).read_bytes() != (TEST_DATA / path).read_bytes()] == []


# The genome


def test_genome_has_its_chromosomes_in_an_order_that_sorting_would_change(genome):
    lengths = {
        "chr1": 120_000,
        "chr2": 80_000,
        "chr10": 40_000,
        "chrM": 5_000,
        "NC_000913.3": 3_000,
        "scaffold_7": 100,
    }
    assert [(chrom, len(sequence)) for chrom, sequence in genome.items()] == list(lengths.items())


def test_index_finds_every_chromosome(genome):
    content = (TEST_DATA / "genome.fa").read_bytes()
    for line in (TEST_DATA / "genome.fa.fai").read_text().splitlines():
        chrom, *numbers = line.split("\t")
        length, offset, line_bases, line_bytes = map(int, numbers)
        end = offset + length + (length - 1) // line_bases * (line_bytes - line_bases)
        assert content[offset:end].decode().replace("\n", "") == genome[chrom]
        assert (line_bases, line_bytes) == (60, 61)


def test_composition_is_like_that_of_human(genome):
    bases = genome["chr1"].upper()
    n_c, n_g, n_known = bases.count("C"), bases.count("G"), sum(map(bases.count, "ACGT"))
    assert (n_c + n_g) / n_known == pytest.approx(0.41, abs=0.015)
    assert bases.count("CG") * n_known / (n_c * n_g) < 0.35
    assert 0.2 < sum(map(str.islower, genome["chr1"])) / len(bases) < 0.5


def test_genome_has_n_runs_lone_n_and_iupac_letters(genome):
    runs = {chrom: [m.span() for m in re.finditer("N{2,}", sequence)] for chrom, sequence in genome.items()}
    assert {chrom: spans for chrom, spans in runs.items() if spans} == {
        "chr1": [(0, 1_000)],
        "chr2": [(40_100, 40_730)],
    }
    everything = "".join(genome.values()).upper()
    assert set(everything) == set("ACGTNRYSWKMBDHV")
    assert len(re.findall("(?<!N)N(?!N)", everything)) == 9


# The planted sites


def test_truth_and_decoys_have_forty_a_factor():
    names = [row[3] for name in ("truth.bed", "decoys.bed") for row in read_rows(name)]
    wanted = FACTORS | {f"{factor}_shuffled" for factor in FACTORS}
    assert {name: names.count(name) for name in set(names)} == dict.fromkeys(wanted, 40)


def test_sites_spell_their_motif(genome, motifs):
    for chrom, start, end, name, *_ in read_rows("truth.bed"):
        assert score_share(genome[chrom][start:end].upper(), motifs[name]) > 0.599, (chrom, start, name)


def test_decoys_match_their_motif_nowhere_near(genome, motifs):
    for chrom, start, end, name, *_ in read_rows("decoys.bed"):
        log_odds, width = motifs[name.removesuffix("_shuffled")], end - start
        for shift in range(-(width // 2), width // 2 + 1):
            bases = genome[chrom][start + shift : end + shift].upper()
            assert score_share(bases, log_odds) < 0.502, (chrom, start, name, shift)


def test_strand_of_a_site_is_the_one_it_is_spelt_on(genome, motifs):
    for chrom, start, end, name, _, strand in read_rows("truth.bed"):
        bases = genome[chrom][start:end].upper()
        if strand == "-":
            bases = bases[::-1].translate(str.maketrans("ACGT", "TGCA"))
        codes = ["ACGT".index(base) for base in bases]
        forward, backward = (
            table[range(len(codes)), codes].sum() for table in (motifs[name], motifs[name][::-1, ::-1])
        )
        # USF1 binds a palindrome: its strand is a draw, and both score alike.
        assert forward > backward or name == "USF1"


def test_planted_sites_keep_apart_from_each_other_and_from_n_runs(genome):
    rows = sorted(read_rows("truth.bed") + read_rows("decoys.bed"))
    gaps = [right[1] - left[2] for left, right in pairwise(rows) if left[0] == right[0]]
    assert min(gaps) >= 300
    assert not any("NN" in genome[chrom][start - 100 : end + 100] for chrom, start, end, *_ in rows)


# The regions


def test_clean_regions_are_the_scorable_ones(genome):
    def is_scorable(row):
        chrom, start, end, *_ = row
        return chrom in genome and start < end <= len(genome[chrom]) and set(genome[chrom][start:end]) != {"N"}

    regions, clean = read_rows("regions.bed"), read_rows("clean_regions.bed")
    assert sorted(filter(is_scorable, regions)) == sorted(clean)
    assert {row[3] for row in regions if not is_scorable(row)} == {
        "n_only",
        "empty",
        "partly_past_the_end",
        "wholly_past_the_end",
        "unknown_chrom",
    }
    assert regions == sorted(regions, key=lambda row: row[:3])
    assert clean == sorted(clean, key=lambda row: (list(genome).index(row[0]), *row[1:3]))


def test_regions_have_what_users_bring(genome):
    rows = read_rows("clean_regions.bed")
    assert len(rows) - len(set(rows)) == 1
    assert {row[5] for row in rows} == {"+", "-", "."}
    assert any(start == 0 for _, start, *_ in rows)
    assert any(end == len(genome[chrom]) for chrom, _, end, *_ in rows)
    assert sum(2_000 <= end - start <= 5_000 for _, start, end, *_ in rows) >= 5


def test_background_regions_hold_nothing_planted():
    planted = read_rows("truth.bed") + read_rows("decoys.bed")
    background = [row for row in read_rows("regions.bed") if row[3].startswith("background")]
    assert len(background) == 30
    for chrom, start, end, *_ in background:
        assert not any(chrom == site[0] and start < site[2] and site[1] < end for site in planted)


def test_peaks_have_summits_on_sites_and_scores_past_a_thousand():
    sites, peaks = read_rows("truth.bed"), read_rows("peaks.narrowPeak")
    assert {len(row) for row in peaks} == {10}
    assert len(peaks) == 30
    assert max(int(row[4]) for row in peaks) > 1000
    for chrom, start, end, *rest in peaks:
        summit = start + int(rest[-1])
        assert start <= summit < end
        assert any(chrom == site[0] and site[1] - 20 <= summit <= site[2] + 20 for site in sites)


def test_blacklist_covers_a_region_whole_and_another_in_part():
    listed = read_rows("blacklist.bed")
    regions = {row[3]: row for row in read_rows("regions.bed")}

    def covered(name):
        chrom, start, end, *_ = regions[name]
        return sum(max(0, min(end, row[2]) - max(start, row[1])) for row in listed if row[0] == chrom)

    assert (covered("background_1"), covered("background_2")) == (200, 100)
    assert any(" " in row[3] for row in listed)


# The checkpoint


def test_tokens_tile_the_sequence_and_span_several_bases(tokenizer, genome):
    sequence = genome["chr2"][:2_000].upper()
    encoding = tokenizer.encode(sequence)
    spans = encoding.offsets[1:-1]
    assert "".join(sequence[start:end] for start, end in spans) == sequence
    assert len(sequence) / len(spans) > 3
    assert (encoding.tokens[0], encoding.tokens[-1]) == ("[CLS]", "[SEP]")


def test_vocabulary_has_the_published_form(tokenizer):
    assert [tokenizer.id_to_token(i) for i in range(5)] == SPECIALS
    tokens = [tokenizer.id_to_token(i) for i in range(5, 256)]
    assert tokenizer.get_vocab_size() == 256
    assert all(set(token) <= set("ACGT") for token in tokens)
    assert tokenizer.encode("aNR", add_special_tokens=False).tokens == ["[UNK]"] * 3


def test_weights_have_the_published_keys_and_no_zero_bias(weights):
    norm = {"weight": (32,), "bias": (32,)}
    layer = {
        "attention.self.Wqkv": {"weight": (96, 32), "bias": (96,)},
        "attention.output.dense": {"weight": (32, 32), "bias": (32,)},
        "attention.output.LayerNorm": norm,
        "mlp.gated_layers": {"weight": (128, 32)},
        "mlp.wo": {"weight": (32, 64), "bias": (32,)},
        "mlp.layernorm": norm,
    }
    modules = {
        "bert.embeddings.word_embeddings": {"weight": (256, 32)},
        "bert.embeddings.token_type_embeddings": {"weight": (2, 32)},
        "bert.embeddings.LayerNorm": norm,
        **{f"bert.encoder.layer.{i}.{name}": shapes for i in range(2) for name, shapes in layer.items()},
        "bert.pooler.dense": {"weight": (32, 32), "bias": (32,)},
        "classifier": {"weight": (3, 32), "bias": (3,)},
    }
    wanted = {f"{name}.{part}": shape for name, shapes in modules.items() for part, shape in shapes.items()}
    assert {key: tuple(value.shape) for key, value in weights.items()} == wanted
    assert all(value.dtype == torch.float32 for value in weights.values())
    assert all(bool((value != 0).all()) for key, value in weights.items() if key.endswith("bias"))


def test_config_names_classes_and_window():
    config = json.loads((TEST_DATA / "tiny_checkpoint/config.json").read_text())
    assert config["id2label"] == {"0": "background", "1": "promoter", "2": "enhancer"}
    assert (config["problem_type"], config["gexplain_window"]) == ("single_label_classification", 128)


def predict_logits(weights, ids):
    """The published forward pass for one sequence without padding, written from design/DNABERT2.md."""

    def linear(x, key):
        return F.linear(x, weights[f"{key}.weight"], weights.get(f"{key}.bias"))

    def norm(x, key):
        return F.layer_norm(x, x.shape[-1:], weights[f"{key}.weight"], weights[f"{key}.bias"], 1e-12)

    embeddings = "bert.embeddings"
    words, types = (weights[f"{embeddings}.{name}_embeddings.weight"] for name in ("word", "token_type"))
    x = norm(words[ids] + types[0], f"{embeddings}.LayerNorm")
    places = torch.arange(len(ids))
    slopes = torch.tensor([2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8])
    bias = -slopes[:, None, None] * (places[:, None] - places).abs()
    for i in range(2):
        layer = f"bert.encoder.layer.{i}"
        q, k, v = linear(x, f"{layer}.attention.self.Wqkv").view(-1, 3, 4, 8).permute(1, 2, 0, 3)
        mixed = (q @ k.mT / 8**0.5 + bias).softmax(-1) @ v
        mixed = linear(mixed.transpose(0, 1).flatten(1), f"{layer}.attention.output.dense")
        x = norm(mixed + x, f"{layer}.attention.output.LayerNorm")
        gate, value = linear(x, f"{layer}.mlp.gated_layers").chunk(2, dim=-1)
        x = norm(linear(F.gelu(gate) * value, f"{layer}.mlp.wo") + x, f"{layer}.mlp.layernorm")
    return linear(linear(x[0], "bert.pooler.dense").tanh(), "classifier")


def test_logits_vary_between_windows(weights, tokenizer, genome):
    windows = [genome["chr2"][start : start + 128].upper() for start in range(1_000, 21_000, 200)]
    logits = torch.stack([predict_logits(weights, tokenizer.encode(window).ids) for window in windows])
    assert logits.std(dim=0).min() > 0.5
    assert len(set(logits.argmax(dim=1).tolist())) == 3
