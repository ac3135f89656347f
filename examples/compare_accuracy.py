#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Hold the accuracy of classifiers against what their training costs: a table and a plot, on the rows of run_glue.py.

    python examples/compare_accuracy.py --output_dir DIR --train_file TRAIN.csv --validation_file VALIDATION.csv

Each classifier is trained by the script that trains it anyway, into a folder of DIR that bears its name; the options
that are not those of this script are handed on to all of them. A classifier that has its result already is not
trained again. Table and plot show every folder with a result: what was trained into DIR by hand, as a fine-tuned
encoder, stands beside the others.
"""

import json
import logging
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from common import RECIPES, exit_on_error
from plotting import styles
from transformers import AutoConfig, AutoModel, AutoTokenizer, HfArgumentParser, set_seed

from wave_hf.files import writing

EXAMPLES = Path(__file__).parent
TRAIN_NETWORK = "run_glue.py --do_train --do_eval"
# What trains a classifier, by its name.
CLASSIFIERS = {
    "tfidf-words": "run_tfidf.py",
    "tfidf-bigrams": "run_tfidf.py --ngrams 2 --inverse_regularization 10",
    "fasttext-bigrams": "run_fasttext.py",
    "wave-small": f"{TRAIN_NETWORK} --config_name wave-small",
    "paper-interference": f"{TRAIN_NETWORK} --config_name paper-interference",
    "paper-modulation": f"{TRAIN_NETWORK} --config_name paper-modulation",
    "transformer-layer": f"{TRAIN_NETWORK} --config_name baselines/transformer-layer",
    "bert-small": f"{TRAIN_NETWORK} --config_name baselines/bert-small",
}

logger = logging.getLogger("examples.compare_accuracy")


@dataclass
class ComparisonArguments:
    """What is compared."""

    output_dir: str = field(metadata={"help": "Gets a folder for each classifier, report.md and accuracy.png."})
    classifiers: list[str] = field(
        default_factory=lambda: list(CLASSIFIERS), metadata={"help": f"What to train, of {', '.join(CLASSIFIERS)}."}
    )
    encoder: str | None = field(
        default=None, metadata={"help": "Pre-trained encoder, upon whose embeddings one Transformer layer is trained."}
    )
    static_model: str | None = field(default=None, metadata={"help": "Static vectors for model2vec's classifier."})
    metric: str = field(default="accuracy", metadata={"help": "What is compared, as run_glue.py calls it."})
    bf16: bool = field(default=False, metadata={"help": "Let networks compute in bfloat16 where that is safe."})

    def __post_init__(self) -> None:
        """Raise ValueError for classifiers that there are not."""
        if unknown := set(self.classifiers) - CLASSIFIERS.keys():
            raise ValueError(f"--classifiers takes {', '.join(CLASSIFIERS)}, but not {', '.join(sorted(unknown))}.")


def main() -> None:
    """Train what has no result yet, and report."""
    parser = HfArgumentParser(ComparisonArguments)  # type: ignore[arg-type]
    with exit_on_error("Arguments"):
        args, handed_on = parser.parse_args_into_dataclasses(return_remaining_strings=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = Path(args.output_dir)
    for name, command in choose_commands(args).items():
        if name not in read_results(folder, args.metric):
            train(folder / name, command, handed_on)
    results = read_results(folder, args.metric)
    table = markdown_table(results, args.metric)
    with writing(folder / "report.md") as stream:
        stream.write(table + "\n")
    plot(results, args.metric, folder / "accuracy.png")
    print(table)


def choose_commands(args: ComparisonArguments) -> dict[str, str]:
    """Return what trains the wanted classifiers."""
    commands = {name: CLASSIFIERS[name] for name in args.classifiers}
    if args.static_model:
        commands["model2vec"] = f"run_model2vec.py --model_name_or_path {shlex.quote(args.static_model)}"
    if args.encoder:
        start = Path(args.output_dir, "pretrained-embeddings")
        save_layer_on_embeddings(args.encoder, start)
        # As the layer on random embeddings is trained; a model that starts from a folder has no recipe.
        settings = json.loads((RECIPES / "baselines/transformer-layer/training_args.json").read_text())
        options = " ".join(f"--{name} {value}" for name, value in settings.items())
        commands["transformer-layer-pretrained-embeddings"] = (
            f"{TRAIN_NETWORK} --model_name_or_path {shlex.quote(str(start))} {options}"
        )
    if args.bf16:
        commands = {name: f"{line} --bf16" if TRAIN_NETWORK in line else line for name, line in commands.items()}
    return commands


def save_layer_on_embeddings(encoder: str, folder: Path) -> None:
    """Save one Transformer layer of random weights upon the embeddings of a pre-trained encoder, and its tokenizer."""
    set_seed(42)
    with exit_on_error(f"Encoder {encoder}"):
        model = AutoModel.from_config(AutoConfig.from_pretrained(encoder, num_hidden_layers=1))
        model.embeddings.load_state_dict(AutoModel.from_pretrained(encoder).embeddings.state_dict())
        AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    model.save_pretrained(folder)


def train(folder: Path, command: str, handed_on: list[str]) -> None:
    """Train a classifier, unless its script ends with an error."""
    script, *options = shlex.split(command)
    line = [sys.executable, str(EXAMPLES / script), *options, "--output_dir", str(folder), *handed_on]
    logger.info(shlex.join(line))
    if subprocess.run(line).returncode:
        raise SystemExit(f"{folder.name} was not trained: {script} has told why")


def read_results(folder: Path, metric: str) -> dict[str, dict[str, Any]]:
    """Return the results of all classifiers that were evaluated, the quickest to train first."""
    files = {file.parent.name: file for file in folder.glob("*/all_results.json")}
    results = {name: json.loads(file.read_text()) for name, file in files.items()}
    needed = {f"eval_{metric}", "train_runtime"}
    complete = [(name, result) for name, result in results.items() if needed <= result.keys()]
    return dict(sorted(complete, key=lambda item: item[1]["train_runtime"]))


def markdown_table(results: dict[str, dict[str, Any]], metric: str) -> str:
    """Return a table of Markdown."""
    lines = [f"| classifier | {metric} | parameters | training |", "| --- | --- | --- | --- |"]
    for name, result in results.items():
        score, parameters, seconds = (result[key] for key in (f"eval_{metric}", "parameters", "train_runtime"))
        lines.append(f"| {name} | {score:.2%} | {parameters / 1e6:.2f} M | {seconds:.1f} s |")
    return "\n".join(lines)


def plot(results: dict[str, dict[str, Any]], metric: str, file: Path) -> None:
    """Draw the metric against the seconds of training."""
    figure, axes = plt.subplots(figsize=(8.5, 4.5), layout="constrained")
    for (name, result), style in zip(results.items(), styles(), strict=False):
        point = result["train_runtime"], 100 * result[f"eval_{metric}"]
        axes.plot(*point, **style, markersize=9, linestyle="none", label=name)
    axes.set(xscale="log", xlabel="training in seconds", ylabel=f"{metric} on rows not trained on, in %")
    axes.grid(color="0.9")
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(file, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
