"""The folder of a training: nothing of a user's is lost, and two trainings never share it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gexplain.errors import RunError, UsageError
from gexplain.training.folder import STATE, open_folder


def interrupted(folder: Path, fingerprint: dict[str, object], **options: bool) -> None:
    """A training that writes something, and is stopped."""

    def begun() -> None:
        with opened(folder, fingerprint, **options) as work:
            (work / "step").write_text("4")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begun()


def opened(folder: Path, fingerprint: dict[str, object], *, resume: bool = True, force: bool = False):
    return open_folder(folder, fingerprint, resume=resume, force=force)


def finished(folder: Path) -> Path:
    """A model, as a training leaves it."""
    with opened(folder, {"seed": 0}):
        for name in ("config.json", "model.safetensors", "README.md"):
            (folder / name).write_text(name)
    return folder


def test_unfinished_work_is_there_again_for_the_same_training(tmp_path):
    interrupted(tmp_path, {"seed": 0})
    with opened(tmp_path, {"seed": 0}) as work:
        assert (work / "step").read_text() == "4"


def test_a_good_end_leaves_no_unfinished_work(tmp_path):
    assert not (finished(tmp_path) / STATE).exists()


@pytest.mark.parametrize("options", [{}, {"resume": False}])
def test_work_of_another_training_is_refused_and_kept(tmp_path, options):
    interrupted(tmp_path, {"seed": 0})
    with pytest.raises(UsageError, match="unfinished training"), opened(tmp_path, {"seed": 1}, **options):
        pass
    assert (tmp_path / STATE / "step").exists()


def test_force_starts_anew_over_unfinished_work(tmp_path):
    interrupted(tmp_path, {"seed": 0})
    with opened(tmp_path, {"seed": 1}, force=True) as work:
        assert not (work / "step").exists()
        assert json.loads((work / "training.json").read_text()) == {"seed": 1}


def test_force_with_the_same_training_goes_on(tmp_path):
    interrupted(tmp_path, {"seed": 0})
    with opened(tmp_path, {"seed": 0}, force=True) as work:
        assert (work / "step").exists()


def test_a_model_is_replaced_by_force_alone(tmp_path):
    finished(tmp_path)
    with pytest.raises(UsageError, match="is not empty"), opened(tmp_path, {"seed": 1}):
        pass
    assert (tmp_path / "model.safetensors").exists()
    with opened(tmp_path, {"seed": 1}, force=True):
        assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("names", [["README.md"], ["README.md", "notes.txt"], ["config.json", "notes.txt"]])
def test_force_touches_nothing_that_is_not_a_model(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=r"give another -o|holds"), opened(tmp_path, {"seed": 0}, force=True):
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "mine")


def test_two_trainings_do_not_share_a_folder(tmp_path):
    with opened(tmp_path, {"seed": 0}):
        with pytest.raises(RunError, match="another training is at work"), opened(tmp_path, {"seed": 0}, force=True):
            pass
        assert (tmp_path / STATE / "training.json").exists()


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"), opened(tmp_path / "file" / "model", {"seed": 0}):
        pass


def test_a_kill_while_the_end_is_tidied_up_does_not_begin_again(tmp_path):
    finished(tmp_path)
    (tmp_path / STATE / "steps").mkdir(parents=True)  # what such a kill leaves
    with pytest.raises(UsageError, match="is not empty"), opened(tmp_path, {"seed": 0}):
        pass
    assert (tmp_path / "model.safetensors").exists()
