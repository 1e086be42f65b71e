"""Shuffles that keep dinucleotide counts: sequences with the composition of real ones, and no motif but by chance.

The sequence is a walk over the graph whose edges are its neighbouring letters; every other Eulerian walk of that
graph from its first to its last letter has the same dinucleotides (Altschul and Erickson 1985). One is drawn
uniformly: the last edge out of each letter must lead, letter by letter, to the last letter of the sequence (drawn
anew until it does), all other edges are in random order. All sequences of one length walk at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gexplain.arrays import IntArray


def dinucleotide_shuffle(sequences: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Each sequence shuffled, with the same dinucleotide counts, and the same first and last letter.

    Any ASCII letters; a sequence of fewer than three letters stays as it is.
    """
    shuffled = list(sequences)
    by_width: dict[int, list[int]] = {}
    for index, sequence in enumerate(sequences):
        by_width.setdefault(len(sequence), []).append(index)
    for width, indices in by_width.items():
        if width < 3:
            continue
        letters_BL = np.frombuffer("".join(sequences[i] for i in indices).encode("ascii"), np.uint8).reshape(
            -1, width
        )
        alphabet, codes = np.unique(letters_BL, return_inverse=True)
        walks_BL = _shuffle_codes(codes.reshape(letters_BL.shape), len(alphabet), rng)
        text = alphabet[walks_BL].tobytes().decode("ascii")
        for row, index in enumerate(indices):
            shuffled[index] = text[row * width : (row + 1) * width]
    return shuffled


def _shuffle_codes(codes_BL: IntArray, n_letters: int, rng: np.random.Generator) -> IntArray:
    n_rows, width = codes_BL.shape
    rows = np.arange(n_rows)
    source_BE, target_BE = codes_BL[:, :-1], codes_BL[:, 1:]
    # Edges sorted by the letter they leave, in random order within each: edge lists, one after another.
    n_out_BA = np.stack([(source_BE == letter).sum(1) for letter in range(n_letters)], axis=1)
    end_BA = n_out_BA.cumsum(1)
    order_BE = np.lexsort((rng.random(source_BE.shape), source_BE), axis=1)
    edges_BE = np.take_along_axis(target_BE, order_BE, axis=1)
    final_B = codes_BL[:, -1]
    # A letter's last edge is drawn uniformly from its edges, until the last edges of all lead to the final letter.
    pick_BA = np.zeros_like(n_out_BA)
    pending = rows
    while len(pending):
        pick_BA[pending] = (rng.random((len(pending), n_letters)) * n_out_BA[pending]).astype(np.int64)
        index_BA = np.minimum(end_BA[pending] - n_out_BA[pending] + pick_BA[pending], width - 2)
        last_BA = edges_BE[pending[:, None], index_BA]
        leads = _reaches(last_BA, final_B[pending], n_out_BA[pending] > 0)
        pending = pending[~leads]
    picked_BA = np.minimum(end_BA - n_out_BA + pick_BA, width - 2)
    for letter in range(n_letters):  # the picked edge goes to the end of its list
        used = rows[n_out_BA[:, letter] > 0]
        here, last = picked_BA[used, letter], end_BA[used, letter] - 1
        edges_BE[used, here], edges_BE[used, last] = edges_BE[used, last], edges_BE[used, here]
    walk_BL = np.empty_like(codes_BL)
    walk_BL[:, 0] = at_B = codes_BL[:, 0]
    next_BA = end_BA - n_out_BA
    for position in range(1, width):
        edge_B = next_BA[rows, at_B]
        next_BA[rows, at_B] += 1
        walk_BL[:, position] = at_B = edges_BE[rows, edge_B]
    return walk_BL


def _reaches(last_BA: IntArray, final_B: IntArray, present_BA: np.ndarray) -> np.ndarray:
    """Whether following last edges from every letter that has any ends at the final letter."""
    n_letters = last_BA.shape[1]
    at_BA = np.broadcast_to(np.arange(n_letters), last_BA.shape)
    for _ in range(n_letters):
        at_BA = np.where(at_BA == final_B[:, None], at_BA, np.take_along_axis(last_BA, at_BA, axis=1))
    reached: np.ndarray = ((at_BA == final_B[:, None]) | ~present_BA).all(1)
    return reached
