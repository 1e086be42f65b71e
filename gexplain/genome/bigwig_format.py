"""bigWig and bigBed, byte by byte: their tables, and the two trees in which readers look up chromosomes and blocks.

Tables are numbered as in the supplement of Kent et al. 2010 (doi:10.1093/bioinformatics/btq351). All numbers
are little-endian; chromosomes go by id, their index in the header.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import IntArray

MAX_ZOOM_LEVELS = 10
# Items in a block of values. Blocks are compressed and looked up alone.
ITEMS_PER_BLOCK = 4096
# Children of a tree node at most; the kent tools have as many.
_NODE_ITEMS = 256

# Table 5: magic, version, number of zoom levels; offsets of chromosomes, data and index; for bigBed alone, how many
# columns there are, how many of them are BED's, and the offset of their description in autoSql; offset of the
# summary, largest size of a block before compression, an offset for extensions.
_HEADER = struct.Struct("<IHHQQQHHQQIQ")
_MAGIC, _BED_MAGIC, _VERSION = 0x888FFC26, 0x8789F2EB, 4
# Table 6: reduction, reserved, offsets of data and index.
_ZOOM_HEADER = struct.Struct("<IIQQ")
# Table 7: bases with a value, their minimum, maximum, sum and sum of squares.
_SUMMARY = struct.Struct("<Qdddd")
# Table 8: magic, items in a node, bytes in a key and in its value, number of chromosomes, reserved.
_CHROM_TREE = struct.Struct("<IIIIQQ")
_CHROM_TREE_MAGIC = 0x78CA8C91
# Tables 9 and 15, for either tree: whether it is a leaf, reserved, number of items.
_NODE = struct.Struct("<BBH")
# Table 12: number of blocks of values; of a bigBed, of its items.
DATA_COUNT = struct.Struct("<Q")
# Table 13: chromosome, start, end, step, span, type, reserved, number of items. Then the items: a position and
# a value each (variableStep), or values alone (fixedStep).
_BLOCK = struct.Struct("<IIIIIBBH")
_VARIABLE_STEP, _FIXED_STEP = 2, 3
_VARIABLE_ITEM = np.dtype([("start", "<u4"), ("value", "<f4")])
# Table 14: magic, items in a node, number of items; first chromosome and base, last chromosome and base; where
# the indexed data end, items in a block, reserved.
_INDEX = struct.Struct("<IIQIIIIQII")
_INDEX_MAGIC = 0x2468ACE0
# Tables 16 and 17: what a block, or a node below, spans, and where it is.
_BOUNDS = [("start_chrom", "<u4"), ("start", "<u4"), ("end_chrom", "<u4"), ("end", "<u4")]
INDEX_LEAF = np.dtype([*_BOUNDS, ("offset", "<u8"), ("size", "<u8")])
_INDEX_PARENT = np.dtype([*_BOUNDS, ("offset", "<u8")])
# Table 18: number of records of a zoom level.
ZOOM_COUNT = struct.Struct("<I")
# Table 19.
ZOOM_RECORD = np.dtype(
    [
        *(("chrom", "<u4"), ("start", "<u4"), ("end", "<u4"), ("count", "<u4")),
        *(("min", "<f4"), ("max", "<f4"), ("sum", "<f4"), ("squares", "<f4")),
    ]
)
ZOOM_RECORDS_PER_BLOCK = 1024
# An item of a bigBed: chromosome, start, end. Then the text of its other columns, and a 0.
_BED_ITEM = struct.Struct("<III")

# Header, zoom headers, a bigBed's autoSql and the summary have places that are known at once, so that they can be
# written last. Next come the chromosomes. Some readers take the autoSql to end where the summary begins.
_AUTOSQL_OFFSET = _HEADER.size + MAX_ZOOM_LEVELS * _ZOOM_HEADER.size
CHROM_TREE_OFFSET = _AUTOSQL_OFFSET + _SUMMARY.size
END = struct.pack("<I", _MAGIC)
BED_END = struct.pack("<I", _BED_MAGIC)


@dataclass(frozen=True, slots=True)
class Totals:
    """What the summary of a file says of all its values."""

    count: int = 0
    min: float = 0.0
    max: float = 0.0
    sum: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file a zoom level is, or the values themselves (a reduction of 1)."""

    reduction: int
    data: int
    index: int


@dataclass(frozen=True, slots=True)
class BedLayout:
    """What the header of a bigBed says beyond that of a bigWig."""

    n_columns: int
    n_bed_columns: int
    autosql: bytes
    largest_block: int

    @property
    def chrom_tree(self) -> int:
        """Where the chromosomes are."""
        return CHROM_TREE_OFFSET + len(self.autosql) + 1


def pack_header(values: Place, zooms: Sequence[Place], totals: Totals, bed: BedLayout | None = None) -> bytes:
    """What stands before the chromosomes: header, zoom headers, the autoSql of a bigBed, and summary."""
    largest_block = ZOOM_RECORDS_PER_BLOCK * ZOOM_RECORD.itemsize
    if bed is None:
        magic, chroms, columns, text = _MAGIC, CHROM_TREE_OFFSET, (0, 0, 0), b""
        largest_block = max(_BLOCK.size + ITEMS_PER_BLOCK * _VARIABLE_ITEM.itemsize, largest_block)
    else:
        magic, chroms, text = _BED_MAGIC, bed.chrom_tree, bed.autosql + b"\0"
        columns = (bed.n_columns, bed.n_bed_columns, _AUTOSQL_OFFSET)
        largest_block = max(bed.largest_block, largest_block)
    header = _HEADER.pack(
        *(magic, _VERSION, len(zooms), chroms, values.data, values.index),
        *(*columns, chroms - _SUMMARY.size, largest_block, 0),
    )
    zoom_headers = b"".join(_ZOOM_HEADER.pack(one.reduction, 0, one.data, one.index) for one in zooms)
    summary = _SUMMARY.pack(totals.count, totals.min, totals.max, totals.sum, totals.squares)
    return (header + zoom_headers).ljust(_AUTOSQL_OFFSET, b"\0") + text + summary


