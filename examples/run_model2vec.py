#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""model2vec's classifier, a small head on pre-trained static vectors of tokens, on the rows of run_glue.py.

    python examples/run_model2vec.py --model_name_or_path MODEL --train_file TRAIN.csv --validation_file VALIDATION.csv

`pip install -e '.[baselines]'` installs it; MODEL is a folder, or an id on the Hub as minishlab/potion-base-8M.
"""

from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset
from model2vec.train import StaticModelForClassification

from wave_hf.training.baselines import BaselineArguments, Predict, check_classes, labels, run_baseline, whole_texts
from wave_hf.training.errors import exit_on_error
from wave_hf.training.tasks import Task


@dataclass
class Model2VecArguments(BaselineArguments):
    """The rows, and the static vectors."""

    model_name_or_path: str = field(default="minishlab/potion-base-8M", metadata={"help": "Folder or Hub id."})


def fit(args: Model2VecArguments, rows: Dataset, task: Task) -> tuple[Predict, int]:
    """Return how to predict, and the number of parameters, the vectors included: they are trained, too."""
    check_classes(task)
    with exit_on_error(f"Model {args.model_name_or_path}"):
        model = StaticModelForClassification.from_pretrained(args.model_name_or_path)
    model.fit(whole_texts(rows), labels(rows, task).tolist())
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return lambda rows: np.array([int(label) for label in model.predict(whole_texts(rows))]), parameters


def main() -> None:
    """Fit, evaluate and print the result as json."""
    run_baseline(Model2VecArguments, fit)


if __name__ == "__main__":
    main()
