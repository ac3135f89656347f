# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The tables and the figure of a benchmark."""

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from ...files import writing
from ...markdown import Markdown, escape, markdown_table
from ..plotting import plain_text, styles

# Title and unit of the measurements that grow with the length of the text.
GROWING = {
    "step_ms": ("training step", "ms"),
    "forward_backward_ms": ("forward and backward alone", "ms"),
    "training_memory_above_idle_mb": ("memory of training", "MB above idle"),
    "latency_ms": ("latency of one text", "ms"),
    "inference_memory_above_idle_mb": ("memory of inference", "MB above idle"),
}
PLOTTED = ("step_ms", "training_memory_above_idle_mb", "latency_ms")

NOT_MEASURED = Markdown("-")

Results = dict[str, Any]
Row = dict[str, Any]


def report(results: Results, output_dir: str | None) -> str:
    """Return the tables in Markdown, and write them with all numbers and the figure to a folder.

    Args:
        results: The measurements, as `examples/benchmark.py` collects them. `"exponents"` is added.
        output_dir: Folder of `report.md`, `results.json` and, for two lengths or more, `growth.png`. `None` writes
            nothing.
    """
    parts: list[str] = [escape(results["machine"])]
    if "operations" in results:
        parts.append(operations_table(results))
    if "tables" in results:
        parts.append(tables_table(results))
    if "streams" in results:
        parts.append(streams_table(results))
    if "predictions" in results:
        parts += [predictors_table(results["predictions"]), *speed_tables(results["predictions"])]
    if "models" in results:
        results["exponents"] = fit_exponents(results["models"])
        parts += [training_table(results), inference_table(results)]
        if results["left_out"]:
            cases = ", ".join(f"{escape(name)} at {length}" for name, length in results["left_out"])
            limit = results["arguments"]["max_baseline_length"]
            parts.append(f"Not measured, because longer than --max_baseline_length {limit}: {cases}.")
        if results["exponents"]:
            parts.append(exponents_table(results))
    text = "\n\n".join(parts)
    if output_dir:
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in {"results.json": json.dumps(results, indent=2), "report.md": text}.items():
            with writing(folder / name) as stream:
                stream.write(content + "\n")
        if results.get("exponents"):
            plot_growth(results, folder / "growth.png")
    return text


def operations_table(results: Results) -> str:
    """Return the table that compares the wave operations and the network with their yardsticks."""
    args = results["arguments"]
    shape = f"{args['batch_size']} x {args['lengths'][0]}"
    header = [f"forward and backward, {shape} tokens, float32", "yardstick", "ms", "eager ms", "ratio"]
    rows = []
    for name, times in results["operations"].items():
        yardstick = "complex tensors" if name in ("interference", "modulation") else "its matrix products alone"
        row = [name, yardstick, number(times["yardstick"])]
        for form in ("eager", "compiled"):
            row += [number(times[form]), f"{times[form] / times['yardstick']:.3f}"]
        rows.append(row)
    return markdown_table([*header, "torch.compile ms", "ratio"], rows)


def tables_table(results: Results) -> str:
    """Return the table that compares the kinds of token tables."""
    args = results["arguments"]
    shape = f"{args['batch_size']} x {args['lengths'][0]}"
    header = [
        f"step of a token table, {shape} tokens, rows",
        "dense ms",
        "factorized ms",
        "ratio",
        "sparse ms",
        "ratio",
    ]
    rows = []
    for size, times in results["tables"].items():
        row = [size, number(times["dense"])]
        for kind in ("factorised", "sparse"):
            row += [number(times[kind]), f"{times[kind] / times['dense']:.3f}"]
        rows.append(row)
    return markdown_table(header, rows)


def streams_table(results: Results) -> str:
    """Return the table of time and memory for texts that are read in chunks."""
    header = ["tokens of one text, in chunks", "classification", "memory above idle"]
    rows = []
    for length, measured in results["streams"].items():
        row = [length]
        for use in ("classify", "train"):
            row += [f"{measured[f'{use}_ms'] / 1000:.1f} s", f"{measured[f'{use}_memory_above_idle_mb']:.0f} MB"]
        rows.append(row)
    return markdown_table([*header, "forward and backward", "memory above idle"], rows)


def predictors_table(predictions: list[Row]) -> str:
    """Return the table of the accuracy of predictors, their size and their start."""
    header = ["predictor", "accuracy", "MB on disk", "MB in memory", "seconds to the first prediction"]
    rows = [
        [
            row["predictor"],
            f"{row['accuracy']:.2%}",
            number(row["disk_mb"]),
            number(row["memory_mb"]),
            f"{row['first_prediction_s']:.2f}",
        ]
        for row in predictions
    ]
    return markdown_table(header, rows)


def speed_tables(predictions: list[Row]) -> list[str]:
    """Return a table of the speed of predictors for the rows as they are, and one for each length of texts."""
    return [speed_table(predictions, length) for length in predictions[0]["lengths"]]


def speed_table(predictions: list[Row], length: str) -> str:
    """Return the table of the speed of predictors; what is not tokenizing counts as the model's."""
    first = predictions[0]["lengths"][length]
    count = first["texts"]
    title = f"{count} texts of {first['tokens'] / count:.0f} tokens"
    header = [title, "tokenizing, us a text", "model, us a text", "texts/s", "tokens/s"]
    rows = []
    for row in predictions:
        measured = row["lengths"][length]
        tokenizing, whole = measured["tokenize_s"], measured["predict_s"]
        times = [tokenizing, max(whole - tokenizing, 0)]
        rows.append(
            [
                row["predictor"],
                *(number(1e6 * seconds / count) for seconds in times),
                f"{count / whole:,.0f}",
                f"{measured['tokens'] / whole:,.0f}",
                f"{first['predict_s'] / whole:.3f}",
            ]
        )
    return markdown_table([*header, f"times the texts/s of {predictions[0]['predictor']}"], rows)


