#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The baseline to beat: tf-idf + logistic regression, on the data options of the other scripts.

    python examples/run_tfidf.py --train_file TRAIN.csv --validation_file VALIDATION.csv --ngrams 2

The columns are called `text` and `label`. Without files it reads the embedded corpus.
"""

import json
import logging
import time
from dataclasses import dataclass, field

from common import DataArguments, ModelArguments, ending_with_one_line, load_raw_datasets
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers import HfArgumentParser


@dataclass
class BaselineArguments(DataArguments):
    """The rows, and the two settings of the baseline that matter."""

    ngrams: int = field(default=1, metadata={"help": "Longest n-gram: 1 for words, 2 for words and bigrams."})
    inverse_regularization: float = field(default=1.0, metadata={"help": "C of the logistic regression."})


def main() -> None:
    """Fit, evaluate and print the result as json."""
    with ending_with_one_line("Arguments"):
        (args,) = HfArgumentParser(BaselineArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data = load_raw_datasets(args, ModelArguments())
    if not {"train", "validation"} <= data.keys():
        raise SystemExit("The baseline needs both --train_file and --validation_file, or neither")
    train, validation = data["train"][:], data["validation"][:]
    start = time.perf_counter()
    classifier = make_pipeline(
        TfidfVectorizer(ngram_range=(1, args.ngrams), sublinear_tf=True),
        LogisticRegression(C=args.inverse_regularization, max_iter=1000),
    )
    classifier.fit(train["text"], train["label"])
    result = {
        "eval_accuracy": classifier.score(validation["text"], validation["label"]),
        "train_runtime": time.perf_counter() - start,
        "parameters": classifier[-1].coef_.size + classifier[-1].intercept_.size,
        "eval_samples": len(validation["text"]),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
