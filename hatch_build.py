"""What `pip install` builds beside the code: igv.js, from npm where there is npm, into gexplain/report/assets/.

It is 1.5 MB of somebody else's code, so it is fetched and not committed. Its version and checksums are pinned in
gexplain/report/igv_asset.py. Without npm or a network the build goes on without it: the report then offers its public
address.
"""

from __future__ import annotations

import base64
import hashlib
import runpy
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TIMEOUT_S = 60
OPTIONS = [
    "--silent",
    "--ignore-scripts",
    "--no-update-notifier",
    "--fetch-retries=0",
    "--fetch-timeout=15000",
]


class AssetHook(BuildHookInterface[Any]):
    """Puts igv.js into wheels, editable installs and source distributions."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch what is not there, and add it to what is packed: .gitignore has it."""
        folder = Path(self.root, "gexplain", "report")
        pin = runpy.run_path(str(folder / "igv_asset.py"))
        why_not = provide(folder, pin)
        if why_not:
            self.app.display_warning(f"gexplain is built without igv.js {pin['VERSION']}: {why_not}")
        else:
            build_data["artifacts"] += [f"/gexplain/report/{pin[name]}" for name in ("SCRIPT", "LICENCE")]


def provide(folder: Path, pin: dict[str, Any]) -> str:
    """Have igv.js and its licence in a folder's assets/, as they are pinned; says why not, or "".

    What is there and right is kept without a question to npm; what is wrong is removed.
    """
    script, licence = folder / pin["SCRIPT"], folder / pin["LICENCE"]
    if licence.is_file() and script.is_file() and integrity(script.read_bytes(), "sha384") == pin["SCRIPT_INTEGRITY"]:
        return ""
    script.unlink(missing_ok=True)
    npm = shutil.which("npm")
    if npm is None:
        return "there is no npm to fetch it with"
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", f"{pin['NAME']}@{pin['VERSION']}", *OPTIONS]
        try:
            # An empty folder: npm reads the settings of the project that it is called in.
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"npm failed ({type(error).__name__})"
        package = Path(scratch, f"{pin['NAME']}-{pin['VERSION']}.tgz")
        if done.returncode != 0 or not package.is_file():
            return "npm cannot fetch it"
        if integrity(package.read_bytes(), "sha512") != pin["PACKAGE_INTEGRITY"]:
            return "what npm fetched is not the file that is pinned"
        script.parent.mkdir(exist_ok=True)
        with tarfile.open(package) as members:
            for path, member in ((licence, "package/LICENSE"), (script, "package/dist/igv.min.js")):
                file = members.extractfile(member)
                assert file is not None, member
                partial = path.with_suffix(".partial")
                partial.write_bytes(file.read())
                partial.replace(path)
    return ""


def integrity(content: bytes, algorithm: str) -> str:
    """A checksum as npm and browsers write it."""
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"
