"""Figures are labelled and legible."""

from itertools import combinations

import numpy as np
import pytest
import torch
from builders import TOKENIZER, tiny_config, tiny_model
from transformers import BertConfig, FNetConfig

pytest.importorskip("matplotlib")

from wave_hf.analysis import measure_independence, waves
from wave_hf.analysis.convergence import Run
from wave_hf.analysis.figures import (
    MAX_TOKENS,
    fan,
    label,
    plot_complexity,
    plot_convergence,
    plot_decisions,
    plot_gradients,
    plot_independence,
    plot_interference,
    plot_magnitudes,
    plot_phases,
)

SHORT, LONG = "", "the surf was not bad , just long . " * 6
LAYERS = {"num_hidden_layers": 2, "wave_operation": ["interference", "modulation"]}
HISTORY = [
    {"step": step, **{f"{of}_{what}": 1 / step for of in ("cls", "text", "classifier") for what in ("norm", "spread")}}
    for step in range(1, 50)
]
RUN = Run(tiny_model(), loss=[(1, 2.0), (2, 1.0)], accuracy=[(1, 0.2), (2, 0.9)])
PAIR = [measure_independence(torch.randn(9, 4, generator=torch.Generator().manual_seed(seed))) for seed in (0, 1)]


def of_text(text):
    return waves(tiny_model(hidden_size=64, **LAYERS), TOKENIZER, text)


FIGURES = {
    "phases": lambda: plot_phases(of_text(SHORT)),
    "phases of a long text": lambda: plot_phases(of_text(LONG)),
    "magnitudes": lambda: plot_magnitudes(of_text(LONG)),
    "interference": lambda: plot_interference(of_text(SHORT)),
    "interference in a long text": lambda: plot_interference(of_text(LONG)),
    "decisions": lambda: plot_decisions(
        {"one": (["$", "a" * 99], torch.ones(2)), "two": (["b"] * 99, torch.ones(99))}
    ),
    "convergence": lambda: plot_convergence({"one": RUN, "two": RUN}),
    "gradients": lambda: plot_gradients({"one": HISTORY, "two": HISTORY[:1]}),
    "independence": lambda: plot_independence({"table": {"one": PAIR, "two": PAIR}, "outputs": {"one": PAIR}}),
    "complexity": lambda: plot_complexity({"W": tiny_config(), "B": BertConfig(), "F": FNetConfig()}, 2, [32, 64]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_axes_are_named_and_names_do_not_overlap(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.get_ylabel() or axes.get_subplotspec().colspan.start > 0 or axes.get_yticklabels()
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [tick.get_window_extent() for tick in ticks if tick.get_text()]
            assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        level = [text.get_window_extent() for text in axes.texts if text.get_rotation() == 0]
        assert not any(one.overlaps(other) for one, other in combinations(level, 2))
        page, boxes = figure.get_window_extent(), [text.get_window_extent() for text in axes.texts]
        assert all(page.x0 <= box.x0 < box.x1 <= page.x1 for box in boxes)
        assert all(page.y0 <= box.y0 < box.y1 <= page.y1 for box in boxes)


def test_points_of_a_text_lie_on_the_half_circle_and_inside_of_it():
    single, mean = plot_phases(of_text(LONG)).axes
    for axes, check in ((single, lambda radius: radius == pytest.approx(1)), (mean, lambda radius: radius <= 1)):
        points = axes.collections[0].get_offsets()
        assert len(points) == MAX_TOKENS
        assert all(check(radius) for radius in np.hypot(*points.T))
        assert (points[:, 1] >= 0).all()


@pytest.mark.parametrize("number", [1, 2, 10, MAX_TOKENS])
@pytest.mark.parametrize("centre", [0, 1, np.pi / 2, np.pi])
def test_names_are_fanned_out_in_the_upper_half(centre, number):
    angles = fan(centre, number)
    assert len(angles) == number
    assert angles[0] > 0
    assert angles[-1] < np.pi
    assert (np.diff(angles) > np.radians(4)).all()


@pytest.mark.parametrize("name", ["$", "$x$", "$\\frac{$", "\\$5 or $6", "a\nb", "%", "^_{"])
def test_any_label_can_be_a_title(name):
    figure = plot_decisions({f"the model: shares in “{name}”": ([name, name], torch.ones(2))})
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_title().replace(r"\$", "$") == f"the model: shares in “{' '.join(name.split())}”"


def test_labels_are_short_and_no_mathematics():
    assert label("$x$") == r"\$x\$"
    assert label("interpretability") == "interpretability"
    assert len(label("a" * 30)) == 16
