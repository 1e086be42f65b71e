"""Test data: a synthetic genome with planted motif sites, regions on it, and a tiny DNABERT-2 checkpoint.

    python test_data/make_test_data.py [--out DIR]

The same bytes on every run and machine: all chance comes from `Generator.random` alone (64 raw bits of PCG64,
shifted), weights are uniform, logarithms are rounded before they are compared, and nothing is compressed, so
that the versions of numpy, libm and zlib do not matter. Each part draws from its own stream, so that a change
to one leaves the others.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

SEED = 5  # of the first dozen, the one whose random model predicts its three classes about equally often
STREAMS = ("genome", "slots", "sites", "mask", "regions", "peaks", "weights")

# FASTA order is not alphabetical order: chr10 comes last here and second in a sorted BED.
CHROMS = {
    "chr1": 120_000,
    "chr2": 80_000,
    "chr10": 40_000,
    "chrM": 5_000,
    "NC_000913.3": 3_000,
    "scaffold_7": 100,
}
PLANTED_CHROMS = ("chr1", "chr2", "chr10")
LINE_WIDTH = 60

# Rows: the base before, in ACGT order; columns: the base after. CpG is depleted, GC is 41 %, as in human.
MARKOV = ((33, 17, 24, 26), (35, 26, 5, 34), (29, 21, 26, 24), (22, 20, 25, 33))
N_RUNS = (("chr1", 0, 1_000), ("chr2", 40_100, 40_730))
CHRM_N = 3_106  # the human mitochondrial reference has its one N here
SINGLE_LETTERS = "NNNNNNNNRYSWKMBDHV"
MASKED_WIDTHS = (80, 500)
UNMASKED_WIDTHS = (150, 900)

# IUPAC consensus sequences as textbooks print them; upper case is firm, lower case is loose.
CONSENSUS = {
    "CTCF": "yGRCCASyAGRKGGCRSyr",
    "FOXA1": "wTGTTTACwyw",
    "GABPA": "raCCGGAAGTGr",
    "REST": "TTCAGCACCATGGACAGCGCC",
    "USF1": "rGTCACGTGACy",
}
IUPAC = {
    "A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
}  # fmt: skip
FIRM, LOOSE = 0.94, 0.70
BACKGROUND = (0.295, 0.205, 0.205, 0.295)

SITES_PER_FACTOR = 40
REGIONS_PER_FACTOR = 8
SLOT_WIDTH = 500  # one slot holds at most one planted thing, 150 bases or more from the slot's ends
REGION_WIDTH = 200
LEAST_SITE_SCORE, MOST_DECOY_SCORE = 600, 500  # thousandths of the motif's best score

SPECIALS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
VOCAB_SIZE = 256
HIDDEN, LAYERS, HEADS, INTERMEDIATE = 32, 2, 4, 64
LABELS = ("background", "promoter", "enhancer")
WINDOW = 128

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Feature:
    """One BED6 line."""

    chrom: str
    start: int
    end: int
    name: str
    score: int = 0
    strand: str = "."

    def __str__(self) -> str:
        return f"{self.chrom}\t{self.start}\t{self.end}\t{self.name}\t{self.score}\t{self.strand}"


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description="Make the test data.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    out: Path = parser.parse_args().out
    for name, content in make_files().items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def make_files() -> dict[str, bytes]:
    """Every file's content, by its path in the output folder."""
    motifs = {factor: make_motif(consensus) for factor, consensus in CONSENSUS.items()}
    genome = make_genome()
    full, empty = choose_slots(2 * SITES_PER_FACTOR * len(motifs))
    truth, decoys = plant_sites(genome, motifs, full)
    place_single_letters(genome, empty)
    mask_repeats(genome)

    regions, unscorable = make_regions(truth, decoys, empty)
    texts = {
        "genome.fa": format_fasta(genome),
        "genome.fa.fai": format_fai(),
        "motifs.meme": format_meme(motifs),
        "truth.bed": format_lines(in_fasta_order(truth)),
        "decoys.bed": format_lines(in_fasta_order(decoys)),
        "regions.bed": format_lines(in_sort_order(regions + unscorable)),
        "clean_regions.bed": format_lines(in_fasta_order(regions)),
        "peaks.narrowPeak": format_lines(make_peaks(truth)),
        "blacklist.bed": make_blacklist(regions),
        "tiny_checkpoint/config.json": format_json(make_config()),
        "tiny_checkpoint/tokenizer.json": format_json(train_tokenizer(genome)),
        "tiny_checkpoint/tokenizer_config.json": format_json(make_tokenizer_config()),
    }
    files = {name: text.encode("ascii") for name, text in texts.items()}
    files["tiny_checkpoint/model.safetensors"] = save(make_weights(), metadata={"format": "pt"})
    return files


