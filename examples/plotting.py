# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""How the figures of benchmark.py and compare_accuracy.py tell their models apart."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

# Okabe and Ito's palette, which colour-blind readers can tell apart; the markers tell it once more.
COLORS = ("#000000", "#E69F00", "#56B4E9", "#CC79A7", "#0072B2", "#D55E00", "#009E73")
MARKERS = ("o", "s", "v", "D", "^", "P", "X", "*")


def styles() -> Iterator[dict[str, Any]]:
    """Yield a colour and a marker for each model, without end; the first 56 pairs differ."""
    for color, marker in zip(cycle(COLORS), cycle(MARKERS), strict=True):
        yield {"color": color, "marker": marker}
