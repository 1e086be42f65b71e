"""Windows: how a region is cut into the pieces that the model reads.

Tiles sit on a grid of the chromosome (multiples of the stride), not of the region: regions that overlap share
their windows, and a base's value does not depend on where a region happens to start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gexplain.arrays import IntArray
from gexplain.errors import UsageError
from gexplain.genome.intervals import Strand

# Used where a model's config does not say what it was trained on: DNABERT-2's usual fine-tuning length is
# 128 tokens, about 600 bases.
DEFAULT_WINDOW = 512


@dataclass(frozen=True, slots=True)
class Window:
    """One piece of a chromosome that the model reads: 0-based, half-open; strand "." is both."""

    chrom: str
    start: int
    end: int
    strand: Strand = "."


@dataclass(frozen=True, slots=True)
class Tiling:
    """How regions are cut. window, stride: nucleotides. shifts: offsets at which every window is read again."""

    window: int = DEFAULT_WINDOW
    stride: int = DEFAULT_WINDOW // 2
    shifts: int = 1

    def __post_init__(self) -> None:
        if self.window < 1:
            raise UsageError(f"--window {self.window}: expected at least 1 nucleotide", hint="512, say")
        if not 1 <= self.stride <= self.window:
            raise UsageError(
                f"--stride {self.stride}: expected 1 to the window's {self.window} nucleotides",
                hint="a longer stride would leave bases between the windows unscored",
            )
        if not 1 <= self.shifts <= self.window:
            raise UsageError(
                f"--shifts {self.shifts}: expected 1 to the window's {self.window} nucleotides",
                hint="1 is enough for DNABERT-2, whose token borders hardly move",
            )

    @property
    def offsets(self) -> IntArray:
        """The shifts around 0, one base apart: 4 shifts are -2, -1, 0, 1."""
        return np.arange(self.shifts) - self.shifts // 2

    def width(self, chrom_length: int) -> int:
        """Nucleotides of every window on a chromosome: all of it, where it is shorter than a window."""
        return min(self.window, chrom_length)

    def starts(self, regions: IntArray, summits: IntArray, chrom_length: int) -> IntArray:
        """Sorted, distinct starts of the windows of regions (n, 2) of one chromosome.

        A region up to the window's length gets one window, centred on its summit (n,; -1 where it has none)
        or else on its middle; a longer one is tiled so that every base is covered. Windows shift inward at
        the chromosome's ends.
        """
        width = self.width(chrom_length)
        start, end = regions[:, 0], regions[:, 1]
        is_short = end - start <= width
        centre = np.where(summits >= 0, summits, (start + end) // 2)
        first = np.where(is_short, centre - width // 2, start // self.stride * self.stride)
        last = -((width - end) // self.stride) * self.stride  # the first tile that reaches the region's end
        n_tiles = np.where(is_short, 1, np.maximum(last - first, 0) // self.stride + 1)
        nth = np.arange(n_tiles.sum()) - np.repeat(np.cumsum(n_tiles) - n_tiles, n_tiles)
        starts = np.repeat(first, n_tiles) + nth * self.stride
        starts = np.sort(np.clip(starts[:, None] + self.offsets, 0, chrom_length - width).ravel())
        # Not np.unique: it hashes, and a whole chromosome's starts are nearly sorted.
        return starts[np.diff(starts, prepend=-1) > 0]

    def tiles(self, region: tuple[int, int], summit: int, chrom_length: int) -> Tiles:
        """The starts of one region's windows as `starts` has them without shifts, in no memory."""
        width = self.width(chrom_length)
        (start, end), most = region, chrom_length - width
        if end - start <= width:
            centre = summit if summit >= 0 else (start + end) // 2
            return Tiles(range(0), min(max(centre - width // 2, 0), most))
        first = start // self.stride * self.stride
        last = max(first, -((width - end) // self.stride) * self.stride)
        return Tiles(range(first, min(last, most), self.stride), min(last, most))


@dataclass(frozen=True, slots=True)
class Tiles:
    """Window starts: those of a grid, and one behind them."""

    grid: range
    last: int

    def __len__(self) -> int:
        return len(self.grid) + 1

    def __getitem__(self, index: int) -> int:
        return self.grid[index] if index < len(self.grid) else self.last
