#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""fastText's classifier, words and bigrams, on the rows of run_glue.py: the quickest baseline to train.

    python examples/run_fasttext.py --train_file TRAIN.csv --validation_file VALIDATION.csv

Joulin et al., "Bag of Tricks for Efficient Text Classification", arXiv:1607.01759. The defaults are those that its
authors publish results of AG News with. `pip install -e '.[baselines]'` installs it.
"""

import re
import tempfile
from dataclasses import dataclass, field

import fasttext
import numpy as np
import torch
from datasets import Dataset

from wave_hf.training.baselines import BaselineArguments, Predict, check_classes, labels, run_baseline, whole_texts
from wave_hf.training.tasks import Task

LABEL = "#:"  # what no token of `tokenize` starts with


@dataclass
class FastTextArguments(BaselineArguments):
    """The rows, and the settings of fastText that matter."""

    ngrams: int = field(default=2, metadata={"help": "Longest n-gram: 1 for words, 2 for words and bigrams."})
    num_train_epochs: int = field(default=5, metadata={"help": "Passes over the training rows."})
    learning_rate: float = field(default=0.25, metadata={"help": "The learning rate it starts with."})
    hidden_size: int = field(default=10, metadata={"help": "Width of the vectors of words and bigrams."})


def fit(args: FastTextArguments, rows: Dataset, task: Task) -> tuple[Predict, int]:
    """Return how to predict, and the number of parameters, most of which are buckets of bigrams."""
    check_classes(task)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        lines = zip(labels(rows, task), whole_texts(rows), strict=True)
        file.writelines(f"{LABEL}{label} {tokenize(text)}\n" for label, text in lines)
        file.flush()
        model = fasttext.train_supervised(
            file.name,
            label=LABEL,
            wordNgrams=args.ngrams,
            epoch=args.num_train_epochs,
            lr=args.learning_rate,
            dim=args.hidden_size,
            minCount=1,
            bucket=10_000_000,
            thread=torch.get_num_threads(),  # as the networks have
            verbose=0,
        )

    def predict(rows: Dataset) -> np.ndarray:
        predicted, _ = model.predict([tokenize(text) for text in whole_texts(rows)])
        return np.array([int(best.removeprefix(LABEL)) for (best,) in predicted])

    return predict, model.get_input_matrix().size + model.get_output_matrix().size


def tokenize(text: str) -> str:
    """Return lower-case words and punctuation marks, with spaces between."""
    return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))


def main() -> None:
    """Fit, evaluate and print the result as json."""
    run_baseline(FastTextArguments, fit)


if __name__ == "__main__":
    main()
