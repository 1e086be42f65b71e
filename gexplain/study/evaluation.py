"""`evaluate`: is the explanation right? Sequences, models and metrics in; tables, pictures and a page out.

    OUT/evaluation.html  metrics.tsv  summary.tsv  curves.tsv  cost.tsv  plots/  manifest.json      finished
    OUT/.unfinished/parts/00007.json                                                                to be gone on with

Sequences are measured a chunk at a time; what is random depends on the seed, the sequence and its number. So an
evaluation that was interrupted goes on, and ends with the same tables.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gexplain.arrays import IntArray
from gexplain.attribution.explainers import METHODS, Method, SequenceMethod, TokenExplainer
from gexplain.attribution.target import parse_target
from gexplain.errors import InputError, RunError, UsageError, count, preview
from gexplain.evaluation.resampling import MIN_SEQUENCES, check_n_sequences
from gexplain.genome.tracks import partial_path, write_error
from gexplain.inputs import Inputs, RegionSource, open_inputs
from gexplain.models.bundled import DEFAULT_MODEL
from gexplain.models.model import Model, load_model
from gexplain.report.evaluation import PAGE, PLOTS, write_report
from gexplain.run_folder import MANIFEST
from gexplain.store import describe_difference
from gexplain.study.measure import Measurer, Part
from gexplain.study.samples import CsvSamples, RegionSamples, Sample, Samples, count_labels
from gexplain.study.settings import OWN_LABEL, EvaluateSettings
from gexplain.study.subject import Subject
from gexplain.study.tables import write_tables
from gexplain.windows import DEFAULT_WINDOW
from gexplain.work_folder import LOCK, locked

Progress = Callable[[int, int], None]
"""Called with the sequences measured and the sequences in all."""

CHUNK = 16
"""Sequences that are measured together, and lost together when an evaluation is interrupted."""

BASELINE = "random"
"""The method that is relevance of no model: no other can be compared with it as with a default."""

_PARTS, _RESULTS, _SETTINGS = "parts", "results", "settings.json"


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A finished evaluation: its directory and its manifest."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def warnings(self) -> list[str]:
        """What was passed over, in words."""
        return list(self.manifest["warnings"])


def evaluate(
    data: RegionSource,
    genome: str | os.PathLike[str] | None = None,
    model: Model | str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    against: Model | str | os.PathLike[str] | None = None,
    truth: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str],
    settings: EvaluateSettings | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Evaluation:
    """Every method's explanations of a model, measured: the library twin of `gexplain evaluate`.

    data: regions of `genome`, as `open_inputs` takes them, or without a genome a CSV of sequence,label. against: a
    second model, whose explanations are measured beside, and compared. truth: a BED of sites that relevance should
    lie on; of a CSV, its first column is the line of the row. output: the directory to write; an interrupted
    evaluation in it is gone on with, a finished one with the same settings is returned as it is. command: for the
    record.

    Raises InputError for data that cannot be measured (too few sequences for an interval, labels that are no classes,
    truth that overlaps none), ModelError, UsageError; RunError where `output` is another's, in use or not writable.
    """
    settings = settings or EvaluateSettings()
    settings.check_truth(truth is not None)
    with ExitStack() as stack:
        inputs: Inputs | None = None
        samples: Samples | None = None
        if genome is None:
            if not isinstance(data, str | os.PathLike):
                raise UsageError("regions without a genome", hint="give the FASTA; or the path of a CSV")
            samples = CsvSamples(data, truth, settings.sample, settings.seed, on_bad_line=settings.on_bad_line)
        else:
            inputs = stack.enter_context(open_inputs(data, genome, settings.of_inputs()))
        models = [_load(one, settings) for one in (model, against) if one is not None]
        if inputs is not None:
            window = settings.window or models[0].window or DEFAULT_WINDOW
            samples = RegionSamples(
                inputs,
                window,
                truth,
                settings.sample,
                settings.seed,
                chrom_alias=settings.of_inputs().chrom_alias,
                on_bad_line=settings.on_bad_line,
            )
        assert samples is not None
        check_n_sequences(len(samples), samples.source)
        if samples.shortest < settings.shifts:
            raise UsageError(
                f"{settings.shifts} shifts, where the shortest sequence of {samples.source} has"
                f" {count(samples.shortest, 'base')}",
                hint="give fewer --shifts",
            )
        if truth is not None and settings.wants("localisation"):
            _check_truth(samples, os.fspath(truth), settings)
        subjects = _subjects(models, settings)
        chooser = _Chooser(samples, subjects, settings)
        manifest = _manifest(samples, subjects, settings, chooser, command)
        return _run(Path(output), samples, subjects, chooser, settings, manifest, progress)


def _run(
    out: Path,
    samples: Samples,
    subjects: Sequence[Subject],
    chooser: _Chooser,
    settings: EvaluateSettings,
    manifest: dict[str, Any],
    progress: Progress | None,
) -> Evaluation:
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; expected a directory to write to", hint="give another -o")
    with locked(out) as work:
        finished = _held(out / MANIFEST)
        held = finished or _held(work / _PARTS / _SETTINGS)
        manifest = json.loads(json.dumps(manifest))
        wanted = manifest["settings"]
        if held is None or (finished is None and (out / MANIFEST).exists()):
            _refuse_foreign(out, work)
        if held is not None and held != wanted and not settings.force:
            raise RunError(
                f"{out}: an evaluation with other settings is here",
                detail=describe_difference(_in_json(held), _in_json(wanted)),
                hint="give another -o, or --force to replace that evaluation",
            )
        if finished == wanted and not settings.force:
            shutil.rmtree(work / _PARTS, ignore_errors=True)
            return Evaluation(out, json.loads((out / MANIFEST).read_text(encoding="utf-8")))
        if held is None or settings.force or not settings.resume:
            shutil.rmtree(work / _PARTS, ignore_errors=True)
        shutil.rmtree(work / _RESULTS, ignore_errors=True)
        try:
            for folder in (work / _PARTS, work / _RESULTS):
                folder.mkdir(exist_ok=True)
            _write_whole(work / _PARTS / _SETTINGS, wanted)
            # From now on the old evaluation is no finished one; without the settings it would be nobody's folder.
            (out / MANIFEST).unlink(missing_ok=True)
            parts = _measure(work / _PARTS, samples, Measurer(subjects, settings), chooser, progress)
            results = work / _RESULTS
            defaults = {subject.name: subject.default for subject in subjects}
            write_tables(results, map(_read_part, parts), defaults, settings.seed)
            manifest["written"] = datetime.now(UTC).isoformat(timespec="seconds")
            (results / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            write_report(results)
            _publish(results, out)
            shutil.rmtree(work / _PARTS)
        except OSError as error:
            raise write_error(out, error) from error
    return Evaluation(out, manifest)


def _refuse_foreign(out: Path, work: Path) -> None:
    """What is not of an evaluation is never touched, whatever is forced. RunError where there is such a thing."""
    foreign = [path.name for path in out.iterdir() if path.name != work.name]
    foreign += [f"{work.name}/{path.name}" for path in work.iterdir() if path.name not in (LOCK, _PARTS, _RESULTS)]
    if foreign:
        raise RunError(
            f"{out} is not empty, and holds no evaluation: {preview(sorted(foreign))}",
            hint="give another -o; --force replaces an evaluation, and nothing else",
        )


def _measure(
    folder: Path, samples: Samples, measurer: Measurer, chooser: _Chooser, progress: Progress | None
) -> list[Path]:
    """The files of all chunks' measures; those that are there already are not measured again."""
    n_done, paths = 0, []
    for number, chunk in enumerate(samples.chunks(CHUNK)):
        path = folder / f"{number:05d}.json"
        if not path.exists():
            part = measurer.measure(chunk, chooser.classes(chunk))
            _write_whole(path, asdict(part))
        paths.append(path)
        n_done += len(chunk)
        if progress is not None:
            progress(n_done, len(samples))
    return paths


