# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Tasks on whole texts: what the labels mean, and how predictions are scored."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import torch
from datasets import List, Value
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, f1_score, mean_squared_error
from transformers import EvalPrediction, PreTrainedConfig

from ..configuration_wave import ProblemType
from ..modeling_wave import IGNORE_INDEX

# Maps predictions and references, each `(N,)` or `(N, num_labels)`, to named values.
Metric = Callable[[np.ndarray, np.ndarray], dict[str, float]]


@dataclass
class Task:
    """A task: the problem type, as in the config, and the label names in the order of their ids."""

    problem_type: ProblemType
    label_names: list[str]

    @classmethod
    def of_config(cls, config: PreTrainedConfig) -> "Task":
        """Return the task of a checkpoint."""
        default: ProblemType = "regression" if config.num_labels == 1 else "single_label_classification"
        id2label: dict[Any, str] = config.id2label or {}
        return cls(config.problem_type or default, [str(id2label[i]) for i in range(len(id2label))])

    def write_to(self, config: PreTrainedConfig) -> None:
        """Set the fields of the config that define the task."""
        config.problem_type = self.problem_type
        config.id2label = dict(enumerate(self.label_names))
        config.label2id = {name: i for i, name in enumerate(self.label_names)}

    @property
    def label_feature(self) -> Value | List:
        """The type of the label column: a value, a name, or names."""
        name = Value("string")
        return {"regression": Value("float32"), "multi_label_classification": List(name)}.get(self.problem_type, name)

    @property
    def stratify_column(self) -> str | None:
        """The label column, if it holds one class per row."""
        return "label" if self.problem_type == "single_label_classification" else None

    def encode(self, label: Any) -> Any:
        """Return the target of the loss for a value, a name (or `None` if it is missing), or a list of names."""
        if self.problem_type == "regression":
            return label
        if self.problem_type == "multi_label_classification":
            return [float(name in label) for name in self.label_names]
        return IGNORE_INDEX if label is None else self.label_names.index(label)

    def decode(self, prediction: Any) -> str:
        """Return a predicted value with three decimals, a name, or names separated by commas."""
        if self.problem_type == "regression":
            return f"{prediction:.3f}"
        if self.problem_type == "multi_label_classification":
            return ",".join(compress(self.label_names, prediction))
        return self.label_names[prediction]

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return values `(N,)`, class ids `(N,)`, or 0 and 1 for each label `(N, num_labels)`."""
        if self.problem_type == "regression":
            return logits.reshape(-1)
        if self.problem_type == "multi_label_classification":
            return (logits > 0).astype(int)
        return logits.argmax(-1)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the probability of each label `(N, num_labels)`."""
        return expit(logits) if self.problem_type == "multi_label_classification" else softmax(logits, axis=-1)

    def default_metrics(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Return mean squared error, micro-averaged F1, or accuracy."""
        if self.problem_type == "regression":
            return {"mse": mean_squared_error(references, predictions)}
        if self.problem_type == "multi_label_classification":
            return {"f1": f1_score(references, predictions, average="micro", zero_division=0)}
        return {"accuracy": accuracy_score(references, predictions)}


# Scoring predictions


def score(task: Task, compute: Metric, logits: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the metrics and, if there are several, their mean as `combined_score`.

    Raises:
        SystemExit: A logit is not finite.
    """
    check_finite(np.isfinite(logits).all())
    metrics = {name: float(value) for name, value in compute(task.predictions(logits), references).items()}
    if len(metrics) > 1:
        metrics["combined_score"] = float(np.mean(list(metrics.values())))
    return metrics


def check_finite(is_finite: Any) -> None:
    """Refuse to report or to predict anything from logits that are not finite."""
    if not is_finite:
        raise SystemExit("The logits are not finite: the weights are NaN or infinite, or overflow in this precision")


def make_compute_metrics(task: Task, compute: Metric) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return `score` as Trainer's `compute_metrics`."""
    return lambda output: score(task, compute, output.predictions, output.label_ids)  # type: ignore[arg-type]


def argmax_logits(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """Return the class of the highest logit of each token, `(B, T)`, which is all that metrics of tokens need."""
    return logits.argmax(dim=-1)
