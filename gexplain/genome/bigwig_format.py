"""bigWig, byte by byte: its tables, and the two trees in which readers look up chromosomes and blocks.

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

# Table 5: magic, version, number of zoom levels; offsets of chromosomes, data and index; two counts and an offset
# for bigBed alone; offset of the summary, largest size of a block before compression, an offset for extensions.
_HEADER = struct.Struct("<IHHQQQHHQQIQ")
_MAGIC, _VERSION = 0x888FFC26, 4
# Table 6: reduction, reserved, offsets of data and index.
_ZOOM_HEADER = struct.Struct("<IIQQ")
# Table 7: bases with a value, their minimum, maximum, sum and sum of squares.
_SUMMARY = struct.Struct("<Qdddd")
# Table 8: magic, items in a node, bytes in a key and in its value, number of chromosomes, reserved.
_CHROM_TREE = struct.Struct("<IIIIQQ")
_CHROM_TREE_MAGIC = 0x78CA8C91
# Tables 9 and 15, for either tree: whether it is a leaf, reserved, number of items.
_NODE = struct.Struct("<BBH")
# Table 12: number of blocks of values.
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

# Header, zoom headers and summary have fixed places, so that they can be written last.
CHROM_TREE_OFFSET = _HEADER.size + MAX_ZOOM_LEVELS * _ZOOM_HEADER.size + _SUMMARY.size
END = struct.pack("<I", _MAGIC)


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


def pack_header(values: Place, zooms: Sequence[Place], totals: Totals) -> bytes:
    """The first CHROM_TREE_OFFSET bytes: header, zoom headers and summary."""
    largest_block = max(
        _BLOCK.size + ITEMS_PER_BLOCK * _VARIABLE_ITEM.itemsize, ZOOM_RECORDS_PER_BLOCK * ZOOM_RECORD.itemsize
    )
    summary_offset = CHROM_TREE_OFFSET - _SUMMARY.size
    header = _HEADER.pack(
        *(_MAGIC, _VERSION, len(zooms), CHROM_TREE_OFFSET, values.data, values.index),
        *(0, 0, 0, summary_offset, largest_block, 0),
    )
    zoom_headers = b"".join(_ZOOM_HEADER.pack(one.reduction, 0, one.data, one.index) for one in zooms)
    summary = _SUMMARY.pack(totals.count, totals.min, totals.max, totals.sum, totals.squares)
    return (header + zoom_headers).ljust(summary_offset, b"\0") + summary


def pack_chrom_tree(chroms: Mapping[str, int]) -> bytes:
    """The B+ tree from name to id and length, to stand at CHROM_TREE_OFFSET."""
    # Readers descend by comparing bytes, so names stand sorted, whatever the order of their ids.
    items = sorted((name.encode(), chrom_id, length) for chrom_id, (name, length) in enumerate(chroms.items()))
    key_size = max(len(name) for name, _, _ in items)
    key = ("key", f"S{key_size}")
    leaves = np.array(items, dtype=[key, ("id", "<u4"), ("length", "<u4")])

    def parents(first: NDArray[np.void], _: NDArray[np.void]) -> NDArray[np.void]:
        above = np.zeros(len(first), dtype=[key, ("offset", "<u8")])
        above["key"] = first["key"]
        return above

    header = _CHROM_TREE.pack(_CHROM_TREE_MAGIC, _node_items(leaves), key_size, 8, len(leaves), 0)
    return header + b"".join(_pack_tree(leaves, parents, CHROM_TREE_OFFSET + len(header)))


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


def pack_index(leaves: NDArray[np.void], offset: int, n_items: int, items_per_leaf: int) -> Iterator[bytes]:
    """The R tree over blocks, leaves (n,) of INDEX_LEAF in file order, to stand at `offset`: piece by piece.

    n_items, items_per_leaf: what is counted are blocks of values, one a leaf, but the records of a zoom level.
    """
    bounds = (0, 0, 0, 0)
    if len(leaves):
        first, last = leaves[0], leaves[-1]
        bounds = int(first["start_chrom"]), int(first["start"]), int(last["end_chrom"]), int(last["end"])

    def parents(first: NDArray[np.void], last: NDArray[np.void]) -> NDArray[np.void]:
        above = np.zeros(len(first), dtype=_INDEX_PARENT)
        for field in ("start_chrom", "start"):
            above[field] = first[field]
        # Blocks are sorted and do not overlap: the last one ends last.
        for field in ("end_chrom", "end"):
            above[field] = last[field]
        return above

    yield _INDEX.pack(_INDEX_MAGIC, _node_items(leaves), n_items, *bounds, offset, items_per_leaf, 0)
    yield from _pack_tree(leaves, parents, offset + _INDEX.size)


def _node_items(leaves: NDArray[np.void]) -> int:
    return min(max(len(leaves), 1), _NODE_ITEMS)


def _pack_tree(
    leaves: NDArray[np.void],
    parents: Callable[[NDArray[np.void], NDArray[np.void]], NDArray[np.void]],
    offset: int,
) -> Iterator[bytes]:
    """A tree's nodes, root first, level by level, to stand at `offset`.

    parents: items (n,) one level up, from the first and the last item of each of the n nodes below.
    """
    node_items = _node_items(leaves)
    levels = [leaves]
    while len(levels[0]) > node_items:
        below = levels[0]
        first = np.arange(0, len(below), node_items)
        last = np.minimum(first + node_items, len(below)) - 1
        levels.insert(0, parents(below[first], below[last]))
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
