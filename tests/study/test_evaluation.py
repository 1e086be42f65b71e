"""The runner: however an evaluation comes to its end, its tables are the same, and no other's work is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import tiny_cnn

import gexplain
from gexplain.attribution import explainers
from gexplain.attribution.explainers import METHODS, Method
from gexplain.errors import InputError, RunError, UsageError
from gexplain.evaluation.metrics import METRICS, Metric
from gexplain.study import evaluation
from gexplain.study.measure import Measurer

SMALL = {"methods": ("deeplift", "random"), "metrics": ("faithfulness", "gini"), "draws": 1, "shifts": 1, "costly": 0}
SAME_EVERY_TIME = ("metrics.tsv", "summary.tsv", "curves.tsv")  # cost.tsv has seconds
RESULTS = {*SAME_EVERY_TIME, "cost.tsv", "evaluation.html", "manifest.json"}


def write_stub(folder: Path) -> list[Path]:
    """In the report's place, which has its own tests and takes seconds."""
    (folder / "evaluation.html").write_text('<a href="plots/comparison.png">PNG</a>')
    (folder / "plots").mkdir()
    (folder / "plots" / "comparison.png").write_text("picture")
    return []


@pytest.fixture
def small(monkeypatch, sheet, cnn):
    """An evaluation of the CNN in chunks of two, four chunks in all; without pictures."""
    monkeypatch.setattr(evaluation, "CHUNK", 2)
    monkeypatch.setattr(evaluation, "write_report", write_stub)

    def go(out: Path, progress=None, model=cnn, data=sheet, **changed) -> gexplain.Evaluation:
        settings = gexplain.EvaluateSettings(**{**SMALL, **changed})
        return gexplain.evaluate(data, model=model, output=out, settings=settings, progress=progress)

    return go


@pytest.fixture
def n_measured(monkeypatch):
    """The sizes of the chunks that are measured from here on."""
    sizes: list[int] = []
    measure = Measurer.measure

    def count(self, samples, classes):
        sizes.append(len(samples))
        return measure(self, samples, classes)

    monkeypatch.setattr(Measurer, "measure", count)
    return sizes


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in SAME_EVERY_TIME}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stop_after(n: int):
    def progress(n_done: int, n_all: int) -> None:
        if n_done >= n:
            raise KeyboardInterrupt

    return progress


# ---- what a finished evaluation is ----


def test_a_finished_evaluation_is_its_files_and_nothing_else(finished):
    assert names(finished.path) == {*RESULTS, "plots"}
    stems = {
        *("comparison", "curves-bert", "curves-cnn", "similarity-bert", "similarity-cnn", "agreement-bert-cnn"),
        *("sanity", "quality-and-cost"),
    }
    assert names(finished.path / "plots") == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")}
    assert all(path.stat().st_size for path in finished.path.rglob("*"))


def test_the_manifest_says_what_was_done(finished, sheet):
    manifest = json.loads((finished.path / "manifest.json").read_text())
    assert manifest == finished.evaluation.manifest
    assert list(manifest) == [
        *("command", "models", "data", "sequences", "with truth", "target", "seed", "settings", "versions"),
        *("warnings", "written"),
    ]
    assert manifest["command"] == "gexplain evaluate ..."
    for name, model, kind, default in (("bert", "bert", "DNABERT-2", "attnlrp"), ("cnn", "cnn", "CNN", "deeplift")):
        sha256 = finished.models[model].checkpoint.sha256
        assert manifest["models"][name] == {"kind": kind, "sha256": sha256, "default": default}
    assert manifest["data"]["source"] == str(sheet)
    assert (manifest["sequences"], manifest["with truth"], manifest["target"]) == (8, 6, "label")
    assert manifest["settings"]["dtype"] == "float64"
    assert manifest["warnings"] == []
    assert "torch" in manifest["versions"]


def test_progress_is_told_after_each_chunk(small, tmp_path):
    told = []
    small(tmp_path / "out", lambda *n: told.append(n))
    assert told == [(2, 8), (4, 8), (6, 8), (8, 8)]


def test_chunks_of_another_size_make_the_same_summary(small, tmp_path, monkeypatch):
    small(tmp_path / "two")
    monkeypatch.setattr(evaluation, "CHUNK", 16)
    small(tmp_path / "all")
    one, other = ((tmp_path / name / "summary.tsv").read_text().splitlines() for name in ("two", "all"))
    assert len(one) > 50
    assert one == other  # in six digits


# ---- interrupted, and gone on with ----


