"""The folder of a training: what it writes there, its unfinished work, and who may work on it."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gexplain.errors import RunError, UsageError, preview

STATE = ".training"
ADAPTER = "adapter"
_NOTED = "training.json"

_WRITTEN = (
    "model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "metrics.json", "README.md",
    "learning_curve.png",
)  # fmt: skip
_FOLDERS = (STATE, ADAPTER)


@contextmanager
def open_folder(folder: Path, fingerprint: Mapping[str, Any], *, resume: bool, force: bool) -> Iterator[Path]:
    """The folder's place for unfinished work: empty, or that of the same training; removed at a good end.

    Raises UsageError where the folder holds something else, RunError where another training is at work in it.
    """
    work = folder / STATE
    _refuse_foreign(folder)
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("w")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot write to {folder}: {reason}", hint="give another -o") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"{folder}: another training is at work here, or the file system gives no locks ({error.strerror})",
                hint="wait for it, or give another -o",
            ) from error
        try:
            _prepare(folder, fingerprint, resume=resume, force=force)
            yield work
        except BaseException:
            _leave_nothing_empty(work, folder)
            raise
        (work / _NOTED).unlink()  # first: without it, what is left is no training to go on with
        shutil.rmtree(work, ignore_errors=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object, whole or not at all."""
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _prepare(folder: Path, fingerprint: Mapping[str, Any], *, resume: bool, force: bool) -> None:
    noted = folder / STATE / _NOTED
    before = json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else None
    if resume and before == fingerprint:
        return
    if before is not None and not force:
        other = sorted(key for key in {*before, *fingerprint} if before.get(key) != fingerprint.get(key))
        raise UsageError(
            f"{folder} holds an unfinished training"
            + (f" with another {preview(other)}" if other else " of the same data and settings"),
            hint="--force starts anew there; or give another -o",
        )
    found = [name for name in _names(folder) if name != STATE]
    if found and not force:
        raise UsageError(
            f"{folder} is not empty: {preview(found)}", hint="--force replaces the model there; or give another -o"
        )
    if found and before is None and "config.json" not in found:
        raise UsageError(
            f"{folder} holds no model that --force could replace: {preview(found)}", hint="give another -o"
        )
    _clear(folder)
    write_json(noted, fingerprint)


def _refuse_foreign(folder: Path) -> None:
    """A user's own files are never touched, whatever is forced."""
    foreign = [name for name in _names(folder) if name not in _FOLDERS and name.removesuffix(".tmp") not in _WRITTEN]
    if foreign:
        raise UsageError(
            f"{folder} holds what is not of a training: {preview(foreign)}",
            hint="give another -o; --force removes a model, and nothing else",
        )


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _clear(folder: Path) -> None:
    """Remove what trainings write, but for the lock that is held."""
    for name in _WRITTEN:
        (folder / name).unlink(missing_ok=True)
        (folder / f"{name}.tmp").unlink(missing_ok=True)
    shutil.rmtree(folder / ADAPTER, ignore_errors=True)
    for path in (folder / STATE).iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != "lock":
            path.unlink()


def _leave_nothing_empty(work: Path, folder: Path) -> None:
    """Where nothing was begun, leave no trace of the attempt."""
    if [path.name for path in work.iterdir()] == ["lock"]:
        shutil.rmtree(work, ignore_errors=True)
        if not _names(folder):
            folder.rmdir()
