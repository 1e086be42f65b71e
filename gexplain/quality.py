"""Quality: how far a run's tracks can be trusted, measured on a few of its windows while the model is loaded.

regions.tsv -- sample --> windows -- read on both strands, a few bases further on --> agreements
                                  -- the most relevant removed first -------------> deletion curves
                                  -- tokens by their length ----------------------> token length

What is measured is the track: every base has the mean of the strands that the run reads, of the class that the run
explains. Where it explains several, or what is predicted, that is the class predicted in the window.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.attribution.explainers import METHODS, SequenceMethod
from gexplain.attribution.target import Target, parse_target
from gexplain.errors import ModelError, UsageError, count
from gexplain.evaluation.curves import Claim, Curves, CurveSettings, nucleotide_curves, token_curves
from gexplain.evaluation.levels import aggregate_mean, aggregate_sum, spells
from gexplain.evaluation.metrics import pearson, spearman
from gexplain.evaluation.resampling import MIN_SEQUENCES, bootstrap_mean
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Strand
from gexplain.models.model import DEFAULT_BATCH_SIZE, DnaBert2Model, Model
from gexplain.report.quality_results import AGREEMENTS, MISSING
from gexplain.run_folder import QUALITY, Run
from gexplain.study.run_windows import PREDICT, Drawn, draw_regions, draw_windows, predicted_classes, rows_by_strand
from gexplain.study.subject import NUCLEOTIDE, TOKEN, Subject
from gexplain.tokens import Tokens
from gexplain.windows import Tiling, Window
from gexplain.work_folder import write_whole

Progress = Callable[[int, int], None]
"""Called with the windows measured, and those in all."""

DEFAULT_REGIONS = 64
COSTLY_WINDOWS = 16
"""At most so many, where a window is costly: a method that asks the model often for one, or a large model."""
LARGE_MODEL = 50_000_000
"""Parameters of a model of which every pass is costly."""

FRACTIONS = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
"""Shares of a window's tokens, or bases, that are removed."""
RANDOM_ORDERS = 2
"""Each is followed from both its ends, so that there are twice as many."""
DRAWS = 3
"""Substitutions that a curve of bases is the mean of."""

_CHUNK = 16  # windows at a time, for the progress and memory


@dataclass(slots=True)
class _Found:
    """What has been measured so far, in the order of the windows; NaN where a window has no value.

    deletion: (3, P) each, relevance, random and least. tokens: (3, n), length, |relevance|, |relevance| of a base.
    """

    classes: list[int] = field(default_factory=list)
    strands: list[float] = field(default_factory=list)
    shifts: list[float] = field(default_factory=list)
    n_shifted: int = 0
    deletion: list[FloatArray] = field(default_factory=list)
    tokens: list[FloatArray] = field(default_factory=list)