@pytest.mark.parametrize("n", [2, 6, 8])
def test_an_interrupted_evaluation_goes_on_and_ends_the_same(small, n_measured, tmp_path, n):
    small(tmp_path / "whole")
    assert n_measured == [2, 2, 2, 2]
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "out", stop_after(n))
    assert names(tmp_path / "out") == {".unfinished"}
    del n_measured[:]
    small(tmp_path / "out")
    assert sum(n_measured) == 8 - n
    assert tables(tmp_path / "out") == tables(tmp_path / "whole")
    assert names(tmp_path / "out") == {*RESULTS, "plots"}


def test_without_resume_it_begins_anew(small, n_measured, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "out", stop_after(4))
    del n_measured[:]
    small(tmp_path / "out", resume=False)
    assert sum(n_measured) == 8


def test_one_interrupted_in_its_pictures_has_its_measures(small, n_measured, tmp_path, monkeypatch):
    def fail(folder):
        (folder / "half.png").write_text("half a picture")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "write_report", fail)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path / "out")
    assert names(tmp_path / "out") == {".unfinished"}
    del n_measured[:]
    small(tmp_path / "out")
    assert n_measured == []
    assert names(tmp_path / "out") == {*RESULTS, "plots"}


def test_parts_without_their_settings_are_nobodys(small, n_measured, tmp_path):
    """A process that was killed before it had written them, or another disk fault."""
    small(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "out", stop_after(4), seed=1)
    (tmp_path / "out" / ".unfinished" / "parts" / "settings.json").write_text('{"seed": 1')
    del n_measured[:]
    small(tmp_path / "out")
    assert sum(n_measured) == 8
    assert tables(tmp_path / "out") == tables(tmp_path / "whole")


KILLED = """
import sys, time
import gexplain
from gexplain.study import evaluation

sheet, model, out = sys.argv[1:]
evaluation.CHUNK = 2

def progress(n_done, n_all):
    if n_done == 4:
        print("half", flush=True)
        time.sleep(60)

settings = gexplain.EvaluateSettings(**{settings!r})
gexplain.evaluate(
    sheet, model=gexplain.load_model(model, device="cpu", dtype="float64"), output=out, settings=settings,
    progress=progress,
)
"""


def test_a_killed_process_is_gone_on_with_and_a_living_one_is_left_alone(small, n_measured, tmp_path, sheet, cnn):
    small(tmp_path / "whole")
    del n_measured[:]
    out = tmp_path / "out"
    code = KILLED.replace("{settings!r}", repr(SMALL))
    words = [sys.executable, "-c", code, str(sheet), cnn.checkpoint.source, str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "half\n"
            with pytest.raises(RunError, match="another run is writing here"):
                small(out)
            with pytest.raises(RunError, match="another run is writing here"):
                small(out, force=True)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert n_measured == []
    assert names(out) == {".unfinished"}
    assert (out / ".unfinished" / "lock").exists()
    small(out)
    assert n_measured == [2, 2]
    assert tables(out) == tables(tmp_path / "whole")
    assert names(out) == {*RESULTS, "plots"}


def test_a_part_that_was_half_written_is_none(small, n_measured, tmp_path):
    """What SIGKILL leaves of a file is under a name of its own, and goes with the rest."""
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "out", stop_after(4))
    (tmp_path / "out" / ".unfinished" / "parts" / ".00002.json.1234.partial").write_text('{"metrics": [[')
    del n_measured[:]
    small(tmp_path / "out")
    assert sum(n_measured) == 4
    assert names(tmp_path / "out") == {*RESULTS, "plots"}


# ---- a folder that is somebody's ----