def _write_whole(path: Path, content: Any) -> None:
    """Write JSON that is there whole or not at all, whenever the process ends."""
    partial = partial_path(path)
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.replace(path)


def _read_part(path: Path) -> Part:
    return Part(**json.loads(path.read_text(encoding="utf-8")))


def _publish(results: Path, out: Path) -> None:
    """Move what is finished into place, the manifest last; the figures of an old page go, files of others stay."""
    old, plots = out / PAGE, out / PLOTS
    links = old.read_text(encoding="utf-8", errors="replace") if old.exists() else ""
    for path in plots.iterdir() if plots.is_dir() else ():
        if f'"{PLOTS}/{path.name}"' in links:
            path.unlink()
    for path in sorted(results.rglob("*"), key=lambda path: (path.name == MANIFEST, path)):
        to = out / path.relative_to(results)
        if path.is_dir():
            to.mkdir(exist_ok=True)
        else:
            path.replace(to)
    shutil.rmtree(results)


# ---- What is explained, by which methods ----


class _Chooser:
    """The class that is explained of each sample, under every subject: classes are matched by name.

    Raises UsageError for a target that is no class, InputError for labels that are none.
    """

    def __init__(self, samples: Samples, subjects: Sequence[Subject], settings: EvaluateSettings) -> None:
        self._subjects = subjects
        first = subjects[0].model
        target = settings.target
        by_default = target is None and isinstance(samples, CsvSamples)
        self.is_own_label = by_default or (target == OWN_LABEL and OWN_LABEL not in first.labels)
        self._class: int | None = None
        if self.is_own_label:
            parse_target("predicted", first.labels, settings.explained)  # refuses the margin of a lone class
            self.target = OWN_LABEL
            _check_labels(samples, first)
            used = [name for name in first.labels if name in set(samples.labels)]
        else:
            parsed = parse_target(target, first.labels, settings.explained)
            if len(parsed.classes) > 1:
                raise UsageError("one class is explained of each sequence, not all", hint="name one, or predicted")
            self.target = parsed.names[0]
            self._class = parsed.classes[0] if parsed.classes else None
            used = [self.target] if parsed.classes else list(first.labels)
        for subject in subjects[1:]:
            lacking = [name for name in used if name not in subject.model.labels]
            if lacking:
                raise UsageError(
                    f"{subject.name} has no class {preview(lacking)}, which {subjects[0].name} has",
                    detail=f"its classes: {', '.join(subject.model.labels)}",
                    hint="compare models of the same classes",
                )

    def classes(self, chunk: Sequence[Sample]) -> dict[str, IntArray]:
        """Subject to (B,), the index of the class explained of each sample."""
        first = self._subjects[0]
        if self.is_own_label:
            names = [one.label for one in chunk]
        elif self._class is not None:
            names = [first.model.labels[self._class]] * len(chunk)
        else:
            # Of the forward strand alone, as it is the one that is explained.
            logits = first.model.predict(
                [one.sequence for one in chunk], strand="forward", batch_size=first.batch_size
            )
            names = [first.model.labels[index] for index in logits.argmax(1).tolist()]
        return {
            subject.name: np.array([subject.model.labels.index(name) for name in names], dtype=np.int64)
            for subject in self._subjects
        }