def pack_chrom_tree(chroms: Mapping[str, int], offset: int = CHROM_TREE_OFFSET) -> bytes:
    """The B+ tree from name to id and length, to stand at `offset`."""
    # Readers descend by comparing bytes, so names stand sorted, whatever the order of their ids.
    items = sorted((name.encode(), chrom_id, length) for chrom_id, (name, length) in enumerate(chroms.items()))
    key_size = max(len(name) for name, _, _ in items)
    key = ("key", f"S{key_size}")
    leaves = np.array(items, dtype=[key, ("id", "<u4"), ("length", "<u4")])

    def parents(below: NDArray[np.void], first: IntArray) -> NDArray[np.void]:
        above = np.zeros(len(first), dtype=[key, ("offset", "<u8")])
        above["key"] = below["key"][first]
        return above

    header = _CHROM_TREE.pack(_CHROM_TREE_MAGIC, _node_items(leaves), key_size, 8, len(leaves), 0)
    return header + b"".join(_pack_tree(leaves, parents, offset + len(header)))


def pack_fixed_step(chrom_id: int, start: int, values: NDArray[np.float32]) -> bytes:
    """A block of values, (n,), of neighbouring bases, from `start` on."""
    header = _BLOCK.pack(chrom_id, start, start + len(values), 1, 1, _FIXED_STEP, 0, len(values))
    return header + values.astype("<f4").tobytes()


def pack_variable_step(chrom_id: int, positions: IntArray, values: NDArray[np.float32]) -> bytes:
    """A block of values, (n,), of the bases at `positions`, (n,), sorted."""
    items = np.empty(len(values), dtype=_VARIABLE_ITEM)
    items["start"], items["value"] = positions, values
    start, end = int(positions[0]), int(positions[-1]) + 1
    return _BLOCK.pack(chrom_id, start, end, 0, 1, _VARIABLE_STEP, 0, len(values)) + items.tobytes()


def pack_bed_item(chrom_id: int, start: int, end: int, rest: bytes) -> bytes:
    """An item of a bigBed; rest: its columns from the fourth on, with tabs between them."""
    return _BED_ITEM.pack(chrom_id, start, end) + rest + b"\0"


def pack_index(leaves: NDArray[np.void], offset: int, n_items: int, items_per_leaf: int) -> Iterator[bytes]:
    """The R tree over blocks, leaves (n,) of INDEX_LEAF in file order, to stand at `offset`: piece by piece.

    n_items, items_per_leaf: what is counted are blocks of values, one a leaf, but the records of a zoom level.
    """
    bounds = (0, 0, 0, 0)
    if len(leaves):
        end_chrom, end = divmod(int(_ends(leaves).max()), 1 << 32)
        bounds = int(leaves[0]["start_chrom"]), int(leaves[0]["start"]), end_chrom, end

    def parents(below: NDArray[np.void], first: IntArray) -> NDArray[np.void]:
        above = np.zeros(len(first), dtype=_INDEX_PARENT)
        for field in ("start_chrom", "start"):
            above[field] = below[field][first]
        # Blocks are sorted by where they begin; those of a bigBed may overlap, and the last need not end last.
        ends = np.maximum.reduceat(_ends(below), first)
        above["end_chrom"], above["end"] = ends >> np.uint64(32), ends & np.uint64(0xFFFFFFFF)
        return above

    yield _INDEX.pack(_INDEX_MAGIC, _node_items(leaves), n_items, *bounds, offset, items_per_leaf, 0)
    yield from _pack_tree(leaves, parents, offset + _INDEX.size)


def _ends(blocks: NDArray[np.void]) -> NDArray[np.uint64]:
    """Where blocks, (n,), end, as numbers that sort by chromosome first."""
    return blocks["end_chrom"].astype(np.uint64) << np.uint64(32) | blocks["end"].astype(np.uint64)


def _node_items(leaves: NDArray[np.void]) -> int:
    return min(max(len(leaves), 1), _NODE_ITEMS)


def _pack_tree(
    leaves: NDArray[np.void],
    parents: Callable[[NDArray[np.void], IntArray], NDArray[np.void]],
    offset: int,
) -> Iterator[bytes]:
    """A tree's nodes, root first, level by level, to stand at `offset`.

    parents: items (n,) one level up, from the items below and the index of the first of each of the n nodes.
    """
    node_items = _node_items(leaves)
    levels = [leaves]
    while len(levels[0]) > node_items:
        levels.insert(0, parents(levels[0], np.arange(0, len(levels[0]), node_items)))
    for depth, level in enumerate(levels):
        is_leaf = depth == len(levels) - 1
        # A node that is not full takes the room of a full one, since some readers read that much.
        node_size = _NODE.size + node_items * level.itemsize
        starts = range(0, max(len(level), 1), node_items)
        offset += len(starts) * node_size
        if not is_leaf:
            size_below = _NODE.size + node_items * levels[depth + 1].itemsize
            level["offset"] = offset + np.arange(len(level)) * size_below
        for start in starts:
            items = level[start : start + node_items]
            yield (_NODE.pack(is_leaf, 0, len(items)) + items.tobytes()).ljust(node_size, b"\0")
