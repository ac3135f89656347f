#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Plot how the tokens of a text become waves, and how two waves are combined: the figure of the README.

python plot_token2wave.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes

from wave_hf import global_magnitude, token2wave, wave_interference, wave_modulation
from wave_hf.analysis.plotting import BLUE, GREEN, ORANGE

FIGURE = Path(__file__).parent / "figures" / "token2wave.png"
# One dimension of both variants of a text of five tokens.
TOKENS = ["the", "surf", "was", "not", "bad"]
FIRST = torch.tensor([0.15, 1.0, -0.1, -0.75, -0.5]).view(1, -1, 1)
SECOND = torch.tensor([0.1, 0.55, 0.3, 0.5, -0.9]).view(1, -1, 1)


def main() -> None:
    """Draw and save the figure."""
    first, second = token2wave(FIRST), token2wave(SECOND)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    draw_tokens(left, first, global_magnitude(FIRST).item())
    draw_combination(right, first, second, token=TOKENS.index("surf"))
    for axes in (left, right):
        axes.set(xlabel="real part", ylabel="imaginary part", aspect="equal")
        axes.axhline(0, color="0.8", zorder=0)
        axes.axvline(0, color="0.8", zorder=0)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=120)


def draw_tokens(axes: Axes, wave: tuple[torch.Tensor, torch.Tensor], magnitude: float) -> None:
    """Draw the tokens of a text on the half circle of their global magnitude, each at its own phase."""
    angle = torch.linspace(0, torch.pi, 100)
    axes.plot(magnitude * angle.cos(), magnitude * angle.sin(), color="0.6", linestyle="--")
    for name, real, imag in zip(TOKENS, *(part.flatten().tolist() for part in wave), strict=True):
        axes.annotate("", (real, imag), (0, 0), arrowprops={"arrowstyle": "->", "color": BLUE})
        axes.annotate(name, (1.06 * real, 1.06 * imag), ha="left" if real > 0 else "right")
    axes.set_title("Token2Wave: one magnitude G for the text,\none phase for each token")
    axes.set(xlim=(-1.75, 1.75), ylim=(-0.1, 1.75))


def draw_combination(
    axes: Axes, wave: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor], token: int
) -> None:
    """Draw the two waves of one token, their sum and their product."""
    arrows = {
        "Z": (wave, BLUE),
        "Z'": (other, BLUE),
        "interference Z + Z'": (wave_interference(wave, other), ORANGE),
        "modulation Z Z'": (wave_modulation(wave, other), GREEN),
    }
    for name, ((real, imag), color) in arrows.items():
        end = (real[0, token, 0].item(), imag[0, token, 0].item())
        axes.annotate("", end, (0, 0), arrowprops={"arrowstyle": "->", "color": color, "linewidth": 1.8})
        axes.annotate(f" {name}", end, color=color, va="bottom")
    axes.set_title(f"The two waves of “{TOKENS[token]}”\nand their combinations")
    axes.set(xlim=(-1.1, 3.1), ylim=(-0.1, 2.3))


if __name__ == "__main__":
    main()