def _check_truth(samples: Samples, truth: str, settings: EvaluateSettings) -> None:
    """Do without sites on too few sequences; InputError where localisation was asked for by name."""
    if "localisation" in settings.metrics:
        check_n_sequences(samples.n_with_truth, f"{truth}, sites on")
    elif samples.n_with_truth < MIN_SEQUENCES:
        samples.forget_truth(
            f"{truth}: sites on {count(samples.n_with_truth, 'sequence')}; a confidence interval needs at least"
            f" {MIN_SEQUENCES}: localisation left out"
        )


def _check_labels(samples: Samples, model: Model) -> None:
    found = count_labels(samples.labels)
    other = [label for label in found if label not in model.labels]
    if other:
        raise InputError(
            f"{samples.source}: {count(sum(found[one] for one in other), 'sequence')} with a label that is no class"
            f" of {model.checkpoint.source}: {preview(map(repr, other))}",
            detail=f"its classes: {', '.join(model.labels)}",
            hint="give the model that was trained on such labels, or name what to explain: --target CLASS",
        )


def _subjects(models: Sequence[Model], settings: EvaluateSettings) -> list[Subject]:
    """The models with the methods that each has; UsageError for a method that none has, or equal names."""
    names = [_name(model) for model in models]
    if len(set(names)) < len(names):
        raise UsageError(f"the two models have one name, {names[0]}", hint="give folders of different names")
    has = [[name for name in _methods_of(model) if name in (settings.methods or _usable(model))] for model in models]
    for model, own in zip(models, has, strict=True):
        if not own:
            raise UsageError(
                f"no method for a {model.kind} among {', '.join(settings.methods)}",
                hint=f"one of {', '.join(_methods_of(model))}",
            )
        if own == [BASELINE]:
            raise UsageError(
                f"{BASELINE} is the baseline that methods are told from, and no method of a {model.kind} is named"
                " beside it",
                hint=f"name one more of {', '.join(_methods_of(model))}",
            )
    for model, own in zip(models, has, strict=True):
        for name in own:
            TokenExplainer(model, name)  # refuses what cannot be computed here, before hours are spent on others
    lacking = [name for name in settings.methods if not any(name in own for own in has)]
    if lacking:
        raise UsageError(f"no model here has the method {', '.join(lacking)}", hint="leave it out")
    return [
        Subject(
            name=name,
            model=model,
            methods=own,
            explained=settings.explained,
            projections=settings.projections,
            aggregations=settings.aggregations,
            batch_size=settings.batch_size,
            seed=settings.seed,
        )
        for name, model, own in zip(names, models, has, strict=True)
    ]


