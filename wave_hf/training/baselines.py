# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Baselines: classifiers that are no neural networks, trained and evaluated on the rows of `run_glue.py`."""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import HfArgumentParser

from ..files import writing
from .arguments import ModelArguments
from .errors import exit_on_error
from .glue import GlueArguments, load_glue
from .rows import text_columns
from .tasks import Task

LABEL_PREFIX = "#:"  # for fastText: no token of `split_words` starts with it

# Maps rows to class ids or values, `(N,)`.
Predict = Callable[[Dataset], np.ndarray]


@dataclass
class BaselineArguments(GlueArguments):
    """The rows, and the folder for the result."""

    output_dir: str | None = field(default=None, metadata={"help": "Folder for all_results.json."})


def run_baseline(argument_class: Any, fit: Callable[[Any, Dataset, Task], tuple[Predict, int]]) -> None:
    """Fit and evaluate a baseline, and print the result as one line of json.

    Args:
        argument_class: The options of the command line: `BaselineArguments` or a subclass.
        fit: Takes the options, the training rows and the task; returns a function that predicts, and the number of
            parameters.

    Raises:
        SystemExit: The arguments or the data are wrong.
    """
    with exit_on_error("Arguments"):
        (args,) = HfArgumentParser(argument_class).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    _, task, splits, metric = load_glue(ModelArguments(), args, {"train", "validation"}, seed=42)
    start = time.perf_counter()
    predict, parameters = fit(args, splits["train"], task)
    seconds = time.perf_counter() - start
    metrics = metric(predict(splits["validation"]), encode_labels(splits["validation"], task))
    result = {f"eval_{name}": float(value) for name, value in metrics.items()} | {
        "train_runtime": seconds,
        "parameters": parameters,
        "eval_samples": len(splits["validation"]),
    }
    if args.output_dir:
        folder = Path(args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / "all_results.json") as stream:
            json.dump(result, stream, indent=4)
    print(json.dumps(result))


def train_fasttext(texts: list[str], labels: Iterable[int], **settings: Any) -> Any:
    """Train fastText's classifier.

    Args:
        texts: Tokens separated by spaces, none of which starts with `LABEL_PREFIX`.
        labels: The id of the label of each text.
        **settings: Options of `fasttext.train_supervised`.

    Returns:
        The model, whose labels are `LABEL_PREFIX` and the id.
    """
    import fasttext  # here, because other baselines do not need it

    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        lines = zip(labels, texts, strict=True)
        file.writelines(f"{LABEL_PREFIX}{label} {text}\n" for label, text in lines)
        file.flush()
        return fasttext.train_supervised(
            file.name,
            label=LABEL_PREFIX,
            minCount=1,
            thread=torch.get_num_threads(),  # as many as the networks use
            verbose=0,
            **settings,
        )


def encode_labels(rows: Dataset, task: Task) -> np.ndarray:
    """Return class ids or values, `(N,)`."""
    return np.array([task.encode(label) for label in rows["label"]])


def join_sides(rows: Dataset) -> list[str]:
    """Return one text for each row: both texts of a pair, joined by a space."""
    return [" ".join(sides) for sides in zip(*(rows[name] for name in text_columns(rows)), strict=True)]


def check_single_label(task: Task) -> None:
    """Raise SystemExit for a regression, or for several labels per text."""
    if task.problem_type != "single_label_classification":
        raise SystemExit(f"This baseline predicts one label per row, but the task is {task.problem_type}")
