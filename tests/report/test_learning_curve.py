"""The learning curve, by the pixels of its PNG."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from gexplain.report.learning_curve import draw_learning_curve

BLUE, VERMILLION, GREEN, GREY = (0, 114, 178), (213, 94, 0), (0, 158, 115), (85, 85, 85)


def history_of(n: int, *, dev: bool = True, **changes: Any) -> list[dict[str, Any]]:
    """n entries, 100 steps apart."""
    return [
        {
            "step": 100 * k,
            "loss": 1 / k,
            "dev": {"loss": 1.1 / k, "accuracy": 1 - 0.5 / k, "mcc": 1 - 1 / k, "auroc": 1 - 0.2 / k}
            if dev
            else None,
            **changes,
        }
        for k in range(1, n + 1)
    ]


def draw(path: Path, history: list[dict[str, Any]], best_step: int) -> np.ndarray:
    """The picture's pixels, (height, width, 3), 0 to 255."""
    draw_learning_curve(history, best_step, path)
    return (imread(path)[:, :, :3] * 255).round().astype(int)


def has(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Where that colour is, (height, width)."""
    return (np.abs(pixels - color) <= 8).all(-1)


def kept_column(pixels: np.ndarray) -> float:
    """Where the tall grey line stands, as a share of the width."""
    columns = np.flatnonzero(has(pixels, GREY).sum(0) > 0.3 * len(pixels))
    assert len(columns)
    return float(columns.mean() / pixels.shape[1])


def test_it_is_1200_pixels_wide_and_has_every_line(tmp_path):
    pixels = draw(tmp_path / "curve.png", history_of(8), 500)
    assert pixels.shape == (900, 1200, 3)
    halves = pixels[:450], pixels[450:]
    assert [[has(half, color).sum() > 300 for color in (BLUE, VERMILLION, GREEN)] for half in halves] == [
        [True, True, False],
        [True, True, True],
    ]


def test_the_kept_step_is_marked_where_it_is(tmp_path):
    early, late = (kept_column(draw(tmp_path / "curve.png", history_of(8), step)) for step in (200, 800))
    assert 0.2 < early < 0.4
    assert 0.9 < late < 1


def test_one_point_is_seen(tmp_path):
    pixels = draw(tmp_path / "curve.png", history_of(1), 100)
    right = pixels[:, 1050:]  # past the legends
    assert all(has(right, color).sum() > 20 for color in (BLUE, VERMILLION, GREEN))


def test_without_dev_there_is_one_panel_of_the_training_loss(tmp_path):
    pixels = draw(tmp_path / "curve.png", history_of(5, dev=False), 500)
    assert pixels.shape == (450, 1200, 3)
    assert [bool(has(pixels, color).any()) for color in (BLUE, VERMILLION, GREEN)] == [True, False, False]


def test_dev_may_be_looked_at_less_often_than_the_loss_and_the_other_way_round(tmp_path):
    history = history_of(6)
    history[0]["dev"] = history[3]["dev"] = None
    history[1]["loss"] = history[5]["loss"] = None
    every = draw(tmp_path / "every.png", history_of(6), 500)
    some = draw(tmp_path / "some.png", history, 500)
    assert some.shape == every.shape
    assert (some != every).any()


def test_a_figure_that_dev_lacks_is_left_out(tmp_path):
    history = [{**entry, "dev": {**entry["dev"], "auroc": None}} for entry in history_of(4)]
    assert not has(draw(tmp_path / "curve.png", history, 200), GREEN).any()


def test_the_same_history_gives_the_same_bytes(tmp_path):
    for name in ("one.png", "two.png"):
        draw_learning_curve(history_of(3), 200, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: {"loss": value}, "^loss is (nan|inf) at step 300"),
        (lambda value: {"dev": {"loss": value}}, "^dev loss is (nan|inf) at step 300"),
        (lambda value: {"dev": {"mcc": value}}, "^dev mcc is (nan|inf) at step 300"),
    ],
)
def test_a_value_that_is_not_finite_is_refused(tmp_path, value, change, told):
    history = history_of(4)
    history[2] |= change(value)
    with pytest.raises(ValueError, match=told):
        draw_learning_curve(history, 200, tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


@pytest.mark.parametrize("history", [[], [{"step": 5, "loss": None, "dev": None}]])
def test_a_history_without_a_loss_is_refused(tmp_path, history):
    with pytest.raises(ValueError, match="no loss"):
        draw_learning_curve(history, 5, tmp_path / "curve.png")


def test_pyplot_is_not_loaded(tmp_path):
    code = (
        "import sys; from gexplain.report.learning_curve import draw_learning_curve as draw;"
        f"draw([{{'step': 1, 'loss': 1.0, 'dev': None}}], 1, {str(tmp_path / 'curve.png')!r});"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
