"""The page's table as JSON: columns, not objects, and numbers as the bytes that the browser's typed arrays take.

What it says of a region fits in some 100 bytes, so that 100,000 of them open at once. `report.js` reads it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import FloatArray
from gexplain.report.reading import WITH_SUM
from gexplain.report.region_pictures import Sparklines
from gexplain.report.scored import STRANDS, Calls, Scored
from gexplain.report.sparklines import ALPHABET, LEVELS
from gexplain.report.svg import shortened

LONGEST_NAME = 200
"""Characters of a name that the page has; what is cut is told by an ellipsis."""
_SHARES = (1 << 16) - 1


def table_data(scored: Scored, calls: Calls, sparklines: Sparklines, manifest: Mapping[str, Any]) -> str:
    """The JSON of the table, as a page holds it between <script> tags."""
    model = manifest["model"]
    classes = [clip(name) for name in model["classes"]]
    is_regression = model["head"] == "regression"
    has_strand = bool((scored.strand > 0).any())
    data: dict[str, Any] = {
        "n": len(scored),
        "head": model["head"],
        "classes": classes,
        "chroms": [clip(name) for name in scored.chroms],
        "chrom": _packed(scored.chrom, np.uint32),
        "start": _packed(scored.start, np.uint32),
        "end": _packed(scored.end, np.uint32),
        "names": [clip(name) if name != "." else "" for name in scored.names],
        "strand": "".join(STRANDS[one] for one in scored.strand.tolist()) if has_strand else "",
        "reasons": list(scored.reasons),
        "reason": _packed(scored.reason, np.uint16),
        "best": _packed(scored.best, np.int32),
        "predictions": [list(one) for one in scored.predictions],
        "prediction": _packed(scored.prediction, np.uint32),
        "ranked": [_packed(column, np.int32) for column in scored.ranked.T],
        "probabilities": [
            _packed(column, np.float32) if is_regression else _packed_shares(column)
            for column in scored.probabilities.T
        ],
        "target": _packed(scored.target, np.int32),
        "targets": [clip(name) for name in manifest["settings"]["target"]],
        "unexplained": [_packed(column, np.float32) for column in _shown(scored, scored.unexplained, sparklines)],
        "relevance": [_packed(column, np.float32) for column in _shown(scored, scored.relevance, sparklines)],
        "sparklines": sparklines.texts,
        "peaks": [_packed(one, np.float32) for one in sparklines.peaks],
        "seqlets": _packed(calls.seqlets, np.uint32),
        "hits": _packed(calls.hits, np.uint32),
        "factors": [clip(name) for name in calls.factors],
        "factorsOf": {str(row): list(of_row) for row, of_row in enumerate(calls.factors_of) if of_row},
        "hasUnexplained": manifest["settings"]["method"] in WITH_SUM,
        "called": [name in manifest.get("calls", {}) for name in ("seqlets", "primary hits")],
        "alphabet": ALPHABET,
        "most": LEVELS,
    }
    return to_script(data)


def to_script(data: Any) -> str:
    """Data as JSON in ASCII that may stand between <script> tags: nothing in it ends the element or a line."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def clip(text: str) -> str:
    """A name of at most LONGEST_NAME characters."""
    return shortened(text, LONGEST_NAME)


def _shown(scored: Scored, columns: NDArray[np.float32], sparklines: Sparklines) -> Sequence[FloatArray]:
    """A column for each target, or of each row that of the target that explains it."""
    if sparklines.by_target or columns.shape[1] == 1:
        return list(columns.T)
    return [columns[np.arange(len(scored)), np.maximum(scored.target, 0)]]


def _packed(values: NDArray[Any], dtype: type[np.generic]) -> str:
    """Values (n,) as base64 of little-endian numbers."""
    return base64.b64encode(np.asarray(values).astype(np.dtype(dtype).newbyteorder("<")).tobytes()).decode("ascii")


def _packed_shares(values: FloatArray) -> str:
    """Probabilities (n,) in 65,536 steps; where there is none, 0, which no reader looks at."""
    return _packed(np.rint(np.nan_to_num(values) * _SHARES), np.uint16)
