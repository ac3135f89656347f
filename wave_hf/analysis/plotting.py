# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Colors, markers and names in all figures."""

from collections.abc import Iterable
from itertools import cycle
from typing import Any

# The palette of Okabe and Ito, which color-blind readers can distinguish.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
SKY_BLUE, BLACK = "#56B4E9", "#000000"
COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY_BLUE, BLACK)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return a color and a marker for each name, as keyword arguments of `Axes.plot`; the first 56 pairs differ."""
    return {
        name: {"color": color, "marker": marker} for name, color, marker in zip(names, cycle(COLORS), cycle(MARKERS))
    }


def plain_text(text: str, max_characters: int = 60) -> str:
    """Return a text as figures show it: in one line, shortened, and with dollar signs that begin no mathematics."""
    line = " ".join(text.split())
    if len(line) > max_characters:
        line = line[: max_characters - 1] + "…"
    return line.replace("$", r"\$")
