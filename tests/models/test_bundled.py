"""Bundled models: a name is a model, or an error that says which names there are; never a guess."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gexplain
from gexplain.errors import ModelError
from gexplain.models import bundled
from gexplain.models.sources import find_folder


def test_the_zoo_is_in_the_package():
    assert bundled.zoo() == Path(gexplain.__file__).parent / "zoo"


def test_names_are_the_folders_the_default_one_first(zoo):
    shutil.copytree(zoo / "yeast-tf-cnn", zoo / "a-tf")
    (zoo / "unfinished").mkdir()  # no config: no model
    assert bundled.bundled_names() == ["human-tf", "a-tf", "yeast-tf-cnn"]


def test_a_bundled_model_is_described_without_loading_it(zoo):
    (zoo / "human-tf" / "model.safetensors").unlink()
    human, yeast = (bundled.describe_bundled(name) for name in bundled.bundled_names())
    assert (human.kind, human.classes[:2], human.window) == ("DNABERT-2", ("background", "CTCF"), 101)
    assert (yeast.kind, yeast.classes, yeast.window, yeast.figures) == ("CNN", ("background", "Reb1"), 64, {})


@pytest.mark.parametrize("name", ["human-tf", "yeast-tf-cnn"])
def test_a_name_is_the_model_in_the_package(zoo, name):
    assert find_folder(name) == (zoo / name, None)
    model = gexplain.load_model(name, device="cpu")
    assert model.checkpoint.source == name
    assert model.window == bundled.describe_bundled(name).window


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_path_of_the_same_name_is_an_error_that_names_both(zoo, tmp_path, monkeypatch, kind):
    path = tmp_path / "human-tf"
    path.mkdir() if kind == "folder" else path.touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        find_folder("human-tf")
    assert caught.value.message == f"human-tf: both a bundled model and {path}"
    assert caught.value.hint.startswith("write ./human-tf for the path;")


@pytest.mark.parametrize("name", ["./human-tf", "human-tf/", Path("human-tf")])
def test_a_path_is_never_a_bundled_model(zoo, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"human-tf/?: no such folder"):
        find_folder(name)
    (tmp_path / "human-tf").mkdir()
    assert find_folder(name) == (Path("human-tf"), None)


@pytest.mark.parametrize("name", ["human_tf", "human-tf-cn", "Human-TF"])
def test_a_name_with_a_slip_is_told_the_close_one(zoo, name):
    with pytest.raises(ModelError) as caught:
        find_folder(name)
    assert caught.value.message == f"{name}: no such folder, and no model of that name comes with gexplain"
    assert caught.value.detail == "bundled: human-tf, yeast-tf-cnn"
    assert caught.value.hint.startswith("did you mean human-tf? Else give a folder")


def test_a_name_like_none_is_told_the_names_alone(zoo):
    with pytest.raises(ModelError) as caught:
        find_folder("gone")
    assert caught.value.detail == "bundled: human-tf, yeast-tf-cnn"
    assert caught.value.hint.startswith("give a folder with weights")


def test_describing_what_is_not_there_is_the_same_error(zoo):
    with pytest.raises(ModelError, match="human_tf: no such folder, and no model of that name"):
        bundled.describe_bundled("human_tf")


def test_names_need_no_torch():
    code = "import sys; from gexplain.models import bundled; bundled.bundled_names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_is_shipped_loads_and_is_what_its_description_says():
    assert bundled.bundled_names() == ["human-tf", "human-tf-cnn", "yeast-tf", "yeast-tf-cnn"]
    for name in bundled.bundled_names():
        about, model = bundled.describe_bundled(name), gexplain.load_model(name, device="cpu")
        assert (about.kind, about.classes, about.window) == (model.kind, model.labels, model.window)
        assert about.figures
        assert (about.folder / "model.safetensors").stat().st_size <= 6_000_000
        assert (about.folder / "README.md").is_file()