def test_a_finished_evaluation_is_returned_as_it_is(small, n_measured, tmp_path):
    first = small(tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    del n_measured[:]
    again = small(tmp_path / "out", batch_size=3)  # changes no value
    assert n_measured == []
    assert again.manifest == first.manifest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("state", ["finished", "interrupted"])
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"draws": 3}, "draws: 1 there, 3 now"),
        ({"window": 64}, "window: null there, 64 now"),
        ({"explained": "margin"}, "explained: logit there, margin now"),
        ({"methods": ("deeplift",)}, "methods: "),
        ({"target": "enhancer"}, "target: label there, enhancer now"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_settings_are_refused_with_the_difference(small, tmp_path, state, changed, told):
    if state == "finished":
        small(tmp_path / "out")
    else:
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path / "out", stop_after(2))
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="an evaluation with other settings is here") as raised:
        small(tmp_path / "out", **changed)
    assert told in raised.value.detail
    assert raised.value.detail.count("\n") == 0
    assert "--force" in raised.value.hint
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_another_model_or_other_sequences_are_other_settings(small, tmp_path, sheet):
    small(tmp_path / "out")
    other = gexplain.load_model(
        tiny_cnn(tmp_path / "cnn", labels=("none", "promoter", "enhancer"), seed=1), device="cpu", dtype="float64"
    )
    with pytest.raises(RunError) as raised:
        small(tmp_path / "out", model=other)
    assert raised.value.detail.startswith("models: ")
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("".join(sheet.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(RunError) as raised:
        small(tmp_path / "out", data=fewer)
    assert [line.split(":")[0] for line in raised.value.detail.splitlines()] == ["data", "samples"]


def test_force_replaces_an_evaluation(small, n_measured, tmp_path):
    small(tmp_path / "other", seed=1)
    small(tmp_path / "out")
    del n_measured[:]
    small(tmp_path / "out", seed=1, force=True)
    assert sum(n_measured) == 8
    assert tables(tmp_path / "out") == tables(tmp_path / "other")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["seed"] == 1


def test_an_interrupted_replacement_is_no_finished_evaluation(small, n_measured, tmp_path):
    small(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "out", stop_after(2), seed=1, force=True)
    assert not (tmp_path / "out" / "manifest.json").exists()
    del n_measured[:]
    small(tmp_path / "out", seed=1)
    assert sum(n_measured) == 6
    assert names(tmp_path / "out") == {*RESULTS, "plots"}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "file",
    [
        ("notes.txt", "mine"),
        ("manifest.json", '{"settings": {"window": 512}}'),
        ("manifest.json", "{"),
        ("plots/mine.png", "mine"),
        (".unfinished/scores.h5", "an interrupted run's"),
    ],
    ids=["a text", "a run", "no JSON", "plots", "an interrupted run"],
)
def test_a_folder_that_holds_something_else_is_refused_and_left_as_it_was(small, tmp_path, file, force):
    """Whatever is forced: only an evaluation is replaced."""
    out = tmp_path / "out"
    path = out / file[0]
    path.parent.mkdir(parents=True)
    path.write_text(file[1])
    with pytest.raises(RunError, match=r"is not empty, and holds no evaluation: [a-z.]") as raised:
        small(out, force=force)
    assert "or --force" not in raised.value.hint
    assert names(out) == {Path(file[0]).parts[0]}
    assert path.read_text() == file[1]


def test_a_run_beside_an_interrupted_evaluation_is_not_overwritten(small, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "out", stop_after(2))
    run = tmp_path / "out" / "manifest.json"
    run.write_text('{"settings": {"window": 512}}')
    for force in (False, True):
        with pytest.raises(RunError, match=r"holds no evaluation: manifest\.json"):
            small(tmp_path / "out", force=force)
    assert run.read_text() == '{"settings": {"window": 512}}'


def test_files_of_others_in_an_evaluation_stay_and_figures_of_its_page_go(small, tmp_path, monkeypatch):
    out = tmp_path / "out"
    small(out)
    for mine in (out / "notes.txt", out / "plots" / "curves-mine.png", out / "plots" / "parison.png"):
        mine.write_text("mine")

    def write_another(folder):
        write_stub(folder)
        (folder / "plots" / "comparison.png").rename(folder / "plots" / "sanity.png")
        return []

    monkeypatch.setattr(evaluation, "write_report", write_another)
    small(out, seed=1, force=True)
    assert names(out) == {*RESULTS, "plots", "notes.txt"}
    assert names(out / "plots") == {"sanity.png", "curves-mine.png", "parison.png"}


@pytest.mark.parametrize("step", ["_write_whole", "_measure"])
def test_a_replacement_that_is_killed_at_its_beginning_can_be_given_again(small, tmp_path, monkeypatch, step):
    """At no moment is the folder nobody's: it would be refused for ever."""
    small(tmp_path / "out")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, step, killed)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path / "out", seed=1, force=True)
    small(tmp_path / "out", seed=1, force=True)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["seed"] == 1
    assert names(tmp_path / "out") == {*RESULTS, "plots"}


def test_an_empty_folder_is_written_to(small, tmp_path):
    (tmp_path / "out").mkdir()
    small(tmp_path / "out")
    assert names(tmp_path / "out") == {*RESULTS, "plots"}


