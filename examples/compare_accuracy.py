#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Compare the accuracy of classifiers with the cost of their training, in a table and a plot.

    python examples/compare_accuracy.py --output_dir DIR --train_file TRAIN.csv --validation_file VALIDATION.csv

Each classifier is trained by its own script, which must be in the folder of this one, into a subfolder of DIR with its
name. Options of run_glue.py that this script does not have are passed to all scripts. A classifier that has a result
is not trained again. The table and the plot show all subfolders with a result, including those of models that were
trained by hand, such as a fine-tuned encoder.
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
from transformers import AutoConfig, AutoModel, AutoTokenizer, HfArgumentParser, set_seed

from wave_hf.analysis.plotting import plain_text, styles
from wave_hf.files import writing
from wave_hf.markdown import markdown_table
from wave_hf.recipes import RECIPES, TRAINING_ARGS_NAME
from wave_hf.training.errors import exit_on_error

EXAMPLES = Path(__file__).parent
TRAIN_NETWORK = "run_glue.py --do_train --do_eval"
# The script and the options that train each classifier.
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

logger = logging.getLogger(__name__)


@dataclass
class ComparisonArguments:
    """Options of the comparison."""

    output_dir: str = field(metadata={"help": "Folder of report.md, accuracy.png and the classifiers."})
    classifiers: list[str] = field(
        default_factory=lambda: list(CLASSIFIERS),
        metadata={"help": f"Classifiers to train: {', '.join(CLASSIFIERS)}."},
    )
    encoder: str | None = field(
        default=None, metadata={"help": "Pretrained encoder. Also train a Transformer layer on top of its embeddings."}
    )
    static_model: str | None = field(
        default=None, metadata={"help": "Static vectors. Also train model2vec's classifier with them."}
    )
    metric: str = field(default="accuracy", metadata={"help": "Metric to compare, by its name in run_glue.py."})
    bf16: bool = field(default=False, metadata={"help": "Train networks with bfloat16 autocast."})

    def __post_init__(self) -> None:
        """Raise ValueError for unknown classifiers."""
        if unknown := set(self.classifiers) - CLASSIFIERS.keys():
            raise ValueError(f"--classifiers takes {', '.join(CLASSIFIERS)}, but not {', '.join(sorted(unknown))}.")


def main() -> None:
    """Train the classifiers that have no result, and report."""
    parser = HfArgumentParser(ComparisonArguments)  # type: ignore[arg-type]
    with exit_on_error("Arguments"):
        args, passed_on = parser.parse_args_into_dataclasses(return_remaining_strings=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = Path(args.output_dir)
    finished = read_results(folder, args.metric)
    commands = {name: command for name, command in choose_commands(args).items() if name not in finished}
    check_scripts(commands)
    for name, command in commands.items():
        train(folder / name, command, passed_on)
    results = read_results(folder, args.metric)
    table = results_table(results, args.metric)
    with writing(folder / "report.md") as stream:
        stream.write(table + "\n")
    plot(results, args.metric, folder / "accuracy.png")
    print(table)


def choose_commands(args: ComparisonArguments) -> dict[str, str]:
    """Return the script and the options of each classifier to train."""
    commands = {name: CLASSIFIERS[name] for name in args.classifiers}
    if args.static_model:
        commands["model2vec"] = f"run_model2vec.py --model_name_or_path {shlex.quote(args.static_model)}"
    if args.encoder:
        start = Path(args.output_dir, "pretrained-embeddings")
        save_layer_on_embeddings(args.encoder, start)
        # A model that starts from a folder has no recipe; this one has that of the layer on random embeddings.
        settings = json.loads((RECIPES / "baselines/transformer-layer" / TRAINING_ARGS_NAME).read_text())
        options = " ".join(f"--{name} {value}" for name, value in settings.items())
        commands["transformer-layer-pretrained-embeddings"] = (
            f"{TRAIN_NETWORK} --model_name_or_path {shlex.quote(str(start))} {options}"
        )
    if args.bf16:
        commands = {name: f"{line} --bf16" if TRAIN_NETWORK in line else line for name, line in commands.items()}
    return commands


def save_layer_on_embeddings(encoder: str, folder: Path) -> None:
    """Save a Transformer layer with random weights and the embeddings and tokenizer of a pretrained encoder."""
    set_seed(42)
    with exit_on_error(f"Encoder {encoder}"):
        config = AutoConfig.from_pretrained(encoder, num_hidden_layers=1, trust_remote_code=False)
        model = AutoModel.from_config(config)
        pretrained = AutoModel.from_pretrained(encoder, trust_remote_code=False)
        model.embeddings.load_state_dict(pretrained.embeddings.state_dict())
        AutoTokenizer.from_pretrained(encoder, trust_remote_code=False).save_pretrained(folder)
    model.save_pretrained(folder)


def check_scripts(commands: dict[str, str]) -> None:
    """Exit if a script is missing."""
    for name, command in commands.items():
        script = shlex.split(command)[0]
        if not (EXAMPLES / script).exists():
            raise SystemExit(f"Training {name} needs {script} in the folder {EXAMPLES}: copy it there")


def train(folder: Path, command: str, passed_on: list[str]) -> None:
    """Train a classifier with its script, or exit if the script fails."""
    script, *options = shlex.split(command)
    line = [sys.executable, str(EXAMPLES / script), *options, "--output_dir", str(folder), *passed_on]
    logger.info(shlex.join(line))
    if subprocess.run(line).returncode:
        raise SystemExit(f"{folder.name} was not trained: {script} ended with the error above")


def read_results(folder: Path, metric: str) -> dict[str, dict[str, Any]]:
    """Return the results of all evaluated classifiers, sorted by the duration of their training."""
    files = {file.parent.name: file for file in folder.glob("*/all_results.json")}
    with exit_on_error(f"Results in {folder}"):
        results = {name: json.loads(file.read_text()) for name, file in files.items()}
    needed = {f"eval_{metric}", "train_runtime", "parameters"}
    complete = [(name, result) for name, result in results.items() if needed <= result.keys()]
    return dict(sorted(complete, key=lambda item: item[1]["train_runtime"]))


def results_table(results: dict[str, dict[str, Any]], metric: str) -> str:
    """Return the results as a table in Markdown."""
    rows = [
        [
            name,
            f"{result[f'eval_{metric}']:.2%}",
            f"{result['parameters'] / 1e6:.2f} M",
            f"{result['train_runtime']:.1f} s",
        ]
        for name, result in results.items()
    ]
    return markdown_table(["classifier", metric, "parameters", "training"], rows)


def plot(results: dict[str, dict[str, Any]], metric: str, file: Path) -> None:
    """Plot the metric over the duration of the training."""
    figure, axes = plt.subplots(figsize=(8.5, 4.5), layout="constrained")
    for name, style in styles(results).items():
        point = results[name]["train_runtime"], 100 * results[name][f"eval_{metric}"]
        axes.plot(*point, **style, markersize=9, linestyle="none", label=plain_text(name))
    axes.set(xscale="log", xlabel="training time in seconds", ylabel=f"validation {plain_text(metric)} in %")
    axes.grid(color="0.9")
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(file, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
