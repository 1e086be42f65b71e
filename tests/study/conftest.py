"""What tests of the study share: two tiny models, eight short sequences, and one finished evaluation of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_checkpoint, tiny_cnn

import gexplain
from gexplain.models.model import Model
from gexplain.study import evaluation
from gexplain.study.measure import Part
from gexplain.study.samples import CsvSamples, Sample

LABELS = ("none", "promoter", "enhancer")
SETTINGS: dict[str, Any] = {
    "methods": ("attnlrp", "gradient-x-input", "occlusion-base", "random", "deeplift"),
    "projections": ("uniform", "copy"),
    "aggregations": ("sum", "max"),
    "draws": 2,
    "mutants": 2,
    "costly": 5,
    "shifts": 3,
    "dtype": "float64",
}


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """An evaluation, and the parts that its tables were made of."""

    evaluation: gexplain.Evaluation
    parts: Sequence[Part]
    settings: gexplain.EvaluateSettings
    models: dict[str, Model] = field(repr=False)

    @property
    def path(self) -> Path:
        return self.evaluation.path


@pytest.fixture(scope="session")
def sheet(tmp_path_factory) -> Path:
    """A CSV of eight sequences of 20 to 27 bases, of three classes; the third has two N."""
    rng = np.random.default_rng(0)
    lines = ["sequence,label"]
    for row in range(8):
        sequence = "".join(rng.choice(list("ACGT"), 20 + row))
        lines.append(f"{'NN' + sequence[2:] if row == 2 else sequence},{LABELS[row % 3]}")
    path = tmp_path_factory.mktemp("study") / "sheet.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def truth(sheet) -> Path:
    """A BED of sites on the first six rows of the CSV, two of them on the first; one leaves its sequence."""
    sites = [
        "2\t3\t7\n",
        "2\t10\t12\n",
        "3\t0\t5\n",
        "4\t15\t99\n",
        *(f"{line}\t4\t{line + 6}\n" for line in (5, 6, 7)),
    ]
    path = sheet.with_name("sites.bed")
    path.write_text("".join(sites))
    return path


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Model:
    """A tiny DNABERT-2 of three classes, in float64."""
    folder = tiny_checkpoint(tmp_path_factory.mktemp("models") / "bert", labels=LABELS, n_targets=3)
    return gexplain.load_model(folder, device="cpu", dtype="float64")


@pytest.fixture(scope="session")
def cnn(tmp_path_factory) -> Model:
    """A tiny CNN of the same classes, in float64."""
    folder = tiny_cnn(tmp_path_factory.mktemp("models") / "cnn", labels=LABELS, window=64)
    return gexplain.load_model(folder, device="cpu", dtype="float64")


@pytest.fixture(scope="session")
def samples(sheet, truth) -> list[Sample]:
    """The sequences of the CSV, as an evaluation has them."""
    (whole,) = CsvSamples(sheet, truth, None, 0).chunks(100)
    return whole


@pytest.fixture(scope="session")
def finished(sheet, truth, bert, cnn, tmp_path_factory) -> Finished:
    """Both models evaluated on the CSV with its sites, in chunks of five, with all metrics, pictures and the page."""
    parts: list[Part] = []
    write_tables = evaluation.write_tables

    def remember(folder, given, *others):
        parts.extend(given)
        write_tables(folder, parts, *others)

    settings = gexplain.EvaluateSettings(**SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "CHUNK", 5)
        patch.setattr(evaluation, "write_tables", remember)
        out = tmp_path_factory.mktemp("evaluation") / "out"
        done = gexplain.evaluate(
            sheet,
            model=bert,
            against=cnn,
            truth=truth,
            output=out,
            settings=settings,
            command="gexplain evaluate ...",
        )
    return Finished(done, parts, settings, {"bert": bert, "cnn": cnn})