def test_a_file_is_no_folder(small, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        small(tmp_path / "out")


def test_two_evaluations_at_once_are_refused(small, tmp_path):
    def another(*_: int) -> None:
        with pytest.raises(RunError, match="another run is writing here"):
            small(tmp_path / "out")

    small(tmp_path / "out", another)
    assert names(tmp_path / "out") == {*RESULTS, "plots"}


def test_bad_data_leave_no_folder(small, tmp_path):
    with pytest.raises(InputError):
        small(tmp_path / "out", sample=3)
    assert not (tmp_path / "out").exists()


# ---- what is explained, by which methods ----


def test_all_methods_of_a_kind_are_taken_but_those_that_lack_a_package(bert, cnn, monkeypatch):
    every = gexplain.EvaluateSettings()
    monkeypatch.setattr(evaluation, "find_spec", lambda name: None)
    monkeypatch.setattr(explainers, "find_spec", lambda name: None)
    of_bert, of_cnn = evaluation._subjects([bert, cnn], every)
    assert list(of_bert.methods) == list(METHODS["DNABERT-2"])
    assert list(of_cnn.methods) == [name for name in METHODS["CNN"] if name != "deeplift-shap"]
    assert "deeplift-shap of cnn left out" in evaluation._left_out([of_bert, of_cnn], every)[0]
    with pytest.raises(UsageError, match="'deeplift-shap' is computed by tangermeme, which is not installed"):
        evaluation._subjects([cnn], gexplain.EvaluateSettings(methods=("deeplift-shap",)))


def test_the_predicted_class_is_that_of_the_first_model(small, tmp_path, sheet):
    model = gexplain.load_model(
        tiny_cnn(tmp_path / "cnn", labels=("none", "promoter", "enhancer"), seed=6), device="cpu", dtype="float64"
    )
    assert small(tmp_path / "predicted", model=model, target="predicted").manifest["target"] == "predicted"
    rows = [line.split(",")[0] for line in sheet.read_text().split()[1:]]
    labels = [model.labels[index] for index in model.predict(rows, strand="forward").argmax(1)]
    assert len(set(labels)) > 1
    assert labels != [model.labels[index] for index in model.predict(rows).argmax(1)]
    own = tmp_path / "own.csv"
    own.write_text("sequence,label\n" + "".join(f"{row},{label}\n" for row, label in zip(rows, labels, strict=True)))
    small(tmp_path / "labelled", model=model, data=own)
    assert tables(tmp_path / "predicted") == tables(tmp_path / "labelled")


def test_of_a_csv_the_label_is_explained_even_where_a_class_is_called_so(small, tmp_path):
    labels = ("label", "promoter", "enhancer", "none")
    model = gexplain.load_model(tiny_cnn(tmp_path / "odd", labels=labels), device="cpu", dtype="float64")
    assert small(tmp_path / "out", model=model).manifest["target"] == "label"
    named = small(tmp_path / "named", model=model, target="label")  # the class, for who names it
    assert named.manifest["target"] == "label"
    assert tables(tmp_path / "named") != tables(tmp_path / "out")


@pytest.mark.parametrize("methods", [("random",), ("attnlrp", "random")])
def test_the_baseline_alone_is_refused_for_each_model(bert, cnn, methods):
    """Of two models, each has its own default method."""
    settings = gexplain.EvaluateSettings(methods=methods)
    with pytest.raises(UsageError, match=r"random is the baseline .* no method of a CNN is named beside it"):
        evaluation._subjects([cnn] if len(methods) == 1 else [bert, cnn], settings)


@pytest.mark.parametrize("n_rows", [1, 4])
def test_truth_on_few_sequences_is_left_out_and_told(small, tmp_path, sheet, cnn, n_rows):
    sites = tmp_path / "sites.bed"
    sites.write_text("".join(f"{line}\t1\t9\n{line}\t11\t15\n" for line in range(2, 2 + n_rows)))
    usual = {**SMALL, "metrics": (), "methods": ("deeplift",)}

    def go(truth, name: str, **changed) -> gexplain.Evaluation:
        settings = gexplain.EvaluateSettings(**{**usual, **changed})
        return gexplain.evaluate(sheet, model=cnn, truth=truth, output=tmp_path / name, settings=settings)

    found, without = go(sites, "few"), go(None, "none")
    (told,) = set(found.warnings) - set(without.warnings)
    assert told.startswith(f"{sites}: sites on {n_rows} sequence")
    assert told.endswith("a confidence interval needs at least 5: localisation left out")
    assert found.manifest["with truth"] == 0
    assert tables(found.path) == tables(without.path)
    with pytest.raises(InputError, match="a confidence interval needs at least 5"):
        go(sites, "named", metrics=("gini", "localisation"))
    sites.write_text("".join(f"{line}\t1\t9\n" for line in range(2, 7)))
    assert "auroc" in (go(sites, "five").path / "metrics.tsv").read_text()


def test_the_margin_of_a_lone_class_is_refused(small, tmp_path):
    lone = gexplain.load_model(tiny_cnn(tmp_path / "lone", labels=("none",), head="multi_label"), device="cpu")
    path = tmp_path / "lone.csv"
    path.write_text("sequence,label\n" + "ACGTACGTAGGT,none\n" * 5)
    with pytest.raises(UsageError, match="margin needs at least two classes"):
        small(tmp_path / "out", model=lone, data=path, explained="margin")


@pytest.mark.parametrize("path", [".", "./", "../cnn"])
def test_a_model_is_called_by_its_folder_however_it_is_given(small, tmp_path, monkeypatch, cnn, path):
    monkeypatch.chdir(cnn.checkpoint.source)
    found = small(tmp_path / "out", model=path, device="cpu", methods=("deeplift",), metrics=("gini",))
    assert list(found.manifest["models"]) == ["cnn"]


def test_shifts_are_less_than_the_shortest_sequence(small, tmp_path):
    few = {"methods": ("deeplift",), "metrics": ("gini",)}
    small(tmp_path / "most", shifts=20, **few)
    with pytest.raises(UsageError, match=r"21 shifts, where the shortest sequence of .* has 20 bases"):
        small(tmp_path / "more", shifts=21, **few)


def test_without_shifts_only_strands_are_averaged(small, tmp_path):
    small(tmp_path / "out")
    lines = (tmp_path / "out" / "metrics.tsv").read_text().splitlines()[1:]
    variants = {line.split("\t")[5] for line in lines if line.split("\t")[2] == "deeplift"}
    assert variants == {"native", "native, both strands"}


def test_regions_and_a_file_of_names_are_evaluated(tmp_path, cnn, small, test_data):
    """A chromosome alias may be a path: it is in no manifest as such."""
    (tmp_path / "alias.tsv").write_text("one\tchr1\n")
    regions = tmp_path / "regions.bed"
    regions.write_text("".join(f"one\t{start}\t{start + 50}\n" for start in range(2000, 12_000, 2000)))
    settings = gexplain.EvaluateSettings(
        **{**SMALL, "metrics": ("gini",), "target": "promoter", "chrom_alias": tmp_path / "alias.tsv", "window": 30}
    )
    found = gexplain.evaluate(regions, test_data / "genome.fa", cnn, output=tmp_path / "out", settings=settings)
    assert (found.manifest["sequences"], found.manifest["target"]) == (5, "promoter")
    lines = (tmp_path / "out" / "metrics.tsv").read_text().splitlines()
    assert lines[1].split("\t")[0].replace(",", "") == "chr1:2011-2040"


# ---- one function and one line ----


@pytest.fixture
def dicts_as_they_were():
    """Afterwards METHODS and METRICS are what they were, in the same order, which monkeypatch would not keep."""
    held = [(one, dict(one)) for one in (METHODS["CNN"], METRICS)]
    yield
    for one, before in held:
        one.clear()
        one.update(before)


def test_a_new_metric_and_a_new_method_are_a_line_each(dicts_as_they_were, tmp_path, sheet, cnn):
    """Both reach the tables and the page, which has no words for them."""
    steps = METHODS["CNN"]["gradient-x-input"]
    assert isinstance(steps, Method)
    METRICS["size"] = Metric(lambda case: {"size": float(len(case.relevance))})
    METHODS["CNN"]["my-method"] = Method("nucleotide", steps.relevance, {})
    del METHODS["CNN"]["deeplift-shap"]
    for name in [name for name in METRICS if name not in ("size", "gini")]:
        del METRICS[name]
    settings = gexplain.EvaluateSettings(draws=1, shifts=1)
    found = gexplain.evaluate(sheet, model=cnn, output=tmp_path / "out", settings=settings)
    rows = [line.split("\t") for line in (found.path / "metrics.tsv").read_text().splitlines()[1:]]
    values = {(row[2], row[6], row[0]): row[7] for row in rows}
    for line in range(2, 10):
        assert values["my-method", "size", str(line)] == str(18 + line)
        assert values["my-method", "gini", str(line)] == values["gradient-x-input", "gini", str(line)]
    page = (found.path / "evaluation.html").read_text()
    assert "my-method" in page
    assert "size" in page
