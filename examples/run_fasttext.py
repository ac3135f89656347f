#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train and evaluate a baseline, fastText's classifier with words and bigrams, on the rows of run_glue.py.

    python run_fasttext.py --train_file TRAIN.csv --validation_file VALIDATION.csv

Joulin et al., "Bag of Tricks for Efficient Text Classification", arXiv:1607.01759. The defaults are the settings with
which its authors report results on AG News. `pip install 'wave-hf[baselines]'` installs fastText.
"""

from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset

from wave_hf.analysis.benchmark.predictors import split_words
from wave_hf.training.baselines import (
    LABEL_PREFIX,
    BaselineArguments,
    Predict,
    check_single_label,
    encode_labels,
    join_sides,
    run_baseline,
    train_fasttext,
)
from wave_hf.training.tasks import Task


@dataclass
class FastTextArguments(BaselineArguments):
    """The rows, and the settings of fastText."""

    ngrams: int = field(default=2, metadata={"help": "Longest n-gram: 1 for words, 2 for words and bigrams."})
    num_train_epochs: int = field(default=5, metadata={"help": "Number of epochs."})
    learning_rate: float = field(default=0.25, metadata={"help": "Initial learning rate."})
    hidden_size: int = field(default=10, metadata={"help": "Size of the vectors of words and bigrams."})


def main() -> None:
    """Fit, evaluate and print the result as json."""
    run_baseline(FastTextArguments, fit)


def fit(args: FastTextArguments, rows: Dataset, task: Task) -> tuple[Predict, int]:
    """Return a function that predicts, and the number of parameters, most of which are the buckets of bigrams."""
    check_single_label(task)
    model = train_fasttext(
        [split_words(text) for text in join_sides(rows)],
        encode_labels(rows, task),
        wordNgrams=args.ngrams,
        epoch=args.num_train_epochs,
        lr=args.learning_rate,
        dim=args.hidden_size,
        bucket=10_000_000,
    )

    def predict(rows: Dataset) -> np.ndarray:
        predicted, _ = model.predict([split_words(text) for text in join_sides(rows)])
        return np.array([int(best.removeprefix(LABEL_PREFIX)) for (best,) in predicted])

    return predict, model.get_input_matrix().size + model.get_output_matrix().size


if __name__ == "__main__":
    main()
