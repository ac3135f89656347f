#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The baseline to beat: tf-idf with a linear model, on the rows of run_glue.py.

    python examples/run_tfidf.py --train_file TRAIN.csv --validation_file VALIDATION.csv --ngrams 2

The model is a logistic regression or, for numbers, a ridge regression. A pair of texts is told to it by the products
and the absolute differences of the two sides' features. Without files it reads the embedded corpus.
"""

import json
import logging
import time
from dataclasses import dataclass, field

import numpy as np
from common import ModelArguments, Task, ending_with_one_line, text_columns
from datasets import Dataset
from glue import GlueArguments, load_glue
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from transformers import HfArgumentParser


@dataclass
class BaselineArguments(GlueArguments):
    """The rows, and the two settings of the baseline that matter."""

    ngrams: int = field(default=1, metadata={"help": "Longest n-gram: 1 for words, 2 for words and bigrams."})
    inverse_regularization: float = field(default=1.0, metadata={"help": "C of the linear model."})


def main() -> None:
    """Fit, evaluate and print the result as json."""
    with ending_with_one_line("Arguments"):
        (args,) = HfArgumentParser(BaselineArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    _, task, splits, metric = load_glue(ModelArguments(), args, {"train", "validation"}, seed=42)
    start = time.perf_counter()
    vectorizer = TfidfVectorizer(ngram_range=(1, args.ngrams), sublinear_tf=True)
    vectorizer.fit([text for name in text_columns(splits["train"]) for text in splits["train"][name]])
    model = LogisticRegression(C=args.inverse_regularization, max_iter=1000)
    if task.problem_type == "regression":
        model = Ridge(alpha=1 / args.inverse_regularization)
    model.fit(features(splits["train"], vectorizer), labels(splits["train"], task))
    seconds = time.perf_counter() - start
    predictions = model.predict(features(splits["validation"], vectorizer))
    metrics = metric(predictions, labels(splits["validation"], task))
    result = {f"eval_{name}": float(value) for name, value in metrics.items()} | {
        "train_runtime": seconds,
        "parameters": int(np.size(model.coef_) + np.size(model.intercept_)),
        "eval_samples": len(splits["validation"]),
    }
    print(json.dumps(result))


def features(rows: Dataset, vectorizer: TfidfVectorizer) -> csr_matrix:
    """Return what the linear model reads of each row."""
    sides = [vectorizer.transform(rows[name]) for name in text_columns(rows)]
    if len(sides) == 1:
        return sides[0]
    first, second = sides
    return hstack([first.multiply(second), abs(first - second)]).tocsr()


def labels(rows: Dataset, task: Task) -> np.ndarray:
    """Return class ids, or numbers, `(N,)`."""
    return np.array([task.encode(label) for label in rows["label"]])


if __name__ == "__main__":
    main()
