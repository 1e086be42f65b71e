"""Tokens: sequence -> ids and nucleotide spans, by the tokenizer file that the model was trained with.

Everything that speaks of nucleotides stands on one law, held on load and again on every sequence:
"".join(sequence[a:b] for a, b in spans) == sequence.

Encoding a batch runs on Rust threads. Do not fork a process after it (start workers with "spawn"): in a fork
the tokenizers library warns and goes single-threaded. RAYON_NUM_THREADS limits the threads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from gexplain.arrays import IntArray
from gexplain.errors import ModelError, preview

if TYPE_CHECKING:
    import tokenizers

_SPECIALS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")

# What a reference holds: plain bases, unknown ones, soft-masked ones, IUPAC codes.
_PROBES = ("ACGTTGCATTAGGCATCGAC", "ACGTNNACGT", "acgtacgt", "ACGRYSWKMBDHVGT")


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """One sequence as the model reads it.

    ids: (T,) int64, [CLS] first and [SEP] last. spans: (T, 2) int64, window-relative, half-open; empty for
    [CLS] and [SEP], the others tile [0, L).
    """

    ids: IntArray
    spans: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Tokenizer:
    """A tokenizer.json that keeps the law of spans; `from_file` makes one.

    n_tokens is the number of embedding rows that its ids need; sha256 is that of the file.
    """

    path: Path
    sha256: str
    n_tokens: int
    unk_id: int
    cls_id: int
    sep_id: int
    pad_id: int
    mask_id: int
    _widths: IntArray = field(repr=False)  # (n_tokens,), letters of each token
    _spelled: list[str] = field(repr=False)  # (n_tokens,), letters of each; of what spells none, what no sequence has
    _rust: tokenizers.Tokenizer = field(repr=False)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """The tokenizer of a tokenizer.json, with its truncation, padding and BPE dropout switched off.

        Raises ModelError where the file is no tokenizer, lacks a special token, or breaks the law of spans.
        """
        import tokenizers

        path = Path(path)
        if not path.is_file():
            raise ModelError(f"{path}: no such tokenizer file", hint="give the path of a tokenizer.json")
        try:
            rust = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise ModelError(
                f"{path}: not a tokenizer.json: {error}",
                hint="copy it again from the model that was fine-tuned",
            ) from error
        rust.no_truncation()  # a fine-tuning length kept in the file would drop the tail of a window silently
        rust.no_padding()
        if getattr(rust.model, "dropout", None) is not None:
            rust.model.dropout = None  # training noise: the same sequence would get other tokens each time
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        ids = rust.get_vocab(with_added_tokens=True)
        missing = [token for token in _SPECIALS if token not in ids]
        if missing:
            raise ModelError(
                f"{path}: the vocabulary has no {', '.join(missing)}; expected {', '.join(_SPECIALS)}",
                hint="use the tokenizer.json of the model that was fine-tuned",
            )
        widths = np.zeros(max(ids.values()) + 1, dtype=np.int64)
        for token, token_id in ids.items():
            widths[token_id] = len(token)
        letters = {token_id: token for token, token_id in ids.items() if token not in _SPECIALS}
        tokenizer = cls(
            path=path,
            sha256=sha256,
            n_tokens=len(widths),
            unk_id=ids["[UNK]"],
            cls_id=ids["[CLS]"],
            sep_id=ids["[SEP]"],
            pad_id=ids["[PAD]"],
            mask_id=ids["[MASK]"],
            _widths=widths,
            _spelled=[letters.get(token_id, "\n") for token_id in range(len(widths))],
            _rust=rust,
        )
        tokenizer._check_bases()
        return tokenizer

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids that never spell a base: [CLS], [SEP], [PAD], [MASK]. [UNK] stands for one, such as N."""
        return frozenset((self.cls_id, self.sep_id, self.pad_id, self.mask_id))

    def encode(self, sequences: Sequence[str]) -> list[Tokens]:
        """The tokens of each sequence, in order, none dropped.

        Raises ValueError where a sequence is empty, has whitespace or spells a special token; ModelError
        where its tokens do not spell it.
        """
        for sequence in sequences:
            if sequence.split() != [sequence]:
                raise ValueError(f"not a sequence: {_excerpt(sequence)}; expected letters without whitespace")
        encodings = self._rust.encode_batch_fast(list(sequences), is_pretokenized=False, add_special_tokens=True)
        tokens = [self._plain(sequence, one.ids) for sequence, one in zip(sequences, encodings, strict=True)]
        # What is not plain is encoded again with its offsets, and its fault told, if it is one.
        others = [index for index, one in enumerate(tokens) if one is None]
        for index, one in zip(others, self._encode_any([sequences[index] for index in others]), strict=True):
            tokens[index] = one
        return cast(list[Tokens], tokens)

    def _plain(self, sequence: str, ids: list[int]) -> Tokens | None:
        """The tokens of a sequence that they spell letter by letter between [CLS] and [SEP]; None for any other.

        Each is then as wide as it has letters; its offsets need not be asked for, which take far longer to hand over.
        """
        if (
            ids[:1] != [self.cls_id]
            or ids[-1:] != [self.sep_id]
            or "".join([self._spelled[one] for one in ids[1:-1]]) != sequence
        ):
            return None
        row = np.array(ids, dtype=np.int64)
        spans = np.zeros((len(row), 2), dtype=np.int64)
        np.cumsum(self._widths[row[1:-1]], out=spans[1:-1, 1])
        spans[2:-1, 0] = spans[1:-2, 1]
        return Tokens(row, spans)

    def _encode_any(self, sequences: Sequence[str]) -> Iterator[Tokens]:
        """The tokens of each sequence, by the offsets that the tokenizer tells."""
        encodings = self._rust.encode_batch(list(sequences), is_pretokenized=False, add_special_tokens=True)
        for sequence, encoding in zip(sequences, encodings, strict=True):
            ids = np.array(encoding.ids, dtype=np.int64)
            spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            if len(ids) < 2 or ids[0] != self.cls_id or ids[-1] != self.sep_id:
                raise ModelError(
                    f"{self.path}: {_excerpt(sequence)} is not put between [CLS] and [SEP]",
                    hint="the file needs the template post-processor of DNABERT-2's tokenizer.json",
                )
            starts, ends = spans[1:-1, 0], spans[1:-1, 1]
            if (np.isin(ids[1:-1], list(self.special_ids)) & (ends > starts)).any():
                raise ValueError(f"not a sequence: {_excerpt(sequence)} spells a special token")
            borders = np.append(starts, len(sequence))
            # A normaliser that drops letters stretches the spans beside them: they tile, and tell lies.
            other_width = (ends - starts != self._widths[ids[1:-1]]) & (ids[1:-1] != self.unk_id)
            if borders[0] != 0 or (borders[1:] != ends).any() or (starts >= ends).any() or other_width.any():
                raise ModelError(
                    f"{self.path}: the tokens of {_excerpt(sequence)} do not spell it: "
                    f"{preview(encoding.tokens[1:-1], most=20)}",
                    hint="the tokenizer must keep every base: no normaliser, no k-mers, an [UNK] token",
                )
            spans[[0, -1]] = 0
            yield Tokens(ids, spans)

    def _check_bases(self) -> None:
        """Hold the law on the probes, and that no upper-case base is unknown, alone or beside an N."""
        for sequence, tokens in zip(_PROBES, self.encode(_PROBES), strict=True):
            unknown = "".join(sequence[a:b] for a, b in tokens.spans[tokens.ids == self.unk_id])
            lost = sorted(set(unknown) & set("ACGT"))
            if lost:
                raise ModelError(
                    f"{self.path}: {', '.join(lost)} of {_excerpt(sequence)} became [UNK]",
                    hint="use the tokenizer.json of the model that was fine-tuned",
                )


def _excerpt(sequence: str) -> str:
    return repr(sequence) if len(sequence) <= 40 else f"{sequence[:40]!r}... ({len(sequence):,} letters)"
