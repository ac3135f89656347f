#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train and evaluate a baseline, model2vec's classifier on pre-trained static vectors, on the rows of run_glue.py.

    python run_model2vec.py --model_name_or_path MODEL --train_file TRAIN.csv --validation_file VALIDATION.csv

MODEL is a folder or a Hub id, such as minishlab/potion-base-8M. `pip install 'wave-hf[baselines]'` installs model2vec.
"""

from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset
from model2vec.train import StaticModelForClassification

from wave_hf.training.baselines import (
    BaselineArguments,
    Predict,
    check_single_label,
    encode_labels,
    join_sides,
    run_baseline,
)
from wave_hf.training.errors import exit_on_error
from wave_hf.training.tasks import Task


@dataclass
class Model2VecArguments(BaselineArguments):
    """The rows, and the static vectors."""

    model_name_or_path: str = field(
        default="minishlab/potion-base-8M", metadata={"help": "Static vectors: a folder or a Hub id."}
    )


def main() -> None:
    """Fit, evaluate and print the result as json."""
    run_baseline(Model2VecArguments, fit)


def fit(args: Model2VecArguments, rows: Dataset, task: Task) -> tuple[Predict, int]:
    """Return a function that predicts, and the number of parameters, including the vectors, which are trained."""
    check_single_label(task)
    with exit_on_error(f"Model {args.model_name_or_path}"):
        model = StaticModelForClassification.from_pretrained(args.model_name_or_path)
    model.fit(join_sides(rows), encode_labels(rows, task).tolist())
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return lambda rows: np.array([int(label) for label in model.predict(join_sides(rows))]), parameters


if __name__ == "__main__":
    main()
