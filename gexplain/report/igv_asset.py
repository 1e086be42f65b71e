"""igv.js, as it is pinned: what the build fetches into this package, and where else a page may have it from.

hatch_build.py runs this file by its path, before anything is installed: it may import nothing.
"""

from __future__ import annotations

NAME = "igv"
VERSION = "3.8.10"
PACKAGE_INTEGRITY = "sha512-foqT9SJHoKvVXl7euYUsOy7XMs1nTrPeJMQbGRp7qWU7a6HzF345FER/nHUTdsL5cumaoAe19gDmJYsEHO08rw=="
"""Of the npm package, as npm has it."""
SCRIPT_INTEGRITY = "sha384-b/GRD1DJ3Dgldpe6xYBLC9PzuduzTcS8Mm+lklLhsxW/fSCZgZnEyZib80jgh1li"
"""Of dist/igv.min.js in it: of the file beside this one, and of the public copy."""
PUBLIC_ADDRESS = f"https://cdn.jsdelivr.net/npm/{NAME}@{VERSION}/dist/igv.min.js"
"""Serves the files of npm packages as they are."""

SCRIPT = "assets/igv.min.js"
LICENCE = "assets/igv.LICENSE.txt"
"""In this package, if it was built where npm was; from the folder of this file."""
SERVED_AS = "/_gexplain/igv.min.js"
"""By `gexplain view`."""
