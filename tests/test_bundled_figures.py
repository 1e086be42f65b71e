"""A figure that docs/models.md gives of yeast-tf, measured again where the data is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from paths import SHARED, needs_shared

import gexplain

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks" / "models"))  # scripts, and no package

import tracks  # noqa: E402
from yeast import read_intervals  # noqa: E402


def documented(factor: str) -> tuple[int, float, float, float]:
    """Sites, top base, AUROC by prediction and by relevance of a factor on chromosome XVI, from docs/models.md."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    ((sites, *figures),) = re.findall(
        rf"^\| {factor}, XVI alone \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE
    )
    top, by_prediction, by_relevance = map(float, figures)
    return int(sites), top, by_prediction, by_relevance


@needs_shared
def test_the_track_of_reb1_agrees_with_chip_exo_as_documented(tmp_path):
    data = SHARED / "data" / "yeast"
    promoters = tmp_path / "promoters.bed"
    lines = (data / "promoters_chrIV_chrXVI.bed").read_text(encoding="utf-8").splitlines(keepends=True)
    promoters.write_text("".join(line for line in lines if line.startswith("chrXVI\t")), encoding="utf-8")
    sites = [
        one for one in read_intervals(data / "chipexo_sites.bed") if one.name == "Reb1" and one.chrom == "chrXVI"
    ]
    run = gexplain.score(
        promoters,
        data / "sacCer3.fa.gz",
        gexplain.load_model("yeast-tf", device="cpu"),
        output=tmp_path / "out",
        settings=gexplain.ScoreSettings(target="Reb1", null_regions=0),
    )
    found = tracks.measure_track(run, "Reb1", tracks.merge(read_intervals(promoters)), sites)
    n_sites, top, by_prediction, by_relevance = documented("Reb1")
    assert found.n_sites == n_sites
    assert found.top_near == pytest.approx(top, abs=0.002)
    assert found.by_prediction == pytest.approx(by_prediction, abs=0.002)
    assert found.by_relevance == pytest.approx(by_relevance, abs=0.002)
    assert top > 3 * found.top_near_random
