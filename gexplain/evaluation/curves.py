"""Curves: does the explained value fall as what is called relevant is taken away?

An explanation orders the positions of its sequence: tokens, or nucleotides; those that are equally relevant are in
random order. They are perturbed in that order, most relevant first (MoRF), and in its reverse, least relevant first
(LeRF), a share at a time, and the model is asked again (Samek et al. 2017,
https://doi.org/10.1109/TNNLS.2016.2599820). The two levels perturb differently, and their curves are never mixed:

token        ids become [MASK] in place. The tokenisation stays what it was; [CLS] and [SEP] are never masked.
nucleotide   bases are substituted, and the model tokenises what is then there. A substitution is random, so that the
             value is a mean over draws.

All that is random depends on the seed and the sequence alone, and is common to all explanations of a sequence: the
order of equally relevant positions, and in each draw the donor, which holds for every position the letter that would
take its place. An explanation only decides which positions are taken first. So methods are compared on the same
perturbations, nothing is changed by what else is asked or when, and all curves of a sequence start and end alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray, IntArray
from gexplain.errors import RunError, UsageError
from gexplain.genome.shuffle import dinucleotide_shuffle
from gexplain.tokens import Tokens

BoolArray = npt.NDArray[np.bool_]
_LetterArray = npt.NDArray[np.uint8]  # ASCII, a byte each
_RowArray = npt.NDArray[np.uint8] | npt.NDArray[np.int64]  # letters, or ids

# M explanations of one sequence, N positions, P points of a curve, K different ones, D draws

FRACTIONS = (0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
"""Shares of the positions that are perturbed. Symmetric: what MoRF takes, LeRF leaves (to one position at .5)."""

DEFAULT_DRAWS = 5
DEFAULT_ROWS = 4096
"""Rows that the model is asked at once: enough to fill it, and some MB of memory."""

_BASES = np.frombuffer(b"ACGT", np.uint8)

_Read = TypeVar("_Read")  # what the model reads: a sequence, or its tokens


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The explained value along both orders; the first point is the value of the sequence itself.

    fractions: (P,), rising from 0. morf, lerf: (P,) float64, in the model's logit units, means over the draws.
    """

    fractions: FloatArray
    morf: FloatArray
    lerf: FloatArray

    def __post_init__(self) -> None:
        if self.fractions.ndim != 1 or not self.fractions.shape == self.morf.shape == self.lerf.shape:
            raise ValueError(f"fractions {self.fractions.shape}, MoRF {self.morf.shape}, LeRF {self.lerf.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Claim(Generic[_Read]):
    """What one explanation says of one sequence: the higher the relevance, the more a position speaks for the value.

    sequence: upper-case DNA, or its tokens. relevance: (N,), of every nucleotide, or of every token that spells
    bases ([UNK] included, [CLS] and [SEP] not). direction: (n_targets,), by which the explained value is the sum of
    direction * logits: 1 at the explained class and 0 elsewhere, or a contrast of classes.

    Raises ValueError where relevance or direction is not one-dimensional and finite, or empty.
    """

    sequence: _Read
    relevance: FloatArray
    direction: FloatArray

    def __post_init__(self) -> None:
        for name, values in (("relevance", self.relevance), ("direction", self.direction)):
            if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
                raise ValueError(f"{name} {values.shape}; expected one dimension, finite, not empty")


@dataclass(frozen=True, slots=True)
class CurveSettings:
    """How curves are made. donor: a name in DONORS; it and n_draws matter to nucleotide curves only.

    max_rows: the most perturbed sequences that one question to the model holds; it changes no value.
    """

    fractions: Sequence[float] = FRACTIONS
    donor: str = "random"
    n_draws: int = DEFAULT_DRAWS
    seed: int = 0
    max_rows: int = DEFAULT_ROWS

    def __post_init__(self) -> None:
        steps = np.diff([*self.fractions, 1.0])
        if not self.fractions or self.fractions[0] != 0 or not ((steps[:-1] > 0).all() and steps[-1] >= 0):
            raise UsageError(f"fractions {tuple(self.fractions)}", hint="start at 0, and rise to 1 at most")
        if self.donor not in DONORS:
            raise UsageError(f"no donor {self.donor!r}", hint=f"one of {', '.join(DONORS)}")
        if self.n_draws < 1 or self.max_rows < 1:
            raise UsageError(f"{self.n_draws} draws, {self.max_rows} rows at once", hint="at least 1 of each")


def token_curves(
    claims: Sequence[Claim[Tokens]],
    ask: Callable[[Sequence[Tokens]], FloatArray],
    mask_id: int,
    settings: CurveSettings | None = None,
) -> list[Curves]:
    """Curves of each claim, in order: the first round(fraction * N) tokens of its order are [MASK].

    ask: logits (B, n_targets) of rows of tokens, of their ids alone, such as `Model.logits_of_tokens`. It is never
    given more than `settings.max_rows`, and one row of a sequence never twice: put the claims of all methods in one
    call. round goes to even at .5.

    Raises ValueError where a relevance, a direction or the answer has another length than it must; RunError where
    logits are not finite.
    """
    return _curves(claims, _Masking(mask_id), ask, settings or CurveSettings())


def nucleotide_curves(
    claims: Sequence[Claim[str]], ask: Callable[[Sequence[str]], FloatArray], settings: CurveSettings | None = None
) -> list[Curves]:
    """Curves of each claim, in order: the first round(fraction * N) bases of its order are those of the donor.

    The value is the mean over `settings.n_draws` donors; DONORS says which there are. A letter that is no base, such
    as N, has its place in the order and stays as it is: any base in its stead would move the value, for the model
    then reads what it could not read before.

    ask: logits (B, n_targets) of sequences, which it tokenises anew. All else, the errors too, as for `token_curves`;
    ValueError also for lower case.
    """
    settings = settings or CurveSettings()
    return _curves(claims, _Substitution(settings), ask, settings)


class _Level(Protocol[_Read]):
    """What a level of perturbation knows of a sequence that the model reads."""

    def content(self, original: _Read) -> bytes:
        """What sets a sequence apart from others."""

    def n_positions(self, original: _Read) -> int:
        """N."""

    def perturb(self, original: _Read, is_taken_RN: BoolArray) -> _RowArray:
        """(D, R, width): what is left where the positions of each row are taken, in each draw."""

    def decode(self, original: _Read, row: bytes) -> _Read:
        """A row of `perturb`, as the model reads it."""


@dataclass(frozen=True, slots=True)
class _Masking:
    mask_id: int

    def content(self, original: Tokens) -> bytes:
        return original.ids.astype("<i8").tobytes()

    def n_positions(self, original: Tokens) -> int:
        return len(_spelling(original))

    def perturb(self, original: Tokens, is_taken_RN: BoolArray) -> _RowArray:
        spelling = _spelling(original)
        rows_RT = np.tile(original.ids.astype("<i8"), (len(is_taken_RN), 1))
        rows_RT[:, spelling] = np.where(is_taken_RN, self.mask_id, original.ids[spelling])
        return rows_RT[None]

    def decode(self, original: Tokens, row: bytes) -> Tokens:
        return Tokens(np.frombuffer(row, "<i8").astype(np.int64), original.spans)


def _spelling(tokens: Tokens) -> IntArray:
    """(N,): the indices of the tokens that spell bases."""
    return np.flatnonzero(tokens.spans[:, 1] > tokens.spans[:, 0])


@dataclass(frozen=True, slots=True)
class _Substitution:
    settings: CurveSettings

    def content(self, original: str) -> bytes:
        if original != original.upper():
            raise ValueError(f"lower-case letters in {original[:60]!r}: soft-masked bases are bases")
        return original.encode("ascii")

    def n_positions(self, original: str) -> int:
        return len(original)

    def perturb(self, original: str, is_taken_RN: BoolArray) -> _RowArray:
        content = self.content(original)
        letters = np.frombuffer(content, np.uint8)
        rng = _rng(self.settings.seed, "donors", content)
        donors_DN = DONORS[self.settings.donor](letters, self.settings.n_draws, rng)
        return np.where(is_taken_RN, donors_DN[:, None], letters)

    def decode(self, original: str, row: bytes) -> str:
        return row.decode("ascii")


@dataclass(frozen=True, slots=True, eq=False)
class _Perturbed(Generic[_Read]):
    """What is to be asked for the M claims on one sequence.

    rows: those of an array (D, M, 2, K), with MoRF before LeRF; shape: (D, M, 2, K). point: (P,), which of the K
    different counts each fraction is.
    """

    original: _Read
    rows: Sequence[bytes]
    shape: tuple[int, int, int, int]
    point: IntArray


def _curves(
    claims: Sequence[Claim[_Read]],
    level: _Level[_Read],
    ask: Callable[[Sequence[_Read]], FloatArray],
    settings: CurveSettings,
) -> list[Curves]:
    if not claims:
        return []
    by_content: dict[bytes, list[int]] = {}
    for index, claim in enumerate(claims):
        by_content.setdefault(level.content(claim.sequence), []).append(index)
    pool = _Pool(level, ask, settings)
    curves: dict[int, Curves] = {}
    for indices in by_content.values():
        perturbed = _perturb([claims[index] for index in indices], level, settings)
        if not pool.has_room(perturbed):
            curves.update(pool.answer(claims))
        pool.add(indices, perturbed)
    curves.update(pool.answer(claims))
    return [curves[index] for index in range(len(claims))]


def _perturb(claims: Sequence[Claim[_Read]], level: _Level[_Read], settings: CurveSettings) -> _Perturbed[_Read]:
    """All that is to be asked for claims on one and the same sequence."""
    original = claims[0].sequence
    n_positions = level.n_positions(original)
    for claim in claims:
        if len(claim.relevance) != n_positions:
            raise ValueError(f"relevance {claim.relevance.shape} for {n_positions} positions")
    tie = _rng(settings.seed, "ties", level.content(original)).permutation(n_positions)
    relevance_MN = np.stack([claim.relevance.astype(np.float64) for claim in claims])
    order_MN = np.lexsort((np.broadcast_to(tie, relevance_MN.shape), -relevance_MN), axis=-1)
    rank_MN = np.argsort(order_MN, axis=-1)  # 0: the most relevant
    fraction_P = np.array(settings.fractions)
    counts_P = np.rint(fraction_P * n_positions).astype(np.int64)
    # A share is one position at least, and leaves one at least: of 21 tokens, 1 % would be none.
    is_share_P = (fraction_P > 0) & (fraction_P < 1)
    counts_P[is_share_P] = counts_P[is_share_P].clip(min(1, n_positions - 1), max(1, n_positions - 1))
    counts_K, point = np.unique(counts_P, return_inverse=True)
    by_morf_MKN = rank_MN[:, None] < counts_K[:, None]
    by_lerf_MKN = rank_MN[:, None] >= n_positions - counts_K[:, None]
    is_taken = np.stack([by_morf_MKN, by_lerf_MKN], axis=1).reshape(-1, n_positions)
    rows = level.perturb(original, is_taken)
    width = rows.shape[-1] * rows.itemsize
    text = rows.tobytes()
    return _Perturbed(
        original,
        [text[low : low + width] for low in range(0, len(text), width)],
        (len(rows), len(claims), 2, len(counts_K)),
        point,
    )


class _Pool(Generic[_Read]):
    """Rows that wait for the next question to the model, each once, and the claims that wait for its answer."""

    def __init__(
        self, level: _Level[_Read], ask: Callable[[Sequence[_Read]], FloatArray], settings: CurveSettings
    ) -> None:
        self._level = level
        self._ask = ask
        self._settings = settings
        self._reads: list[_Read] = []
        self._index: dict[bytes, int] = {}  # of a row in _reads
        self._waiting: list[tuple[Sequence[int], IntArray, IntArray]] = []

    def has_room(self, perturbed: _Perturbed[_Read]) -> bool:
        """Whether the rows of another sequence still fit into one question; always where none waits."""
        n_new = len(set(perturbed.rows) - self._index.keys())
        return not self._reads or len(self._reads) + n_new <= self._settings.max_rows

    def add(self, indices: Sequence[int], perturbed: _Perturbed[_Read]) -> None:
        """Let the claims of these indices wait for the values of their rows."""
        row_DM2K = np.array([self._index.setdefault(row, len(self._index)) for row in perturbed.rows])
        for row in islice(self._index, len(self._reads), None):
            self._reads.append(self._level.decode(perturbed.original, row))
        self._waiting.append((indices, row_DM2K.reshape(perturbed.shape), perturbed.point))

    def answer(self, claims: Sequence[Claim[_Read]]) -> dict[int, Curves]:
        """The curves of every claim that waits, by its index. The pool is empty afterwards."""
        curves = {}
        logits_BN = self._logits()
        for indices, row_DM2K, point in self._waiting:
            for m, index in enumerate(indices):
                direction = claims[index].direction
                if direction.shape != logits_BN.shape[1:]:
                    raise ValueError(f"direction {direction.shape} for logits {logits_BN.shape}")
                # No matrix product: its rounding depends on how many rows there are.
                value_D2K = (logits_BN[row_DM2K[:, m]] * direction).sum(-1)
                morf, lerf = value_D2K.mean(0)[:, point]
                curves[index] = Curves(np.array(self._settings.fractions, dtype=np.float64), morf, lerf)
        self._reads, self._index, self._waiting = [], {}, []
        return curves

    def _logits(self) -> FloatArray:
        """(B, n_targets) float64, of all rows that wait."""
        answers = []
        for low in range(0, len(self._reads), self._settings.max_rows):
            question = self._reads[low : low + self._settings.max_rows]
            logits = self._ask(question)
            if logits.ndim != 2 or len(logits) != len(question):
                raise ValueError(f"logits {logits.shape} of {len(question)} rows; expected a row of logits each")
            if not np.isfinite(logits).all():
                raise RunError(
                    "the logits of a perturbed sequence are not finite", hint="use --dtype float32, if you did not"
                )
            answers.append(logits.astype(np.float64))
        return np.concatenate(answers)


def _rng(seed: int, purpose: str, content: bytes) -> np.random.Generator:
    """A generator that nothing but these three decides, so that it does not matter what was drawn before."""
    digest = hashlib.sha256(f"{seed} {purpose} ".encode() + content).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def _random_donors(letters: _LetterArray, n_draws: int, rng: np.random.Generator) -> _LetterArray:
    """(D, N): in place of each base one of the three others, equally likely."""
    donors_DN = np.tile(letters, (n_draws, 1))
    is_base = np.isin(letters, _BASES)
    steps = rng.integers(1, len(_BASES), size=donors_DN.shape)[:, is_base]
    donors_DN[:, is_base] = _BASES[(np.searchsorted(_BASES, letters[is_base]) + steps) % len(_BASES)]
    return donors_DN


def _shuffled_donors(letters: _LetterArray, n_draws: int, rng: np.random.Generator) -> _LetterArray:
    """(D, N): every stretch of bases with its dinucleotides shuffled. Where the shuffle says so, a base stays."""
    donors_DN = np.tile(letters, (n_draws, 1))
    is_base = np.isin(letters, _BASES)
    borders = np.flatnonzero(np.diff(is_base, prepend=False, append=False))
    for start, end in borders.reshape(-1, 2).tolist():
        stretch = letters[start:end].tobytes().decode("ascii")
        shuffled = "".join(dinucleotide_shuffle([stretch] * n_draws, rng))
        donors_DN[:, start:end] = np.frombuffer(shuffled.encode("ascii"), np.uint8).reshape(n_draws, -1)
    return donors_DN


DONORS: dict[str, Callable[[_LetterArray, int, np.random.Generator], _LetterArray]] = {
    "random": _random_donors,
    "shuffled": _shuffled_donors,
}
"""Where the letters of a nucleotide curve come from.

random: one of the three other bases at each position, each as likely. shuffled: the sequence itself with its
dinucleotides shuffled, which leaves about a base in four or more as it was; its first and last letter always.
"""
