"""The figures of a report, from the measurements of the other modules."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from transformers import PreTrainedConfig

from ..waves import magnitude
from .complexity import cost
from .convergence import Run
from .independence import Independence
from .plotting import BLUE, COLORS, ORANGE, plain_text, styles
from .waves import TextWaves, interference_pattern, mean_direction, phase

MAX_TOKENS = 40  # more labels are not legible
MAX_CHARACTERS = 16


def label(token: str) -> str:
    """Return a token as a short label."""
    return plain_text(token, MAX_CHARACTERS)


# Waves


def plot_phases(waves: TextWaves) -> Figure:
    """Plot each token of a text in the complex plane: Z / G of the first variant in the first layer."""
    angle = phase(waves.layers[0].first)
    dimension = int(angle.std(dim=0).argmax())
    names = [label(token) for token in waves.tokens[:MAX_TOKENS]]
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title(f"dimension {dimension}, where the phases differ most")
    draw_on_circle(left, angle[: len(names), dimension].numpy(), names)
    right.set_title(f"mean of all {angle.shape[1]} dimensions")
    real, imag = mean_direction(waves.layers[0].first)
    draw_magnified(right, real[: len(names)].numpy(), imag[: len(names)].numpy(), names)
    for axes in (left, right):
        axes.set(xlabel="real part / G", ylabel="imaginary part / G")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_on_circle(axes: Axes, angles: np.ndarray, names: Sequence[str]) -> None:
    """Draw points on the upper half of the unit circle, and their names around it in the same order."""
    arc = np.linspace(0, np.pi, 200)
    axes.plot(np.cos(arc), np.sin(arc), color="0.6", linestyle="--", linewidth=1)
    axes.scatter(np.cos(angles), np.sin(angles), color=BLUE, s=22, zorder=3)
    for point, place in zip(np.argsort(angles), fan(float(np.median(angles)), len(names)), strict=True):
        ends = [np.cos(angles[point]), 1.1 * np.cos(place)], [np.sin(angles[point]), 1.1 * np.sin(place)]
        axes.plot(*ends, color="0.75", linewidth=0.7, zorder=1)
        is_right = place < np.pi / 2
        axes.text(
            ends[0][1],
            ends[1][1],
            f" {names[point]} ",
            fontsize=8,
            rotation=np.degrees(place) - (0 if is_right else 180),
            rotation_mode="anchor",
            ha="left" if is_right else "right",
            va="center",
        )
    axes.set(aspect="equal", xlim=(-1.95, 1.95), ylim=(0, 1.85), xticks=[-1, -0.5, 0, 0.5, 1], yticks=[0, 0.5, 1])


def fan(centre: float, number: int) -> np.ndarray:
    """Return angles around a centre in the upper half plane, far enough apart for a name each."""
    margin = np.radians(4)
    step = min(np.radians(7), (np.pi - 2 * margin) / max(1, number - 1))
    width = step * (number - 1)
    start = min(max(margin, centre - width / 2), np.pi - margin - width)
    return start + step * np.arange(number)


def draw_magnified(axes: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """Draw points that may lie close together, and their names in a column on either side, sorted by height."""
    axes.scatter(x, y, color=BLUE, s=22, zorder=3)
    width, bottom, top = np.ptp(x) or 1.0, y.min(), y.max()
    halves = np.array_split(np.argsort(x), 2)
    for half, edge, outwards, ha in zip(halves, (x.min(), x.max()), (-1, 1), ("right", "left"), strict=True):
        places = np.linspace(bottom, top, len(half))
        for point, place in zip(half[np.argsort(y[half])], places, strict=True):
            end = edge + 0.2 * outwards * width
            axes.plot([x[point], end], [y[point], place], color="0.75", linewidth=0.7, zorder=1)
            axes.text(end, place, f" {names[point]} ", fontsize=9, ha=ha, va="center")
    axes.set_xlim(x.min() - 0.8 * width, x.max() + 0.8 * width)
    axes.xaxis.set_major_locator(MaxNLocator(4))


def plot_magnitudes(waves: TextWaves) -> Figure:
    """Plot the sorted magnitudes of both variants and of the combined wave, in each layer."""
    figure = Figure(figsize=(5.5 * len(waves.layers), 3.8), layout="constrained")
    panels = figure.subplots(1, len(waves.layers), squeeze=False)[0]
    for layer_idx, (axes, layer) in enumerate(zip(panels, waves.layers, strict=True)):
        curves = {"first variant, G": layer.first, "second variant, G'": layer.second, "combined": layer.combined}
        for (name, wave), color, line in zip(curves.items(), COLORS, ("-", "--", "-."), strict=False):
            spectrum = magnitude(wave).mean(dim=0).sort(descending=True).values
            axes.plot(1 + np.arange(len(spectrum)), spectrum.numpy(), color=color, linestyle=line, label=name)
        axes.set(xlabel="dimensions sorted by magnitude", yscale="log", title=f"layer {layer_idx + 1}")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("magnitude (mean over the tokens)")
    panels[0].legend()
    return figure


def plot_interference(waves: TextWaves) -> Figure:
    """Plot where the two variants of the first layer interfere constructively, and where destructively."""
    names = [label(token) for token in waves.tokens[:MAX_TOKENS]]
    # The angles are shown, because the cosines of small angles are nearly all 1.
    difference = interference_pattern(waves.layers[0])[: len(names)].clamp(-1, 1).acos()
    difference = difference[:, difference.mean(dim=0).argsort()]
    figure = Figure(figsize=(10, max(4, 1.6 + 0.2 * len(names))), layout="constrained")
    axes = figure.subplots()
    # Color-blind readers can distinguish the two ends of PuOr.
    image = axes.imshow(difference.numpy(), cmap="PuOr", vmin=0, vmax=np.pi, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set(xlabel="dimensions, most constructive first", ylabel="tokens in order")
    bar = figure.colorbar(image, ax=axes, ticks=[0, np.pi / 2, np.pi], label="phase difference (radians)")
    bar.ax.set_yticklabels(["0: constructive", "π/2: neither", "π: destructive"])
    return figure


# Decisions


def plot_decisions(decisions: Mapping[str, tuple[Sequence[str], torch.Tensor]]) -> Figure:
    """Plot the contributions of tokens to a logit: the tokens and values `(T,)` of each panel, by its title."""
    number = min(MAX_TOKENS, max(len(tokens) for tokens, _ in decisions.values()))
    figure = Figure(figsize=(5.5 * len(decisions), 1.5 + 0.22 * number), layout="constrained")
    panels = figure.subplots(1, len(decisions), squeeze=False)[0]
    for axes, (title, (tokens, values)) in zip(panels, decisions.items(), strict=True):
        shown = values[:MAX_TOKENS].numpy()
        axes.barh(range(len(shown)), shown, color=[BLUE if value > 0 else ORANGE for value in shown])
        axes.set_yticks(range(len(shown)), [label(token) for token in tokens[:MAX_TOKENS]], fontsize=9)
        axes.invert_yaxis()
        axes.axvline(0, color="0.4", linewidth=0.8)
        axes.set(xlabel="contribution to the logit", title=plain_text(title))
        axes.grid(axis="x", alpha=0.3)
    return figure


# Training


def plot_convergence(runs: Mapping[str, Run]) -> Figure:
    """Plot the loss and the accuracy of each run over the training steps."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, style in styles(runs).items():
        left.plot(*zip(*runs[name].loss, strict=True), label=name, markersize=4, **style)
        right.plot(*zip(*runs[name].accuracy, strict=True), label=name, markersize=4, **style)
    left.set(xlabel="training step", ylabel="training loss (cross entropy, nats)", ylim=(0, None))
    right.set(xlabel="training step", ylabel="validation accuracy", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend()
    return figure


def plot_gradients(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Plot the norms and spreads of the recorded gradients, averaged over thirtieths of the training."""
    targets = {"cls": "[CLS] token", "text": "whole text", "classifier": "classifier"}
    figure = Figure(figsize=(12, 6.2), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey="row")
    for row, quantity in enumerate(("norm", "spread")):
        for axes, (target, title) in zip(panels[row], targets.items(), strict=True):
            for name, style in styles(histories).items():
                steps, values = averaged(histories[name], f"{target}_{quantity}")
                axes.plot(steps, values, label=name, markersize=3.5, **style)
            axes.set_title(title if row == 0 else "")
            axes.grid(alpha=0.3)
    panels[0, 0].set(ylabel="L2 norm of the gradient", yscale="log")
    panels[1, 0].set(ylabel="spread over the dimensions\n(standard deviation / mean)")
    for axes in panels[1]:
        axes.set_xlabel("training step")
    panels[0, 0].legend()
    return figure


def averaged(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    """Return the mean step and the mean value of each thirtieth of the history."""
    parts = np.array_split(np.array([(entry["step"], entry[name]) for entry in history]), min(30, len(history)))
    steps, values = zip(*(part.mean(axis=0) for part in parts), strict=True)
    return list(steps), list(values)


def plot_independence(measured: Mapping[str, Mapping[str, Sequence[Independence]]]) -> Figure:
    """Plot the independence of vectors before and after training, with a row of panels for each kind of vectors."""
    figure = Figure(figsize=(13, 3.6 * len(measured)), layout="constrained")
    panels = figure.subplots(len(measured), 3, squeeze=False)
    for row, (kind, networks) in zip(panels, measured.items(), strict=True):
        draw_histograms(row[0], {name: [one.correlations for one in pair] for name, pair in networks.items()})
        draw_histograms(row[1], {name: [one.cosines for one in pair] for name, pair in networks.items()})
        draw_participation(row[2], networks)
        row[0].set(xlabel="correlation of two dimensions", ylabel=f"{kind}\n\ndensity", yscale="log")
        row[1].set(xlabel="cosine of two vectors", ylabel="density", yscale="log")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_histograms(axes: Axes, values: Mapping[str, Sequence[torch.Tensor]]) -> None:
    """Draw the distributions of values before (dashed) and after training."""
    largest = max(float(one.abs().max()) for pair in values.values() for one in pair)
    for name, style in styles(values).items():
        for one, line, when in zip(values[name], ("--", "-"), ("before", "after"), strict=True):
            density, edges = np.histogram(one.numpy(), bins=80, range=(-largest, largest), density=True)
            axes.stairs(density, edges, color=style["color"], linestyle=line, label=f"{name}, {when}")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(alpha=0.3)


def draw_participation(axes: Axes, networks: Mapping[str, Sequence[Independence]]) -> None:
    """Draw the participation ratio as a share of the dimensions, before (pale) and after training."""
    for place, (name, style) in enumerate(styles(networks).items()):
        for offset, one, alpha in zip((-0.2, 0.2), networks[name], (0.4, 1), strict=True):
            share = one.participation_ratio / one.dimensions
            bars = axes.bar(place + offset, share, width=0.38, color=style["color"], alpha=alpha)
            axes.bar_label(bars, [f"{one.participation_ratio:.0f}"], fontsize=8)
    axes.set_xticks(range(len(networks)), [name.replace(" ", "\n") for name in networks], fontsize=8)
    axes.set(ylabel="participation ratio / dimensions", ylim=(0, 1.1))


# Complexity


def plot_complexity(configs: Mapping[str, PreTrainedConfig], batch_size: int, lengths: Sequence[int]) -> Figure:
    """Plot the operations and the activation memory of networks over the length of the texts."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, style in styles(configs).items():
        costs = [cost(configs[name], batch_size, length) for length in lengths]
        left.plot(lengths, [3 * value.flops / 1e9 for value in costs], label=name, markersize=4, **style)
        right.plot(lengths, [value.saved_bytes / 2**20 for value in costs], label=name, markersize=4, **style)
    left.set(ylabel="operations of a training step (GFLOP)")
    right.set(ylabel="activation memory (MiB)")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set(xlabel="length of the texts (tokens)", yscale="log", xticks=lengths)
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.grid(alpha=0.3)
    left.legend()
    return figure
