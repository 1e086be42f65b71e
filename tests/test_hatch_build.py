"""The build's hook, with an npm of our own: it takes the file that it is given for the package."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gexplain.report import igv_asset

ROOT = Path(__file__).resolve().parents[1]
SCRIPT, LICENCE = b"var igv = {};", b"MIT"


@pytest.fixture
def hook(monkeypatch) -> ModuleType:
    """hatch_build.py; hatchling is where a build is, and need not be here."""
    interface = ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = list  # type: ignore[attr-defined] - any class that takes a parameter
    parts = interface.__name__.split(".")
    for n in range(1, len(parts)):
        name = ".".join(parts[:n])
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as members:
        for name, text in {"package/LICENSE": LICENCE, "package/dist/igv.min.js": SCRIPT, "../evil": b"x"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            members.addfile(member, io.BytesIO(text))
    return content.getvalue()


@pytest.fixture
def pin(hook, package) -> dict[str, Any]:
    return {
        **vars(igv_asset),
        "PACKAGE_INTEGRITY": hook.integrity(package, "sha512"),
        "SCRIPT_INTEGRITY": hook.integrity(SCRIPT, "sha384"),
    }


@pytest.fixture
def npm(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Puts an npm of our own, and nothing else of that name, where programs are; returns the list of its calls."""
    calls = tmp_path / "calls"

    def install(package: bytes | None, code: int = 0) -> Path:
        (tmp_path / "bin").mkdir()
        name = f"igv-{igv_asset.VERSION}.tgz"
        (tmp_path / "given.tgz").write_bytes(package or b"")
        copy = f"cp '{tmp_path}/given.tgz' {name}" if package is not None else ":"
        (tmp_path / "bin" / "npm").write_text(f"#!/bin/sh\necho \"$@\" >> '{calls}'\n{copy}\nexit {code}\n")
        (tmp_path / "bin" / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        return calls

    return install


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "report").mkdir()
    return tmp_path / "report"


def test_the_pinned_package_is_fetched(hook, npm, pin, package, folder, tmp_path):
    calls = npm(package)
    assert hook.provide(folder, pin) == ""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {igv_asset.SCRIPT: SCRIPT, igv_asset.LICENCE: LICENCE}
    assert calls.read_text().startswith(f"pack igv@{igv_asset.VERSION} ")
    assert not (tmp_path / "evil").exists()


def test_what_is_there_and_right_is_kept(hook, npm, pin, package, folder):
    calls = npm(package)
    hook.provide(folder, pin)
    calls.unlink()
    assert hook.provide(folder, pin) == ""
    assert not calls.exists()


@pytest.mark.parametrize(
    ("given", "code", "why"),
    [(None, 1, "npm cannot fetch it"), (None, 0, "npm cannot fetch it"), (b"other", 0, "is not the file")],
)
def test_without_the_right_package_nothing_is_there(hook, npm, pin, folder, given, code, why):
    npm(given, code)
    (folder / "assets").mkdir()
    (folder / igv_asset.SCRIPT).write_bytes(b"something else")
    assert why in hook.provide(folder, pin)
    assert not (folder / igv_asset.SCRIPT).exists()


def test_a_slow_npm_is_given_up(hook, npm, pin, package, folder, tmp_path, monkeypatch):
    npm(package)
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\nexec sleep 20\n")
    monkeypatch.setattr(hook, "TIMEOUT_S", 0.2)
    assert "TimeoutExpired" in hook.provide(folder, pin)


def test_without_npm_the_build_says_so(hook, pin, folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert hook.provide(folder, pin) == "there is no npm to fetch it with"


def test_what_lies_in_the_package_is_what_is_pinned(hook):
    """The same sum is given to browsers, for the public copy."""
    report = ROOT / "gexplain" / "report"
    if not (report / igv_asset.SCRIPT).exists():
        pytest.skip("built without igv.js: there was no npm")
    assert hook.integrity((report / igv_asset.SCRIPT).read_bytes(), "sha384") == igv_asset.SCRIPT_INTEGRITY
    assert igv_asset.VERSION in igv_asset.PUBLIC_ADDRESS