def make_stream(part: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([SEED, STREAMS.index(part)]))


def draw_integer(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number in [low, high). numpy promises no stable stream for `Generator.integers`."""
    return low + int(rng.random() * (high - low))


def draw_order(rng: np.random.Generator, n: int) -> list[int]:
    """A random order of n things."""
    draws = rng.random(n).tolist()
    return sorted(range(n), key=draws.__getitem__)


# The genome


def make_genome() -> dict[str, list[str]]:
    """Each chromosome as a list of upper-case letters, with its long N runs."""
    rng = make_stream("genome")
    cumulated = [list(accumulate(row)) for row in MARKOV]
    genome = {}
    for chrom, width in CHROMS.items():
        code, letters = 0, []
        for draw in (rng.random(width) * 100).tolist():
            code = bisect(cumulated[code], draw)
            letters.append("ACGT"[code])
        genome[chrom] = letters
    for chrom, start, end in N_RUNS:
        genome[chrom][start:end] = "N" * (end - start)
    genome["chrM"][CHRM_N] = "N"
    return genome


def choose_slots(n_full: int) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(chrom, start) of the slots to plant in, and of those that stay empty; all clear of long N runs."""
    slots = [
        (chrom, start)
        for chrom in PLANTED_CHROMS
        for start in range(SLOT_WIDTH, CHROMS[chrom] - SLOT_WIDTH, SLOT_WIDTH)
        if not any(chrom == run[0] and start < run[2] and run[1] < start + SLOT_WIDTH for run in N_RUNS)
    ]
    order = draw_order(make_stream("slots"), len(slots))
    return [slots[i] for i in order[:n_full]], [slots[i] for i in order[n_full:]]


def place_single_letters(genome: dict[str, list[str]], slots: Sequence[tuple[str, int]]) -> None:
    """Lone N and IUPAC letters, in the middle of the first slots."""
    for letter, (chrom, start) in zip(SINGLE_LETTERS, slots, strict=False):
        genome[chrom][start + SLOT_WIDTH // 2] = letter


def mask_repeats(genome: dict[str, list[str]]) -> None:
    """Lower-case runs, about a third of all; N runs stay upper case, as in published genomes."""
    rng = make_stream("mask")
    for letters in genome.values():
        start = draw_integer(rng, *UNMASKED_WIDTHS)
        while start < len(letters):
            end = start + draw_integer(rng, *MASKED_WIDTHS)
            letters[start:end] = [base if base == "N" else base.lower() for base in letters[start:end]]
            start = end + draw_integer(rng, *UNMASKED_WIDTHS)


# Motifs and sites


def make_motif(consensus: str) -> NDArray[np.float64]:
    """(width, 4) probabilities in ACGT order, from an IUPAC consensus."""
    rows = []
    for letter in consensus:
        bases = IUPAC[letter.upper()]
        share = FIRM if letter.isupper() else LOOSE
        rest = (1 - share) / (4 - len(bases))
        rows.append([share / len(bases) if base in bases else rest for base in "ACGT"])
    return np.array(rows)


def make_log_odds(motif: NDArray[np.float64]) -> IntArray:
    """(width, 4) log-odds in whole thousandths of a bit, so that scores compare alike everywhere."""
    log_odds: IntArray = np.rint(1000 * np.log2(motif / np.array(BACKGROUND))).astype(np.int64)
    return log_odds


def score_best(sequence: str, log_odds: IntArray) -> int:
    """The best match on either strand, in thousandths of the motif's best score; never negative."""
    codes = np.array(["ACGT".index(base) for base in sequence])
    words = np.lib.stride_tricks.sliding_window_view(codes, len(log_odds))
    best = max(
        int(table[np.arange(len(table)), words].sum(axis=1).max()) for table in (log_odds, log_odds[::-1, ::-1])
    )
    return max(0, 1000 * best // int(log_odds.max(axis=1).sum()))


def plant_sites(
    genome: dict[str, list[str]], motifs: dict[str, NDArray[np.float64]], slots: Sequence[tuple[str, int]]
) -> tuple[list[Feature], list[Feature]]:
    """Sites and decoys, written into the genome: one a slot.

    A site is a draw from the motif, on either strand. A decoy is such a draw, shuffled until neither it
    nor its seams with half a motif of flank match the motif on either strand.
    """
    rng = make_stream("sites")
    free = iter(slots)
    truth: list[Feature] = []
    decoys: list[Feature] = []
    for factor, motif in motifs.items():
        log_odds = make_log_odds(motif)
        width = len(motif)
        for i in range(2 * SITES_PER_FACTOR):
            chrom, slot = next(free)
            start = slot + draw_integer(rng, 150, 350 - width)
            end = start + width
            bases = sample_instance(rng, motif, log_odds)
            strand = "+-"[draw_integer(rng, 0, 2)]
            if strand == "-":
                bases = reverse_complement(bases)
            if i % 2:
                before = "".join(genome[chrom][start - width // 2 : start])
                after = "".join(genome[chrom][end : end + width // 2])
                while (score := score_best(before + bases + after, log_odds)) > MOST_DECOY_SCORE:
                    bases = "".join(bases[j] for j in draw_order(rng, width))
                name, features = f"{factor}_shuffled", decoys
            else:
                score = score_best(bases, log_odds)
                name, features = factor, truth
            genome[chrom][start:end] = bases
            features.append(Feature(chrom, start, end, name, score, strand))
    return truth, decoys


def sample_instance(rng: np.random.Generator, motif: NDArray[np.float64], log_odds: IntArray) -> str:
    """A draw from the motif that scores well, as a bound site does."""
    while True:
        codes = [
            min(3, bisect(list(accumulate(row)), draw))
            for row, draw in zip(motif, rng.random(len(motif)), strict=True)
        ]
        bases = "".join("ACGT"[code] for code in codes)
        if score_best(bases, log_odds) >= LEAST_SITE_SCORE:
            return bases


def reverse_complement(bases: str) -> str:
    return bases[::-1].translate(str.maketrans("ACGT", "TGCA"))


# Regions, peaks and blacklist


def make_regions(
    truth: Sequence[Feature], decoys: Sequence[Feature], empty: Sequence[tuple[str, int]]
) -> tuple[list[Feature], list[Feature]]:
    """The regions that can be scored, and those that cannot."""
    rng = make_stream("regions")
    scorable = []
    for features in (truth, decoys):
        for name in dict.fromkeys(feature.name for feature in features):
            chosen = [feature for feature in features if feature.name == name][:REGIONS_PER_FACTOR]
            scorable += [region_around(rng, feature, f"{name}_{i}") for i, feature in enumerate(chosen, 1)]
    for i, (chrom, slot) in enumerate(empty[:30], 1):
        start = slot + (SLOT_WIDTH - REGION_WIDTH) // 2
        scorable.append(Feature(chrom, start, start + REGION_WIDTH, f"background_{i}", 0, "."))
    first = scorable[0]
    scorable += [
        first,  # the same line again, and the same place under another name and strand
        Feature(first.chrom, first.start, first.end, "same_place", 0, "."),
        Feature("chr1", 12_000, 14_000, "long_1", 100, "+"),
        Feature("chr1", 13_000, 16_500, "long_2_overlaps_long_1", 100, "-"),
        Feature("chr1", 60_123, 65_123, "long_3", 100, "."),
        Feature("chr2", 39_000, 42_000, "long_4_spans_n_run", 100, "+"),
        Feature("chr10", 20_000, 24_321, "long_5", 100, "-"),
        Feature("chr10", 24_300, 24_500, "overlaps_long_5", 0, "+"),
        Feature("chr2", 0, 200, "at_position_0", 0, "+"),
        Feature("chr10", 39_850, 40_000, "at_chrom_end", 0, "-"),
        Feature("chr2", 10_000, 10_001, "one_base", 0, "+"),
        Feature("chrM", 0, 5_000, "whole_chrM", 1000, "."),
        Feature("NC_000913.3", 1_000, 1_300, "dotted_name", 0, "+"),
        Feature("scaffold_7", 0, 100, "shorter_than_a_window", 0, "."),
    ]
    unscorable = [
        Feature("chr1", 300, 500, "n_only", 0, "+"),
        Feature("chr2", 5_000, 5_000, "empty", 0, "."),
        Feature("chr10", 39_900, 40_100, "partly_past_the_end", 0, "+"),
        Feature("chr10", 50_000, 50_200, "wholly_past_the_end", 0, "-"),
        Feature("chr7", 1_000, 1_200, "unknown_chrom", 0, "."),
    ]
    return scorable, unscorable


def region_around(rng: np.random.Generator, feature: Feature, name: str) -> Feature:
    """A region that holds the feature, off-centre by at most 40 bases."""
    start = (feature.start + feature.end - REGION_WIDTH) // 2 + draw_integer(rng, -40, 41)
    return Feature(feature.chrom, start, start + REGION_WIDTH, name, feature.score, feature.strand)


def make_peaks(truth: Sequence[Feature]) -> list[str]:
    """30 narrowPeak lines as MACS writes them; its score, ten times -log10 q, goes past BED's 1000."""
    rng = make_stream("peaks")
    lines = []
    for i, site in enumerate(in_sort_order(truth[j] for j in draw_order(rng, len(truth))[:30]), 1):
        width = draw_integer(rng, 180, 421)
        summit = (site.start + site.end) // 2 + draw_integer(rng, -15, 16)
        start = summit - width // 2 + draw_integer(rng, -30, 31)
        log_q = draw_integer(rng, 2_000, 250_000)  # thousandths
        columns = [site.chrom, start, start + width, f"synthetic_peak_{i}", log_q // 100, "."]
        columns += [f"{value // 1000}.{value % 1000:03}00" for value in (log_q // 10 + 2_000, log_q + 2_500, log_q)]
        lines.append("\t".join(map(str, [*columns, summit - start])))
    return lines


def make_blacklist(regions: Sequence[Feature]) -> str:
    """BED4 as ENCODE's lists are, with blanks in the names."""
    covered = next(region for region in regions if region.name == "background_1")
    halved = next(region for region in regions if region.name == "background_2")
    rows = [
        ("chr1", 0, 1_500, "High Signal Region"),
        ("chr2", 40_000, 40_800, "Low Mappability"),
        (covered.chrom, covered.start - 50, covered.end + 50, "Low Mappability"),
        (halved.chrom, halved.start + REGION_WIDTH // 2, halved.end + 50, "High Signal Region"),
        ("chrM", 1_000, 2_000, "High Signal Region"),
    ]
    return format_lines("\t".join(map(str, row)) for row in sorted(rows, key=fasta_rank))


def in_fasta_order(features: Iterable[Feature]) -> list[Feature]:
    return sorted(features, key=lambda feature: fasta_rank((feature.chrom, feature.start, feature.end)))


def in_sort_order(features: Iterable[Feature]) -> list[Feature]:
    """As `LC_ALL=C sort -k1,1 -k2,2n -k3,3n` does, and hence most BED files."""
    return sorted(features, key=lambda feature: (feature.chrom, feature.start, feature.end))


def fasta_rank(row: tuple[str, int, int] | tuple[str, int, int, str]) -> tuple[int, int, int]:
    return list(CHROMS).index(row[0]), row[1], row[2]


# The checkpoint


def train_tokenizer(genome: dict[str, list[str]]) -> dict[str, object]:
    """tokenizer.json of a BPE vocabulary learnt from the genome, in the published file's form.

    Only vocabulary and merges are the library's; both are the same for any number of threads.
    """
    text = " ".join("".join(letters).upper() for letters in genome.values())
    runs = re.findall(r"[ACGT]{1,1000}", text)
    learner = Tokenizer(models.BPE(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, special_tokens=list(SPECIALS), show_progress=False)
    learner.train_from_iterator(runs, trainer)
    vocab = learner.get_vocab()
    merges = json.loads(learner.to_str())["model"]["merges"]
    ids = {token: vocab[token] for token in SPECIALS}
    cls, sep = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("[CLS]", "[SEP]"))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token, **flags} for token, i in ids.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, {"Sequence": {"id": "A", "type_id": 0}}, sep],
            "pair": [
                cls,
                {"Sequence": {"id": "A", "type_id": 0}},
                sep,
                {"Sequence": {"id": "B", "type_id": 1}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 1}},
            ],
            "special_tokens": {
                token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in ("[CLS]", "[SEP]")
            },
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "vocab": dict(sorted(vocab.items(), key=lambda item: item[1])),
            "merges": [" ".join(merge) for merge in merges],
        },
    }


def make_tokenizer_config() -> dict[str, object]:
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIALS}
    return {"tokenizer_class": "PreTrainedTokenizerFast", **names}


def make_config() -> dict[str, object]:
    """config.json as a fine-tuned DNABERT-2 has it, and the window that gexplain is to cut."""
    remote = "zhihan1996/DNABERT-2-117M--"
    return {
        "_name_or_path": "zhihan1996/DNABERT-2-117M",
        "alibi_starting_size": 512,
        "architectures": ["BertForSequenceClassification"],
        "attention_probs_dropout_prob": 0.0,
        "auto_map": {
            "AutoConfig": f"{remote}configuration_bert.BertConfig",
            "AutoModel": f"{remote}bert_layers.BertModel",
            "AutoModelForMaskedLM": f"{remote}bert_layers.BertForMaskedLM",
            "AutoModelForSequenceClassification": f"{remote}bert_layers.BertForSequenceClassification",
        },
        "classifier_dropout": None,
        "gexplain_window": WINDOW,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "id2label": {str(i): label for i, label in enumerate(LABELS)},
        "initializer_range": 0.02,
        "intermediate_size": INTERMEDIATE,
        "label2id": {label: i for i, label in enumerate(LABELS)},
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "model_type": "bert",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": SPECIALS.index("[PAD]"),
        "position_embedding_type": "absolute",
        "problem_type": "single_label_classification",
        "torch_dtype": "float32",
        "transformers_version": "4.28.0",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": VOCAB_SIZE,
    }


def make_weights() -> dict[str, NDArray[np.float32]]:
    """The state dict, in the published key names; no bias and no LayerNorm beta is zero."""
    rng = make_stream("weights")
    weights: dict[str, NDArray[np.float32]] = {}

    def draw(shape: tuple[int, ...], spread: float, centre: float = 0.0) -> NDArray[np.float32]:
        return (centre + spread * (2 * rng.random(shape) - 1)).astype(np.float32)

    def add_linear(key: str, n_out: int, n_in: int, gain: float, *, bias: bool = True) -> None:
        # gain 1 keeps the variance: a uniform draw in [-s, s) has s^2 / 3.
        weights[f"{key}.weight"] = draw((n_out, n_in), gain * math.sqrt(3 / n_in))
        if bias:
            weights[f"{key}.bias"] = draw((n_out,), 0.2)

    def add_layer_norm(key: str) -> None:
        weights[f"{key}.weight"] = draw((HIDDEN,), 0.3, centre=1.0)
        weights[f"{key}.bias"] = draw((HIDDEN,), 0.3)

    weights["bert.embeddings.word_embeddings.weight"] = draw((VOCAB_SIZE, HIDDEN), 1.0)
    weights["bert.embeddings.token_type_embeddings.weight"] = draw((2, HIDDEN), 0.2)
    add_layer_norm("bert.embeddings.LayerNorm")
    for i in range(LAYERS):
        layer = f"bert.encoder.layer.{i}"
        add_linear(f"{layer}.attention.self.Wqkv", 3 * HIDDEN, HIDDEN, 1.5)
        add_linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN, 1.0)
        add_layer_norm(f"{layer}.attention.output.LayerNorm")
        add_linear(f"{layer}.mlp.gated_layers", 2 * INTERMEDIATE, HIDDEN, 1.0, bias=False)
        add_linear(f"{layer}.mlp.wo", HIDDEN, INTERMEDIATE, 1.0)
        add_layer_norm(f"{layer}.mlp.layernorm")
    add_linear("bert.pooler.dense", HIDDEN, HIDDEN, 1.0)
    add_linear("classifier", len(LABELS), HIDDEN, 2.0)
    return weights


# Formats


def format_fasta(genome: dict[str, list[str]]) -> str:
    parts = []
    for chrom, letters in genome.items():
        sequence = "".join(letters)
        parts.append(f">{chrom}")
        parts += [sequence[i : i + LINE_WIDTH] for i in range(0, len(sequence), LINE_WIDTH)]
    return format_lines(parts)


def format_fai() -> str:
    rows, offset = [], 0
    for chrom, width in CHROMS.items():
        offset += len(f">{chrom}\n")
        rows.append(f"{chrom}\t{width}\t{offset}\t{LINE_WIDTH}\t{LINE_WIDTH + 1}")
        offset += width + -(-width // LINE_WIDTH)
    return format_lines(rows)


def format_meme(motifs: dict[str, NDArray[np.float64]]) -> str:
    background = " ".join(f"{base} {share}" for base, share in zip("ACGT", BACKGROUND, strict=True))
    lines = ["MEME version 4", "", "ALPHABET= ACGT", "", "strands: + -", ""]
    lines += ["Background letter frequencies", background, ""]
    for factor, motif in motifs.items():
        lines += [f"MOTIF {factor}", f"letter-probability matrix: alength= 4 w= {len(motif)} nsites= 40 E= 0"]
        lines += [" ".join(f"{share:.6f}" for share in row) for row in motif] + [""]
    return format_lines(lines)


def format_lines(lines: Iterable[object]) -> str:
    return "".join(f"{line}\n" for line in lines)


def format_json(content: dict[str, object]) -> str:
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    main()
