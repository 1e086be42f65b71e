"""The data that the shipped models are trained and measured on, as files for `gexplain train` and evaluate.py.

    python benchmarks/models/prepare.py human DATA OUT [--disjoint] [--strongest N]
    python benchmarks/models/prepare.py yeast DATA OUT

DATA: the folder that holds human_tf/ and yeast/. Seeded: the same files every time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from human import prepare_human
from yeast import prepare_yeast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("human", "yeast"):
        command = kinds.add_parser(kind)
        command.add_argument("data", type=Path)
        command.add_argument("out", type=Path)
        if kind == "human":
            command.add_argument(
                "--disjoint", action="store_true", help="no training peak shares 30 bases with a dev or test peak"
            )
            command.add_argument("--strongest", type=int, help="training peaks of each factor, the strongest ones")
    options = parser.parse_args()
    if options.kind == "human":
        counts = prepare_human(
            options.data / "human_tf", options.out, disjoint=options.disjoint, strongest=options.strongest
        )
    else:
        counts = prepare_yeast(options.data / "yeast", options.out)
    for what, number in counts.items():
        print(f"{number:10,}  {what}")


if __name__ == "__main__":
    main()
