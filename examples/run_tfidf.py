#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train and evaluate a baseline, tf-idf with a linear model, on the rows of run_glue.py.

    python run_tfidf.py --train_file TRAIN.csv --validation_file VALIDATION.csv --ngrams 2

The linear model is a logistic regression or, if the labels are values, a ridge regression. Its features of a pair of
texts are the products and the absolute differences of both texts' tf-idf. Without files it reads the documentation
corpus.
"""

from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from wave_hf.training.baselines import BaselineArguments, Predict, encode_labels, run_baseline
from wave_hf.training.rows import text_columns
from wave_hf.training.tasks import Task


@dataclass
class TfidfArguments(BaselineArguments):
    """The rows, and the settings of the features and of the linear model."""

    ngrams: int = field(default=1, metadata={"help": "Longest n-gram: 1 for words, 2 for words and bigrams."})
    inverse_regularization: float = field(default=1.0, metadata={"help": "C of the linear model."})


def main() -> None:
    """Fit, evaluate and print the result as json."""
    run_baseline(TfidfArguments, fit)


def fit(args: TfidfArguments, rows: Dataset, task: Task) -> tuple[Predict, int]:
    """Return a function that predicts, and the number of parameters."""
    vectorizer = TfidfVectorizer(ngram_range=(1, args.ngrams), sublinear_tf=True)
    vectorizer.fit([text for name in text_columns(rows) for text in rows[name]])
    model = LogisticRegression(C=args.inverse_regularization, max_iter=1000)
    if task.problem_type == "regression":
        model = Ridge(alpha=1 / args.inverse_regularization)
    model.fit(features(rows, vectorizer), encode_labels(rows, task))
    parameters = int(np.size(model.coef_) + np.size(model.intercept_))
    return lambda rows: model.predict(features(rows, vectorizer)), parameters


def features(rows: Dataset, vectorizer: TfidfVectorizer) -> csr_matrix:
    """Return the features of each row."""
    sides = [vectorizer.transform(rows[name]) for name in text_columns(rows)]
    if len(sides) == 1:
        return sides[0]
    first, second = sides
    return hstack([first.multiply(second), abs(first - second)]).tocsr()


if __name__ == "__main__":
    main()
