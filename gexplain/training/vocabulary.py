"""Vocabulary: a BPE tokenizer of DNABERT-2's kind, trained on sequences, as a tokenizer.json."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from gexplain.errors import InputError
from gexplain.genome.sequence import reverse_complement

# Ids 0 to 4, as in DNABERT-2's own file.
SPECIALS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
DEFAULT_N_TOKENS = 4096

# The widest token of DNABERT-2's own vocabulary; symmetric ALiBi sees no order but what tokens spell.
MAX_TOKEN_WIDTH = 32


def train_tokenizer(
    sequences: Iterable[str],
    path: str | os.PathLike[str],
    *,
    n_tokens: int = DEFAULT_N_TOKENS,
    max_width: int = MAX_TOKEN_WIDTH,
) -> Path:
    """The tokenizer.json written: BPE (Sennrich et al. 2016) of both strands of the sequences.

    n_tokens: special tokens and bases included; fewer where the sequences run out of pairs to merge.
    Letters other than A, C, G and T become [UNK]. Raises InputError where a base never occurs.
    """
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors, trainers

    seen: set[str] = set()
    rust = tokenizers.Tokenizer(models.BPE(unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    rust.train_from_iterator(
        _pure_pieces(sequences, seen),
        trainers.BpeTrainer(
            vocab_size=n_tokens,
            special_tokens=list(SPECIALS),
            initial_alphabet=list("ACGT"),
            max_token_length=max_width,
            show_progress=False,
        ),
    )
    if seen != set("ACGT"):
        raise InputError(
            f"no {', '.join(sorted(set('ACGT') - seen))} in any training sequence; a tokenizer needs all four bases",
            hint="give the tokenizer.json of another model with --tokenizer",
        )
    cls_id, sep_id = SPECIALS.index("[CLS]"), SPECIALS.index("[SEP]")
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls_id), ("[SEP]", sep_id)],
    )
    path = Path(path)
    rust.save(str(path))
    return path


def _pure_pieces(sequences: Iterable[str], seen: set[str]) -> Iterator[str]:
    """The stretches of plain bases of both strands; merges over an N would never be used."""
    stream = iter(sequences)
    while block := list(islice(stream, 1000)):
        for sequence in block:
            for strand in (sequence, reverse_complement(sequence)):
                plain = strand if set(strand) <= set("ACGT") else _blank(strand)
                for piece in plain.split():
                    seen.update(piece)
                    yield piece


def _blank(sequence: str) -> str:
    return "".join(letter if letter in "ACGT" else " " for letter in sequence)