def measure_quality(
    run: Run,
    model: Model,
    genome: Genome,
    *,
    n_regions: int = DEFAULT_REGIONS,
    seed: int = 0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How far the tracks of a run can be trusted: what `write_quality` writes and `read_quality` checks.

    run: its manifest and regions.tsv are read, no track. model, genome: those that the run was made with. n_regions:
    of the scored regions, a window of each, or more of each where there are fewer; with a method or a model that is
    slow, COSTLY_WINDOWS at most. Seed and coordinates alone decide which, not the order of the regions. Where a run
    explains several classes, or the predicted one, windows of every class are drawn, equally many as far as there
    are, so that each track has its say. A part that cannot be measured is {"missing": why}.

    Raises ModelError where the model is another than the run's, UsageError where nothing is to be drawn.
    """
    if n_regions < 1 or batch_size < 1:
        raise UsageError(f"{n_regions} regions, {batch_size} windows at once", hint="at least 1 of each")
    settings = run.manifest["settings"]
    _check_model(run, model)
    method = settings["method"]
    subject = Subject(
        "run", model, [method], settings["explained"], [settings["projection"]], ["sum"], batch_size, seed
    )
    is_costly = isinstance(METHODS[model.kind][method], SequenceMethod) or method == "integrated-gradients"
    if is_costly or sum(one.numel() for one in model.network.parameters()) > LARGE_MODEL:
        n_regions = min(n_regions, COSTLY_WINDOWS)
    target = _target_of(settings, model)
    is_by_class = not target.classes and model.head != "regression" and len(model.labels) > 1
    classes = model.labels if is_by_class else ()
    drawn = draw_regions(run.path / "regions.tsv", settings["strand"], n_regions, seed, classes)
    tiling = Tiling(settings["window"], settings["stride"], settings["shifts"])
    chosen = draw_windows(drawn, genome, tiling, model, n_regions, seed)
    windows = list(chosen)
    meter = _Meter(subject, genome, target, max(1, tiling.window // 10), seed)
    for low in range(0, len(windows), _CHUNK):
        meter.measure(windows[low : low + _CHUNK])
        if progress is not None:
            progress(min(low + _CHUNK, len(windows)), len(windows))
    evenly = ", evenly over the classes predicted, as far as they have windows" if is_by_class else ""
    sample = {
        "regions": len(set(chosen.values())),
        "windows": len(windows),
        "seed": seed,
        "how": f"drawn by chance{evenly}",
        "explained": _in_words(target, model),
        "strand": settings["strand"],
    }
    return {"sample": sample, **_say(meter.found, meter.shift, drawn, subject)}


def write_quality(run: Run, quality: Mapping[str, Any]) -> Path:
    """Write what was measured to quality.json in the run's folder, whole or not at all; returns its path.

    Raises RunError where it cannot be written.
    """
    path = run.path / QUALITY
    # Names of classes may hold what is no Unicode: JSON escapes it, and it is read again as it was.
    write_whole(path, json.dumps(quality, indent=1, allow_nan=False) + "\n")
    return path


# ---- What is explained ----


def _check_model(run: Run, model: Model) -> None:
    settings = run.manifest["settings"]
    if (model.identity()["model"], model.dtype) != (settings["model"], settings["dtype"]):
        raise ModelError(
            f"{run.path} was scored with another model than {model.checkpoint.source} in {model.dtype}",
            hint=f"load {run.manifest['model']['source']} in {settings['dtype']}",
        )


def _target_of(settings: Mapping[str, Any], model: Model) -> Target:
    """The target of a run, from the names in its manifest."""
    names = settings["target"]
    text = names[0] if len(names) == 1 else "predicted"
    if text == "predicted" and len(names) > 1:  # several: of each window that which is predicted there
        return Target((), ("predicted",), settings["explained"])
    return parse_target(text, model.labels, settings["explained"])


def _in_words(target: Target, model: Model) -> str:
    value = {"logit": "logit", "margin": "margin over the other classes"}[target.explained]
    if target.classes:
        return (
            f"the {value} of {target.names[0]}"
            if model.head != "regression"
            else f"the model's output, {target.names[0]}"
        )
    if model.head == "regression":
        return "the output that is highest in each window"
    return f"the {value} of the class that is highest in each window"


# ---- What is measured of a few windows ----


class _Meter:
    """Measures windows a few at a time; `found` has what all of them gave. shift: bases."""

    def __init__(self, subject: Subject, genome: Genome, target: Target, shift: int, seed: int) -> None:
        self.found = _Found()
        self.target = target
        self.shift = shift
        self._subject, self._genome, self._seed = subject, genome, seed

    def measure(self, windows: Sequence[Window]) -> None:
        """Measure these windows."""
        subject = self._subject
        sequences = [self._genome.fetch(one.chrom, one.start, one.end) for one in windows]
        if self.target.classes:
            classes: IntArray = np.full(len(windows), self.target.classes[0])
        else:
            classes = predicted_classes(subject.model, windows, self._genome, batch_size=subject.batch_size)
        self.found.classes += classes.tolist()
        passage = subject.passage(sequences, classes)
        on: dict[Strand, list[FloatArray]] = {
            "+": subject.nucleotides(subject.default, passage, strand="+"),
            "-": subject.nucleotides(subject.default, passage, strand="-"),
        }
        self.found.strands += map(pearson, on["+"], on["-"])
        own = [np.mean([on[strand][i] for strand in _read(one.strand)], axis=0) for i, one in enumerate(windows)]
        self._measure_shifts(windows, own, classes)
        directions = [subject.direction(int(index)) for index in classes]
        if isinstance(subject.model, DnaBert2Model):
            self._measure_tokens(windows, sequences, own, on, directions)
        else:
            self._measure_bases(windows, sequences, own, directions)

    def _measure_shifts(self, windows: Sequence[Window], own: Sequence[FloatArray], classes: IntArray) -> None:
        """Read each window again a few bases further on, or before, where the chromosome ends."""
        agreement = np.full(len(windows), math.nan)
        moves: dict[int, tuple[int, str]] = {}
        for row, one in enumerate(windows):
            fits = [
                by for by in (self.shift, -self.shift) if one.start >= -by and one.end + by <= self._end(one.chrom)
            ]
            if fits:
                moved = self._genome.fetch(one.chrom, one.start + fits[0], one.end + fits[0])
                if moved.count("N") < len(moved):
                    moves[row] = fits[0], moved
        self.found.n_shifted += len(moves)
        for strand, of_strand in rows_by_strand(windows).items():
            rows = [row for row in of_strand if row in moves]
            passage = self._subject.passage([moves[row][1] for row in rows], classes[rows])
            readings = [
                self._subject.nucleotides(self._subject.default, passage, strand=one) for one in _read(strand)
            ]
            for row, *values in zip(rows, *readings, strict=True):
                there, by = np.mean(values, axis=0), moves[row][0]
                n_shared = len(there) - self.shift
                agreement[row] = pearson(own[row][max(0, by) :][:n_shared], there[max(0, -by) :][:n_shared])
        self.found.shifts += agreement.tolist()

    def _end(self, chrom: str) -> int:
        return self._genome.chroms[chrom]

    def _measure_tokens(
        self,
        windows: Sequence[Window],
        sequences: Sequence[str],
        own: Sequence[FloatArray],
        on: Mapping[Strand, Sequence[FloatArray]],
        directions: Sequence[FloatArray],
    ) -> None:
        """Mask the tokens of every strand that the run reads, by what the track says of their bases."""
        model = self._subject.model
        assert isinstance(model, DnaBert2Model)
        claims: list[Claim[Tokens]] = []
        for row, window in enumerate(windows):
            for strand in _read(window.strand):
                (tokens,) = model.tokens([sequences[row]], [strand])
                claims += self._claims(tokens, self._of_tokens(_turned(own[row], strand), tokens), directions[row])
                self.found.tokens.append(self._by_length(_turned(on[strand][row], strand), tokens))
        curves = token_curves(
            claims,
            lambda rows: model.logits_of_tokens(rows, batch_size=self._subject.batch_size),
            model.tokenizer.mask_id,
            CurveSettings(FRACTIONS, seed=self._seed),
        )
        each = iter(_three(curves))
        self.found.deletion += [np.mean([next(each) for _ in _read(window.strand)], axis=0) for window in windows]

    def _measure_bases(
        self,
        windows: Sequence[Window],
        sequences: Sequence[str],
        own: Sequence[FloatArray],
        directions: Sequence[FloatArray],
    ) -> None:
        """Substitute bases, and read the strands that the run reads."""
        of_row: dict[int, FloatArray] = {}
        for strand, rows in rows_by_strand(windows).items():
            claims = [claim for row in rows for claim in self._claims(sequences[row], own[row], directions[row])]
            curves = nucleotide_curves(
                claims,
                lambda texts, strand=strand: self._subject.model.predict(  # type: ignore[misc]
                    texts, strand=PREDICT[strand], batch_size=self._subject.batch_size
                ),
                CurveSettings(FRACTIONS, n_draws=DRAWS, seed=self._seed),
            )
            of_row.update(zip(rows, _three(curves), strict=True))
        self.found.deletion += [of_row[row] for row in range(len(windows))]

    def _claims(self, read: Any, relevance: FloatArray, direction: FloatArray) -> list[Claim[Any]]:
        """What relevance says, and what chance says RANDOM_ORDERS times: by the seed and what is read alone."""
        content = read.encode() if isinstance(read, str) else read.ids.astype("<i8").tobytes()
        digest = hashlib.blake2b(f"{self._seed} order ".encode() + content, digest_size=16).digest()
        rng = np.random.default_rng(int.from_bytes(digest, "little"))
        chance = rng.random((RANDOM_ORDERS, len(relevance)))
        return [Claim(read, values, direction) for values in (relevance, *chance)]

    def _of_tokens(self, relevance: FloatArray, tokens: Tokens) -> FloatArray:
        """(S,): the relevance of the tokens that spell bases, from that of the bases, as the projection made it."""
        subject = self._subject
        is_copied = METHODS[subject.model.kind][subject.default].level == TOKEN and subject.projections[0] == "copy"
        return (aggregate_mean if is_copied else aggregate_sum)(relevance, tokens.spans)

    def _by_length(self, relevance: FloatArray, tokens: Tokens) -> FloatArray:
        """(3, n) of the tokens that spell bases and nothing else: length, |relevance|, |relevance| of a base."""
        model = self._subject.model
        assert isinstance(model, DnaBert2Model)
        spelling = spells(tokens.spans)
        spans, is_known = tokens.spans[spelling], tokens.ids[spelling] != model.tokenizer.unk_id
        of_tokens = np.abs(self._of_tokens(relevance, tokens))
        per_base = aggregate_mean(np.abs(relevance), tokens.spans)
        return np.stack([spans[:, 1] - spans[:, 0], of_tokens, per_base])[:, is_known]


def _read(strand: Strand) -> tuple[Strand, ...]:
    """The strands that a window is read on; "." is both."""
    return ("+", "-") if strand == "." else (strand,)


def _turned(values: FloatArray, strand: Strand) -> FloatArray:
    """Values in forward coordinates, in those of a strand."""
    return values[::-1] if strand == "-" else values


def _three(curves: Sequence[Curves]) -> Iterator[FloatArray]:
    """(3, P) of each sequence: most relevant first, the mean of its random orders, least relevant first."""
    for low in range(0, len(curves), 1 + RANDOM_ORDERS):
        own, *chance = curves[low : low + 1 + RANDOM_ORDERS]
        by_chance = np.mean([line for one in chance for line in (one.morf, one.lerf)], axis=0)
        yield np.stack([own.morf, by_chance, own.lerf])


# ---- What is said of all windows ----


def _say(found: _Found, shift: int, drawn: Drawn, subject: Subject) -> dict[str, Any]:
    """All parts but the sample."""
    flat = "the relevance of every window is flat" if found.classes else "no window was drawn that is not N alone"
    no_room = f"no window of the sample has {count(shift, 'base')} beside it on its chromosome"
    strands, shifts = AGREEMENTS
    level = TOKEN if subject.has_tokens else NUCLEOTIDE
    areas_W = np.array([_area(curves) for curves in found.deletion])
    values = {strands: np.array(found.strands), shifts: np.array(found.shifts), "area_difference": areas_W}
    return {
        strands: _agreement("strand agreement", values[strands]) or {MISSING: flat},
        shifts: (_agreement("shift agreement", values[shifts]) or {MISSING: flat if found.n_shifted else no_room})
        | ({"bases": shift} if not np.isnan(values[shifts]).all() else {}),
        "deletion": _deletion(found.deletion, areas_W, level, subject.seed) if found.deletion else {MISSING: flat},
        "ambiguous": {
            "share_of_bases": _rounded(drawn.n_ambiguous / drawn.n_bases),
            "regions": drawn.n_regions,
            "regions_over_10_percent": drawn.n_over,
        },
        "token_length": _token_length(found.tokens, subject),
        "by_class": _by_class(np.array(found.classes, dtype=np.int64), values, subject.model.labels),
    }


def _agreement(name: str, values: FloatArray) -> dict[str, Any]:
    """The values, (W,) without NaN, and their quartiles; empty where all are NaN."""
    known = np.clip(values[~np.isnan(values)], -1, 1)
    if not len(known):
        return {}
    low, median, high = map(_rounded, np.quantile(known, (0.25, 0.5, 0.75)).tolist())
    return {
        "name": name,
        "n": len(known),
        "median": median,
        "low": low,
        "high": high,
        "values": [_rounded(one) for one in known.tolist()],
        "better": "higher",
    }


def _area(curves_3P: FloatArray) -> float:
    """By how much the relevance's order lowers the value more than a random order, the mean over the shares."""
    from scipy.integrate import trapezoid

    return float(trapezoid(curves_3P[1] - curves_3P[0], np.array(FRACTIONS)))


def _deletion(found: Sequence[FloatArray], areas_W: FloatArray, level: str, seed: int) -> dict[str, Any]:
    low = high = None
    if len(areas_W) >= MIN_SEQUENCES:
        interval = bootstrap_mean(areas_W, what="deletion", seed=seed)
        low, high = _rounded(interval.low), _rounded(interval.high)
    relevance, chance, least = ([_rounded(one) for one in line] for line in np.mean(found, axis=0).tolist())
    return {
        "level": level,
        "fractions": list(FRACTIONS),
        "relevance": relevance,
        "random": chance,
        "least": least,
        "n": len(areas_W),
        "area_difference": {"mean": _rounded(float(areas_W.mean())), "low": low, "high": high},
    }


def _by_class(classes_W: IntArray, values: Mapping[str, FloatArray], labels: Sequence[str]) -> dict[str, Any]:
    """Of each class its windows, median agreements and mean area difference; None where no window has a value."""
    found: dict[str, Any] = {}
    for index in np.unique(classes_W).tolist():
        found[labels[index]] = {"windows": int((classes_W == index).sum())}
        for name, values_W in values.items():
            known = values_W[(classes_W == index) & ~np.isnan(values_W)]
            middle = np.mean if name == "area_difference" else np.median
            found[labels[index]][name] = _rounded(float(middle(known))) if len(known) else None
    return found


def _token_length(found: Sequence[FloatArray], subject: Subject) -> dict[str, Any]:
    if not subject.has_tokens:
        return {MISSING: "the model reads base by base: it has no tokens of several bases"}
    if METHODS[subject.model.kind][subject.default].level == NUCLEOTIDE:
        return {MISSING: "the method gives every base a value of its own"}
    tokens = np.concatenate([np.empty((3, 0)), *found], axis=1)
    if not tokens.shape[1]:
        return {MISSING: "no token of the sample spells bases alone"}
    length, of_token, of_base = tokens
    lengths, index = np.unique(length, return_inverse=True)
    n_tokens = np.bincount(index)

    def means(values: FloatArray) -> list[float]:
        return [_rounded(one) for one in (np.bincount(index, values) / n_tokens).tolist()]

    def correlation(values: FloatArray) -> float | None:
        value = spearman(length, values)
        return None if math.isnan(value) else _rounded(value)

    return {
        "lengths": lengths.astype(int).tolist(),
        "tokens": n_tokens.tolist(),
        "mean_relevance": means(of_token),
        "per_base": means(of_base),
        "spearman": correlation(of_token),
        "spearman_per_base": correlation(of_base),
    }


def _rounded(value: float) -> float:
    """Six digits: more would be rounding errors."""
    return float(f"{value:.6g}")