def training_table(results: Results) -> str:
    """Return the table of time and memory of training steps."""
    args = results["arguments"]
    of_first = f"of {args['models'][0]}"
    header = [
        "model",
        "tokens",
        "parameters",
        "outside the token table",
        f"step, batch of {args['batch_size']}",
        of_first,
    ]
    header += ["its optimizer", "first step", "peak memory", "above idle", of_first]
    rows = [
        [
            row["model"],
            row["length"],
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['parameters_outside_token_table'] / 1e6:.2f} M",
            f"{number(row['step_ms'])} ms",
            compared(results, row, "step_ms"),
            f"{number(row['optimizer_ms'])} ms",
            f"{row['first_step_ms'] / 1000:.1f} s",
            f"{row['training_memory_mb']:.0f} MB",
            f"{row['training_memory_above_idle_mb']:.0f} MB",
            compared(results, row, "training_memory_above_idle_mb"),
        ]
        for row in results["models"]
    ]
    return markdown_table(header, rows)


def inference_table(results: Results) -> str:
    """Return the table of latency, throughput and memory of inference."""
    args = results["arguments"]
    of_first = f"of {args['models'][0]}"
    header = ["model", "tokens", "latency of one text", of_first]
    header += [f"texts a second, batch of {args['inference_batch_size']}", of_first, "memory above idle", of_first]
    rows = [
        [
            row["model"],
            row["length"],
            f"{number(row['latency_ms'])} ms",
            compared(results, row, "latency_ms"),
            number(row["texts_per_second"]),
            compared(results, row, "texts_per_second"),
            f"{row['inference_memory_above_idle_mb']:.0f} MB",
            compared(results, row, "inference_memory_above_idle_mb"),
        ]
        for row in results["models"]
    ]
    return markdown_table(header, rows)


def exponents_table(results: Results) -> str:
    """Return the table of the exponents with which the measurements grow."""
    header = ["grows with the length to the power of", *(title for title, _ in GROWING.values())]
    rows = []
    for name, exponents in results["exponents"].items():
        lengths = [row["length"] for row in results["models"] if row["model"] == name]
        powers = [f"{exponents[quantity]:.2f}" if quantity in exponents else NOT_MEASURED for quantity in GROWING]
        rows.append([f"{name}, {min(lengths)} to {max(lengths)} tokens", *powers])
    return markdown_table(header, rows)


def number(value: float) -> str:
    """Return a number with three significant digits, or with all digits before the decimal point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def compared(results: Results, row: Row, quantity: str) -> str:
    """Return the ratio to the first model at the same length; `NOT_MEASURED` if that is missing or not positive."""
    first = results["arguments"]["models"][0]
    yardsticks = [other for other in results["models"] if (other["model"], other["length"]) == (first, row["length"])]
    if not yardsticks or yardsticks[0][quantity] <= 0:
        return NOT_MEASURED
    ratio = row[quantity] / yardsticks[0][quantity]
    return f"{ratio:.1%}" if ratio < 2 else f"{ratio:.1f} x"


def fit_exponents(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Fit cost = factor * length^exponent for each model and quantity, by least squares of the logarithms.

    Returns:
        The exponents by model and quantity, if there are at least two lengths and all costs are positive.
    """
    exponents: dict[str, dict[str, float]] = {}
    for row in rows:
        for quantity in GROWING:
            lengths, costs = curve(rows, row["model"], quantity)
            if len(lengths) > 1 and min(costs) > 0:
                exponent, _ = np.polyfit(np.log(lengths), np.log(costs), 1)
                exponents.setdefault(row["model"], {})[quantity] = float(exponent)
    return exponents


def curve(rows: list[Row], model: str, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths at which a model was measured, and its costs."""
    points = [(row["length"], row[quantity]) for row in rows if row["model"] == model]
    lengths, costs = np.array(points).T
    return lengths, costs


def plot_growth(results: Results, file: Path) -> None:
    """Plot the costs over the length on logarithmic scales, with the fitted exponents."""
    figure, panels = plt.subplots(1, len(PLOTTED), figsize=(4.6 * len(PLOTTED), 5.8), layout="constrained")
    for axes, quantity in zip(panels, PLOTTED, strict=True):
        draw_growth(axes, results, quantity)
    figure.suptitle(plain_text(results["machine"]), fontsize="small")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def draw_growth(axes: Axes, results: Results, quantity: str) -> None:
    """Draw the curves of one quantity for all models."""
    args = results["arguments"]
    title, unit = GROWING[quantity]
    lengths = sorted({row["length"] for row in results["models"]})
    for name, style in styles(results["exponents"]).items():
        exponents = results["exponents"][name]
        label = plain_text(name)
        if quantity in exponents:
            label += f": length$^{{{exponents[quantity]:.2f}}}$"
        axes.plot(*curve(results["models"], name, quantity), **style, label=label)
    batch = "" if quantity == "latency_ms" else f", batch of {args['batch_size']}"
    axes.set(title=title + batch, xlabel="tokens in a text", ylabel=unit, xscale="log", yscale="log")
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set_xticks([], minor=True)
    axes.grid(color="0.9")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False)