def _methods_of(model: Model) -> Mapping[str, Method | SequenceMethod]:
    return METHODS[model.kind]


def _usable(model: Model) -> list[str]:
    """The methods that nothing is lacking for."""
    return [name for name, method in _methods_of(model).items() if not method.needs or find_spec(method.needs)]


def _left_out(subjects: Sequence[Subject], settings: EvaluateSettings) -> list[str]:
    """Warnings of methods that were not asked for by name, and need what is not installed."""
    return [
        f"{name} of {subject.name} left out: it needs {method.needs}; pip install gexplain[{method.needs}]"
        for subject in subjects
        for name, method in _methods_of(subject.model).items()
        if not settings.methods and name not in subject.methods
    ]


def _load(model: Model | str | os.PathLike[str], settings: EvaluateSettings) -> Model:
    if isinstance(model, Model):
        return model
    return load_model(model, device=settings.device or "auto", dtype=settings.dtype or "float32")


def _name(model: Model) -> str:
    name = Path(model.checkpoint.source).name
    return name if name.strip(".") else Path(model.checkpoint.source).resolve().name


def _manifest(
    samples: Samples, subjects: Sequence[Subject], settings: EvaluateSettings, chooser: _Chooser, command: str
) -> dict[str, Any]:
    asked = asdict(settings)
    # chrom_alias may be a path; what it leads to is in the samples.
    for irrelevant in ("batch_size", "device", "resume", "force", "chrom_alias"):
        del asked[irrelevant]
    return {
        "command": command,
        "models": {
            subject.name: {
                "kind": subject.model.kind,
                "sha256": subject.model.checkpoint.sha256,
                "default": subject.default,
            }
            for subject in subjects
        },
        "data": {"source": samples.source, "sha256": samples.sha256},
        "sequences": len(samples),
        "with truth": samples.n_with_truth,
        "target": chooser.target,
        "seed": settings.seed,
        "settings": {
            **asked,
            "gexplain": version("gexplain"),
            "models": {subject.name: subject.model.identity() for subject in subjects},
            "methods": {subject.name: list(subject.methods) for subject in subjects},
            "data": samples.sha256,
            "samples": samples.digest(),
            "target": chooser.target,
            "dtype": subjects[0].model.dtype,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("gexplain", "torch")}},
        "warnings": [*samples.warnings, *_left_out(subjects, settings)],
    }


def _held(path: Path) -> dict[str, Any] | None:
    """The settings of the evaluation that is there; None where there is none, or something else."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        settings = held["settings"] if path.name == MANIFEST else held
        return settings if "samples" in settings else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _in_json(settings: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in settings.items()}
